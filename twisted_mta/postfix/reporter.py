"""Record the fates of one request's recipients with Postfix: bounce(8), defer(8), trace(8), verify(8), the log, the queue file.

A report has these effects, in this order: records of private services, the log line, the mark in the queue file. Only then is it
answered. Reports of one request are recorded one after the other, so that the log tells them in the order in which they came; one
that needs nothing but a log line and a mark is recorded at once if no other is under way, which is the rule for delivered mail.

Flow: delivery/recipients.py reports; the answer decides whether the queue manager hears that all recipients are final.
Sources: bounce(8), trace(8), verify(8), defer(8), flush(8); postconf(5) soft_bounce, smtp_delivery_status_filter,
address_verify_negative_cache; RFC 3464 section 2.3.3; what a running Postfix logs and records when a service is missing.
"""

import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mta.interfaces import IStatusReporter
from twisted_mta.ipc.attributes import Long, encode
from twisted_mta.ipc.client import ServiceClient, ServiceError, read_status
from twisted_mta.model.dsn import DsnStatus, is_enhanced_status
from twisted_mta.model.events import (
    DeliveryFailedUnexpectedly,
    Emit,
    QueueFileUnusable,
    RecipientLogged,
    ServiceFailed,
    StatusFilterRefused,
    WrongStatusClass,
)
from twisted_mta.model.request import TRACE_FLAGS, DeliveryRequest, Notify, Recipient, RequestFlags
from twisted_mta.model.result import Fate, RecipientResult
from twisted_mta.postfix.dsn_attributes import dsn_attributes
from twisted_mta.postfix.flush import FlushService
from twisted_mta.postfix.queue_file import QueueFileError
from twisted_mta.postfix.verify import ProbeOutcome, VerifyService

_APPEND = 0
_RETRY_PAUSES = (0.5, 1.0, 2.0)
"""Seconds between attempts where giving up would deliver a message twice."""

_MICROSECONDS = 1_000_000
# Plain integers, because operations on enumerated flags would cost more than all else that delivered mail needs here.
_NOTIFY_SUCCESS, _NOTIFY_DELAY = int(Notify.SUCCESS), int(Notify.DELAY)
_MARK_SENT, _TRACE_BITS = int(RequestFlags.SUCCESS), int(TRACE_FLAGS)
_PROBE_BY_VERIFY, _PROBE_BY_USER = int(RequestFlags.MTA_VRFY), int(RequestFlags.USR_VRFY)
_RECORD, _DELAY_CLEARED = int(RequestFlags.RECORD), int(RequestFlags.REC_DLY_SENT)

Mark = Callable[[int], None]
"""Marks the recipient at an offset of the queue file as done; raises QueueFileError."""

StatusFilter = Callable[[str], Awaitable[str | None]]
"""Looks up ``STATUS REASON`` in the tables of smtp_delivery_status_filter: text, or None if there is none or a table failed."""


@dataclass(frozen=True, slots=True)
class RecordService:
    """bounce(8), defer(8) or trace(8).

    Attributes:
        name: as configured, such as bounce_service_name; it appears in the log and in reports.
        client: asks it.
    """

    name: str
    client: ServiceClient


@dataclass(frozen=True, slots=True)
class ReporterServices:
    """What the reporters of one configuration share.

    Attributes:
        bounce: takes recipients whose mail goes back.
        defer: takes recipients that are tried again.
        trace: takes what is reported besides.
        verify: takes the outcomes of address probes.
        flush: remembers which mail waits for a domain; None: nothing is remembered.
        clock: gives wall time, and pauses between attempts.
        emit: takes events.
        soft_bounce: mail that would go back is tried again.
        negative_cache: address_verify_negative_cache.
        status_filter: smtp_delivery_status_filter; None: there is none.
    """

    bounce: RecordService
    defer: RecordService
    trace: RecordService
    verify: VerifyService
    flush: FlushService | None
    clock: IReactorTime
    emit: Emit
    soft_bounce: bool = False
    negative_cache: bool = True
    status_filter: StatusFilter | None = None


@dataclass(frozen=True, slots=True)
class _Class:
    """What the statuses of a fate begin with, and how a wrong one is told."""

    digit: str
    instead: str
    function: str


_CLASSES = {
    Fate.SENT: _Class("2", "2.0.0", "sent"),
    Fate.DEFERRED: _Class("4", "4.0.0", "defer_append"),
    Fate.BOUNCED: _Class("5", "5.0.0", "bounce_append"),
}
_FATES = {"4": Fate.DEFERRED, "5": Fate.BOUNCED}
_PROBE_OUTCOMES = {Fate.SENT: ProbeOutcome.OK, Fate.DEFERRED: ProbeOutcome.DEFER, Fate.BOUNCED: ProbeOutcome.BOUNCE}


@implementer(IStatusReporter)
class PostfixReporter:
    """Reports for one delivery request.

    Args:
        services: whom to tell.
        request: what is being delivered.
        mark: marks recipients in its queue file.
    """

    __slots__ = (
        "_cancelled",
        "_flags",
        "_mark",
        "_marks_sent",
        "_plain",
        "_queue_id",
        "_services",
        "_waiting",
        "_work",
        "_working",
    )

    def __init__(self, services: ReporterServices, request: DeliveryRequest, mark: Mark) -> None:
        self._services = services
        self._queue_id = request.queue_id
        self._mark = mark
        flags = int(request.flags)
        self._flags = flags & _TRACE_BITS
        self._marks_sent = bool(flags & _MARK_SENT)
        self._plain = not self._flags and services.status_filter is None
        self._waiting: deque[tuple[Coroutine[Deferred[object], object, bool], Deferred[bool]]] = deque()
        self._working = False
        self._work: Deferred[None] | None = None
        self._cancelled = False

    def report(self, result: RecipientResult) -> Deferred[bool]:
        """Record a fate (see IStatusReporter)."""
        if (
            self._plain
            and result.fate is Fate.SENT
            and not self._waiting
            and not int(result.recipient.notify) & _NOTIFY_SUCCESS
            and result.dsn.status[:1] == "2"
        ):
            self._log(result, "sent")
            if not self._marks_sent or self._marked(result.recipient):
                return succeed(True)
            return self._in_turn(self._mark_again(result.recipient))
        return self._in_turn(self._record(result))

    def cancel(self) -> None:
        """Record nothing more that takes time: recipients whose report is under way, or still comes, are tried again."""
        self._cancelled = True
        if self._work is not None:
            self._work.cancel()

    # ---- one after the other ----

    def _in_turn(self, recording: Coroutine[Deferred[object], object, bool]) -> Deferred[bool]:
        recorded: Deferred[bool] = Deferred()
        self._waiting.append((recording, recorded))
        if not self._working:
            self._working = True
            self._work = Deferred.fromCoroutine(self._work_off())
        return recorded

    async def _work_off(self) -> None:
        while self._waiting:
            recording, recorded = self._waiting[0]
            final = False
            if self._cancelled:
                recording.close()
            else:
                try:
                    final = await recording
                except CancelledError:
                    pass
                except Exception:  # noqa: BLE001 - mail whose fate cannot be recorded is tried again
                    self._services.emit(DeliveryFailedUnexpectedly(self._queue_id, traceback.format_exc()))
            self._waiting.popleft()
            recorded.callback(final)
        self._working = False

    # ---- fates ----

    async def _record(self, result: RecipientResult) -> bool:
        result = await self._filtered(self._of_class(result))
        if self._flags & (_PROBE_BY_VERIFY | _PROBE_BY_USER):
            return await self._probed(result)
        if result.fate is Fate.SENT:
            return await self._sent(result)
        if result.fate is Fate.BOUNCED:
            return await self._bounced(result)
        return await self._deferred(result)

    async def _probed(self, result: RecipientResult) -> bool:
        services = self._services
        word = "deliverable" if result.fate is Fate.SENT else "undeliverable"
        if not self._flags & _PROBE_BY_VERIFY:
            stored = await self._traced(_changed(result, action=word))
        elif word == "undeliverable" and not services.negative_cache:
            word = "undeliverable-but-not-cached"
            stored = True
        else:
            outcome = _PROBE_OUTCOMES[result.fate]
            stored = await services.verify.update(result.recipient, outcome, result.dsn.reason)
            if not stored:
                services.emit(ServiceFailed(self._queue_id, services.verify.name))
        if not stored:
            return False
        self._log(result, word)
        return await self._mark_final(result, always=result.fate is not Fate.SENT)

    async def _sent(self, result: RecipientResult) -> bool:
        result = _changed(result, action=result.dsn.action or "delivered")
        for _ in range(self._traces_of_success(int(result.recipient.notify))):
            if not await self._traced(result):
                return await self._deferred_instead(
                    result, f"{self._queue_id}: {self._services.trace.name} service failed"
                )
        self._log(result, "sent")
        return await self._mark_final(result)

    def _traces_of_success(self, notify: int) -> int:
        delay_cleared = self._flags & _DELAY_CLEARED and (not notify or notify & _NOTIFY_DELAY)
        return bool(self._flags & _RECORD or delay_cleared) + bool(notify & _NOTIFY_SUCCESS)

    async def _bounced(self, result: RecipientResult) -> bool:
        services = self._services
        if services.soft_bounce:
            record = replace(result, dsn=replace(result.dsn.softened(), action="delayed"))
            stored = await self._appended(services.defer, record)
        else:
            record = _changed(result, action="failed")
            stored = await self._appended(services.bounce, record)
        if stored and self._flags & _RECORD:
            stored = await self._traced(record)
        if not stored:
            reason = f"{services.bounce.name} or {services.trace.name} service failure"
            return await self._deferred_instead(result, reason)
        if services.soft_bounce:
            self._log(record, "SOFTBOUNCE")
            return False
        self._log(record, "bounced")
        return await self._mark_final(record, always=True)

    async def _deferred_instead(self, result: RecipientResult, reason: str) -> bool:
        return await self._deferred(replace(result, dsn=replace(result.dsn, status="4.3.0", reason=reason)))

    async def _deferred(self, result: RecipientResult) -> bool:
        services = self._services
        result = _changed(result, action="delayed")
        if not await self._appended(services.defer, result):
            services.emit(ServiceFailed(self._queue_id, services.defer.name))
        self._log(result, "deferred")
        if self._flags & _RECORD and not await self._traced(result, pauses=()):
            services.emit(ServiceFailed(self._queue_id, services.trace.name))
        if services.flush is not None:
            await services.flush.add(result.recipient.address, self._queue_id)
        return False

    # ---- what is reported ----

    def _of_class(self, result: RecipientResult) -> RecipientResult:
        """The result with a status that fits its fate."""
        expected = _CLASSES[result.fate]
        if result.dsn.status[:1] == expected.digit:
            return result
        self._services.emit(WrongStatusClass(expected.function, result.dsn.status))
        return _changed(result, status=expected.instead)

    async def _filtered(self, result: RecipientResult) -> RecipientResult:
        """What the tables of smtp_delivery_status_filter make of a result; success stays success, failure failure."""
        look_up = self._services.status_filter
        if look_up is None:
            return result
        text = await look_up(f"{result.dsn.status} {result.dsn.reason}")
        if text is None:
            return result
        status, *rest = text.split(None, 1) or [""]
        was_sent, is_sent = result.fate is Fate.SENT, status[:1] == "2"
        if not is_enhanced_status(status) or was_sent != is_sent:
            # Postfix names the SMTP parameter in LMTP mode, too.
            self._services.emit(StatusFilterRefused("smtp_delivery_status_filter", text))
            return result
        result = _changed(result, status=status, reason="".join(rest).rstrip() or result.dsn.reason)
        return result if is_sent else replace(result, fate=_FATES[status[0]])

    def _log(self, result: RecipientResult, word: str) -> None:
        if not result.stats.deliver_done:
            now = int(self._services.clock.seconds() * _MICROSECONDS)
            result = replace(result, stats=replace(result.stats, deliver_done=now))
        self._services.emit(RecipientLogged(self._queue_id, result, word))

    # ---- records ----

    async def _appended(self, service: RecordService, result: RecipientResult) -> bool:
        request = encode_append(self._flags, self._queue_id, result.recipient, result.dsn)
        try:
            return await service.client.ask(request, read_status) == 0
        except ServiceError as error:
            self._services.emit(error.event)
            return False

    async def _traced(self, result: RecipientResult, pauses: Sequence[float] = _RETRY_PAUSES) -> bool:
        """Record with trace(8); `pauses`: what it is worth to try again, for without the record the mail is sent again."""
        trace = self._services.trace
        if result.relay != "none":
            result = _changed(result, reason=f"delivery via {result.relay}: {result.dsn.reason}")
        traced = await self._appended(trace, result)
        for pause in pauses:
            if traced:
                break
            await self._pause(pause)
            traced = await self._appended(trace, result)
        if not traced:
            self._services.emit(ServiceFailed(self._queue_id, trace.name))
        return traced

    # ---- marks ----

    async def _mark_final(self, result: RecipientResult, *, always: bool = False) -> bool:
        if not always and not self._marks_sent:
            return True
        return self._marked(result.recipient) or await self._mark_again(result.recipient)

    async def _mark_again(self, recipient: Recipient) -> bool:
        for pause in _RETRY_PAUSES:
            await self._pause(pause)
            if self._marked(recipient):
                return True
        return False

    def _marked(self, recipient: Recipient) -> bool:
        try:
            self._mark(recipient.offset)
        except QueueFileError as error:
            self._services.emit(QueueFileUnusable(self._queue_id, str(error)))
            return False
        return True

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._services.clock, seconds)


def _changed(result: RecipientResult, **changes: str) -> RecipientResult:
    """The result with another status, reason or action."""
    return replace(result, dsn=replace(result.dsn, **changes))


def encode_append(flags: int, queue_id: str, recipient: Recipient, dsn: DsnStatus) -> bytes:
    """The list that asks bounce(8), defer(8) or trace(8) to record one recipient.

    Args:
        flags: the bits of TRACE_FLAGS that the request has.
        queue_id: of the message.
        recipient: whom this is about.
        dsn: what became of it.
    """
    return encode(
        (
            ("nrequest", _APPEND),
            ("flags", flags),
            ("queue_id", queue_id),
            ("original_recipient", recipient.original),
            ("recipient", recipient.address),
            ("offset", Long(recipient.offset)),
            ("dsn_orig_rcpt", recipient.dsn_orcpt),
            ("notify_flags", int(recipient.notify)),
            *dsn_attributes(dsn),
        )
    )
