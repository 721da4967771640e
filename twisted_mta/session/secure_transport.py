"""TLS between a connection and its dialog.

Towards the connection it is a protocol, towards the dialog a transport. OpenSSL works on memory alone: what it has to send is
written at once, so that the connection's own queue tells what has left, as without TLS. Twisted's TLS protocol cannot tell that,
nor pass a pull producer through.

What TLS says among itself is none of the dialog's: it buys the server no time, and there is an end to it. A server that asks for
new keys, sends tickets or wants to renegotiate for ever is cut off.

Flow: session/protocol.py puts one between itself and its connection; tls/engine.py gives the Handshake.
Sources: RFC 8446; RFC 5246 sections 7.2.1 (closure alerts) and 7.2.2 (fatal ones);
postconf(5) tls_fast_shutdown_enable, smtp_starttls_timeout.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.tls.handshake import LOST, RESET, Handshake
from twisted_mta.tls.library import Connection
from twisted_mta.tls.state import TlsState

PATIENCE_OCTETS = 256 * 1024
"""So much may come without anything for the dialog in it: two and a half times the longest chain of certificates that OpenSSL
reads, or four tickets of the greatest length."""

UNREAD_ANSWERS_LIMIT = 1024 * 1024
"""Where so many octets wait to be sent, nothing more is answered to what TLS asks: the server does not read."""

_PATIENCE_GAINED = 64
"""For each octet of application data; a record of one octet takes up to 37."""

_RECORD_OCTETS = 16 * 1024
_TIMED_OUT = "Connection timed out"
_ENDLESS = "handshake without an end"
_NOT_TLS = {"wrong version number", "packet length too long", "http request", "https proxy request"}
"""What OpenSSL says of a record whose head makes no sense: it reads no further."""


class HandshakeFailedError(Exception):
    """The handshake has failed, and the connection with it; the log has the reason."""


class Wire(Protocol):
    """What is used of a connection; the TCP and UNIX clients of delivery/dial.py have it all."""

    protocol: Any

    def write(self, data: bytes) -> None:
        """Send octets, or keep them until they can be sent."""

    def loseConnection(self) -> None:
        """Close once everything has left."""

    def dropConnection(self) -> None:
        """Close, whatever waits to be sent."""

    def abortConnection(self) -> None:
        """Reset."""

    def pauseProducing(self) -> None:
        """Read nothing for now."""

    def resumeProducing(self) -> None:
        """Read again."""

    def registerProducer(self, producer: IPullProducer, streaming: bool) -> None:
        """Ask a producer for more whenever everything has left."""

    def unregisterProducer(self) -> None:
        """Nothing more will come from it."""

    def unsentOctets(self) -> int:
        """How many octets wait for the system to take them."""

    def hasInput(self) -> bool:
        """Whether the peer has sent octets, or closed its side, and nobody has been told yet."""


class _Inner(Protocol):
    """What is used of a dialog's protocol."""

    def dataReceived(self, data: bytes) -> None: ...

    def readConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Failure = ...) -> None: ...

    def wrote(self, octets: int) -> None: ...


@implementer(IHalfCloseableProtocol)
class SecureTransport:
    """One connection's TLS.

    Attributes:
        handshake: tells the peer's certificates, the session and the channel.
    """

    def __init__(self, wire: Wire, inner: _Inner, handshake: Handshake, *, fast_shutdown: bool) -> None:
        """Prepare.

        Args:
            wire: the connection.
            inner: the dialog's protocol.
            handshake: about to begin.
            fast_shutdown: whether the peer's farewell is not waited for.
        """
        self.handshake = handshake
        self._wire = wire
        self._inner = inner
        self._connection: Connection = handshake.connection
        self._fast_shutdown = fast_shutdown
        self._shaken: Deferred[TlsState] | None = None
        self._in_handshake = True
        self._heard = False  # application data
        self._ended = False  # the peer says no more
        self._closing = False
        self._unusable = False
        self._patience = PATIENCE_OCTETS
        self._own_octets = 0  # of TLS itself, among those that have not left

    # ---- handshake ----

    def start(self) -> Deferred[TlsState]:
        """Shake hands.

        Returns:
            Fires with what came of it; fails with HandshakeFailedError. Cancelling it drops the connection.
        """
        self._wire.protocol = self
        shaken: Deferred[TlsState] = Deferred(self._cancelled)
        self._shaken = shaken
        self._shake()
        return shaken

    def _cancelled(self, _: Deferred[TlsState]) -> None:
        self._shaken = None
        self._unusable = True
        self._wire.dropConnection()

    def start_too_late(self) -> Deferred[TlsState]:
        """The peer has hung up before the handshake could begin."""
        shaken: Deferred[TlsState] = Deferred()
        self._shaken = shaken
        self._fail(LOST)
        return shaken

    def time_out(self) -> None:
        """The peer has had all the time there is for the handshake."""
        self._fail(_TIMED_OUT)

    def _shake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._send_out()
            return
        except SSL.Error as error:
            self._send_out()
            self._fail(error)
            return
        self._in_handshake = False
        outcome: TlsState | Failure
        try:
            outcome = self.handshake.completed()
        except Exception:  # noqa: BLE001 - whoever waits for it must be told, whatever is wrong with a certificate, or with us
            outcome = Failure()
            self.dropConnection()
        shaken, self._shaken = self._shaken, None
        if shaken is not None:
            # A Failure goes to the errbacks. If the dialog goes on at once, its first words take the end of the handshake along.
            shaken.callback(outcome)
        self._read()

    def _fail(self, problem: SSL.Error | str) -> None:
        if not self._in_handshake or self._unusable:
            return
        self._unusable = True
        self.handshake.failed(problem)
        if isinstance(problem, SSL.Error) and _speaks_no_tls(problem):
            # As Postfix's does, which leaves the rest of it unread.
            self._wire.abortConnection()
        else:
            self._wire.dropConnection()
        shaken, self._shaken = self._shaken, None
        if shaken is not None:
            shaken.errback(HandshakeFailedError())

    # ---- as a protocol ----

    def dataReceived(self, data: bytes) -> None:
        """Octets of TLS have come."""
        if self._unusable:
            return
        self._patience -= len(data)
        if self._patience < 0:
            self._lose_patience()
            return
        self._connection.bio_write(data)
        if self._in_handshake:
            self._shake()
        else:
            self._read()

    def _read(self) -> None:
        """Pass on what can be read."""
        while not (self._ended or self._unusable):
            try:
                data = self._connection.heard()
            except SSL.ZeroReturnError:
                self._end_of_input()
                break
            except SSL.Error as error:
                # Not even an alert can be trusted to be understood now.
                self._break_off(error)
                return
            if not data:
                break
            self._patience = min(PATIENCE_OCTETS, self._patience + _PATIENCE_GAINED * len(data))
            if not self._heard:
                self._heard = True
                self.handshake.application_data_came()
            self._inner.dataReceived(data)
        if not self._unusable:
            self._answer()

    def _answer(self) -> None:
        """Say what TLS itself has to say, such as that keys have changed."""
        octets = self._send_out()
        self._own_octets += octets
        if octets and self._wire.unsentOctets() > UNREAD_ANSWERS_LIMIT:
            self._break_off()

    def _break_off(self, error: SSL.Error | None = None) -> None:
        """The connection cannot be used any more, and its session not again (RFC 5246 section 7.2.2)."""
        self._unusable = True
        self.handshake.broken(error)
        self._wire.dropConnection()

    def _lose_patience(self) -> None:
        if self._in_handshake:
            self._fail(_ENDLESS)
        else:
            self._break_off()

    def readConnectionLost(self) -> None:
        """The peer has closed its side, with or without a farewell."""
        if self._in_handshake:
            self._fail(LOST)
        else:
            self._end_of_input()

    def writeConnectionLost(self) -> None:
        """We never close our side alone."""

    def _end_of_input(self) -> None:
        if self._closing:
            self._wire.loseConnection()
        elif not self._ended:
            self._ended = True
            self._inner.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """Nothing can be sent or heard any more."""
        if self._in_handshake:
            self._fail(LOST if reason.check(ConnectionDone) else RESET)
        self.handshake.closed()
        self._unusable = True
        self._inner.connectionLost(reason)
        # The two hold each other, and nothing comes any more: their memory should not wait for the garbage collector.
        del self._inner

    def wrote(self, octets: int) -> None:
        """Octets of TLS have left; those of TLS itself buy nobody time."""
        if self._in_handshake:
            return
        own = min(octets, self._own_octets)
        self._own_octets -= own
        if octets > own:
            self._inner.wrote(octets - own)

    # ---- as a transport ----

    def write(self, data: bytes) -> None:
        """Send at once what the system takes."""
        if self._unusable or self._closing:
            return
        pieces = []
        try:
            # OpenSSL's memory stays as large as it ever was: it gets no more than a record at a time.
            for piece in (data,) if len(data) <= _RECORD_OCTETS else _records(data):
                # Memory takes everything, and there is no renegotiation that could stand in the way.
                self._connection.sendall(piece)
                pieces.append(self._connection.spoken())
        except SSL.Error as error:
            self._break_off(error)
            return
        self._wire.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _send_out(self) -> int:
        """Write what OpenSSL has to say; how many octets that was."""
        octets = 0
        while data := self._connection.spoken():
            octets += len(data)
            self._wire.write(data)
        return octets

    def unsentOctets(self) -> int:
        """How many octets of TLS wait for the system to take them."""
        return self._wire.unsentOctets()

    def hasInput(self) -> bool:
        """Whether octets of TLS have come; they may be none of the dialog's."""
        return self._wire.hasInput()

    def loseConnection(self) -> None:
        """Say farewell, and close once everything has left; without fast shutdown, once the peer has said it, too."""
        if self._in_handshake or self._unusable:
            self._wire.dropConnection()
            return
        if self._closing:
            return
        self._say_farewell()
        self._closing = True
        if self._fast_shutdown or self._ended or self._unusable:
            self._wire.loseConnection()

    def _say_farewell(self) -> None:
        """Tell the peer that nothing more will come (RFC 8446 section 6.1)."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            self._unusable = True
        self._send_out()

    def dropConnection(self) -> None:
        """Close, whatever waits to be sent; with a farewell if that can leave at once."""
        if not (self._in_handshake or self._unusable or self._closing or self._wire.unsentOctets()):
            self._say_farewell()
        self._unusable = True
        self._wire.dropConnection()

    def abortConnection(self) -> None:
        """Reset."""
        self._unusable = True
        self._wire.abortConnection()

    def pauseProducing(self) -> None:
        """Read nothing for now."""
        self._wire.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._wire.resumeProducing()

    def registerProducer(self, producer: IPullProducer, streaming: bool) -> None:
        """The connection asks the producer itself: it knows when everything has left."""
        self._wire.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Nothing more will come from it."""
        self._wire.unregisterProducer()


def _records(data: bytes) -> Iterator[memoryview]:
    """Data as it is divided into records."""
    view = memoryview(data)
    return (view[at : at + _RECORD_OCTETS] for at in range(0, len(data), _RECORD_OCTETS))


def _speaks_no_tls(error: SSL.Error) -> bool:
    """Whether what came was no TLS at all."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return any(entry[-1] in _NOT_TLS for entry in reasons)
