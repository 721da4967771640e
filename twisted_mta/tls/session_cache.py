"""TLS sessions to be taken up again, in memory.

A session that is taken up shows no certificates, so that the verdict of its first handshake is kept with it; the key holds all
that the verdict depends on. Sessions are kept as bytes: OpenSSL marks its own objects as used up when a connection ends in an
odd way.

Flow: tls/engine.py finds a session before a handshake, tls/handshake.py keeps or forgets it.
Sources: postconf(5) smtp_tls_session_cache_database, smtp_tls_session_cache_timeout; RFC 5077; RFC 8446 sections 2.2 and 4.6.1.
"""

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from twisted_mta.config.settings import Settings
from twisted_mta.tls.der import DerError, inside
from twisted_mta.tls.library import CAN_KEEP_SESSIONS
from twisted_mta.tls.verification import Verdict

MOST_SESSIONS = 2000
"""So many are kept, of one to two KiB each; then the one that was used longest ago goes."""

MOST_OCTETS = 8 * 1024 * 1024
"""So large they are together; a server can make its own as large as it likes, and as many as it has names."""

SHORTEST_SECONDS = 120
"""A shorter life than that is made as long; tlsmgr(8) could not keep up with less."""

LONGEST_SESSION = 32 * 1024
"""Octets of a session; a server that makes larger ones gets full handshakes."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What a session may be taken up for: the same server, asked for in the same way, with the same demands.

    Attributes:
        service: our name.
        nexthop: the destination.
        host: the server's name.
        address: its address.
        terms: all else that the verdict and the session depend on.
    """

    service: str
    nexthop: str
    host: str
    address: str
    terms: Hashable

    @property
    def shown(self) -> str:
        """The key in one word, for the log."""
        digest = hashlib.sha256(repr(self.terms).encode("utf-8", "surrogatepass")).hexdigest().upper()
        fields = (self.service, self.nexthop, self.host, self.address, "", "", digest)
        return "&".join(base64.b64encode(field.encode()).decode() if "&" in field else field for field in fields)


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session.

    Attributes:
        der: as OpenSSL writes it, with its secret.
        verdict: on the server, of its first handshake.
        judged_at: when that was, by the clock of the cache.
    """

    der: bytes = field(repr=False)
    verdict: Verdict
    judged_at: float


class SessionCache:
    """The sessions of an engine, by key."""

    def __init__(self, lifetime_seconds: float, clock: IReactorTime, *, limit: int = MOST_SESSIONS) -> None:
        """Begin with none.

        Args:
            lifetime_seconds: no verdict is believed for longer.
            clock: tells the time.
            limit: how many are kept.
        """
        self.lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._limit = limit
        self._octets = 0
        self._kept: OrderedDict[SessionKey, KeptSession] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings, clock: IReactorTime) -> "SessionCache | None":
        """The cache that is configured; None: none is."""
        seconds = settings.smtp_tls_session_cache_timeout
        if not (settings.smtp_tls_session_cache_database and seconds and CAN_KEEP_SESSIONS):
            return None
        return cls(max(seconds, SHORTEST_SECONDS), clock)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def now(self) -> float:
        """The time, for `KeptSession.judged_at`."""
        return float(self._clock.seconds())

    def find(self, key: SessionKey) -> KeptSession | None:
        """The session with this key; None: there is none, or it is too old."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.judged_at + self.lifetime_seconds <= self.now:
            self.forget(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def keep(self, key: SessionKey, session: KeptSession) -> None:
        """Keep a session instead of the one with the same key."""
        if len(session.der) > LONGEST_SESSION:
            return
        self.forget(key)
        self._kept[key] = session
        self._octets += len(session.der)
        while len(self._kept) > self._limit or self._octets > MOST_OCTETS:
            _, oldest = self._kept.popitem(last=False)
            self._octets -= len(oldest.der)

    def forget(self, key: SessionKey) -> None:
        """Keep the session with this key no longer, if there is one."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._octets -= len(kept.der)


_SESSION_ID = 3  # its place among the elements of a session
_TICKET_TAG = 0xAA  # [10], constructed


def can_be_resumed(der: bytes) -> bool:
    """Whether a session has what a server needs to find it again: an id or a ticket (SSL_SESSION_is_resumable(3))."""
    try:
        return any(
            element.tag == _TICKET_TAG or (number == _SESSION_ID and element.end > element.start)
            for number, element in enumerate(inside(der))
        )
    except DerError:
        return False
