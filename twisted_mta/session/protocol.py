"""A connection to a server, as Twisted knows it: from the first octet to the end, between dialogs and while they run.

What the server says goes to session/incoming.py, and what is said comes from the dialog that session/performing.py has under
way; session/alarm.py tells when the server is late. Here is what becomes of the connection itself.

Flow: delivery/dial.py connects it; session/session.py runs greeting and transaction on it.
Sources: RFC 5321 section 4.5.3.2 (time limits); RFC 2920; twisted.internet.protocol.
"""

import socket
from collections.abc import Callable
from typing import TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.interfaces import IMessageContent
from twisted_mta.model.events import Emit
from twisted_mta.session.alarm import Alarm
from twisted_mta.session.content_rules import PLAIN
from twisted_mta.session.incoming import Incoming
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.performing import Performance, Sink
from twisted_mta.session.secure_transport import SecureTransport, Wire
from twisted_mta.session.tables import NO_TABLES, SessionTables
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import Dialog, ErrorClass
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.tls.engine import Handshake
from twisted_mta.tls.state import TlsState

T = TypeVar("T")

_QUIT_OCTETS = len(b"QUIT\r\n")
_CONTENT_WAITS = -1  # fewer octets than can ever be unsent


@implementer(IHalfCloseableProtocol)
class DialogProtocol(Protocol):
    """A connection to a server.

    Attributes:
        incoming: what the server says, and what is known of it that matters to how it is heard.
        alarm: how long the server may take.
        tables: what dialogs ask; set by `ask`.
        content_rules: how content is treated.
        line_limit: octets of a content line.
        clock: the time.
        emit: takes what is to be logged.
        wire: what takes the octets: the transport, or TLS in front of it.
        is_lost: whether nothing more can be said.
    """

    wire: Wire

    def __init__(
        self, peer: Peer, settings: DialogSettings, limits: TimeLimits, line_limit: int, clock: IReactorTime, emit: Emit
    ) -> None:
        """Prepare a connection.

        Args:
            peer: the server.
            settings: how to talk.
            limits: how long to wait.
            line_limit: octets of a content line (smtp_line_length_limit).
            clock: the time.
            emit: takes what is to be logged.
        """
        self.incoming = Incoming(peer, settings, emit)
        self.alarm = Alarm(limits, clock)
        self.tables = NO_TABLES
        self.content_rules = PLAIN
        self.line_limit = line_limit
        self.clock = clock
        self.emit = emit
        self.is_lost = False
        self._performance: Performance | None = None
        self._may_wait = 0  # so many unsent octets do not make a reply come too early
        self._secure: SecureTransport | None = None
        self._shutdown = phases.QUIT  # whose time limit holds for the end
        self._disturbed: Callable[[], None] | None = None  # told of whatever comes while nothing is asked

    def connectionMade(self) -> None:
        """The transport is there."""
        self.wire = cast(Wire, self.transport)

    def ask(self, tables: SessionTables) -> None:
        """Use tables, from the start of the connection."""
        self.tables = tables
        if tables.reply_filter is not None:
            self.incoming.filter_by(tables.reply_filter, self._attend, self._stop_reading)

    # ---- running dialogs ----

    def perform(
        self, dialog: Dialog[T], sink: Sink, queue_id: str = "", content: IMessageContent | None = None
    ) -> Deferred[T]:
        """Drive a dialog to its end; only one at a time.

        Args:
            dialog: what to say.
            sink: takes the findings, at once and in order.
            queue_id: for the log.
            content: for SendContent.

        Returns:
            Fires with what the dialog returns; fails with ConnectionBrokenError, or with ContentError where the content is at
            fault. Cancelling it drops the connection.
        """
        assert self._performance is None
        self.incoming.queue_id = queue_id
        performance = self._performance = Performance(self, dialog, sink, queue_id, content)
        return performance.begin()

    def performed(self) -> None:
        """The dialog is over."""
        self._performance = None
        self.alarm.stop()

    def say(self, data: bytes) -> None:
        """Send commands, if the connection is still there; what has come by now cannot be the answer."""
        self.incoming.distrust()
        # QUIT may still wait when the answer to the dot in front of it comes.
        self._may_wait = _QUIT_OCTETS if data.endswith(b"QUIT\r\n") else 0
        if not self.is_lost:
            self.wire.write(data)

    def begin_content(self) -> None:
        """An answer to the dot cannot come while the content still waits here."""
        self.incoming.distrust()
        self._may_wait = _CONTENT_WAITS

    # ---- TLS ----

    def secure(self, handshake: Handshake, *, fast_shutdown: bool) -> Deferred[TlsState]:
        """Begin TLS, between two dialogs.

        Args:
            handshake: about to begin.
            fast_shutdown: whether the server's farewell is not waited for in the end.

        Returns:
            Fires with what came of it; fails with HandshakeFailedError: then the connection is gone. Cancelling it drops the
            connection.
        """
        assert self._performance is None and self._secure is None
        self.incoming.pipelining = False
        transport = SecureTransport(self.wire, self, handshake, fast_shutdown=fast_shutdown)
        if self.incoming.is_over:
            return transport.start_too_late()
        self._secure = transport
        self.wire = cast(Wire, transport)
        self.transport = transport  # type: ignore[assignment]  # it is as much of a transport as is used here
        if not fast_shutdown:
            self._shutdown = phases.STARTTLS
        self.alarm.start(phases.STARTTLS, self._handshake_is_late)
        return transport.start().addBoth(self._secured)

    def _secured(self, outcome: TlsState | Failure) -> TlsState | Failure:
        self.alarm.stop()
        if isinstance(outcome, Failure):
            self.is_lost = self.incoming.is_over = True
        return outcome

    def _handshake_is_late(self) -> None:
        assert self._secure is not None
        self._secure.time_out()
        self.abort()

    # ---- between messages ----

    def rest(self, disturbed: Callable[[], None]) -> bool:
        """Wait, between two dialogs, for the next message.

        Args:
            disturbed: called once, when the server hangs up or says anything: it has not been asked.

        Returns:
            False if that has happened already; then nothing is waited for.
        """
        assert self._performance is None
        incoming = self.incoming
        incoming.ear = None
        if incoming.is_over or incoming.has_unread:
            return False
        self._disturbed = disturbed
        return True

    def wake(self) -> bool:
        """Wait no longer; whether the server has really said nothing, not even what the reactor has not seen yet."""
        self._disturbed = None
        self.incoming.troubles = ErrorClass.NONE
        return not (self.incoming.is_over or self.wire.hasInput())

    def release(self) -> socket.socket | None:
        """Give the connection away, between two dialogs and in the clear; None if it is not sound: then it is closed."""
        assert self._secure is None
        if not self.rest(lambda: None) or not self.wake():
            self.close()
            return None
        connection: socket.socket = self.wire.releaseSocket()  # type: ignore[attr-defined] # what is not TLS has it
        self.is_lost = self.incoming.is_over = True
        self.alarm.cancel()
        return connection

    def _disturb(self, disturbed: Callable[[], None]) -> None:
        self._disturbed = None
        self.incoming.is_over = True
        disturbed()

    # ---- the end, from our side ----

    def close(self) -> None:
        """Say nothing more; what is written still leaves, within the time limit for QUIT."""
        self.incoming.close()
        if not self.is_lost:
            self.alarm.start(self._shutdown, self.abort)
            self.wire.loseConnection()

    def abort(self) -> None:
        """Drop the connection at once; whatever waits to be sent never leaves."""
        self.incoming.close()
        if not self.is_lost:
            self.is_lost = self.incoming.is_over = True
            self.wire.dropConnection()

    # ---- what the transport tells ----

    def dataReceived(self, data: bytes) -> None:
        """Octets have come: let the dialog go on where it waits for them."""
        incoming = self.incoming
        if incoming.is_over:
            return
        if self._disturbed is not None:
            self._disturb(self._disturbed)
            return
        self.alarm.heard()
        if not incoming.feed(data, early=self.wire.unsentOctets() > self._may_wait):
            self._stop_reading()
        if self._performance is not None:
            self._performance.attend()
        if incoming.filtered is not None and incoming.limit_filtered():
            self._stop_reading()

    def _attend(self) -> None:
        """A line that had to wait can be heard now."""
        if self._performance is not None:
            self._performance.attend()

    def _stop_reading(self) -> None:
        """Nothing that comes counts any more."""
        if not self.is_lost:
            self.wire.pauseProducing()

    def wrote(self, octets: int) -> None:
        """The transport has passed octets on to the system."""
        self.alarm.wrote(octets)

    def readConnectionLost(self) -> None:
        """The server has no more to say; what it said still counts, and it may still listen."""
        self.incoming.is_over = True
        if self._disturbed is not None:
            self._disturb(self._disturbed)
        elif self._performance is None:
            self.close()
        else:
            self._performance.attend()

    def writeConnectionLost(self) -> None:
        """We never close our side alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nothing can be said or heard any more."""
        self.is_lost = self.incoming.is_over = True
        self.alarm.cancel()
        if self._disturbed is not None:
            self._disturb(self._disturbed)
        elif self._performance is not None:
            self._performance.lose()
