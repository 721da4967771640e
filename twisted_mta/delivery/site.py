"""The servers of one destination, one after the other, until every recipient has its fate or none is left.

Sessions that were kept are used first; then one host after the other is dialled, within the limits for addresses and sessions.

Flow: delivery/deliver.py has one for each destination; delivery/factory.py opens sessions, delivery/offering.py uses them.
Sources: smtp(8); RFC 5321 section 5.1; postconf(5) smtp_mx_address_limit, smtp_mx_session_limit.
"""

from collections.abc import Sequence

from twisted_mta.delivery.cache import Place
from twisted_mta.delivery.dial import DialError
from twisted_mta.delivery.errand import Errand
from twisted_mta.delivery.factory import DestinationFactory
from twisted_mta.delivery.kept_sessions import KeptSessions
from twisted_mta.delivery.offering import Offering, Turn
from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.tls_events import HandshakeFailed
from twisted_mta.routing.candidates import Candidate, CandidateWalk
from twisted_mta.routing.destination import Destination
from twisted_mta.routing.router import Route
from twisted_mta.session.session import NO_HANDSHAKE, Session
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import Breakage, Scope
from twisted_mta.tls.handshake import RESET
from twisted_mta.tls.policies import TlsPolicyError
from twisted_mta.tls.policy import NO_TLS


class Site:
    """One destination of one request."""

    __slots__ = ("_destination", "_errand", "_factory", "_is_last", "_kept", "_offering", "_route", "_why")

    def __init__(self, errand: Errand, destination: Destination, route: Route, *, is_last: bool) -> None:
        """Prepare.

        Args:
            errand: the message.
            destination: where it is to go.
            route: the servers to try.
            is_last: whether no destination follows.
        """
        self._errand = errand
        self._destination = destination
        self._route = route
        self._is_last = is_last
        self._why = route.problem
        self._factory = DestinationFactory(
            errand.parts.sessions, errand.request.nexthop, detect_loops=destination.loop_detection
        )
        self._offering = Offering(errand, is_last_destination=is_last)
        self._kept: KeptSessions | None = None

    async def try_servers(self) -> DsnStatus | None:
        """Try one server after the other.

        Returns:
            Why the last one that could not even be reached took nothing; None: there was none such.
        """
        errand, route, destination = self._errand, self._route, self._destination
        ledger, routing, reuse = errand.ledger, errand.parts.routing, errand.reuse
        candidates: Sequence[Candidate] = route.candidates
        sessions_used = 0
        if reuse is not None and candidates:
            await reuse.decide(destination)
            if reuse.loads:
                self._kept = KeptSessions(errand, reuse, destination, route, self._factory, self._offering)
                kept = await self._kept.use()
                candidates, sessions_used = kept.left, kept.sessions
                if not ledger.remaining:
                    return self._why
        walk = CandidateWalk(
            candidates,
            address_limit=routing.address_limit,
            session_limit=routing.session_limit,
            sessions_used=sessions_used,
        )
        for candidate in walk:
            ledger.begin_session(candidate.relay, candidate.host)
            ledger.last_host = self._is_last and walk.is_last
            await self._try(candidate, walk)
            if not ledger.remaining:
                break
        return self._why

    async def _try(self, candidate: Candidate, walk: CandidateWalk) -> None:
        """Offer the message to one server."""
        errand = self._errand
        policy = NO_TLS
        if errand.tls is not None:
            try:
                policy = await errand.tls.policy(candidate, self._destination, self._route)
            except TlsPolicyError as error:
                self._why = error.why or self._why
                errand.ledger.end_session()
                return
        place = Place(self._destination.text, candidate, candidate.preference == self._route.best_preference)
        endpoint = await errand.reuse.endpoint(place, policy) if errand.reuse is not None else None
        turn = Turn(place, policy, endpoint)
        # Kept sessions with the best hosts have been used before.
        if self._kept is None or place.is_best or not await self._kept.use_for(turn, walk):
            session = await self._connect(turn)
            if session is not None:
                await self._offering.offer(session, turn, walk)

    async def _connect(self, turn: Turn) -> Session | None:
        """A new session; None: there is none, which is told."""
        errand, candidate, reuse = self._errand, turn.place.candidate, self._errand.reuse
        ear = await errand.witness.ear_for(candidate) if errand.witness else None
        since = reuse.now if reuse else 0.0
        try:
            session = await self._factory.open(candidate, is_best=turn.place.is_best, ear=ear, policy=turn.policy)
        except DialError as error:
            self._not_reached(error, candidate)
            if error.ends_all:
                errand.ledger.give_up(error.why, Scope.SITE)
            return None
        if reuse is not None:
            reuse.opened(session, since)
        return session

    def _not_reached(self, error: DialError, candidate: Candidate) -> None:
        ledger, emit = self._errand.ledger, self._errand.emit
        if error.event is not None:
            emit(error.event)
        if error.reset:
            # The server took the connection before it reset it: that is a session, if a short one.
            ledger.fail(self._lost_at_once(candidate), Scope.SITE)
        else:
            self._why = error.why
            if not candidate.path and not error.ends_all:
                emit(events.HostNotReached(error.why.reason))
        ledger.end_session()

    def _lost_at_once(self, candidate: Candidate) -> DsnStatus:
        if self._errand.parts.sessions.tls.wrapper:
            self._errand.emit(HandshakeFailed(candidate.relay, RESET))
            return NO_HANDSHAKE
        return DsnStatus("4.4.2", Breakage.LOST.value.format(namaddr=candidate.namaddr, doing=phases.GREETING.doing))
