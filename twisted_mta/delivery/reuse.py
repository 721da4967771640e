"""What one delivery does about sessions that are kept: whether it may use and leave some, and which.

A destination is cached because it is listed, or because the queue manager asks for it, which sees more mail coming. That is
decided for the first destination of a request, and holds for its fallback relays, too. The first good session of a request is
saved under the name of its destination, whatever host it led to, so that the next message need not try dead ones first; all are
saved under the address of their server.

Flow: delivery/kept_sessions.py asks before anybody connects, delivery/offering.py leaves what was opened; an IConnectionCache
keeps it meanwhile.
Sources: postconf(5) smtp_connection_cache_destinations, smtp_connection_cache_on_demand, smtp_connection_reuse_time_limit,
smtp_connection_reuse_count_limit; CONNECTION_CACHE_README; qmgr(8).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twisted_mta.delivery.cache import Lent, Place
from twisted_mta.delivery.cache_keys import DestinationKey, EndpointKey, KeyRules
from twisted_mta.interfaces import IConnectionCache, TableError
from twisted_mta.model.request import DeliveryRequest, RequestFlags
from twisted_mta.routing.candidates import Candidate
from twisted_mta.routing.destination import Destination
from twisted_mta.session.login import LoginRules
from twisted_mta.session.session import Session
from twisted_mta.smtp.transaction import never
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import TlsPolicy

# As plain numbers, which are tested in a moment.
_LOAD, _STORE = int(RequestFlags.CONN_LOAD), int(RequestFlags.CONN_STORE)

Listed = Callable[[str], bool | Deferred[bool]]
"""Whether a destination is in a list; raises TableError, which has been told."""


@dataclass(frozen=True, slots=True)
class ReuseRules:
    """The rules of one configuration.

    Attributes:
        cache: keeps sessions.
        keys: how they are called there.
        clock: the time.
        listed: whether sessions with a destination are always kept; None: no destination is listed.
        on_demand: whether they are kept when the queue manager asks for it.
        age_seconds: how old a session may be when it is left for the next message.
        count_limit: how often a session may be used again; 0 or less: as often as its age permits.
        logins: with which credentials; None: nobody logs in anywhere.
        has_policies: whether servers have TLS policies.
        tells_tls: whether a line is logged when a session with TLS is used again.
    """

    cache: IConnectionCache
    keys: KeyRules
    clock: IReactorTime
    listed: Listed | None = None
    on_demand: bool = True
    age_seconds: float = 300.0
    count_limit: int = 0
    logins: LoginRules | None = None
    has_policies: bool = False
    tells_tls: bool = False

    def to(self, request: DeliveryRequest) -> "Reuse | None":
        """What they mean for a request; None: no session can be kept, or used again."""
        demanded = self.on_demand and int(request.flags) & (_LOAD | _STORE)
        return Reuse(self, request) if self.listed is not None or demanded else None


class Reuse:
    """What one delivery does about kept sessions.

    Attributes:
        loads: whether sessions that others have left may be used.
        stores: whether sessions are left for others.
        asleep: candidates whose kept session was tried in their turn.
    """

    __slots__ = ("_decided", "_named", "_nexthop", "_request", "_rules", "_used", "_utf8", "asleep", "loads", "stores")

    def __init__(self, rules: ReuseRules, request: DeliveryRequest) -> None:
        self._rules = rules
        self._request = request
        self._utf8 = request.smtputf8.required
        self._decided = False
        self._named: DestinationKey | None = None
        self._nexthop = ""  # the name that the first good session is saved under; empty: no more
        self._used: set[str] = set()  # addresses whose kept sessions have had the message
        self.loads = False
        self.stores = False
        self.asleep: set[Candidate] = set()

    @property
    def tells_tls(self) -> bool:
        """Whether a line is logged when a session with TLS is used again."""
        return self._rules.tells_tls

    async def decide(self, destination: Destination) -> None:
        """Decide, by the first destination that has hosts."""
        if self._decided:
            return
        self._decided = True
        rules, flags = self._rules, int(self._request.flags)
        if rules.listed is not None and await _is_listed(rules.listed, destination.path or destination.host):
            self.loads = self.stores = True
        elif rules.on_demand:
            self.loads = bool(flags & _LOAD)
            self.stores = bool(flags & _STORE)
        if self.loads or self.stores:
            self._nexthop = destination.text

    # ---- using what others have left ----

    def unused(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates whose kept sessions have not had the message."""
        return [candidate for candidate in candidates if candidate.address not in self._used]

    async def lend_for_destination(self) -> Lent | None:
        """A session with any host of the destination."""
        if not self._nexthop:
            return None
        return await self.lend(self._destination(Level.NONE))

    async def endpoint(self, place: Place, policy: TlsPolicy) -> EndpointKey | None:
        """The name of a session with a server, such as would be opened now.

        Args:
            place: the server.
            policy: what is demanded of TLS.

        Returns:
            None: nobody knows who is to be logged in, or nobody asks for it.
        """
        if not (self.loads or self.stores):
            return None
        rules, sender, candidate = self._rules, self._request.sender, place.candidate
        login = None
        if rules.logins is not None:
            try:
                login = await rules.logins.find_credentials(sender, candidate.host, place.name)
            except TableError:
                return None
        return rules.keys.endpoint(sender, place.site, candidate, policy, utf8=self._utf8, login=login)

    async def lend(self, key: DestinationKey | EndpointKey) -> Lent | None:
        """A session that others have left."""
        lent = self._rules.cache.lend(key)
        if isinstance(lent, Deferred):
            lent = await lent
        assert lent is None or isinstance(lent, Lent)
        return lent

    def used(self, candidate: Candidate) -> None:
        """A kept session has had the message."""
        self._used.add(candidate.address)

    def let_down(self) -> None:
        """A kept session broke in use: what is not delivered goes out over new ones."""
        self.loads = False

    # ---- leaving something for others ----

    @property
    def now(self) -> float:
        """The time, in the clock's seconds."""
        return self._rules.clock.seconds()

    def opened(self, session: Session, since: float) -> None:
        """A session is new; `since`: when we began to connect."""
        if self.stores:
            session.serves_until = since + self._rules.age_seconds

    def keep(self, session: Session, endpoint: EndpointKey | None) -> Callable[[], bool]:
        """Says whether a session may be left for others, under a name; None: it has none."""
        if not self.stores or endpoint is None or session.serves_until is None:
            return never
        return lambda: self._may_keep(session)

    def _may_keep(self, session: Session) -> bool:
        rules, until = self._rules, session.serves_until
        return (
            until is not None
            and rules.clock.seconds() <= until
            and not 0 < rules.count_limit <= session.reuse_count
            and bool(rules.cache.accepts)
        )

    def save(self, session: Session, place: Place, endpoint: EndpointKey) -> Deferred[None] | None:
        """Leave a session that is open.

        Args:
            session: nobody uses it any more.
            place: where it leads.
            endpoint: the name that it has been opened under.

        Returns:
            None if that is done, or a Deferred that fires when it is.
        """
        rules, destination = self._rules, None
        # A policy belongs to the hosts of its destination: one that led elsewhere cannot be found again by that name.
        if self._nexthop and (place.site == self._nexthop or not rules.has_policies):
            destination = self._destination(endpoint.policy.level)
        saved: Deferred[None] | None = rules.cache.keep(session, endpoint, destination, place)
        return saved

    def _destination(self, level: Level) -> DestinationKey:
        """The name of the destination; the same again and again, where the level does not matter."""
        keys, sender = self._rules.keys, self._request.sender
        if keys.fields.level_of_destination:
            return keys.destination(sender, self._nexthop, utf8=self._utf8, level=level)
        if self._named is None:
            self._named = keys.destination(sender, self._nexthop, utf8=self._utf8)
        return self._named

    def had_good_session(self) -> None:
        """Sessions from now on are saved under the addresses of their servers alone."""
        self._nexthop = ""


class KeptWalk:
    """The candidates that are left for new connections, while kept sessions are used: the books of a CandidateWalk."""

    def __init__(self, candidates: Sequence[Candidate], *, address_limit: int, session_limit: int) -> None:
        """Begin.

        Args:
            candidates: in the order to try them.
            address_limit: smtp_mx_address_limit; 0 or less: none.
            session_limit: smtp_mx_session_limit; 0 or less: none.
        """
        self.left = list(candidates)
        """The candidates that are left."""
        self.sessions = 0
        """How many sessions were used."""
        self._limits = (address_limit, session_limit)
        self._before = self.left

    def take(self, candidate: Candidate) -> None:
        """A kept session with this server is about to be used."""
        self._before = self.left
        self.sessions += 1
        if any(0 < limit <= self.sessions for limit in self._limits):
            self.left = []
        else:
            self.left = [other for other in self.left if other.address != candidate.address]

    @property
    def is_last(self) -> bool:
        """Whether no server is left."""
        return not self.left

    def count_session(self) -> None:
        """It was counted when it was taken."""

    def repeat(self) -> None:
        """The session broke: its server gets another chance, as if it had not been tried."""
        self.left = self._before
        self.sessions -= 1


async def _is_listed(listed: Listed, name: str) -> bool:
    """Whether a destination is in a list; where nobody can tell, it is not."""
    try:
        found = listed(name)
        return await found if isinstance(found, Deferred) else found
    except TableError:
        return False
