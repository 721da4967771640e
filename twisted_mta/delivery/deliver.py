"""A delivery, told in order: destinations, hosts, sessions, and what is left over.

For each destination of the request, the fallback relays last, the hosts are looked up. As long as recipients are open, sessions
that were kept are used first; then one host after the other is dialled, within the limits for addresses and sessions. Each
session that comes about is offered the message for all open recipients, and may be kept for the next one. What no host took in
the end gets the last reason that there was.

Whatever is unforeseen defers the mail: it may be late, it is never lost.

Flow: a request source calls `DeliveryAgent.deliver`; the fates go to the request's reporter, the final status comes back.
Sources: smtp(8), lmtp(8); RFC 5321 section 5.1; postconf(5) smtp_fallback_relay, relayhost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.content.failures import ContentFailedError
from twisted_mta.delivery.cache import Lent, Place
from twisted_mta.delivery.cache_keys import EndpointKey
from twisted_mta.delivery.dial import DialError
from twisted_mta.delivery.factory import DestinationFactory, SessionParts
from twisted_mta.delivery.hand_over import HandOverError, OtherTransport
from twisted_mta.delivery.outgoing import Outgoing, OutgoingRules, RefusedHereError
from twisted_mta.delivery.recipients import NO_RELAY, RecipientLedger, ReportingRules
from twisted_mta.delivery.reuse import KeptWalk, ReuseRules
from twisted_mta.delivery.witness import Witnesses
from twisted_mta.interfaces import ContentError, CorruptContentError, IDeliveryAgent, IMessageContent, IStatusReporter
from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.result import FinalStatus
from twisted_mta.routing.candidates import Candidate, CandidateWalk
from twisted_mta.routing.destination import Destination, parse_nexthop
from twisted_mta.routing.router import Route, Router
from twisted_mta.routing.settings import RoutingSettings
from twisted_mta.session.session import Session, TlsFailedError
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, RecipientFailed, Scope
from twisted_mta.smtp.capabilities import Feature
from twisted_mta.smtp.greeting import Occasion
from twisted_mta.smtp.probing import NotServingError
from twisted_mta.smtp.transaction import never
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policies import TlsPolicies, TlsPolicyError
from twisted_mta.tls.policy import NO_TLS, TlsPolicy
from twisted_mta.tls.summary import summary_of

MAIL_LOOPS = "5.4.6"
NO_HOST = DsnStatus("4.3.0", "server unavailable or unable to receive mail")
UNFORESEEN = DsnStatus("4.3.0", "mail system error in delivery")
UNREADABLE = DsnStatus("5.3.0", "unreadable mail queue entry")
CANCELLED = DsnStatus("4.3.0", "delivery was ended before it was complete")
_MICROSECONDS = 1_000_000


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


class _Turn(NamedTuple):
    """One server's turn: who it is, what is demanded of TLS, and the name of such a session; None: it has none."""

    place: Place
    policy: TlsPolicy
    endpoint: EndpointKey | None


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
        return Deferred.fromCoroutine(_Delivery(self.parts, request, content, reporter).run())


class _Delivery:
    """One request on its way."""

    def __init__(
        self, parts: AgentParts, request: DeliveryRequest, content: IMessageContent, reporter: IStatusReporter
    ) -> None:
        self._parts = parts
        self._request = request
        self._outgoing = Outgoing(request, content)
        self._emit = parts.sessions.emit
        self._ledger = RecipientLedger(request, reporter, parts.rules, self._emit, parts.now)
        self._witness = parts.witnesses.to(request) if parts.witnesses else None
        self._tls = parts.tls.for_request() if parts.tls else None
        self._reuse = parts.reuse.to(request) if parts.reuse else None
        self._without_policy: dict[Candidate, TlsPolicyError] = {}  # what was told when kept sessions were looked for
        self._asleep: set[Candidate] = set()  # whose kept session was tried in their turn
        self._why: DsnStatus | None = None
        self._is_last_destination = False
        self._in_the_clear = False  # the next connection, whatever the policy: TLS has failed, and need not be

    async def run(self) -> FinalStatus:
        """Do it all."""
        ledger = self._ledger
        try:
            if self._parts.outgoing is not None:
                self._outgoing = await self._parts.outgoing.prepare(self._request, self._outgoing.content)
            await self._try_destinations()
        except RefusedHereError as refused:
            self._give_up(refused.why, Scope.MESSAGE, refused.relay)
        except ContentFailedError as failed:
            self._give_up(failed.why, Scope.MESSAGE)
        except CorruptContentError:
            self._give_up(UNREADABLE, Scope.MESSAGE)
        except ContentError as error:
            self._give_up(_cannot_read(error), Scope.MESSAGE)
        except CancelledError:
            self._give_up(CANCELLED, Scope.MESSAGE)
        except Exception:  # noqa: BLE001 - the one place where the unforeseen is contained: it defers the mail
            traceback = Failure().getTraceback()
            self._emit(events.DeliveryFailedUnexpectedly(self._request.queue_id, traceback))
            self._give_up(UNFORESEEN, Scope.MESSAGE)
        return await ledger.final_status()

    def _give_up(self, why: DsnStatus, scope: Scope, relay: str = NO_RELAY) -> None:
        """Nobody else will be asked."""
        self._ledger.end_session()
        self._ledger.begin_session(relay)
        self._ledger.last_host = True
        if self._ledger.remaining:
            self._ledger.fail(why, scope)
            self._ledger.end_session()

    async def _try_destinations(self) -> None:
        destinations = parse_nexthop(self._request.nexthop, self._parts.routing)
        for destination in destinations:
            self._is_last_destination = destination is destinations[-1]
            route = await self._parts.router.route(destination)
            self._why = route.problem
            self._is_last_destination = self._is_last_destination or route.is_final
            await self._try_candidates(destination, route)
            if self._is_last_destination or not self._ledger.remaining:
                break
        if self._ledger.remaining:
            why = self._last_reason(destinations[0], destination)
            if why.status == MAIL_LOOPS and self._parts.best_mx_transport is not None:
                await self._hand_over(self._parts.best_mx_transport)
            else:
                self._give_up(why, Scope.SITE)

    async def _hand_over(self, transport: OtherTransport) -> None:
        """Let another transport deliver what would come back to us."""
        ledger, request = self._ledger, self._request
        ledger.last_host = True
        for index, recipient in enumerate(ledger.remaining):
            self._emit(events.RecipientPassedOn(request.queue_id, recipient.address, transport.name))
            try:
                ledger.settled_elsewhere(index, final=await transport.hand_over(request, recipient))
            except HandOverError as error:
                ledger.take(RecipientFailed(index, error.why))
        ledger.end_session()

    def _last_reason(self, first: Destination, stopped_at: Destination) -> DsnStatus:
        """Why no host took the rest; what the administrator got wrong does not send mail back."""
        why = self._why or NO_HOST
        if not why.is_hard:
            return why
        parts = self._parts
        if stopped_at.is_fallback:
            culprit = "smtp_fallback_relay"
        elif not parts.routing.lmtp and parts.relayhost == (first.text,):
            culprit = "relayhost"
        else:
            return why
        self._emit(events.RelayConfigurationProblem(culprit))
        return replace(why, status="4.3.5")

    async def _try_candidates(self, destination: Destination, route: Route) -> None:
        parts, ledger, reuse = self._parts, self._ledger, self._reuse
        factory = DestinationFactory(parts.sessions, self._request.nexthop, detect_loops=destination.loop_detection)
        candidates: Sequence[Candidate] = route.candidates
        sessions_used = 0
        if reuse is not None and candidates:
            await reuse.decide(destination)
            if reuse.loads:
                kept = await self._use_kept(destination, route, factory)
                candidates, sessions_used = kept.left, kept.sessions
                if not ledger.remaining:
                    return
        walk = CandidateWalk(
            candidates,
            address_limit=parts.routing.address_limit,
            session_limit=parts.routing.session_limit,
            sessions_used=sessions_used,
        )
        for candidate in walk:
            ledger.begin_session(candidate.relay, candidate.host)
            ledger.last_host = self._is_last_destination and walk.is_last
            try:
                policy = await self._policy(candidate, destination, route)
            except TlsPolicyError as error:
                self._why = error.why or self._why
                ledger.end_session()
                continue
            turn = await self._turn(
                Place(destination.text, candidate, candidate.preference == route.best_preference), policy
            )
            # Those of the best hosts have been used before.
            if turn.place.is_best or not await self._try_kept(turn, walk, factory):
                session = await self._connect(turn, factory)
                if session is not None:
                    await self._use_and_keep(session, turn, walk)
            if not ledger.remaining:
                return

    async def _turn(self, place: Place, policy: TlsPolicy) -> _Turn:
        """A server's turn."""
        reuse = self._reuse
        endpoint = await reuse.endpoint(place, policy) if reuse is not None and (reuse.loads or reuse.stores) else None
        return _Turn(place, policy, endpoint)

    async def _connect(self, turn: _Turn, factory: DestinationFactory) -> Session | None:
        """A new session; None: there is none, which is told."""
        candidate = turn.place.candidate
        ear = await self._witness.ear_for(candidate) if self._witness else None
        since = self._reuse.now if self._reuse else 0.0
        try:
            session = await factory.open(candidate, is_best=turn.place.is_best, ear=ear, policy=turn.policy)
        except DialError as error:
            self._not_reached(error, is_local=bool(candidate.path))
            if error.ends_all:
                self._give_up(error.why, Scope.SITE)
            return None
        if self._reuse is not None:
            self._reuse.opened(session, since)
        return session

    # ---- sessions that were kept ----

    async def _use_kept(self, destination: Destination, route: Route, factory: DestinationFactory) -> KeptWalk:
        """Offer the message over sessions that others have left: one with any host, then those with the best hosts."""
        reuse, ledger, routing = self._reuse, self._ledger, self._parts.routing
        assert reuse is not None
        walk = KeptWalk(
            reuse.unused(route.candidates), address_limit=routing.address_limit, session_limit=routing.session_limit
        )
        if walk.left:
            lent = await reuse.lend_for_destination()
            turn = await self._turn_of(lent, destination, route) if lent is not None else None
            if lent is not None and turn is not None:
                walk.take(turn.place.candidate)
                await self._use_lent(lent, turn, walk, factory)
        for candidate in tuple(walk.left):
            if not ledger.remaining or not reuse.loads:
                break
            if candidate.preference != route.best_preference or candidate.path or candidate not in walk.left:
                continue
            try:
                policy = await self._policy(candidate, destination, route)
            except TlsPolicyError as error:
                self._without_policy[candidate] = error
                continue
            turn = await self._turn(Place(destination.text, candidate, True), policy)
            lent = await reuse.lend(turn.endpoint) if turn.endpoint is not None else None
            if lent is not None:
                walk.take(candidate)
                await self._use_lent(lent, turn, walk, factory)
        return walk

    async def _try_kept(self, turn: _Turn, walk: CandidateWalk, factory: DestinationFactory) -> bool:
        """Offer the message to the present candidate over a session that others have left; whether there was one.

        If that does not serve any more, it is the candidate's turn again, for a new connection.
        """
        reuse, candidate = self._reuse, turn.place.candidate
        if reuse is None or not reuse.loads or turn.endpoint is None or candidate in self._asleep:
            return False
        lent = await reuse.lend(turn.endpoint)
        if lent is None:
            return False
        self._asleep.add(candidate)
        await self._use_lent(lent, turn, walk, factory)
        return True

    async def _turn_of(self, lent: Lent, destination: Destination, route: Route) -> _Turn | None:
        """The turn of the server that a session leads to; None: another session would be opened now, and this one is closed.

        What is demanded of TLS is known only for hosts that the destination has now.
        """
        place, turn = lent.place, None
        assert place is not None
        try:
            if self._tls is None:
                turn = await self._turn(place, NO_TLS)
            elif place.site == destination.text:
                relay = place.candidate.relay
                candidate = next((known for known in route.candidates if known.relay == relay), None)
                if candidate is not None:
                    turn = await self._turn(place, await self._policy(candidate, destination, route))
        except TlsPolicyError:
            turn = None
        except BaseException:
            lent.session.close()
            raise
        if turn is None or turn.endpoint is None or not lent.is_as(turn.endpoint):
            lent.session.close()
            return None
        return turn

    async def _use_lent(
        self, lent: Lent, turn: _Turn, walk: CandidateWalk | KeptWalk, factory: DestinationFactory
    ) -> None:
        """Offer the message over a session that others have left.

        If the server does not serve any more, nobody is told, and it is as if there had been none.
        """
        session, candidate, reuse = lent.session, turn.place.candidate, self._reuse
        assert reuse is not None
        if lent.endpoint is not None:
            # Equal; but what is the same need not be compared when it is saved again.
            turn = turn._replace(endpoint=lent.endpoint)
        told = summary_of(session.tls, candidate.relay, kept=True) if session.tls and reuse.tells_tls else None
        try:
            ear = await self._witness.ear_for(candidate) if self._witness else None
            serves = session.wake(factory.peer(candidate, is_best=turn.place.is_best), ear, told)
        except BaseException:
            session.close()
            raise
        if not serves:
            walk.repeat()
            return
        self._ledger.begin_session(candidate.relay, candidate.host, reuse_count=session.reuse_count)
        try:
            await self._use_and_keep(session, turn, walk)
        except NotServingError:
            walk.repeat()
            self._ledger.end_session()
        else:
            reuse.used(candidate)

    async def _use_and_keep(self, session: Session, turn: _Turn, walk: CandidateWalk | KeptWalk) -> None:
        """Offer the message over a session, and leave that for the next message if it may be.

        Raises:
            NotServingError: the session was kept, and its server serves no more.
        """
        completed = await self._use(session, turn, walk)
        reuse = self._reuse
        if reuse is not None:
            if session.is_open and turn.endpoint is not None:
                saved = reuse.save(session, turn.place, turn.endpoint)
                if saved is not None:
                    await saved
            if completed:
                reuse.had_good_session()
        if self._witness:
            await self._witness.session_over(turn.place.candidate.relay, session.troubles)
        self._ledger.end_session(completed=completed)

    def _try_anew(self, walk: CandidateWalk | KeptWalk) -> None:
        """A session broke that had been kept: its server may be well, and is the next one, over a new connection."""
        assert self._reuse is not None
        self._reuse.let_down()
        self._ledger.last_host = False
        walk.repeat()

    # ---- TLS ----

    async def _policy(self, candidate: Candidate, destination: Destination, route: Route) -> TlsPolicy:
        """What is demanded of TLS with a server.

        Raises:
            TlsPolicyError: it is to be passed over.
        """
        in_the_clear, self._in_the_clear = self._in_the_clear, False
        if self._tls is None or in_the_clear:
            return NO_TLS
        if candidate in self._without_policy:
            raise self._without_policy.pop(candidate)
        return await self._tls.find(candidate, destination, route)

    async def _may_do_without_tls(self, level: Level, place: Place) -> bool:
        """Whether mail may go out in the clear after TLS has failed: where nobody demands it, and it was tried for a while.

        A probe does not wait; who must log in does not show the password to everybody.
        """
        request, stats = self._request, self._request.stats
        waited = (stats.active_arrival - stats.incoming_arrival) / _MICROSECONDS
        if level is not Level.MAY or not (request.is_probe or waited >= self._parts.backoff_seconds):
            return False
        logins = self._parts.sessions.logins
        return logins is None or not await logins.may_log_in(request.sender, place.candidate.host, place.name)

    def _try_in_the_clear(self, walk: CandidateWalk | KeptWalk) -> None:
        """The same server is the next one, without TLS; for now its recipients are kept."""
        self._in_the_clear = True
        self._ledger.last_host = False
        walk.repeat()

    def _not_reached(self, error: DialError, *, is_local: bool) -> None:
        ledger = self._ledger
        if error.event is not None:
            self._emit(error.event)
        if error.reset:
            # The server took the connection before it reset it: that is a session, if a short one.
            lost = Breakage.LOST.value.format(namaddr=error.namaddr, doing=phases.GREETING.doing)
            ledger.fail(DsnStatus("4.4.2", lost), Scope.SITE)
        else:
            self._why = error.why
            if not is_local and not error.ends_all:
                self._emit(events.HostNotReached(error.why.reason))
        ledger.end_session()

    async def _use(self, session: Session, turn: _Turn, walk: CandidateWalk | KeptWalk) -> bool:
        """Offer the message to one server; whether the session came to its normal end."""
        ledger, request, outgoing = self._ledger, self._request, self._outgoing
        place, level = turn.place, turn.policy.level
        age = (self._parts.now() - request.stats.incoming_arrival) / _MICROSECONDS
        try:
            occasion = Occasion(request.queue_id, age, request.sender, place.name)
            rebuff = None if session.reuse_count else await session.greet(occasion)
            if rebuff is not None:
                # Told first: a server may keep us waiting for its goodbye.
                ledger.fail(rebuff.why, Scope.SITE)
                await session.quit()
                return False
            walk.count_session()
            ledger.last_host = self._is_last_destination and walk.is_last
            ledger.server_has_dsn(session.welcome.capabilities.offers(Feature.DSN))
            recipients = outgoing.addressed(ledger.remaining)
            keep = self._reuse.keep(session, turn.endpoint) if self._reuse else never
            return await session.transact(outgoing.request, recipients, outgoing.content, ledger.take, keep)
        except TlsFailedError as failed:
            if failed.in_handshake and await self._may_do_without_tls(level, place):
                self._try_in_the_clear(walk)
            # Where TLS need not be, a server whose TLS does not work is not sick.
            ledger.fail(failed.why, Scope.MESSAGE if failed.in_handshake and not level.is_required else Scope.SITE)
        except ConnectionBrokenError as broken:
            lost = broken.breakage is not Breakage.LOCAL_ERROR
            if session.reuse_count:
                if broken.breakage is Breakage.LOST and broken.phase is not phases.DOT:
                    self._try_anew(walk)
            elif session.tls and lost and ledger.has_undecided and await self._may_do_without_tls(level, place):
                self._try_in_the_clear(walk)
            ledger.fail(broken.why(session.peer), Scope.SITE)
        except CorruptContentError:
            ledger.fail(UNREADABLE, Scope.MESSAGE)
        except ContentError as error:
            self._give_up(_cannot_read(error), Scope.MESSAGE)
        except ContentFailedError as rejected:
            if rejected.why.is_hard:
                ledger.fail(rejected.why, Scope.MESSAGE)
            else:
                self._give_up(rejected.why, Scope.MESSAGE)
        return False


def _cannot_read(error: ContentError) -> DsnStatus:
    return DsnStatus("4.3.0", f"cannot read message content: {error}")
