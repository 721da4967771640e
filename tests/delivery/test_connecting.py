"""Connecting and sending over real sockets of this machine, and how connections end."""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.private_reactor import PrivateReactor
from twisted_mta.delivery.connecting import Attempt, ClientTransport, serve_protocol


class Listener(Protocol):
    """Keeps what it hears, and what it is told of its own words."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.wrote_octets = 0
        self.half_closed = False
        self.end: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def wrote(self, octets: int) -> None:
        """Count it."""
        self.wrote_octets += octets

    def readConnectionLost(self) -> None:
        """Keep it."""
        self.half_closed = True
        self.transport.stopReading()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep it."""
        self.end = reason


class Pieces:
    """A pull producer with so many pieces of so many octets."""

    def __init__(self, transport: Any, pieces: int, octets: int = 100_000) -> None:
        self._transport = transport
        self._octets = octets
        self.left = pieces

    def resumeProducing(self) -> None:
        """Write the next piece."""
        self.left -= 1
        if self.left < 0:
            self._transport.unregisterProducer()
        else:
            self._transport.write(b"p" * self._octets)

    def stopProducing(self) -> None:
        """The connection is gone."""


class ClientTransportTests(SynchronousTestCase):
    """A connected socket as transport."""

    def setUp(self) -> None:
        """Make a pair of connected sockets."""
        ours, self.peer = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(self.peer.close)
        self.reactor = PrivateReactor()
        self.addCleanup(self.reactor.close)
        ours.setblocking(False)
        self.peer.setblocking(False)
        self.protocol = Listener()
        serve_protocol(ours, self.protocol, self.reactor, "/peer")
        self.transport: ClientTransport = self.protocol.transport

    def heard_by_peer(self) -> bytes:
        """What has arrived by now; None stands for nothing."""
        try:
            return self.peer.recv(10_000_000)
        except BlockingIOError:
            return b""

    def fill(self) -> int:
        """Write until octets wait; how many have left."""
        while not self.transport.unsentOctets():
            self.transport.write(b"x" * 100_000)
        return self.protocol.wrote_octets

    def test_written_at_once(self) -> None:
        """What the system takes leaves without the reactor's help."""
        self.transport.write(b"hello")
        self.assertEqual(self.heard_by_peer(), b"hello")
        self.assertEqual((self.protocol.wrote_octets, self.transport.unsentOctets()), (5, 0))
        self.transport.writeSequence([b"a", b"b"])
        self.assertEqual(self.heard_by_peer(), b"ab")

    def test_input_that_nobody_has_seen(self) -> None:
        """What the system has, or the end, is seen before the reactor tells of it; and it is still told."""
        self.assertFalse(self.transport.hasInput())
        self.peer.send(b"x")
        self.assertTrue(self.transport.hasInput())
        self.assertTrue(self.transport.hasInput())
        self.peer.close()
        self.assertTrue(self.transport.hasInput())
        self.reactor.until(lambda: self.protocol.half_closed)
        self.assertEqual(self.protocol.heard, b"x")

    def test_in_order(self) -> None:
        """What waits leaves later, and before anything that was written after it."""
        left = self.fill()
        waiting = self.transport.unsentOctets()
        self.assertGreater(left, 0)
        self.transport.write(b"last")
        self.assertEqual(self.transport.unsentOctets(), waiting + 4)
        received = bytearray()

        def everything() -> bool:
            received.extend(self.heard_by_peer())
            return received.endswith(b"last")

        self.reactor.until(everything)
        self.assertEqual(len(received), left + waiting + 4)
        self.assertEqual(self.protocol.wrote_octets, len(received))
        self.assertEqual(self.transport.unsentOctets(), 0)

    def test_producer(self) -> None:
        """A pull producer is asked whenever nothing waits."""
        producer = Pieces(self.transport, 20)
        self.transport.registerProducer(producer, False)
        received = bytearray()

        def everything() -> bool:
            received.extend(self.heard_by_peer())
            return producer.left < 0 and len(received) == 2_000_000

        self.reactor.until(everything)

    def test_pieces_in_a_row(self) -> None:
        """It is asked for a few pieces at a time while the system takes them, and others have their turn in between."""
        turns: list[int] = []

        class Counted(Pieces):
            def resumeProducing(self) -> None:
                turns[-1:] = [turns[-1] + 1] if turns else [1]
                super().resumeProducing()

        def turn() -> None:
            turns.append(0)
            self.reactor.callLater(0, turn)

        producer = Counted(self.transport, 17, octets=10)
        self.transport.registerProducer(producer, False)
        self.assertEqual(turns, [1])
        self.reactor.callLater(0, turn)
        self.reactor.until(lambda: producer.left < 0)
        self.assertEqual([count for count in turns if count], [1, 4, 4, 4, 4, 1])
        self.assertEqual(len(self.heard_by_peer()), 170)

    def test_received(self) -> None:
        """What the peer says arrives."""
        self.peer.send(b"220 hi\r\n")
        self.reactor.until(lambda: self.protocol.heard)
        self.assertEqual(self.protocol.heard, b"220 hi\r\n")

    def test_close(self) -> None:
        """With nothing waiting the connection is closed in the next turn."""
        self.transport.write(b"QUIT\r\n")
        self.transport.loseConnection()
        self.assertIsNone(self.protocol.end)
        self.reactor.until(lambda: self.protocol.end)
        self.assertEqual(self.peer.recv(100), b"QUIT\r\n")
        self.assertEqual(self.peer.recv(100), b"")

    def test_close_waits(self) -> None:
        """What waits leaves first."""
        left = self.fill()
        total = left + self.transport.unsentOctets()
        self.transport.loseConnection()
        received = bytearray()

        def all_has_left() -> bool:
            received.extend(self.heard_by_peer() if len(received) < total else b"")
            return self.protocol.end is not None

        self.reactor.until(all_has_left)
        received.extend(self.heard_by_peer() if len(received) < total else b"")
        self.assertEqual(len(received), total)

    def test_drop(self) -> None:
        """Dropping discards what waits; nothing is read or written any more, and the peer sees an end, not a reset."""
        left = self.fill()
        self.transport.dropConnection()
        self.transport.dropConnection()
        self.transport.loseConnection()
        self.transport.write(b"never")
        self.reactor.until(lambda: self.protocol.end)
        received = bytearray()
        while piece := self.peer.recv(1_000_000):
            received += piece
        self.assertEqual(len(received), left)

    def test_deaf_when_dropped(self) -> None:
        """What comes after that is not heard."""
        self.transport.dropConnection()
        self.peer.send(b"too late")
        self.reactor.until(lambda: self.protocol.end)
        self.assertEqual(self.protocol.heard, b"")

    def test_last_words(self) -> None:
        """What the peer said before it closed is heard, though writing fails by then."""
        self.peer.send(b"552 5.3.4 too much\r\n")
        self.peer.close()
        self.transport.write(b"x" * 100_000)
        self.reactor.until(lambda: self.protocol.end)
        self.assertEqual(self.protocol.heard, b"552 5.3.4 too much\r\n")

    def test_reset(self) -> None:
        """A reset is told as such, and behind the peer's last words, also where it was writing that met it first."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        for writes in (True, False):
            ours = socket.create_connection(listening.getsockname())
            self.addCleanup(ours.close)
            peer, _ = listening.accept()
            ours.setblocking(False)
            protocol = Listener()
            serve_protocol(ours, protocol, self.reactor, "/peer")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.send(b"220 go\r\n")
            peer.close()
            self.reactor.until(lambda protocol=protocol: protocol.heard)  # type: ignore[misc]
            if writes:
                protocol.transport.write(b"hello")
            self.reactor.until(lambda protocol=protocol: protocol.end)  # type: ignore[misc]
            assert protocol.end is not None
            self.assertIsNotNone(protocol.end.check(error.ConnectionLost))
            self.assertFalse(protocol.half_closed)

    def test_addresses(self) -> None:
        """Both ends have names, for Twisted's sake."""
        self.assertEqual(str(self.transport.getPeer()), "UNIXAddress('/peer')")
        self.assertEqual(str(self.transport.getHost()), "UNIXAddress(None)")


class FakeSocket:
    """A socket whose connect(2) goes as told."""

    family = socket.AF_INET

    def __init__(self, *results: int, error: int = 0) -> None:
        self._results = list(results)
        self._error = error
        self.closed = False

    def connect_ex(self, address: object) -> int:
        """The next result."""
        return self._results.pop(0)

    def getsockopt(self, level: int, option: int) -> int:
        """The error of a connect that is over."""
        return self._error

    def fileno(self) -> int:
        """Some number."""
        return 99

    def close(self) -> None:
        """Note it."""
        self.closed = True


class WatchingClock(Clock):
    """A clock that lets sockets be watched."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[Any] = []

    def addWriter(self, writer: Any) -> None:
        """Watch it."""
        self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        """Watch it no more."""
        self.writers.remove(writer)


class AttemptTests(SynchronousTestCase):
    """One try to connect, with a socket that does as it is told."""

    def attempt(self, skt: FakeSocket, limit: float | None = 30) -> Attempt:
        """Start one."""
        self.clock = WatchingClock()
        self.numbers: list[int] = []
        done: Callable[[int], None] = self.numbers.append
        attempt = Attempt(self.clock, skt, ("192.0.2.1", 25), limit, done)  # type: ignore[arg-type] # a socket as told
        attempt.start()
        return attempt

    def is_over(self, *numbers: int) -> None:
        """The attempt has ended so, and left nothing."""
        self.assertEqual(self.numbers, list(numbers))
        self.assertEqual((self.clock.writers, self.clock.getDelayedCalls()), ([], []))

    def test_at_once(self) -> None:
        """Some connections are there at once, and some fail so."""
        for number in (0, errno.ECONNREFUSED, errno.ENOENT):
            skt = FakeSocket(number)
            self.attempt(skt)
            self.is_over(number)
            self.assertEqual(skt.closed, number != 0)

    def test_later(self) -> None:
        """Most take a while; the system tells when, and how it went."""
        for number in (0, errno.EHOSTUNREACH):
            skt = FakeSocket(errno.EINPROGRESS, error=number)
            self.attempt(skt)
            self.assertEqual(self.numbers, [])
            self.clock.writers[0].doWrite()
            self.is_over(number)
            self.assertEqual(skt.closed, number != 0)

    def test_error_seen_by_the_reactor(self) -> None:
        """The reactor may see the error first; one without number counts as refused."""
        for number, told in {errno.ECONNRESET: errno.ECONNRESET, 0: errno.ECONNREFUSED}.items():
            self.attempt(FakeSocket(errno.EINPROGRESS, error=number))
            self.clock.writers[0].connectionLost(connectionDone)
            self.is_over(told)

    def test_time_limit(self) -> None:
        """After the limit it is over; what comes later is not heard."""
        skt = FakeSocket(errno.EINPROGRESS)
        self.attempt(skt)
        writer = self.clock.writers[0]
        self.clock.advance(29)
        self.assertEqual(self.numbers, [])
        self.clock.advance(1)
        self.is_over(errno.ETIMEDOUT)
        self.assertTrue(skt.closed)
        writer.connectionLost(connectionDone)
        self.is_over(errno.ETIMEDOUT)

    def test_no_time_limit(self) -> None:
        """Without a limit the system decides."""
        self.attempt(FakeSocket(errno.EINPROGRESS), None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_full_queue(self) -> None:
        """A local server whose queue is full is asked again and again, within the limit."""
        skt = FakeSocket(*[errno.EAGAIN] * 1000)
        skt.family = socket.AF_UNIX
        self.attempt(skt, 1)
        self.clock.pump([0.1] * 5)
        self.assertEqual(self.numbers, [])
        self.clock.pump([0.1] * 6)
        self.is_over(errno.ETIMEDOUT)

    def test_full_queue_for_a_while(self) -> None:
        """When there is room, it is done."""
        skt = FakeSocket(errno.EAGAIN, errno.EAGAIN, 0)
        skt.family = socket.AF_UNIX
        self.attempt(skt)
        self.clock.pump([0.1] * 2)
        self.is_over(0)

    def test_cancel(self) -> None:
        """A cancelled attempt closes its socket, and is silent."""
        skt = FakeSocket(errno.EINPROGRESS)
        attempt = self.attempt(skt)
        attempt.cancel()
        self.is_over()
        self.assertTrue(skt.closed)
