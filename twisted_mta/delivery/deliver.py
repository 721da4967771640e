"""A delivery, told in order: what goes out, the destinations, and what is left over.

For each destination of the request, the fallback relays last, the hosts are looked up, and tried as long as recipients are open.
What no host took in the end gets the last reason that there was.

Whatever is unforeseen defers the mail: it may be late, it is never lost.

Flow: a request source calls `DeliveryAgent.deliver`; delivery/site.py tries the hosts of each destination; the fates go to the
request's reporter, the final status comes back.
Sources: smtp(8), lmtp(8); RFC 5321 section 5.1; postconf(5) smtp_fallback_relay, relayhost, best_mx_transport.
"""

from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.content.failures import ContentFailedError
from twisted_mta.delivery.errand import AgentParts, Errand
from twisted_mta.delivery.hand_over import HandOverError, OtherTransport
from twisted_mta.delivery.offering import UNREADABLE, cannot_read
from twisted_mta.delivery.outgoing import RefusedHereError
from twisted_mta.delivery.site import Site
from twisted_mta.interfaces import ContentError, CorruptContentError, IDeliveryAgent, IMessageContent, IStatusReporter
from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.result import FinalStatus
from twisted_mta.routing.destination import Destination, parse_nexthop
from twisted_mta.smtp.actions import RecipientFailed, Scope

MAIL_LOOPS = "5.4.6"
NO_HOST = DsnStatus("4.3.0", "server unavailable or unable to receive mail")
UNFORESEEN = DsnStatus("4.3.0", "mail system error in delivery")
CANCELLED = DsnStatus("4.3.0", "delivery was ended before it was complete")


@implementer(IDeliveryAgent)
class DeliveryAgent:
    """Delivers requests, any number at a time.

    Attributes:
        parts: what deliveries share.
    """

    def __init__(self, parts: AgentParts) -> None:
        """Set up.

        Args:
            parts: what deliveries share.
        """
        self.parts = parts

    def deliver(
        self, request: DeliveryRequest, content: IMessageContent, reporter: IStatusReporter
    ) -> Deferred[FinalStatus]:
        """Deliver a message to all recipients of a request, or record why not (IDeliveryAgent)."""
        return Deferred.fromCoroutine(_run(Errand(self.parts, request, content, reporter)))


async def _run(errand: Errand) -> FinalStatus:
    """Do it all."""
    ledger = errand.ledger
    try:
        if errand.outgoing is None:
            await errand.admit()
        await _try_destinations(errand)
    except RefusedHereError as refused:
        ledger.give_up(refused.why, Scope.MESSAGE, refused.relay)
    except ContentFailedError as failed:
        ledger.give_up(failed.why, Scope.MESSAGE)
    except CorruptContentError:
        ledger.give_up(UNREADABLE, Scope.MESSAGE)
    except ContentError as error:
        ledger.give_up(cannot_read(error), Scope.MESSAGE)
    except CancelledError:
        ledger.give_up(CANCELLED, Scope.MESSAGE)
    except Exception:  # noqa: BLE001 - the one place where the unforeseen is contained: it defers the mail
        traceback = Failure().getTraceback()
        errand.emit(events.DeliveryFailedUnexpectedly(errand.request.queue_id, traceback))
        ledger.give_up(UNFORESEEN, Scope.MESSAGE)
    return await ledger.final_status()


async def _try_destinations(errand: Errand) -> None:
    parts, ledger = errand.parts, errand.ledger
    destinations = parse_nexthop(errand.request.nexthop, parts.routing)
    for destination in destinations:
        route = await parts.router.route(destination)
        is_last = destination is destinations[-1] or route.is_final
        why = await Site(errand, destination, route, is_last=is_last).try_servers()
        if is_last or not ledger.remaining:
            break
    if ledger.remaining:
        reason = _last_reason(errand, why or NO_HOST, destinations[0], destination)
        if reason.status == MAIL_LOOPS and parts.best_mx_transport is not None:
            await _hand_over(errand, parts.best_mx_transport)
        else:
            ledger.give_up(reason, Scope.SITE)


async def _hand_over(errand: Errand, transport: OtherTransport) -> None:
    """Let another transport deliver what would come back to us."""
    ledger, request = errand.ledger, errand.request
    ledger.last_host = True
    for index, recipient in enumerate(ledger.remaining):
        errand.emit(events.RecipientPassedOn(request.queue_id, recipient.address, transport.name))
        try:
            ledger.settled_elsewhere(index, final=await transport.hand_over(request, recipient))
        except HandOverError as error:
            ledger.take(RecipientFailed(index, error.why))
    ledger.end_session()


def _last_reason(errand: Errand, why: DsnStatus, first: Destination, stopped_at: Destination) -> DsnStatus:
    """Why no host took the rest; what the administrator got wrong does not send mail back."""
    if not why.is_hard:
        return why
    parts = errand.parts
    if stopped_at.is_fallback:
        culprit = "smtp_fallback_relay"
    elif not parts.routing.lmtp and parts.relayhost == (first.text,):
        culprit = "relayhost"
    else:
        return why
    errand.emit(events.RelayConfigurationProblem(culprit))
    return replace(why, status="4.3.5")
