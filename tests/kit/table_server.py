"""Servers of lookup tables: tcp_table(5) and socketmap_table(5).

Each answers from a dictionary, or with raw octets where a test wants to see what becomes of nonsense.

Flow: unit tests join a TableSession to a client with a MemoryEndpoint; interop tests listen with a TableServer.
Sources: tcp_table(5), socketmap_table(5).
"""

from collections.abc import Callable, Mapping

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

SILENCE = b"\0silence"
"""An answer that never comes."""

HANG_UP = b"\0hang up"
"""The end of the connection in place of an answer."""


class TableSession(Protocol):
    """One connection to a server.

    Args:
        next_request: takes a request from the front of what has come; gives the request, and how many octets it had, or None.
        answer: the octets of the answer to a request, SILENCE or HANG_UP.
    """

    transport: ITCPTransport

    def __init__(
        self, next_request: Callable[[bytes], tuple[bytes, int] | None], answer: Callable[[bytes], bytes]
    ) -> None:
        self.ended = False
        self._next_request = next_request
        self._answer = answer
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        """Answer all requests that are complete."""
        self._received += data
        while (found := self._next_request(self._received)) is not None:
            request, octets = found
            self._received = self._received[octets:]
            answer = self._answer(request)
            if answer == HANG_UP:
                self.transport.loseConnection()
            elif answer != SILENCE:
                self.transport.write(answer)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 -- as Twisted has it
        """Take note."""
        self.ended = True


class TableServer(Factory):
    """A server.

    Attributes:
        answers: by request; others are not found.
        requests: all requests, in order.
        sessions: all connections, in order.
    """

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self.answers = dict(answers)
        self.requests: list[bytes] = []
        self.sessions: list[TableSession] = []
        self._port: IListeningPort | None = None

    def buildProtocol(self, address: object) -> TableSession:
        """A session for a connection."""
        session = TableSession(self.next_request, self._take)
        self.sessions.append(session)
        return session

    async def listen(self, endpoint: IStreamServerEndpoint) -> IListeningPort:
        """Listen at an endpoint."""
        self._port = await endpoint.listen(self)
        return self._port

    async def stop(self) -> None:
        """End all connections, listen no more."""
        for session in self.sessions:
            if not session.ended:
                session.transport.abortConnection()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)

    def next_request(self, received: bytes) -> tuple[bytes, int] | None:
        """Take a request from the front of what has come."""
        raise NotImplementedError

    def not_found(self) -> bytes:
        """The answer where there is none."""
        raise NotImplementedError

    def _take(self, request: bytes) -> bytes:
        self.requests.append(request)
        return self.answers.get(request, self.not_found())


class TcpTableServer(TableServer):
    """A server for ``tcp:``; answers are whole lines, with their codes and ends."""

    def next_request(self, received: bytes) -> tuple[bytes, int] | None:
        """A line without its end."""
        end = received.find(b"\n")
        return None if end < 0 else (received[:end], end + 1)

    def not_found(self) -> bytes:
        """The answer where there is none."""
        return b"500 not here\n"


class SocketmapServer(TableServer):
    """A server for ``socketmap:``; answers are netstrings."""

    def next_request(self, received: bytes) -> tuple[bytes, int] | None:
        """What is within a netstring."""
        length, colon, rest = received.partition(b":")
        if not colon or len(rest) <= int(length):
            return None
        assert rest[int(length) : int(length) + 1] == b",", received
        return rest[: int(length)], len(length) + 1 + int(length) + 1

    def not_found(self) -> bytes:
        """The answer where there is none."""
        return netstring(b"NOTFOUND ")


def netstring(payload: bytes) -> bytes:
    """A netstring."""
    return b"%d:%b," % (len(payload), payload)


class _Wire(StringTransport):
    """One end of a connection in memory: what is written arrives at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peer: _Wire | None = None
        self.protocol: IProtocol | None = None
        self.open = True

    def write(self, data: bytes) -> None:
        if self.open and self.peer is not None and self.peer.open and self.peer.protocol is not None:
            self.peer.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        for end in (self, self.peer):
            if end is not None and end.open:
                end.open = False
                if end.protocol is not None:
                    end.protocol.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        self.loseConnection()


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Where a server can be reached in memory.

    Attributes:
        refusal: what connecting fails with.
        pending: connections that are not made before the test calls `accept`; None: all are made at once.
        connected: how many connections were made.
    """

    def __init__(self, server: Factory) -> None:
        self.refusal: Exception | None = None
        self.pending: list[tuple[IProtocolFactory, Deferred[IProtocol]]] | None = None
        self.attempts = 0
        self.connected = 0
        self._server = server

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 -- the interface's name
        """Make a connection."""
        self.attempts += 1
        if self.pending is not None:
            waiting: Deferred[IProtocol] = Deferred()
            self.pending.append((protocolFactory, waiting))
            return waiting
        if self.refusal is not None:
            return fail(self.refusal)
        return succeed(self._join(protocolFactory))

    def accept(self) -> None:
        """Make the connection that waits longest."""
        assert self.pending
        factory, waiting = self.pending.pop(0)
        if self.refusal is not None:
            waiting.errback(self.refusal)
        else:
            waiting.callback(self._join(factory))

    def _join(self, factory: IProtocolFactory) -> IProtocol:
        self.connected += 1
        address = IPv4Address("TCP", "127.0.0.1", 1)
        client, server = factory.buildProtocol(address), self._server.buildProtocol(address)
        assert client is not None and server is not None
        ends = _Wire(), _Wire()
        for end, peer, protocol in zip(ends, reversed(ends), (client, server), strict=True):
            end.peer, end.protocol = peer, protocol
        server.makeConnection(ends[1])
        client.makeConnection(ends[0])
        return client
