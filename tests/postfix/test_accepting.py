"""Accepting connections."""

import errno
import os
import socket
import tempfile

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_mta.model.events import AcceptFailed, Event
from twisted_mta.postfix.accepting import Acceptor


class Remembering(Factory):
    """Makes protocols and keeps them; refuses or fails when told to."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Protocol] = []
        self.started = 0
        self.refusing = False
        self.fault: Exception | None = None

    def doStart(self) -> None:
        """Count."""
        self.started += 1

    def doStop(self) -> None:
        """Count."""
        self.started -= 1

    def buildProtocol(self, addr: object) -> Protocol | None:
        """Make one."""
        if self.fault is not None:
            raise self.fault
        if self.refusing:
            return None
        self.made.append(Protocol())
        return self.made[-1]


class ExhaustedSocket(socket.socket):
    """A listening socket in a process without descriptors."""

    exhausted = False
    accepts = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Accept, or say why not."""
        self.accepts += 1
        if self.exhausted:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class AcceptorTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A listening socket in a directory of its own."""
        directory = tempfile.mkdtemp()
        self.addCleanup(FilePath(directory).remove)
        self.path = os.path.join(directory, "s")
        self.listening = ExhaustedSocket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.listening.bind(self.path)
        self.listening.listen(100)
        self.reactor = MemoryReactorClock()
        self.factory = Remembering()
        self.events: list[Event] = []
        self.acceptor = Acceptor(
            self.reactor, self.reactor, self.listening, self.factory, self.events.append, "private/agent"
        )
        self.addCleanup(self.close)
        self.acceptor.start()

    def close(self) -> None:
        """Close what was opened."""
        self.acceptor.stop()
        for protocol in self.factory.made:
            assert protocol.transport is not None
            protocol.transport.abortConnection()  # type: ignore[attr-defined]
        self.reactor.advance(0)

    def connect(self) -> socket.socket:
        """A client."""
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.path)
        client.setblocking(False)
        return client

    def test_interface(self) -> None:
        """The reactor can watch it."""
        verifyObject(IReadDescriptor, self.acceptor)
        self.assertEqual(self.acceptor.fileno(), self.listening.fileno())
        self.assertIn(self.acceptor, self.reactor.getReaders())
        self.assertEqual((self.acceptor.logPrefix(), self.factory.started), ("private/agent", 1))

    def test_connection_gets_a_protocol(self) -> None:
        """An accepted connection is non-blocking, watched, and works as a transport."""
        client = self.connect()
        self.acceptor.doRead()
        (protocol,) = self.factory.made
        transport = protocol.transport
        assert transport is not None
        self.assertIn(transport, self.reactor.getReaders())
        self.assertEqual(transport.getPeer(), UNIXAddress(None))
        transport.write(b"hello")
        self.assertEqual(client.recv(10), b"hello")

    def test_sends_at_once(self) -> None:
        """What fits is sent without the reactor's help; the rest follows in order, and what is written after it."""
        client = self.connect()
        self.acceptor.doRead()
        transport = self.factory.made[0].transport
        assert transport is not None
        transport.writeSequence([b"he", b"llo"])
        self.assertNotIn(transport, self.reactor.getWriters())
        transport.write(b"x" * 2_000_000)
        transport.write(b"end")
        self.assertIn(transport, self.reactor.getWriters())
        received = b""
        while not received.endswith(b"end"):
            received += client.recv(1_000_000)
            if transport in self.reactor.getWriters():
                transport.doWrite()  # type: ignore[attr-defined]
        self.assertEqual(received, b"hello" + b"x" * 2_000_000 + b"end")

    def test_write_to_a_lost_connection(self) -> None:
        """An error of an early write is met by the reactor, which tells the protocol; the writer sees none."""
        client = self.connect()
        self.acceptor.doRead()
        transport = self.factory.made[0].transport
        assert transport is not None
        client.close()
        transport.write(b"hello")
        self.assertIn(transport, self.reactor.getWriters())
        self.assertIsInstance(transport.doWrite(), Exception)  # type: ignore[attr-defined]

    def test_takes_more_while_more_come(self) -> None:
        """One at first, then more at once; and no useless call while single connections come."""
        for _ in range(7):
            self.connect()
        counts = []
        for _ in range(4):
            self.acceptor.doRead()
            counts.append(len(self.factory.made))
        self.assertEqual(counts, [1, 3, 7, 7])
        self.connect()
        self.acceptor.doRead()
        self.assertEqual((len(self.factory.made), self.listening.accepts), (8, 9))

    def test_refused(self) -> None:
        """What the factory does not want is closed."""
        self.factory.refusing = True
        client = self.connect()
        self.acceptor.doRead()
        self.assertEqual(client.recv(1), b"")

    def test_defect_in_a_protocol(self) -> None:
        """A connection that cannot be served is closed, and the next is accepted."""
        self.factory.fault = ZeroDivisionError("a defect")
        client = self.connect()
        self.acceptor.doRead()
        self.assertEqual(client.recv(1), b"")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.factory.fault = None
        self.connect()
        self.acceptor.doRead()
        self.assertEqual(len(self.factory.made), 1)

    def test_descriptors_run_out(self) -> None:
        """Connections wait in the backlog, told once, until there are descriptors again."""
        client = self.connect()
        self.listening.exhausted = True
        for _ in range(3):
            self.acceptor.doRead()
            self.assertNotIn(self.acceptor, self.reactor.getReaders())
            self.reactor.advance(1)
            self.assertIn(self.acceptor, self.reactor.getReaders())
        self.assertEqual(self.events, [AcceptFailed("private/agent", "Too many open files")])
        self.assertRaises(BlockingIOError, client.recv, 1)
        self.listening.exhausted = False
        self.acceptor.doRead()
        self.assertEqual(len(self.factory.made), 1)

    def test_stop(self) -> None:
        """Stopping closes the socket and leaves its name alone; twice is as good as once."""
        self.listening.exhausted = True
        self.connect()
        self.acceptor.doRead()
        self.acceptor.stop()
        self.acceptor.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertNotIn(self.acceptor, self.reactor.getReaders())
        self.assertEqual((self.acceptor.fileno(), self.factory.started), (-1, 0))
        self.assertTrue(os.path.exists(self.path))
