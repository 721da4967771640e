"""Sockets with a name that others count on."""

import os
import socket
import stat
import tempfile

from twisted.internet.testing import MemoryReactorClock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from tests.postfix.test_accepting import Remembering
from twisted_mta.model.events import Event, SocketLost, SocketRestored, SocketTaken
from twisted_mta.postfix.accepting import Acceptor
from twisted_mta.postfix.listening import ListenError, PrivateSocket, SocketInUseError, bind_socket


class SocketTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A directory like private/."""
        self.directory = tempfile.mkdtemp()
        self.addCleanup(FilePath(self.directory).remove)
        self.path = os.path.join(self.directory, "agent")

    def listen(self, path: str) -> socket.socket:
        """Another process's listening socket."""
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind(path)
        listening.listen(5)
        return listening

    def connect(self) -> socket.socket:
        """Connect to the name."""
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.path)
        client.setblocking(False)
        return client


class BindTests(SocketTestCase):
    def bind(self) -> socket.socket:
        """Bind, and close it in the end."""
        bound = bind_socket(self.path)
        self.addCleanup(bound.socket.close)
        self.assertTrue(bound.is_named())
        return bound.socket

    def test_anybody_may_connect(self) -> None:
        """The mode of the name does not depend on the umask, and nothing else is left in the directory."""
        old = os.umask(0o177)
        self.addCleanup(os.umask, old)
        listening = self.bind()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o666)
        self.assertEqual(os.listdir(self.directory), ["agent"])
        self.connect()
        listening.accept()[0].close()
        self.assertRaises(BlockingIOError, listening.accept)

    def test_stale_socket_is_replaced(self) -> None:
        """A name at which nobody listens any more is taken over, and so is a left-over of ours."""
        self.listen(self.path).close()
        self.listen(f"{self.directory}/.agent.{os.getpid()}").close()
        self.bind()
        self.connect()
        self.assertEqual(os.listdir(self.directory), ["agent"])

    def test_live_socket_is_refused(self) -> None:
        """A name at which somebody listens is left alone, and the error says what to do."""
        other = self.listen(self.path)
        inode = os.stat(self.path).st_ino
        error = self.assertRaises(SocketInUseError, bind_socket, self.path)
        self.assertIn(f"{self.path}: another process listens here already", str(error))
        self.assertIn("master_service_disable", str(error))
        self.assertEqual(os.stat(self.path).st_ino, inode)
        other.close()

    def test_live_socket_with_a_full_backlog_is_refused(self) -> None:
        """Somebody who is too busy to accept listens all the same."""
        other = self.listen(self.path)
        other.listen(0)
        self.connect()
        self.assertRaises(SocketInUseError, bind_socket, self.path)

    def test_datagram_socket_is_refused(self) -> None:
        """A socket of another type belongs to somebody too."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(self.path)
            self.assertRaises(SocketInUseError, bind_socket, self.path)

    def test_what_is_no_socket_is_refused(self) -> None:
        """A file in the place of the socket is never replaced."""
        FilePath(self.path).setContent(b"precious")
        self.assertIn("is not a socket", str(self.assertRaises(ListenError, bind_socket, self.path)))
        self.assertEqual(FilePath(self.path).getContent(), b"precious")

    def test_impossible_names(self) -> None:
        """A missing directory and a name that is too long are told with what to do."""
        FilePath(self.directory).child("file").setContent(b"")
        for path, text in [
            (f"{self.directory}/file/agent", "Not a directory"),
            (f"{self.directory}/missing/agent", "(make its directory first)"),
            (f"{self.directory}/{'x' * 100}", "too long for a socket"),
        ]:
            error = self.assertRaises(ListenError, bind_socket, path)
            self.assertIn(text, str(error))
            self.assertIn(path, str(error))


class PrivateSocketTests(SocketTestCase):
    def setUp(self) -> None:
        """A socket that is served."""
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.factory = Remembering()
        self.events: list[Event] = []
        self.served = PrivateSocket(
            self.reactor, self.reactor, self.path, self.factory, self.events.append, check_seconds=1
        )
        self.served.start()
        self.addCleanup(self.close)

    def close(self) -> None:
        """Close what was opened."""
        self.served.stop()
        for protocol in self.factory.made:
            assert protocol.transport is not None
            protocol.transport.abortConnection()  # type: ignore[attr-defined]
        self.reactor.advance(0)

    def accept(self) -> int:
        """Let all who listen accept.

        Returns:
            How many connections were accepted so far.
        """
        for reader in self.reactor.getReaders():
            if isinstance(reader, Acceptor):
                reader.doRead()
        return len(self.factory.made)

    def test_serves(self) -> None:
        """A connection to the name gets a protocol."""
        self.connect()
        self.assertEqual(self.accept(), 1)

    def test_name_that_stays_is_left_alone(self) -> None:
        """Looking changes nothing while all is well, whatever mode or owner the name has."""
        os.chmod(self.path, 0o600)
        inode = os.stat(self.path).st_ino
        self.reactor.pump([1] * 5)
        self.assertEqual((os.stat(self.path).st_ino, self.events), (inode, []))

    def test_removed_name_is_restored(self) -> None:
        """A second after its name is gone the socket has one again, told once."""
        os.unlink(self.path)
        self.reactor.advance(1)
        self.connect()
        self.assertEqual(self.accept(), 1)
        self.reactor.pump([1] * 3)
        self.assertEqual(self.events, [SocketRestored(self.path)])

    def test_connections_from_before_are_served(self) -> None:
        """Who connected before the name was lost is accepted, then the old socket is closed."""
        early = self.connect()
        os.unlink(self.path)
        self.reactor.advance(1)
        self.connect()
        self.assertEqual(self.accept(), 2)
        self.assertRaises(BlockingIOError, early.recv, 1)
        self.reactor.advance(1)
        self.assertEqual(len([r for r in self.reactor.getReaders() if isinstance(r, Acceptor)]), 1)

    def test_stale_socket_in_its_place_is_replaced(self) -> None:
        """A name that was given to a socket nobody listens on is taken back."""
        os.unlink(self.path)
        self.listen(self.path).close()
        self.reactor.advance(1)
        self.connect()
        self.assertEqual((self.accept(), self.events), (1, [SocketRestored(self.path)]))

    def test_name_taken_by_another_process(self) -> None:
        """A name that somebody else listens at is left to him, told once, and taken back when he is gone."""
        os.unlink(self.path)
        other = self.listen(self.path)
        self.reactor.pump([1] * 3)
        self.assertEqual(self.events, [SocketTaken(self.path)])
        other.close()
        self.reactor.advance(1)
        self.assertEqual(self.events[1:], [SocketRestored(self.path)])
        self.connect()
        self.assertEqual(self.accept(), 1)

    def test_name_that_cannot_be_restored(self) -> None:
        """A missing directory, or a file in place of the socket, is told once, until it can be repaired."""
        FilePath(self.directory).remove()
        self.reactor.pump([1] * 3)
        os.mkdir(self.directory)
        FilePath(self.path).setContent(b"")
        self.reactor.pump([1] * 3)
        self.assertEqual([type(event) for event in self.events], [SocketLost, SocketLost])
        os.unlink(self.path)
        self.reactor.advance(1)
        self.assertEqual(self.events[2:], [SocketRestored(self.path)])

    def test_stop(self) -> None:
        """Afterwards the name is gone, nothing is watched and no timer runs."""
        os.unlink(self.path)
        self.reactor.advance(1)
        self.served.stop()
        self.served.stop()
        self.assertFalse(os.path.lexists(self.path))
        self.assertEqual((self.reactor.getReaders(), self.reactor.getDelayedCalls()), ([], []))
        self.assertEqual(self.factory.started, 0)

    def test_stop_without_a_name(self) -> None:
        """A name that is gone already need not be removed."""
        os.unlink(self.path)
        self.served.stop()
        self.assertEqual((self.reactor.getReaders(), self.reactor.getDelayedCalls()), ([], []))

    def test_name_of_a_successor_is_left_alone(self) -> None:
        """Stopping removes nothing that belongs to somebody else."""
        os.unlink(self.path)
        self.listen(self.path)
        self.served.stop()
        self.connect()
