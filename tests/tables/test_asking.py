"""Asking a table's server over connections that are kept."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.table_server import HANG_UP, SILENCE, MemoryEndpoint, SocketmapServer, netstring
from twisted_mta.tables.asking import Limits, Server, within
from twisted_mta.tables.reading import (
    AskingError,
    ConnectFailedError,
    DisconnectedError,
    MalformedReplyError,
    NetstringReader,
    TooSlowError,
)

REFUSED = ConnectError(osError=111)


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server in memory."""
        self.clock = Clock()
        self.refusals: list[str] = []
        self.peer = SocketmapServer({b"k": netstring(b"v"), b"silence": SILENCE, b"end": HANG_UP, b"bad": b"x"})
        self.endpoint = MemoryEndpoint(self.peer)
        self.server = Server(self.endpoint, self.clock, self.refusals.append, Limits(connections=2))

    def ask(self, request: bytes = b"k") -> Deferred[bytes]:
        """Ask for something."""
        return Deferred.fromCoroutine(self.server.ask(netstring(request), lambda: NetstringReader(100)))

    def test_connections_are_kept(self) -> None:
        """One after the other, lookups use one connection, until it has been idle for long or is old."""
        for _ in range(3):
            self.assertEqual(self.successResultOf(self.ask()), b"v")
            self.clock.advance(9)
        self.assertEqual(self.endpoint.connected, 1)
        self.clock.advance(2)
        self.assertTrue(self.peer.sessions[0].ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for _ in range(12):
            self.successResultOf(self.ask())
            self.clock.advance(9)
        self.assertEqual(self.endpoint.connected, 2)
        self.successResultOf(self.ask())
        self.assertTrue(self.peer.sessions[1].ended)

    def test_few_connections(self) -> None:
        """When all connections are busy, lookups wait for their turn."""
        silent = [self.ask(b"silence") for _ in range(2)]
        waiting = [self.ask() for _ in range(5)]
        self.assertEqual(self.endpoint.connected, 2)
        self.assertEqual(len(self.peer.requests), 2)
        self.peer.sessions[0].transport.write(netstring(b"late"))
        self.assertEqual(self.successResultOf(silent[0]), b"late")
        self.assertEqual([self.successResultOf(each) for each in waiting], [b"v"] * 5)
        self.assertNoResult(silent[1])

    def test_cancelled_lookups(self) -> None:
        """A connection whose lookup is cancelled is not used again; one that waited is forgotten."""
        silent = [self.ask(b"silence") for _ in range(2)]
        waiting = self.ask()
        waiting.cancel()
        silent[0].cancel()
        for each in (waiting, silent[0]):
            each.addErrback(lambda _: None)
        self.assertTrue(self.peer.sessions[0].ended)
        self.assertEqual(self.successResultOf(self.ask()), b"v")
        self.assertEqual(self.endpoint.connected, 3)

    def test_dead_connections(self) -> None:
        """A kept connection that has ended is replaced; a new one that ends is tried once more, then it is an error."""
        self.successResultOf(self.ask())
        self.peer.sessions[0].transport.loseConnection()
        self.assertEqual(self.successResultOf(self.ask()), b"v")
        self.failureResultOf(self.ask(b"end"), DisconnectedError)
        self.assertEqual(self.peer.requests[-2:], [b"end", b"end"])

    def test_replies_nobody_asked_for(self) -> None:
        """A server that speaks unasked is not believed when it is asked."""
        self.successResultOf(self.ask())
        self.peer.sessions[0].transport.write(netstring(b"forged"))
        self.assertTrue(self.peer.sessions[0].ended)
        self.assertEqual(self.successResultOf(self.ask()), b"v")

    def test_malformed_replies(self) -> None:
        """A malformed reply is an error, not asked for again, and ends the connection."""
        self.failureResultOf(self.ask(b"bad"), MalformedReplyError)
        self.assertEqual(self.peer.requests, [b"bad"])
        self.assertTrue(self.peer.sessions[0].ended)

    def test_refused(self) -> None:
        """One attempt fails for all who wait; for a moment nobody tries again."""
        self.endpoint.pending = []
        asked = [self.ask() for _ in range(5)]
        self.endpoint.refusal = REFUSED
        self.endpoint.accept()
        for each in asked:
            self.assertEqual(self.failureResultOf(each, ConnectFailedError).value.problem, "Connection refused")
        self.failureResultOf(self.ask(), ConnectFailedError)
        self.assertEqual((self.endpoint.attempts, self.refusals), (1, ["Connection refused"]))
        self.clock.advance(1)
        self.endpoint.refusal, self.endpoint.pending = None, None
        self.assertEqual(self.successResultOf(self.ask()), b"v")

    def test_one_ends_another(self) -> None:
        """Whoever hears that there is no connection may cancel another lookup that waits for it."""
        self.endpoint.pending = []
        first, second, third = (self.ask() for _ in range(3))
        first.addErrback(lambda _: second.cancel())
        self.endpoint.refusal = REFUSED
        self.endpoint.accept()
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
        self.failureResultOf(third, ConnectFailedError)

    def test_close(self) -> None:
        """Whoever waits gets an error; nothing is left."""
        self.successResultOf(self.ask())
        asked = [self.ask(b"silence"), self.ask(b"silence"), self.ask()]
        self.server.close()
        for each in asked:
            self.failureResultOf(each, AskingError)
        self.assertTrue(all(session.ended for session in self.peer.sessions))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_while_connecting(self) -> None:
        """An attempt to connect is given up."""
        self.endpoint.pending = []
        asked = self.ask()
        self.server.close()
        self.failureResultOf(asked, AskingError)
        self.assertEqual(self.refusals, [])

    def test_within(self) -> None:
        """What takes too long is cancelled."""
        asked = Deferred.fromCoroutine(
            within(5, self.clock, self.server.ask(netstring(b"silence"), lambda: NetstringReader(9)))
        )
        self.clock.advance(5)
        self.failureResultOf(asked, TooSlowError)
        self.assertTrue(self.peer.sessions[0].ended)
