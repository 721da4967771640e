"""Tests of twisted_mta.postfix.peers."""

import os
import socket
import subprocess
import sys

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.postfix.peers import QueueManagerWatch, is_running, peer_process


class SocketTransport:
    """A transport with a socket, as Twisted's have one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def getHandle(self) -> socket.socket:
        """The socket."""
        return self._connection


class PeerTests(SynchronousTestCase):
    """Who is at the other end."""

    def test_process(self) -> None:
        """The number of the process that has connected."""
        one, other = socket.socketpair()
        self.addCleanup(other.close)
        self.assertEqual(peer_process(SocketTransport(one)), os.getpid())
        one.close()
        self.assertEqual(peer_process(SocketTransport(one)), 0)

    def test_no_process(self) -> None:
        """What is no local connection has no process."""
        inet = socket.socket()
        self.addCleanup(inet.close)
        self.assertEqual(peer_process(SocketTransport(inet)), 0)
        self.assertEqual(peer_process(StringTransport()), 0)

    def test_running(self) -> None:
        """A process runs until it has ended."""
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        self.assertFalse(is_running(ended.pid))
        self.assertTrue(is_running(os.getpid()))
        self.assertTrue(is_running(1))


class QueueManagerWatchTests(SynchronousTestCase):
    """Which connections come from a new queue manager."""

    def setUp(self) -> None:
        """Some processes run."""
        self.running = {10, 20, 30}
        self.watch = QueueManagerWatch(self.running.__contains__)

    def test_first(self) -> None:
        """The first one replaces nobody."""
        self.assertEqual([self.watch.is_new(process) for process in (10, 10)], [False, False])

    def test_replaced(self) -> None:
        """Another process counts once the one before it has ended."""
        self.watch.is_new(10)
        self.running.discard(10)
        self.assertEqual([self.watch.is_new(process) for process in (20, 20)], [True, False])

    def test_others(self) -> None:
        """Who connects beside the queue manager is none; nor is who cannot be known."""
        self.watch.is_new(10)
        self.assertEqual([self.watch.is_new(process) for process in (20, 0, 10)], [False, False, False])
        self.running.discard(10)
        self.assertEqual([self.watch.is_new(process) for process in (0, 30)], [False, True])
