"""The recipients of one request: exactly one result each.

A recipient is open until its fate is reported. Within a session it may be marked as kept: what happens further in that session no
longer concerns it, and the next host gets it. A session leaves every open recipient either reported or kept.

Flow: delivery/offering.py, delivery/site.py and delivery/deliver.py tell what happened; results go to the request's
IStatusReporter, which records them in order.
Sources: smtp(8); RFC 3461 section 5.2 (who reports success); qmgr(8) for the hop status.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twisted_mta.delivery.verdict import Disposition, judge
from twisted_mta.interfaces import IStatusReporter
from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Emit
from twisted_mta.model.request import DeliveryRequest, MessageStats, Notify, Recipient
from twisted_mta.model.result import Fate, FinalStatus, RecipientResult
from twisted_mta.smtp.actions import (
    Finding,
    LineBroken,
    MessageFailed,
    MessageTaken,
    Milestone,
    RecipientFailed,
    RecipientTaken,
    Scope,
)
from twisted_mta.smtp.reply import Reply

NO_RELAY = "none"


@dataclass(frozen=True, slots=True)
class ReportingRules:
    """What settings change in results.

    Attributes:
        soft_bounce: the parameter.
        final_delivery: LMTP to a server that delivers for good (flag X): success means ``delivered``, not ``relayed``.
    """

    soft_bounce: bool = False
    final_delivery: bool = False


class RecipientLedger:
    """Who is still open, and what has been reported of the others."""

    def __init__(
        self,
        request: DeliveryRequest,
        reporter: IStatusReporter,
        rules: ReportingRules,
        emit: Emit,
        now: Callable[[], int],
    ) -> None:
        """Open the books.

        Args:
            request: whose recipients.
            reporter: takes the results.
            rules: settings.
            emit: takes what is to be logged.
            now: the time in microseconds since the epoch.
        """
        self._request = request
        self._reporter = reporter
        self._rules = rules
        self._emit = emit
        self._now = now
        self._open: list[Recipient] = list(request.recipients)
        self._final: list[bool] = []
        self._reports: list[Deferred[None]] = []
        self._hop_candidates: list[tuple[DsnStatus, list[int]]] = []
        self._session_completed = False
        self._line_broken = False
        self.last_host = False
        """Whether no other host will be tried after the present one."""
        self.begin_session()

    # ---- sessions ----

    @property
    def remaining(self) -> tuple[Recipient, ...]:
        """The recipients whose fate is open."""
        return tuple(self._open)

    def begin_session(
        self, relay: str = NO_RELAY, host: str = "", *, server_has_dsn: bool = False, reuse_count: int = 0
    ) -> None:
        """What follows happens in a session with this server, or in none.

        Args:
            relay: ``host[address]:port``.
            host: the server's name.
            server_has_dsn: whether it reports success by itself.
            reuse_count: how often the connection was used before.
        """
        self._relay = relay
        self._host = host
        self._server_has_dsn = server_has_dsn
        self._reuse_count = reuse_count
        self._session = tuple(self._open)
        self._kept: set[int] = set()
        self._reported: set[int] = set()
        self._set_up_at = 0
        self._done_at = 0

    def end_session(self, *, completed: bool = False) -> None:
        """The session is over; `completed`: it came to its normal end."""
        self._session_completed = self._session_completed or completed
        self._open = [recipient for index, recipient in enumerate(self._session) if index not in self._reported]
        self.begin_session()

    def server_has_dsn(self, has_dsn: bool) -> None:
        """What the greeting brought to light."""
        self._server_has_dsn = has_dsn

    @property
    def has_undecided(self) -> bool:
        """Whether the present session has recipients that are neither reported nor kept."""
        return bool(self._unmarked())

    def _unmarked(self) -> list[int]:
        return [index for index in range(len(self._session)) if index not in self._reported and index not in self._kept]

    def give_up(self, why: DsnStatus, scope: Scope, relay: str = NO_RELAY) -> None:
        """Nobody else will be asked.

        Args:
            why: the status of the mail of all recipients that are open.
            scope: whom that concerns.
            relay: what the log names in the place of a server.
        """
        self.end_session()
        self.begin_session(relay)
        self.last_host = True
        if self._open:
            self.fail(why, scope)
            self.end_session()

    # ---- findings of a transaction ----

    def take(self, finding: Finding) -> None:
        """Take what a transaction found out."""
        if isinstance(finding, Milestone):
            if finding is Milestone.SET_UP:
                self._set_up_at = self._now()
            else:
                self._done_at = self._now()
        elif isinstance(finding, MessageTaken):
            for index in self._unmarked():
                self._taken(index, finding.reply, finding.status)
        elif isinstance(finding, RecipientTaken):
            self._taken(finding.index, finding.reply, finding.reply.status)
        elif isinstance(finding, RecipientFailed):
            self._recipient_failed(finding.index, finding.why)
        elif isinstance(finding, MessageFailed):
            self.fail(finding.why, finding.scope)
        elif isinstance(finding, LineBroken) and not self._line_broken:
            self._line_broken = True
            self._emit(events.LongLineBroken(self._request.queue_id, finding.limit))

    def _taken(self, index: int, reply: Reply, status: str) -> None:
        if index in self._reported or index in self._kept:
            return
        recipient = self._session[index]
        action = "relayed"
        if self._server_has_dsn:
            if recipient.notify & Notify.SUCCESS:
                recipient = replace(recipient, notify=recipient.notify & ~Notify.SUCCESS)
        elif self._rules.final_delivery:
            action = "delivered"
        said = reply.one_line
        self._report(index, recipient, Fate.SENT, DsnStatus(status, said, action, "smtp", said, "dns", self._host))

    def _recipient_failed(self, index: int, why: DsnStatus) -> None:
        if index in self._reported or index in self._kept:
            return
        verdict = judge(
            Scope.RECIPIENT, is_hard=why.is_hard, soft_bounce=self._rules.soft_bounce, last_host=self.last_host
        )
        if verdict.disposition is Disposition.NEXT_HOST:
            self._emit(events.HostSkipped(self._request.queue_id, why.reason))
            self._kept.add(index)
        else:
            self._report(index, self._session[index], _FATES[verdict.disposition], why)

    # ---- failures that concern all ----

    def fail(self, why: DsnStatus, scope: Scope) -> None:
        """Something failed that concerns every recipient which is open and not kept."""
        verdict = judge(scope, is_hard=why.is_hard, soft_bounce=self._rules.soft_bounce, last_host=self.last_host)
        unmarked = self._unmarked()
        if verdict.disposition is Disposition.NEXT_HOST:
            self._emit(events.HostSkipped(self._request.queue_id, why.reason))
            self._kept.update(unmarked)
            return
        if not self._set_up_at:
            self._set_up_at = self._done_at = self._now()
        else:
            self._done_at = self._now()
        first = len(self._final)
        for index in unmarked:
            self._report(index, self._session[index], _FATES[verdict.disposition], why)
        if verdict.throttles and not self._session_completed:
            self._hop_candidates.append((replace(why, action=""), list(range(first, len(self._final)))))

    def settled_elsewhere(self, index: int, *, final: bool) -> None:
        """Somebody else has reported a recipient.

        Args:
            index: counts those that were open when the session began.
            final: whether it need not be tried again.
        """
        self._reported.add(index)
        self._final.append(final)

    # ---- results ----

    def _report(self, index: int, recipient: Recipient, fate: Fate, why: DsnStatus) -> None:
        self._reported.add(index)
        arrival = self._request.stats
        stats = MessageStats(
            arrival.incoming_arrival,
            arrival.active_arrival,
            arrival.agent_handoff,
            self._set_up_at,
            self._done_at,
            self._reuse_count,
        )
        number = len(self._final)
        self._final.append(False)
        try:
            report = self._reporter.report(RecipientResult(recipient, fate, why, self._relay, stats))
        except Exception:  # noqa: BLE001 - a reporter without sense must not keep the others from their results
            self._not_recorded(Failure())
            return
        recorded = report.addCallbacks(self._recorded, self._not_recorded, callbackArgs=(number,))
        if not recorded.called:
            self._reports.append(recorded)

    def _recorded(self, final: bool, number: int) -> None:
        self._final[number] = final

    def _not_recorded(self, failure: Failure) -> None:
        """The recipient will be tried again: late or twice, but not lost."""
        if not failure.check(CancelledError):
            self._emit(events.DeliveryFailedUnexpectedly(self._request.queue_id, failure.getTraceback()))

    async def final_status(self) -> FinalStatus:
        """Wait until every report is recorded. One whose wait is cancelled counts as not recorded."""
        for report in self._reports:
            await report
        complete = not self._open and all(self._final)
        hop = next((why for why, numbers in self._hop_candidates if not all(self._final[n] for n in numbers)), None)
        return FinalStatus(complete, hop)


_FATES = {Disposition.DEFER: Fate.DEFERRED, Disposition.BOUNCE: Fate.BOUNCED}
