"""One request on its way: what every step of its delivery works with, and what all deliveries of a configuration share.

Flow: assembly.py makes the AgentParts; delivery/deliver.py makes an Errand of each request, and its steps take it along: site.py,
kept_sessions.py, offering.py.
Sources: smtp(8), lmtp(8); postconf(5).
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.delivery.factory import SessionParts
from twisted_mta.delivery.hand_over import OtherTransport
from twisted_mta.delivery.outgoing import Outgoing, OutgoingRules
from twisted_mta.delivery.recipients import RecipientLedger, ReportingRules
from twisted_mta.delivery.reuse import ReuseRules
from twisted_mta.delivery.tls_demands import TlsDemands
from twisted_mta.delivery.witness import Witnesses
from twisted_mta.interfaces import IMessageContent, IStatusReporter
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.routing.router import Router
from twisted_mta.routing.settings import RoutingSettings
from twisted_mta.tls.policies import TlsPolicies


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What all deliveries of a configuration share.

    Attributes:
        sessions: what sessions need.
        routing: settings of the look-ups and limits.
        router: finds the hosts.
        rules: for results.
        relayhost: the parameter; its failures are the administrator's, not the sender's.
        now: the time in microseconds since the epoch.
        witnesses: who overhears sessions; None: nobody.
        best_mx_transport: takes mail whose best mail exchanger is this machine; None: it is returned.
        outgoing: what of a request goes out; None: all, as it is.
        tls: what is demanded of TLS with each server; None: TLS is not used.
        backoff_seconds: so long mail has waited before it goes out in the clear where TLS may be, but fails.
        reuse: which sessions are kept for the next message; None: none are.
    """

    sessions: SessionParts
    routing: RoutingSettings
    router: Router
    rules: ReportingRules
    relayhost: tuple[str, ...]
    now: Callable[[], int]
    witnesses: Witnesses | None = None
    best_mx_transport: OtherTransport | None = None
    outgoing: OutgoingRules | None = None
    tls: TlsPolicies | None = None
    backoff_seconds: int = 300
    reuse: ReuseRules | None = None


class Errand:
    """One request on its way.

    Attributes:
        parts: what deliveries share.
        request: the message, and whom it is for.
        content: what it says.
        outgoing: what of it servers get to see; None: that is not known yet, see `prepare`.
        emit: takes what is to be logged.
        ledger: what becomes of its recipients.
        witness: overhears its sessions; None: nobody does.
        tls: what it demands of TLS; None: TLS is not used.
        reuse: what it does about kept sessions; None: nothing.
    """

    __slots__ = ("content", "emit", "ledger", "outgoing", "parts", "request", "reuse", "tls", "witness")

    def __init__(
        self, parts: AgentParts, request: DeliveryRequest, content: IMessageContent, reporter: IStatusReporter
    ) -> None:
        """Set out.

        Args:
            parts: what deliveries share.
            request: the message, and whom it is for.
            content: what it says.
            reporter: takes the results.
        """
        sessions = parts.sessions
        self.parts = parts
        self.request = request
        self.content = content
        plain = parts.outgoing is None or parts.outgoing.change_nothing
        self.outgoing = Outgoing(request, content) if plain else None
        self.emit = sessions.emit
        self.ledger = RecipientLedger(request, reporter, parts.rules, sessions.emit, parts.now)
        self.witness = parts.witnesses.to(request) if parts.witnesses else None
        self.tls = TlsDemands(parts.tls, request, sessions.logins, parts.backoff_seconds) if parts.tls else None
        self.reuse = parts.reuse.to(request) if parts.reuse else None

    async def admit(self) -> None:
        """See to what is to be seen to before any server is asked.

        Raises:
            RefusedHereError, ContentFailedError, ContentError: there is no need to ask one.
        """
        if self.parts.outgoing is not None:
            await self.parts.outgoing.admit(self.request, self.content)

    async def prepare(self) -> Outgoing:
        """Find out what servers get to see, which is the same for all of them.

        Raises:
            ContentFailedError: an address cannot be replaced.
        """
        assert self.parts.outgoing is not None
        self.outgoing = await self.parts.outgoing.prepare(self.request, self.content)
        return self.outgoing
