"""Tests of twisted_mta.postfix.peers."""

import os
import socket
from pathlib import Path

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.postfix.peers import QueueManagerWatch, peer_process, program_of


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

    def test_program(self) -> None:
        """The name of a process's program, as long as it runs."""
        self.assertEqual(program_of(os.getpid()), Path("/proc/self/comm").read_text().strip())
        self.assertEqual(program_of(2**22 + 1), "")


class QueueManagerWatchTests(SynchronousTestCase):
    """Which connections come from a new queue manager."""

    def setUp(self) -> None:
        """Some processes run."""
        programs = {10: "qmgr", 20: "qmgr", 30: "oqmgr", 40: "smtp"}
        self.watch = QueueManagerWatch(lambda process: programs.get(process, ""))

    def new_ones(self, *processes: int) -> list[int]:
        """The processes that count as new as they connect in turn."""
        return [process for process in processes if self.watch.is_new(process)]

    def test_first(self) -> None:
        """The first one replaces nobody."""
        self.assertEqual(self.new_ones(10, 10), [])

    def test_replaced(self) -> None:
        """Each further one counts once; the one before it may still have something to hand over."""
        self.assertEqual(self.new_ones(10, 20, 10, 20, 30, 20, 30, 10), [20, 30, 10])

    def test_others(self) -> None:
        """Who connects beside the queue manager is none; nor is who cannot be known."""
        self.assertEqual(self.new_ones(40, 10, 40, 0, 50, 10, 40), [])
