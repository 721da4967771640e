"""Offer a message over sessions that others have left.

First over one with any host of the destination, then over those with the best hosts; over one with a worse host when that has its
turn. A session that serves no more counts as if there had been none.

Flow: delivery/site.py asks before it connects; delivery/reuse.py says which sessions may be used, delivery/offering.py uses them.
Sources: postconf(5) smtp_connection_cache_destinations, smtp_connection_cache_on_demand; CONNECTION_CACHE_README.
"""

from twisted_mta.delivery.cache import Lent, Place
from twisted_mta.delivery.errand import Errand
from twisted_mta.delivery.factory import DestinationFactory
from twisted_mta.delivery.offering import Offering, Turn, Walk
from twisted_mta.delivery.reuse import KeptWalk, Reuse
from twisted_mta.routing.candidates import Candidate
from twisted_mta.routing.destination import Destination
from twisted_mta.routing.router import Route
from twisted_mta.smtp.probing import NotServingError
from twisted_mta.tls.policies import TlsPolicyError
from twisted_mta.tls.policy import NO_TLS
from twisted_mta.tls.summary import summary_of


class KeptSessions:
    """The kept sessions with the servers of one destination."""

    __slots__ = ("_destination", "_errand", "_factory", "_offering", "_reuse", "_route")

    def __init__(
        self,
        errand: Errand,
        reuse: Reuse,
        destination: Destination,
        route: Route,
        factory: DestinationFactory,
        offering: Offering,
    ) -> None:
        """Prepare.

        Args:
            errand: the message.
            reuse: which sessions may be used.
            destination: where they lead.
            route: its servers.
            factory: knows how the servers are called.
            offering: offers the message.
        """
        self._errand = errand
        self._reuse = reuse
        self._destination = destination
        self._route = route
        self._factory = factory
        self._offering = offering

    async def use(self) -> KeptWalk:
        """Offer the message over one with any host, then over those with the best hosts.

        Returns:
            The servers that are left, and how many sessions were used.
        """
        errand, reuse, route, destination = self._errand, self._reuse, self._route, self._destination
        routing = errand.parts.routing
        walk = KeptWalk(
            reuse.unused(route.candidates), address_limit=routing.address_limit, session_limit=routing.session_limit
        )
        if walk.left:
            lent = await reuse.lend_for_destination()
            turn = await self._turn_of(lent) if lent is not None else None
            if lent is not None and turn is not None:
                walk.take(turn.place.candidate)
                await self._use(lent, turn, walk)
        for candidate in tuple(walk.left):
            if not errand.ledger.remaining or not reuse.loads:
                break
            if candidate.preference != route.best_preference or candidate.path or candidate not in walk.left:
                continue
            policy = NO_TLS
            if errand.tls is not None:
                try:
                    policy = await errand.tls.policy(candidate, destination, route)
                except TlsPolicyError as error:
                    errand.tls.passed_over(candidate, error)
                    continue
            place = Place(destination.text, candidate, True)
            endpoint = await reuse.endpoint(place, policy)
            lent = await reuse.lend(endpoint) if endpoint is not None else None
            if lent is not None:
                walk.take(candidate)
                await self._use(lent, Turn(place, policy, endpoint), walk)
        return walk

    async def use_for(self, turn: Turn, walk: Walk) -> bool:
        """Offer the message to the present candidate over one; whether there was one.

        If that does not serve any more, it is the candidate's turn again, for a new connection.
        """
        reuse, candidate = self._reuse, turn.place.candidate
        if not reuse.loads or turn.endpoint is None or candidate in reuse.asleep:
            return False
        lent = await reuse.lend(turn.endpoint)
        if lent is None:
            return False
        reuse.asleep.add(candidate)
        await self._use(lent, turn, walk)
        return True

    async def _turn_of(self, lent: Lent) -> Turn | None:
        """The turn of the server that a session leads to; None: another session would be opened now, and this one is closed.

        What is demanded of TLS is known only for hosts that the destination has now.
        """
        place, tls, turn = lent.place, self._errand.tls, None
        assert place is not None
        try:
            if tls is None:
                turn = Turn(place, NO_TLS, await self._reuse.endpoint(place, NO_TLS))
            elif place.site == self._destination.text and (candidate := self._known(place.candidate)):
                policy = await tls.policy(candidate, self._destination, self._route)
                turn = Turn(place, policy, await self._reuse.endpoint(place, policy))
        except TlsPolicyError:
            turn = None
        except BaseException:
            lent.session.close()
            raise
        if turn is None or turn.endpoint is None or not lent.is_as(turn.endpoint):
            lent.session.close()
            return None
        return turn

    def _known(self, candidate: Candidate) -> Candidate | None:
        """The same server, as the destination has it now."""
        return next((known for known in self._route.candidates if known.relay == candidate.relay), None)

    async def _use(self, lent: Lent, turn: Turn, walk: Walk) -> None:
        """Offer the message over a session that others have left.

        If the server does not serve any more, nobody is told, and it is as if there had been none.
        """
        session, candidate, reuse, errand = lent.session, turn.place.candidate, self._reuse, self._errand
        if lent.endpoint is not None:
            # Equal; but what is the same need not be compared when it is saved again.
            turn = turn._replace(endpoint=lent.endpoint)
        told = summary_of(session.tls, candidate.relay, kept=True) if session.tls and reuse.tells_tls else None
        try:
            ear = await errand.witness.ear_for(candidate) if errand.witness else None
            serves = session.wake(self._factory.peer(candidate, is_best=turn.place.is_best), ear, told)
        except BaseException:
            session.close()
            raise
        if not serves:
            walk.repeat()
            return
        errand.ledger.begin_session(candidate.relay, candidate.host, reuse_count=session.reuse_count)
        try:
            await self._offering.offer(session, turn, walk)
        except NotServingError:
            walk.repeat()
            errand.ledger.end_session()
        else:
            reuse.used(candidate)
