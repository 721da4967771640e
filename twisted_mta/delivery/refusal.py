"""An agent that defers whatever it gets: the configuration cannot be used.

Flow: generations.py puts it in the place of the DeliveryAgent until a configuration can be loaded.
Sources: postconf(5); RFC 3463 (X.3.5: system incorrectly configured).
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from twisted_mta.delivery.recipients import RecipientLedger, ReportingRules
from twisted_mta.interfaces import IDeliveryAgent, IMessageContent, IStatusReporter
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import ConfigurationProblem, Emit
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.result import FinalStatus
from twisted_mta.smtp.actions import Scope

REMINDER_SECONDS = 60


@implementer(IDeliveryAgent)
class RefusingAgent:
    """Defers every request, and reminds the log of the reason once a minute as long as there are requests.

    Who makes one logs the reason first.
    """

    def __init__(self, problem: str, clock: IReactorTime, emit: Emit, now: Callable[[], int]) -> None:
        """Say what is wrong.

        Args:
            problem: the text for log and reports; names the parameter or the file.
            clock: the time.
            emit: takes events.
            now: the time in microseconds since the epoch.
        """
        self._why = DsnStatus("4.3.5", f"mail system configuration error: {problem}")
        self._event = ConfigurationProblem(problem)
        self._clock = clock
        self._emit = emit
        self._now = now
        self._reminded = clock.seconds()

    def deliver(
        self, request: DeliveryRequest, content: IMessageContent, reporter: IStatusReporter
    ) -> Deferred[FinalStatus]:
        """Defer a request (IDeliveryAgent)."""
        now = self._clock.seconds()
        if now - self._reminded >= REMINDER_SECONDS:
            self._reminded = now
            self._emit(self._event)
        ledger = RecipientLedger(request, reporter, ReportingRules(), self._emit, self._now)
        ledger.last_host = True
        ledger.fail(self._why, Scope.SITE)
        ledger.end_session()
        return Deferred.fromCoroutine(ledger.final_status())
