"""Sockets that connect, and the transport that a connected one becomes.

Twisted's own clients are not quite enough, and they cost more than the whole dialog of a short message: they find out by the
reactor what the system tells at once, that a socket can be written to, or that nothing is left to be sent. Besides, buffer sizes
must be set before the connection is made, it must be known what has left, to time the peer and to distrust a reply that comes
too early, and a connection must be dropped without a reset.

Flow: delivery/dial.py starts an Attempt for each connection.
Sources: connect(2), socket(7), tcp(7), unix(7); twisted.internet.tcp.
"""

import errno
import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import error, tcp
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

_UNIX_RETRY_SECONDS = 0.1

_PIECES_IN_A_ROW = 4
"""How many pieces of a content leave before others have their turn."""

Address = tuple[str, int] | tuple[str, int, int, int] | str
"""What connect(2) is called with."""


class ClientTransport(tcp.Connection):
    """A connection that has been made; it tells its protocol what leaves (`wrote`)."""

    _base = tcp.Connection
    _commonConnection = tcp.Connection
    # Closing alone ends the connection, as it does in Postfix.
    _shouldShutdown = False
    _tlsClientDefault = True

    # Twisted's annotations know less of them than is used here.
    protocol: Any
    reactor: Any
    producer: Any

    def __init__(self, skt: socket.socket, protocol: Any, reactor: Any, address: Address) -> None:
        """Take a connected socket.

        Args:
            skt: non-blocking.
            protocol: takes the octets; it has `wrote`.
            reactor: watches the socket.
            address: of the peer.
        """
        super().__init__(skt, protocol, reactor)
        self._address = address
        self._in_turn = self._took_all = False
        self._is_reset = False
        self.connected = 1
        self.logstr = "smtp"

    def getPeer(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """The other end."""
        return _twisted_address(self._address)

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """Our end."""
        return _twisted_address(self.socket.getsockname())

    def doWrite(self) -> Any:
        """Send what waits; then let a pull producer go on as long as the system takes all, for some pieces.

        Without that, each piece would cost three system calls to learn that the socket can be written to.
        """
        self._in_turn, self._took_all = True, False
        try:
            outcome = super().doWrite()
            for _ in range(_PIECES_IN_A_ROW - 1):
                if not self._took_all or self.producer is None:
                    break
                self._took_all = False
                self.producer.resumeProducing()
        finally:
            self._in_turn = False
        if self._took_all and self.producer is not None:
            self.startWriting()
        return outcome

    def write(self, data: bytes) -> None:
        """Send at once what the system takes; the reactor gets the rest, and whatever went wrong."""
        if self.connected and not self.disconnecting and not self._tempDataLen and not self.dataBuffer:
            try:
                sent = self.socket.send(data)
            except ConnectionResetError:
                # The system says so once; whoever reads afterwards is told of an orderly end.
                sent, self._is_reset = 0, True
            except OSError:
                sent = 0
            if sent:
                self.protocol.wrote(sent)
                if sent == len(data):
                    if self.producer is not None and not self.streamingProducer:
                        # A pull producer is asked for more in `doWrite`.
                        self._took_all = True
                        if not self._in_turn:
                            self.startWriting()
                    return
                data = data[sent:]
        super().write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send all of it."""
        self.write(b"".join(iovec))

    def writeSomeData(self, data: bytes) -> Any:
        """Tell the protocol what leaves."""
        if not data:
            return 0
        written = super().writeSomeData(data)
        if isinstance(written, int) and written > 0:
            self.protocol.wrote(written)
        return written

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer says no more; the protocol is known to understand that, so Twisted need not find out."""
        if self._is_reset:
            self.stopWriting()
            self.connectionLost(Failure(error.ConnectionLost()))
        else:
            self.protocol.readConnectionLost()

    def unsentOctets(self) -> int:
        """How many octets wait here for the system to take them."""
        unsent: int = len(self.dataBuffer) - self.offset + self._tempDataLen
        return unsent

    def hasInput(self) -> bool:
        """Whether octets, or the end, have come that the reactor has not told of yet."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass  # there is something: an error
        return True

    def releaseSocket(self) -> socket.socket:
        """Leave the connection to somebody else, open and as programs expect it: blocking."""
        self.stopReading()
        self.stopWriting()
        self.connected, self.disconnected = 0, 1
        self.socket.setblocking(True)
        return self.socket

    def loseConnection(self) -> None:
        """Close once everything has left: now, if it has."""
        if self.connected and not self.disconnecting and not self.unsentOctets() and self.producer is None:
            self.dropConnection()
        else:
            super().loseConnection()

    def dropConnection(self) -> None:
        """Close, whatever waits to be sent; the peer sees an orderly end, not a reset."""
        if self.disconnected or not self.connected:
            return
        self.stopReading()
        self.stopWriting()
        self.disconnecting = 1
        # Not at once: the caller may be in the middle of reading from this very connection.
        self.reactor.callLater(0, self.connectionLost, Failure(error.ConnectionDone()))


def _twisted_address(address: Any) -> IPv4Address | IPv6Address | UNIXAddress:
    if isinstance(address, (str, bytes)):
        return UNIXAddress(address or None)
    if len(address) == 2:
        return IPv4Address("TCP", *address)
    return IPv6Address("TCP", *address)


class Attempt:
    """One try to connect a socket; a writer, as reactors know them."""

    def __init__(
        self,
        reactor: Any,
        skt: socket.socket,
        address: Address,
        limit_seconds: float | None,
        done: Callable[[int], None],
    ) -> None:
        """Prepare.

        Args:
            reactor: watches the socket.
            skt: non-blocking, bound if it is to be; it is closed if the attempt fails or is cancelled.
            address: where to.
            limit_seconds: how long to wait; None: as long as the system does.
            done: called once with an error number of connect(2); 0: the socket is connected.
        """
        self._reactor = reactor
        self._socket = skt
        self._address = address
        self._limit = limit_seconds
        self._done = done
        self._timer: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._watched = False

    def start(self) -> None:
        """Begin; `done` may be called before this returns."""
        number = self._socket.connect_ex(self._address)
        if number == errno.EAGAIN and self._socket.family == socket.AF_UNIX:
            # The listener's queue is full: a blocking connect would wait.
            self._retry = self._reactor.callLater(_UNIX_RETRY_SECONDS, self.start)
        elif number == errno.EINPROGRESS:
            self._watched = True
            self._reactor.addWriter(self)
        else:
            self._finish(number)
            return
        if self._timer is None and self._limit is not None:
            self._timer = self._reactor.callLater(self._limit, self._finish, errno.ETIMEDOUT)

    def cancel(self) -> None:
        """Give up; `done` is not called."""
        self._done = lambda number: None
        self._finish(errno.ECANCELED)

    def _finish(self, number: int) -> None:
        if self._watched:
            self._watched = False
            self._reactor.removeWriter(self)
        for call in (self._timer, self._retry):
            if call is not None and call.active():
                call.cancel()
        if number:
            self._socket.close()
        done, self._done = self._done, lambda number: None
        done(number)

    # ---- what a reactor wants of a writer ----

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "smtp"

    def doWrite(self) -> None:
        """The system has come to an end with connecting."""
        self._finish(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def connectionLost(self, reason: Failure) -> None:
        """The same, where the reactor saw an error first."""
        if self._watched:
            self._finish(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNREFUSED)


def serve_protocol(skt: socket.socket, protocol: Protocol, reactor: Any, address: Address) -> None:
    """Give a protocol a connected socket for its transport, and let it begin."""
    transport = ClientTransport(skt, protocol, reactor, address)
    transport.startReading()
    protocol.makeConnection(transport)
