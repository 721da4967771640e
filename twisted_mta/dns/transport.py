"""Carry a query to a name server and its reply back, by UDP or TCP.

Flow: dns/client.py hands over each Ask of a resolution and sends the reply back into it.
Each query by UDP has a socket of its own, so that its port is as hard to guess as its id (RFC 5452 section 9), and the kernel
drops whatever comes from other addresses. The socket is used directly: a listening port of Twisted's costs twice the time.
Sources: RFC 1035 section 4.2; RFC 5452; RFC 7766 section 8 (length in front of a message).
"""

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IReadDescriptor, ITCPTransport
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.dns.resolution import Ask
from twisted_mta.dns.wire import answers

MOST_SOCKETS = 200
"""Queries that are under way at a time; further ones wait for their turn, in order."""

_LARGEST_MESSAGE = 65535


class NetworkReactor(Protocol):
    """What name service needs of a reactor: IReactorTime, IReactorFDSet and IReactorTCP."""

    def callLater(self, delay: float, function: Callable[..., Any], /, *args: Any) -> IDelayedCall:
        """Run something later."""

    def addReader(self, reader: IReadDescriptor, /) -> None:
        """Watch a file descriptor."""

    def removeReader(self, reader: IReadDescriptor, /) -> None:
        """Watch it no longer."""

    def connectTCP(self, host: str, port: int, factory: ClientFactory, timeout: float = ..., /) -> IConnector:
        """Connect to an address."""


class SocketTransport:
    """Sends queries, and waits for what answers them.

    Args:
        reactor: the network and the time limits.
        most_sockets: how many queries may be under way at a time.
    """

    def __init__(self, reactor: NetworkReactor, most_sockets: int = MOST_SOCKETS) -> None:
        self._reactor = reactor
        self._free = most_sockets
        self._waiting: deque[_Exchange] = deque()
        self._is_starting = False

    def exchange(self, ask: Ask) -> Deferred[bytes | None]:
        """Send a query.

        Returns:
            Fires with the reply to it, which may say anything; with None if none came in time or the server cannot be reached.
            Can be cancelled.
        """
        kind = _TcpExchange if ask.by_tcp else _UdpExchange
        exchange = kind(self._reactor, ask, self._ended)
        self._waiting.append(exchange)
        self._start_waiting()
        return exchange.reply

    def _ended(self, exchange: "_Exchange") -> None:
        if exchange.has_begun:
            self._free += 1
            self._start_waiting()
        else:
            self._waiting.remove(exchange)

    def _start_waiting(self) -> None:
        # An exchange can end while it begins, and then calls back: one loop, or many waiting ones would nest too deeply.
        if self._is_starting:
            return
        self._is_starting = True
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().start()
        self._is_starting = False


class _Exchange:
    """One query under way."""

    has_begun = False

    def __init__(self, reactor: NetworkReactor, ask: Ask, ended: "Callable[[_Exchange], None]") -> None:
        self.reply: Deferred[bytes | None] = Deferred(lambda _: self._end())
        self._reactor = reactor
        self._ask = ask
        self._ended = ended
        self._has_ended = False
        self._time_limit: IDelayedCall | None = None

    def start(self) -> None:
        """Send the query; the time limit begins."""
        self.has_begun = True
        self._time_limit = self._reactor.callLater(self._ask.seconds, self._finish, None)
        self._send()

    def _send(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        """Let go of everything; the second time nothing is left to do."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._time_limit is not None and self._time_limit.active():
            self._time_limit.cancel()
        if self.has_begun:
            self._close()
        self._ended(self)

    def _finish(self, reply: bytes | None) -> None:
        if not self._has_ended:
            self._end()
            self.reply.callback(reply)


@implementer(IReadDescriptor)
class _UdpExchange(_Exchange):
    """A query by UDP: a connected socket, used once."""

    _socket: socket.socket | None = None

    def _send(self) -> None:
        address, port = self._ask.server
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.connect((address, port))
            self._socket.send(self._ask.query)
        except OSError:
            # No descriptors left, no route, or an earlier query was refused: no reply from this server.
            self._finish(None)
        else:
            self._reactor.addReader(self)

    def _close(self) -> None:
        if self._socket is not None:
            self._reactor.removeReader(self)
            self._socket.close()
            self._socket = None

    def doRead(self) -> None:
        """Take one datagram; one that does not answer the query is dropped, and the wait goes on."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_LARGEST_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            self._finish(None)
            return
        if answers(data, self._ask.query):
            self._finish(data)

    def fileno(self) -> int:
        """The descriptor to watch; -1 once closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """The kernel reports an error, such as a port that is not open."""
        self._finish(None)

    def logPrefix(self) -> str:
        """A name for the log."""
        return "dns"


class _TcpExchange(_Exchange):
    """A query by TCP: a connection, used once."""

    _connector: IConnector | None = None

    def _send(self) -> None:
        address, port = self._ask.server
        factory = _TcpFactory(self._ask.query, self._finish)
        self._connector = self._reactor.connectTCP(address, port, factory, self._ask.seconds)

    def _close(self) -> None:
        if self._connector is not None:
            self._connector.disconnect()
            self._connector = None


class _TcpQuery(StreamProtocol):
    """Sends one message and takes one."""

    def __init__(self, query: bytes, finish: Callable[[bytes | None], None]) -> None:
        self._query = query
        self._finish = finish
        self._received = b""

    def connectionMade(self) -> None:
        """Send the query."""
        cast(ITCPTransport, self.transport).write(len(self._query).to_bytes(2) + self._query)

    def dataReceived(self, data: bytes) -> None:
        """Collect the reply."""
        self._received += data
        end = 2 + int.from_bytes(self._received[:2])
        if len(self._received) >= 2 and len(self._received) >= end:
            reply = self._received[2:end]
            self._finish(reply if answers(reply, self._query) else None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The server has closed."""
        self._finish(None)


class _TcpFactory(ClientFactory):
    """Makes the protocol of one exchange."""

    noisy = False

    def __init__(self, query: bytes, finish: Callable[[bytes | None], None]) -> None:
        self._query = query
        self._finish = finish

    def buildProtocol(self, addr: IAddress | None) -> _TcpQuery:
        """The connection stands."""
        return _TcpQuery(self._query, self._finish)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """The server cannot be reached."""
        self._finish(None)
