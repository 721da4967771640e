"""Perform a dialog: do what it yields, and resume it with replies.

A connection that ends is told when the dialog waits for something that can no longer come. One Deferred fires per dialog, none
per reply.

Flow: session/protocol.py begins a Performance for each dialog (smtp/actions.py), and tells it whenever something has come;
whoever wanted the dialog gets what it returns.
Sources: RFC 5321 section 4.5.3.2 (time limits); RFC 2920 section 3.1 (groups of commands leave in one piece).
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from twisted_mta.interfaces import IMessageContent
from twisted_mta.model.events import Emit
from twisted_mta.model.text import to_text
from twisted_mta.session.alarm import Alarm
from twisted_mta.session.body import Body
from twisted_mta.session.content_rules import ContentRules
from twisted_mta.session.incoming import Incoming
from twisted_mta.session.secure_transport import Wire
from twisted_mta.session.sending import Sending
from twisted_mta.session.tables import SessionTables
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import (
    AwaitReply,
    Breakage,
    ConnectionBrokenError,
    Dialog,
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
from twisted_mta.smtp.phases import Phase
from twisted_mta.smtp.reply import Reply

Sink = Callable[[Finding], None]


class Line(Protocol):
    """What is used of a connection."""

    alarm: Alarm
    clock: IReactorTime
    content_rules: ContentRules
    emit: Emit
    incoming: Incoming
    is_lost: bool
    line_limit: int
    tables: SessionTables
    wire: Wire

    def say(self, data: bytes) -> None:
        """Send commands, if the connection is still there."""

    def begin_content(self) -> None:
        """From now on, until something else is said, nothing that comes can be the answer to what is said next."""

    def performed(self) -> None:
        """The dialog is over."""

    def abort(self) -> None:
        """Drop the connection at once."""


class Performance:
    """One dialog on one connection."""

    __slots__ = (
        "_alarm",
        "_asked",
        "_awaiting",
        "_content",
        "_dialog",
        "_finished",
        "_incoming",
        "_line",
        "_output",
        "_pause",
        "_queue_id",
        "_sending",
        "_sink",
    )

    def __init__(
        self, line: Line, dialog: Dialog[Any], sink: Sink, queue_id: str, content: IMessageContent | None
    ) -> None:
        """Prepare.

        Args:
            line: the connection.
            dialog: what to say.
            sink: takes the findings, at once and in order.
            queue_id: for the log.
            content: for SendContent.
        """
        self._line = line
        self._alarm = line.alarm
        self._incoming = line.incoming
        self._dialog = dialog
        self._sink = sink
        self._queue_id = queue_id
        self._content = content
        self._finished: Deferred[Any] | None = None
        self._output: list[bytes] = []
        self._awaiting: Phase | None = None
        self._pause: IDelayedCall | None = None
        self._asked: Deferred[None] | None = None
        self._sending: Sending | None = None

    def begin(self) -> Deferred[Any]:
        """Begin.

        Returns:
            Fires with what the dialog returns; fails with what it raises. Cancelling it drops the connection.
        """
        finished = self._finished = Deferred(self._cancelled)
        self._go_on()
        return finished

    # ---- what the connection tells ----

    def attend(self) -> None:
        """Give the dialog what it waits for, if that is there or can never come."""
        phase = self._awaiting
        if phase is None:
            return
        incoming = self._incoming
        reply = incoming.read()
        if reply is not None:
            self._awaiting = None
            self._alarm.stop()
            self._go_on(reply)
        elif incoming.nothing_can_come:
            self._awaiting = None
            self._go_on(error=incoming.broken(incoming.ended_by, phase))

    def lose(self) -> None:
        """The connection is gone."""
        if self._sending is None:
            self.attend()
        else:
            self._stop_sending()
            self._go_on(error=ConnectionBrokenError(Breakage.LOST, phases.CONTENT))

    def _time_is_up(self) -> None:
        phase, self._awaiting = self._awaiting, None
        if self._sending is not None:
            self._line.wire.unregisterProducer()
            self._stop_sending()
            phase = phases.CONTENT
        assert phase is not None
        self._go_on(error=self._incoming.broken(Breakage.TIMED_OUT, phase))

    # ---- the dialog ----

    def _go_on(self, reply: Reply | None = None, error: Exception | None = None) -> None:
        """Go on with the dialog until it waits for something, or ends."""
        dialog, incoming, line = self._dialog, self._incoming, self._line
        try:
            while True:
                # Of what type it is, is seen below; to tell a type checker would cost a call each time.
                action: Any = dialog.send(reply) if error is None else dialog.throw(error)
                reply = error = None
                kind = type(action)
                if kind is AwaitReply:
                    if self._output:
                        self._flush()
                    reply = incoming.read()
                    if reply is not None:
                        continue
                    phase = action.phase
                    if incoming.nothing_can_come:
                        error = incoming.broken(incoming.ended_by, phase)
                    else:
                        self._awaiting = phase
                        self._alarm.start(phase, self._time_is_up)
                        return
                elif kind is Write:
                    data = action.data
                    self._output.append(data)
                    if incoming.ear is not None:
                        incoming.ear.said(incoming.confidential.out_of(to_text(data)))
                elif kind is SendContent:
                    self._flush()
                    line.begin_content()
                    if line.is_lost:
                        error = ConnectionBrokenError(Breakage.LOST, phases.CONTENT)
                    elif self._send_content(action):
                        error = self._content_sent()
                    else:
                        return
                elif kind is Note:
                    line.emit(action.event)
                elif kind is Trouble:
                    incoming.troubles |= action.error_class
                elif kind is LookUp:
                    asked = line.tables.answer(action)
                    if asked is not None:
                        self._asked = asked
                        asked.addCallbacks(self._answered, self._not_answered)
                        return
                elif kind is IsQuiet:
                    action.answer = not incoming.has_unread
                elif kind is Pause:
                    self._flush()
                    self._pause = line.clock.callLater(action.seconds, self._pause_over)
                    return
                else:
                    self._sink(action)
        except StopIteration as stop:
            self._end(stop.value)
        except Exception:  # noqa: BLE001 - whatever ends a dialog is its caller's to judge
            self._end(Failure())

    def _flush(self) -> None:
        """Send what the dialog wrote, in one piece."""
        output = self._output
        if output:
            data = output[0] if len(output) == 1 else b"".join(output)
            output.clear()
            self._line.say(data)

    def _end(self, outcome: object) -> None:
        self._flush()
        finished, self._finished = self._finished, None
        self._line.performed()
        if finished is not None:
            # A Failure goes to the errbacks.
            finished.callback(outcome)

    def _cancelled(self, _: Deferred[Any]) -> None:
        self._finished = self._awaiting = None
        self._line.performed()
        self._stop_sending()
        self._dialog.close()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
        self._line.abort()

    # ---- what it waits for, but for replies ----

    def _pause_over(self) -> None:
        self._pause = None
        self._go_on()

    def _answered(self, _: None) -> None:
        if self._asked is not None:
            self._asked = None
            self._go_on()

    def _not_answered(self, failure: Failure) -> None:
        if self._asked is not None:
            self._asked = None
            self._go_on(error=cast(Exception, failure.value))

    def _send_content(self, action: SendContent) -> bool:
        """Begin to send the content; True if it has been sent, or is at fault."""
        line, content = self._line, self._content
        assert content is not None
        chunks = line.content_rules.treat(content.chunks(), self._queue_id, line.emit, convert=action.convert)
        body = Body(chunks, line.line_limit, self._broke_line)
        sending = self._sending = Sending(body, line.wire, self._alarm, self._time_is_up, self._all_sent)
        return sending.begin()

    def _all_sent(self) -> None:
        self._alarm.stop()
        self._go_on(error=self._content_sent())

    def _content_sent(self) -> Exception | None:
        """All but the last piece of the content has left; what is wrong with it."""
        sending = self._sending
        assert sending is not None
        self._stop_sending()
        if sending.last_piece is not None:
            # It leaves together with the dot and QUIT.
            self._output.append(sending.last_piece)
        return sending.error

    def _broke_line(self) -> None:
        self._sink(LineBroken(self._line.line_limit))

    def _stop_sending(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.stop()
