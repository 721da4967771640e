"""The Twisted shell of the dialogs: octets in, actions out.

One protocol is one connection. It drives one dialog (smtp/actions.py) at a time: it performs what the dialog yields, and resumes
it with replies. Replies that come while nobody waits are kept, in order; a connection that ends is told when the dialog waits for
something that can no longer come. One Deferred fires per dialog, none per reply.

Flow: delivery/dial.py connects it; session/session.py runs greeting and transaction on it.
Sources: RFC 5321 section 4.5.3.2 (time limits); RFC 2920; twisted.internet.protocol.
"""

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPullProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.interfaces import IMessageContent, TableError
from twisted_mta.model import events
from twisted_mta.model.events import Emit
from twisted_mta.model.login import Confidential
from twisted_mta.model.text import to_text
from twisted_mta.session.body import Body
from twisted_mta.session.content_rules import PLAIN
from twisted_mta.session.filtering import FilteredLines
from twisted_mta.session.limits import Deadline, TimeLimits
from twisted_mta.session.overhearing import Ear
from twisted_mta.session.secure_transport import SecureTransport, Wire
from twisted_mta.session.tables import NO_TABLES, SessionTables
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import (
    AwaitReply,
    Breakage,
    ConnectionBrokenError,
    Dialog,
    ErrorClass,
    Finding,
    IsQuiet,
    LineBroken,
    LookUp,
    Note,
    Pause,
    SendContent,
    Trouble,
    Write,
)
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.phases import Phase
from twisted_mta.smtp.reply import (
    EndlessLine,
    GarbageLine,
    LineReader,
    OverlongLine,
    OverlongReply,
    Reply,
    ReplyAssembler,
    plain_replies,
)
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.tls.engine import Handshake
from twisted_mta.tls.state import TlsState

T = TypeVar("T")
Sink = Callable[[Finding], None]

UNREAD_REPLIES_LIMIT = 1000
"""A server that is so many replies ahead is cut off; no group of commands is as long."""

_QUIT_OCTETS = len(b"QUIT\r\n")
_SHOWN_CHARACTERS = 100  # of a garbage line, in the log


@implementer(IHalfCloseableProtocol, IPullProducer)
class DialogProtocol(Protocol):
    """A connection to a server.

    Attributes:
        peer: the server.
        pipelining: whether commands are pipelined; then garbage in replies is worth a warning.
        troubles: the errors seen so far that the postmaster may want to hear of.
        ear: hears what is said; None: nobody listens.
        confidential: what nobody is told of it, be it said by us or repeated by the server.
        logged_in: whether that is taken out of replies before dialogs read them; a login itself must read what is said.
        tables: what dialogs ask; set by `ask`.
        content_rules: how content is treated.
    """

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
        self.peer = peer
        self.pipelining = False
        self.troubles = ErrorClass.NONE
        self.ear: Ear | None = None
        self.confidential = Confidential()
        self.logged_in = False
        self.tables = NO_TABLES
        self.content_rules = PLAIN
        self._settings = settings
        self._line_limit = line_limit
        self._clock = clock
        self._emit = emit
        self._lines = LineReader(settings.line_length_limit, utf8=settings.utf8)
        self._assembler = ReplyAssembler(settings.line_length_limit)
        self._filtered: FilteredLines | None = None
        self._asked: Deferred[None] | None = None
        self._output: list[bytes] = []
        self._replies: deque[Reply] = deque()
        self._may_wait = 0  # so many unsent octets do not make a reply come too early
        self._garbage: deque[str] = deque()  # lines that have not been told of
        self._garbage_counts: deque[int] = deque()  # how many of them belong to each garbled reply
        self._garbage_came = 0  # how many belong to the reply that is not complete
        self._input_over = False
        self._ended_by = Breakage.LOST  # if the input is over
        self._lost = False
        self._deadline = Deadline(limits)
        self._timer: IDelayedCall | None = None
        self._pause: IDelayedCall | None = None
        self._dialog: Dialog[Any] | None = None
        self._finished: Deferred[Any] | None = None
        self._sink: Sink | None = None
        self._queue_id = ""
        self._awaiting: Phase | None = None
        self._content: IMessageContent | None = None
        self._body: Body | None = None
        self._body_waits: Deferred[Any] | None = None
        self._content_error: Exception | None = None
        self._secure: SecureTransport | None = None
        self._shutdown = phases.QUIT  # whose time limit holds for the end
        self._disturbed: Callable[[], None] | None = None  # told of whatever comes while nothing is asked

    @property
    def _wire(self) -> Wire:
        return cast(Wire, self.transport)

    def ask(self, tables: SessionTables) -> None:
        """Use tables, from the start of the connection."""
        self.tables = tables
        if tables.reply_filter is not None:
            self._filtered = FilteredLines(tables.reply_filter, self._hear, self._filter_failed, self._serve)

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
        assert self._dialog is None
        self._dialog, self._sink, self._queue_id, self._content = dialog, sink, queue_id, content
        finished: Deferred[T] = Deferred(self._cancelled)
        self._finished = finished
        self._resume()
        return finished

    def note(self, event: events.Event) -> None:
        """Log something that belongs to this connection."""
        self._emit(event)

    # ---- TLS ----

    @property
    def has_unread_input(self) -> bool:
        """Whether the server has said more than anybody has read, be it a part of a line."""
        filtered = self._filtered is not None and self._filtered.unread
        return bool(self._replies) or filtered or self._lines.has_leftover or not self._assembler.is_idle

    def secure(self, handshake: Handshake, *, fast_shutdown: bool) -> Deferred[TlsState]:
        """Begin TLS, between two dialogs.

        Args:
            handshake: about to begin.
            fast_shutdown: whether the server's farewell is not waited for in the end.

        Returns:
            Fires with what came of it; fails with HandshakeFailedError: then the connection is gone. Cancelling it drops the
            connection.
        """
        assert self._dialog is None and self._secure is None
        self.pipelining = False
        transport = SecureTransport(self._wire, self, handshake, fast_shutdown=fast_shutdown)
        if self._input_over:
            return transport.start_too_late()
        self._secure = transport
        self.transport = transport  # type: ignore[assignment]  # it is as much of a transport as is used here
        if not fast_shutdown:
            self._shutdown = phases.STARTTLS
        self._deadline.start(phases.STARTTLS, self._clock.seconds())
        self._arm()
        return transport.start().addBoth(self._secured)

    def _secured(self, outcome: TlsState | Failure) -> TlsState | Failure:
        self._deadline.stop(self._clock.seconds())
        if isinstance(outcome, Failure):
            self._lost = self._input_over = True
        return outcome

    # ---- between messages ----

    def rest(self, disturbed: Callable[[], None]) -> bool:
        """Wait, between two dialogs, for the next message.

        Args:
            disturbed: called once, when the server hangs up or says anything: it has not been asked.

        Returns:
            False if that has happened already; then nothing is waited for.
        """
        assert self._dialog is None
        self.ear = None
        if self._input_over or self.has_unread_input or self._garbage_came:
            return False
        self._disturbed = disturbed
        return True

    def wake(self) -> bool:
        """Wait no longer; whether the server has really said nothing, not even what the reactor has not seen yet."""
        self._disturbed = None
        self.troubles = ErrorClass.NONE
        return not (self._input_over or self._wire.hasInput())

    def release(self) -> socket.socket | None:
        """Give the connection away, between two dialogs and in the clear; None if it is not sound: then it is closed."""
        assert self._secure is None
        if not self.rest(lambda: None) or not self.wake():
            self.close()
            return None
        connection: socket.socket = self._wire.releaseSocket()  # type: ignore[attr-defined] # what is not TLS has it
        self._lost = self._input_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return connection

    def _disturb(self, disturbed: Callable[[], None]) -> None:
        self._disturbed = None
        self._input_over = True
        disturbed()

    def close(self) -> None:
        """Say nothing more; what is written still leaves, within the time limit for QUIT."""
        if self._filtered is not None:
            self._filtered.close()
        if not self._lost:
            self._deadline.start(self._shutdown, self._clock.seconds())
            self._arm()
            self._wire.loseConnection()

    def abort(self) -> None:
        """Drop the connection at once; whatever waits to be sent never leaves."""
        if self._filtered is not None:
            self._filtered.close()
        if not self._lost:
            self._lost = self._input_over = True
            self._wire.dropConnection()

    def _resume(self, reply: Reply | None = None, error: Exception | None = None) -> None:
        """Go on with the dialog until it waits for something, or ends."""
        dialog, sink = self._dialog, self._sink
        assert dialog is not None and sink is not None
        try:
            while True:
                # Of what type it is, is seen below; to tell a type checker would cost a call each time.
                action: Any = dialog.send(reply) if error is None else dialog.throw(error)
                reply = error = None
                kind = type(action)
                if kind is AwaitReply:
                    phase = action.phase
                    self._flush()
                    if self._has_reply():
                        reply = self._next_reply()
                    elif self._nothing_can_come:
                        error = self._breakage(self._ended_by, phase)
                    else:
                        self._awaiting = phase
                        self._deadline.start(phase, self._clock.seconds())
                        self._arm()
                        return
                elif kind is Write:
                    data = action.data
                    self._output.append(data)
                    if self.ear is not None:
                        self.ear.said(self.confidential.out_of(to_text(data)))
                elif kind is SendContent:
                    self._begin_content(action)
                    return
                elif kind is Note:
                    self._emit(action.event)
                elif kind is Trouble:
                    self.troubles |= action.error_class
                elif kind is LookUp:
                    asked = self.tables.answer(action)
                    if asked is not None:
                        self._asked = asked
                        asked.addCallbacks(self._answered, self._not_answered)
                        return
                elif kind is IsQuiet:
                    action.answer = not self.has_unread_input
                elif kind is Pause:
                    self._flush()
                    self._pause = self._clock.callLater(action.seconds, self._pause_over)
                    return
                else:
                    sink(action)
        except StopIteration as stop:
            self._end_dialog(stop.value)
        except Exception:  # noqa: BLE001 - whatever ends a dialog is its caller's to judge
            self._end_dialog(Failure())

    def _flush(self) -> None:
        """Send what the dialog wrote, in one piece."""
        if self._output:
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            self._distrust_unread_replies()
            # QUIT may still wait when the answer to the dot in front of it comes.
            self._may_wait = _QUIT_OCTETS if data.endswith(b"QUIT\r\n") else 0
            if not self._lost:
                self._wire.write(data)

    def _distrust_unread_replies(self) -> None:
        """What is here before something is said cannot be the answer to it."""
        if self._replies:
            self._replies = deque(replace(reply, early=True) for reply in self._replies)
        if self._filtered is not None:
            self._filtered.distrust()

    def _end_dialog(self, outcome: object) -> None:
        self._flush()
        finished = self._finished
        self._dialog = self._sink = self._finished = self._awaiting = self._content = None
        self._deadline.stop(self._clock.seconds())
        if finished is not None:
            # A Failure goes to the errbacks.
            finished.callback(outcome)

    def _cancelled(self, _: Deferred[Any]) -> None:
        dialog = self._dialog
        self._dialog = self._sink = self._finished = self._awaiting = self._content = None
        self._stop_content()
        if dialog is not None:
            dialog.close()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
        self.abort()

    def _pause_over(self) -> None:
        self._pause = None
        self._resume()

    def _answered(self, _: None) -> None:
        if self._asked is not None:
            self._asked = None
            self._resume()

    def _not_answered(self, failure: Failure) -> None:
        if self._asked is not None:
            self._asked = None
            self._resume(error=cast(Exception, failure.value))

    # ---- input ----

    def dataReceived(self, data: bytes) -> None:
        """Turn octets into replies, and go on where one was awaited."""
        if self._input_over:
            return
        if self._disturbed is not None:
            self._disturb(self._disturbed)
            return
        if self._body is None:
            # What a server says while it should listen buys it no time.
            self._deadline.progress(self._clock.seconds())
        if self.ear is None and self._filtered is None and self._assembler.is_idle and not self._lines.has_leftover:
            replies = plain_replies(data, self._settings.line_length_limit)
            if replies is not None:
                for reply in replies:
                    self._take_reply(reply)
                self._serve()
                return
        endless = False
        for item in self._lines.feed(data):
            if isinstance(item, str):
                self._take_line(item)
                if self._nothing_can_come and not endless:
                    # Patience has ended in the middle of this segment: the rest of it counts no more than a later one.
                    break
            elif isinstance(item, OverlongLine):
                self._emit(
                    events.ReplyTooLong(self.peer.relay, self._settings.line_length_limit, self._told(item.start))
                )
            else:
                endless = True  # what there is of that line still counts, and is the last
                self._end_of_patience()
        self._serve()
        if self._filtered is not None and self._filtered.too_many:
            self._end_of_patience()

    def _take_line(self, line: str) -> None:
        if self._filtered is None:
            self._hear(line)
        else:
            self._filtered.add(line, early=self._comes_early())

    def _hear(self, line: str, instead: str | None = None, *, early: bool = False) -> bool:
        """Take a line, or what stands instead of it; True if it ends a reply, or there is none to be hoped for."""
        if instead is not None:
            self._emit(events.ReplyReplaced(self.peer.relay, self._told(line), self._told(instead)))
        if self.ear is not None:
            self.ear.came(self._told(line), None if instead is None else self._told(instead))
        taken = self._assembler.add(line if instead is None else instead)
        if not taken:
            return False
        if isinstance(taken, Reply):
            self._take_reply(replace(taken, early=True) if early else taken)
            return True
        if isinstance(taken, EndlessLine):
            self._end_of_patience()
            return True
        for trouble in taken:
            if isinstance(trouble, GarbageLine):
                self._take_garbage(trouble.line)
            elif isinstance(trouble, OverlongReply):
                limit = self._settings.line_length_limit
                self._emit(events.MultilineReplyTooLong(self.peer.relay, limit, self._told(trouble.start)))
        return False

    def _told(self, line: str) -> str:
        """What may be told of a line: some servers repeat what they did not understand."""
        return self.confidential.out_of(line)

    def _filter_failed(self, line: str, error: Exception) -> None:
        """Nobody can tell what the server says: it is not listened to any more."""
        table = self.tables.reply_filter
        assert table is not None
        self._emit(events.ReplyFilterFailed(self._queue_id, table.name, self._told(line)))
        if not isinstance(error, TableError):
            # A defect of the table, which would be hidden otherwise.
            self._emit(events.TableWarning(f"{table.name}: {error!r}"))
        self._ended_by = Breakage.LOCAL_ERROR
        self._stop_listening()

    def _take_reply(self, reply: Reply) -> None:
        if len(self._replies) >= UNREAD_REPLIES_LIMIT:
            self._end_of_patience()
            return
        if self._filtered is None and self._comes_early():
            reply = replace(reply, early=True)
        self._replies.append(reply)
        if reply.garbled:
            self._garbage_counts.append(self._garbage_came)
            self._garbage_came = 0
        if self.ear is not None:
            self.ear.completed()

    def _comes_early(self) -> bool:
        """An answer to the dot cannot come while the content, or anything before QUIT, still waits here."""
        return self._body is not None or self._wire.unsentOctets() > self._may_wait

    def _take_garbage(self, line: str) -> None:
        """It is told when it is read: only then is it known whether commands are pipelined."""
        self._garbage_came += 1
        self._garbage.append(self._told(line)[:_SHOWN_CHARACTERS])
        if len(self._garbage) > UNREAD_REPLIES_LIMIT:
            self._end_of_patience()

    def _read_garbage(self, count: int) -> None:
        self.troubles |= ErrorClass.PROTOCOL
        settings, peer = self._settings, self.peer
        for _ in range(count):
            shown = self._garbage.popleft()
            if not self.pipelining:
                continue
            self._emit(events.GarbageReply(self._queue_id, settings.protocol_word, peer.relay, shown))
            if settings.helpful:
                self._emit(events.PipeliningAdvice(peer.address, settings.discard_maps))

    def _end_of_patience(self) -> None:
        """What comes from this server has no end: read no more of it."""
        if not self._input_over:
            self._emit(events.ReplyEndless(self.peer.relay))
            self._stop_listening()

    def _stop_listening(self) -> None:
        self._input_over = True
        if not self._lost:
            self._wire.pauseProducing()

    def _has_reply(self) -> bool:
        """Whether there is a reply to be read, once the lines that are there have gone through the filter."""
        if not self._replies and self._filtered is not None:
            self._filtered.pull()
        return bool(self._replies)

    @property
    def _nothing_can_come(self) -> bool:
        return self._input_over and not (self._filtered is not None and self._filtered.waiting)

    def _serve(self) -> None:
        """Give the dialog what it waits for, if that is there or can never come."""
        phase = self._awaiting
        if phase is None:
            return
        if self._has_reply():
            self._awaiting = None
            self._deadline.stop(self._clock.seconds())
            self._resume(self._next_reply())
        elif self._nothing_can_come:
            self._awaiting = None
            self._resume(error=self._breakage(self._ended_by, phase))

    def _next_reply(self) -> Reply:
        """The first of the replies that are there."""
        reply = self._replies.popleft()
        if self.logged_in:
            reply = replace(reply, text=self._told(reply.text))
        if reply.garbled:
            self._read_garbage(self._garbage_counts.popleft())
        if self.ear is not None:
            self.ear.read()
        return reply

    def _breakage(self, how: Breakage, phase: Phase) -> ConnectionBrokenError:
        """What ends a dialog that waits for a reply; a part of the reply may have come."""
        if self._garbage_came:
            self._read_garbage(self._garbage_came)
            self._garbage_came = 0
        if self.ear is not None:
            self.ear.read()
        return ConnectionBrokenError(how, phase)

    def readConnectionLost(self) -> None:
        """The server has no more to say; what it said still counts, and it may still listen."""
        self._input_over = True
        if self._disturbed is not None:
            self._disturb(self._disturbed)
        elif self._dialog is None:
            self.close()
        else:
            self._serve()

    def writeConnectionLost(self) -> None:
        """We never close our side alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Nothing can be said or heard any more."""
        self._lost = self._input_over = True
        self._deadline.stop(self._clock.seconds())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._disturbed is not None:
            self._disturb(self._disturbed)
        elif self._body is not None:
            self._stop_content()
            self._resume(error=ConnectionBrokenError(Breakage.LOST, phases.CONTENT))
        else:
            self._serve()

    # ---- time ----

    def _arm(self) -> None:
        """See to it that the timer fires no later than the deadline; one that fires too early is no harm, and cheaper."""
        at = self._deadline.at
        if at is None:
            return
        wait = max(0.0, at - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(wait, self._timer_fired)
        elif self._timer.getTime() > at:
            self._timer.reset(wait)

    def _timer_fired(self) -> None:
        self._timer = None
        at = self._deadline.at
        if at is None:
            return
        if self._clock.seconds() < at:
            self._arm()
            return
        self._deadline.stop(self._clock.seconds())
        phase, self._awaiting = self._awaiting, None
        if self._body is not None:
            self._wire.unregisterProducer()
            self._stop_content()
            phase = phases.CONTENT
        if phase is None:
            # A handshake was awaited, or only the end of a closed connection.
            if self._secure is not None:
                self._secure.time_out()
            self.abort()
        else:
            self._resume(error=self._breakage(Breakage.TIMED_OUT, phase))

    def wrote(self, octets: int) -> None:
        """The transport has passed octets on to the system."""
        if self._body is not None:
            self._deadline.wrote_content(octets, self._clock.seconds())
        else:
            self._deadline.progress(self._clock.seconds())

    # ---- content ----

    def _begin_content(self, action: SendContent) -> None:
        assert self._content is not None
        self._flush()
        self._distrust_unread_replies()
        if self._lost:
            self._resume(error=ConnectionBrokenError(Breakage.LOST, phases.CONTENT))
            return
        chunks = self.content_rules.treat(self._content.chunks(), self._queue_id, self._emit, convert=action.convert)
        self._body = Body(chunks, self._line_limit)
        if self._write_content():
            self._end_content()
            return
        # Only what does not fit into the first piece needs to be told when to go on.
        self._deadline.start(phases.CONTENT, self._clock.seconds())
        if self._body_waits is not None:
            self._deadline.stop(self._clock.seconds())
        self._arm()
        self._wire.registerProducer(self, streaming=False)

    def resumeProducing(self) -> None:
        """The last piece of the content has left: write the next one."""
        if self._body is not None and self._body_waits is None and self._write_content():
            self._wire.unregisterProducer()
            self._end_content()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` tells the dialog."""

    def _write_content(self) -> bool:
        """Write a piece of the content; True if it was the last one, or the content is at fault."""
        body = self._body
        assert body is not None
        try:
            piece = body.next_piece()
        except TableError:
            self._content_error = ConnectionBrokenError(Breakage.LOCAL_ERROR, phases.CONTENT)
            return True
        except Exception as error:  # noqa: BLE001 - a message that cannot be read must end the dialog, whatever the reason
            self._content_error = error
            return True
        if isinstance(piece, Deferred):
            # The server is not to blame for the time that a table takes.
            self._body_waits = piece
            self._deadline.stop(self._clock.seconds())
            piece.addCallback(self._go_on_with_content)
            return False
        if body.is_over:
            # It leaves together with the dot and QUIT.
            self._output.append(piece)
            return True
        self._wire.write(piece)
        return False

    def _go_on_with_content(self, _: object) -> None:
        if self._body_waits is not None:
            self._body_waits = None
            self._deadline.go_on(self._clock.seconds())
            self._arm()
            self.resumeProducing()

    def _end_content(self) -> None:
        body, error = self._body, self._content_error
        self._stop_content()
        self._deadline.stop(self._clock.seconds())
        if body is not None and body.broke_line and self._sink is not None:
            self._sink(LineBroken(self._line_limit))
        self._resume(error=error)

    def _stop_content(self) -> None:
        waits = self._body_waits
        self._body = self._body_waits = self._content_error = None
        if waits is not None:
            waits.cancel()
