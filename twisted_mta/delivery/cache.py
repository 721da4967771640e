"""The connection cache in the process: sessions that rest between two messages.

A session is saved under the address of its server, and lent to one delivery at a time, the one that has rested longest first. The
name of a destination leads to addresses: a binding lasts as long as a session may rest, and the first address with a session
counts. Nothing is without bounds: how long a session rests, how many do for one address and in all, how many bindings there are.

Flow: delivery/reuse.py saves and borrows; assembly.py makes one for each configuration, generations.py ends it with that.
Sources: scache(8); postconf(5) smtp_connection_cache_time_limit, connection_cache_ttl_limit; CONNECTION_CACHE_README.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from twisted_mta.config.settings import Settings
from twisted_mta.config.values import read_seconds
from twisted_mta.delivery.cache_keys import DestinationKey, EndpointKey, KeyFields
from twisted_mta.delivery.kept import Effect, Happening, Kept
from twisted_mta.interfaces import IConnectionCache
from twisted_mta.routing.candidates import Candidate
from twisted_mta.session.session import Session
from twisted_mta.tls.levels import Level

MOST_FOR_ONE_ADDRESS = 250
"""Sessions that may rest for one address: more than any limit on concurrent deliveries that makes sense."""

MOST_SESSIONS = 1000
"""Sessions that may rest in all; each holds a descriptor, and TLS some 50 KB."""

_SHORTEST_WAIT = 0.01  # a clock that is set back must not make a busy loop


class Place(NamedTuple):
    """Where a session of a destination leads.

    Attributes:
        site: the element of the nexthop, or the fallback relay, that led there.
        candidate: the server.
        is_best: whether it had the best preference of that site.
    """

    site: str
    candidate: Candidate
    is_best: bool

    @property
    def name(self) -> str:
        """The site, as passwords are looked up by it."""
        return self.site.removeprefix("unix:") if self.candidate.path else self.site


class Lent(NamedTuple):
    """A session that a delivery may use, after it has asked the server with `Session.wake`.

    Attributes:
        session: it rested until now.
        endpoint: what it was saved under; None: nobody knows, but for the level.
        place: where it leads; None: it was asked for by its address.
        level: what was demanded of TLS.
    """

    session: Session
    endpoint: EndpointKey | None
    place: Place | None = None
    level: Level = Level.NONE

    def is_as(self, endpoint: EndpointKey) -> bool:
        """Whether it is such a session as would be opened now under this name."""
        if self.endpoint is None:
            return self.level is endpoint.policy.level and not self.level.is_required
        return self.endpoint == endpoint


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much may rest.

    Attributes:
        seconds: how long.
        for_one_address: how many sessions for one address.
        in_all: how many sessions.
    """

    seconds: float
    for_one_address: int = MOST_FOR_ONE_ADDRESS
    in_all: int = MOST_SESSIONS

    @classmethod
    def from_settings(cls, settings: Settings) -> "PoolLimits":
        """Read the parameters, those of scache(8) too: this takes its place.

        Raises:
            ConfigError: one of them cannot be used.
        """
        name = "connection_cache_ttl_limit"
        longest = read_seconds(name, settings.expanded(name) or "2s", minimum=1)
        return cls(min(settings.smtp_connection_cache_time_limit, longest))


class _Pooled(Kept):
    """A session that this cache knows."""

    __slots__ = ("endpoint", "session")

    session: Session

    def __init__(self, session: Session, endpoint: EndpointKey) -> None:
        super().__init__(session)
        self.endpoint = endpoint


_Binding = tuple[Place, float]  # where to, and until when


@implementer(IConnectionCache)
class SessionPool:
    """Keeps sessions in this process.

    Attributes:
        key_fields: what keys are made of: what a session of a destination is like shows when it is found (IConnectionCache).
    """

    key_fields = KeyFields(level_of_destination=False)

    def __init__(self, clock: IReactorTime, limits: PoolLimits) -> None:
        """Begin empty.

        Args:
            clock: the time.
            limits: how much may rest.
        """
        self._clock = clock
        self._limits = limits
        self._resting: dict[_Pooled, float] = {}  # until when; the oldest first, since all may rest equally long
        self._by_endpoint: dict[EndpointKey, dict[_Pooled, None]] = {}  # the oldest first
        self._bindings: dict[DestinationKey, dict[EndpointKey, _Binding]] = {}
        self._timer: IDelayedCall | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many sessions rest."""
        return len(self._resting)

    @property
    def accepts(self) -> bool:
        """Whether sessions are still kept (IConnectionCache)."""
        return not self._closed

    def lend(self, key: DestinationKey | EndpointKey) -> Lent | None:
        """Give away the session that has rested longest, if there is any (IConnectionCache)."""
        if isinstance(key, EndpointKey):
            return self._lend(key, None)
        bindings = self._bindings.get(key)
        if bindings:
            now = self._clock.seconds()
            for endpoint, (place, until) in bindings.items():
                if until >= now and (lent := self._lend(endpoint, place)):
                    return lent
        return None

    def _lend(self, endpoint: EndpointKey, place: Place | None) -> Lent | None:
        pooled = self._by_endpoint.get(endpoint)
        if not pooled:
            return None
        oldest = next(iter(pooled))
        if oldest.tell(Happening.WANTED) is not Effect.LEND:
            raise AssertionError("what rests can be lent")
        self._take_out(oldest)
        return Lent(oldest.session, oldest.endpoint, place, endpoint.policy.level)

    def keep(self, session: Session, endpoint: EndpointKey, destination: DestinationKey | None, place: Place) -> None:
        """Save a session, or close it (IConnectionCache)."""
        kept: _Pooled | None = session.kept
        if kept is None:
            kept = session.kept = _Pooled(session, endpoint)
        kept.endpoint = endpoint
        if self._closed:
            kept.tell(Happening.RETIRED)
            return
        if kept.tell(Happening.RETURNED) is not Effect.KEEP:
            raise AssertionError("only what was lent can come back")
        until = self._clock.seconds() + self._limits.seconds
        if destination is not None:
            self._bind(destination, endpoint, (place, until))
        self._put_in(kept, until)
        if not session.rest(self._when(kept, Happening.DISTURBED)):
            self._happened(kept, Happening.DISTURBED)

    def shed(self) -> bool:
        """Close all that rests, since descriptors are needed elsewhere (IConnectionCache)."""
        crowd = tuple(self._resting)
        for kept in crowd:
            self._happened(kept, Happening.CROWDED_OUT)
        return bool(crowd)

    def close(self) -> None:
        """Close all that rests, and keep nothing from now on (IConnectionCache)."""
        self._closed = True
        for kept in tuple(self._resting):
            self._happened(kept, Happening.RETIRED)
        self._bindings.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- the books ----

    def _put_in(self, kept: _Pooled, until: float) -> None:
        for_endpoint = self._by_endpoint.get(kept.endpoint)
        if for_endpoint is None:
            for_endpoint = self._by_endpoint[kept.endpoint] = {}
        elif len(for_endpoint) >= self._limits.for_one_address:
            self._happened(next(iter(for_endpoint)), Happening.CROWDED_OUT)
            for_endpoint = self._by_endpoint.setdefault(kept.endpoint, {})
        if len(self._resting) >= self._limits.in_all:
            self._happened(next(iter(self._resting)), Happening.CROWDED_OUT)
            for_endpoint = self._by_endpoint.setdefault(kept.endpoint, {})
        for_endpoint[kept] = None
        self._resting[kept] = until
        if self._timer is None:
            self._timer = self._clock.callLater(self._limits.seconds, self._look)

    def _take_out(self, kept: _Pooled) -> None:
        del self._resting[kept]
        for_endpoint = self._by_endpoint[kept.endpoint]
        del for_endpoint[kept]
        if not for_endpoint:
            del self._by_endpoint[kept.endpoint]

    def _bind(self, destination: DestinationKey, endpoint: EndpointKey, binding: _Binding) -> None:
        bindings = self._bindings.get(destination)
        if bindings is None:
            if len(self._bindings) >= self._limits.in_all:
                del self._bindings[next(iter(self._bindings))]
            bindings = self._bindings[destination] = {}
        elif endpoint not in bindings and len(bindings) >= self._limits.for_one_address:
            del bindings[next(iter(bindings))]
        bindings[endpoint] = binding

    # ---- what happens ----

    def _when(self, kept: _Pooled, happening: Happening) -> Callable[[], None]:
        return lambda: self._happened(kept, happening)

    def _happened(self, kept: _Pooled, happening: Happening) -> None:
        """Something has happened to a session, which may rest."""
        if kept.tell(happening) is Effect.CLOSE:
            self._take_out(kept)

    def _look(self) -> None:
        """See who has rested too long, and which bindings have ended."""
        self._timer = None
        now = self._clock.seconds()
        late = []
        for kept, until in self._resting.items():
            if until > now:
                break
            late.append(kept)
        for kept in late:
            self._happened(kept, Happening.EXPIRED)
        for destination, bindings in tuple(self._bindings.items()):
            for endpoint in [endpoint for endpoint, (_, until) in bindings.items() if until <= now]:
                del bindings[endpoint]
            if not bindings:
                del self._bindings[destination]
        if self._resting:
            wait = max(next(iter(self._resting.values())) - now, _SHORTEST_WAIT)
            self._timer = self._clock.callLater(wait, self._look)
