"""TLS sessions to be taken up again, in memory, and perhaps in a store that other processes have, too.

A session that is taken up shows no certificates, so that the verdict of its first handshake is kept with it; the key holds all
that the verdict depends on. Sessions are kept as bytes: OpenSSL marks its own objects as used up when a connection ends in an
odd way.

What is in memory is found there at once, and only what is not is asked for in the store. What is kept goes to both; nobody waits
for that. A session that goes on has a new ticket each time, but the store is spared most of them: an earlier one does as well.

Flow: tls/engine.py looks a session up before a handshake, tls/handshake.py keeps or forgets it.
Sources: postconf(5) smtp_tls_session_cache_database, smtp_tls_session_cache_timeout; RFC 5077; RFC 8446 sections 2.2 and 4.6.1.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from twisted_mta.config.settings import Settings
from twisted_mta.tls.der import DerError, inside
from twisted_mta.tls.library import CAN_KEEP_SESSIONS
from twisted_mta.tls.session_key import SessionKey
from twisted_mta.tls.session_record import LONGEST_SESSION, KeptSession, octets_of_session, read_session

__all__ = ["KeptSession", "SessionCache", "SessionKey", "SessionStore", "can_be_resumed"]

MOST_SESSIONS = 2000
"""So many are kept, of one to two KiB each; then the one that was used longest ago goes."""

MOST_OCTETS = 8 * 1024 * 1024
"""So large they are together; a server can make its own as large as it likes, and as many as it has names."""

SHORTEST_SECONDS = 120
"""A shorter life than that is made as long; tlsmgr(8) could not keep up with less."""


SECONDS_BETWEEN_WRITES = 5.0
"""A session that goes on is stored no more often than that."""


class SessionStore(Protocol):
    """Where sessions outlive the process, such as tlsmgr(8). Nothing of it ever fails."""

    async def lookup(self, key: str) -> bytes | None:
        """What is stored under a key; None: nothing, or nobody can say. It takes no longer than a server can wait."""

    def update(self, key: str, value: bytes) -> None:
        """Store something, in one's own time."""

    def delete(self, key: str) -> None:
        """Store it no longer."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A session, and when one with the same verdict was last stored; None: never."""

    session: KeptSession
    stored_at: float | None


class SessionCache:
    """The sessions of an engine, by key."""

    def __init__(
        self,
        lifetime_seconds: float,
        clock: IReactorTime,
        store: SessionStore | None = None,
        *,
        limit: int = MOST_SESSIONS,
    ) -> None:
        """Begin with none.

        Args:
            lifetime_seconds: no verdict is believed for longer.
            clock: tells the time, in seconds since the epoch.
            store: has sessions of other processes, too; None: there is none.
            limit: how many are kept in memory.
        """
        self.lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._store = store
        self._limit = limit
        self._octets = 0
        self._times_forgotten = 0
        self._kept: OrderedDict[SessionKey, _Entry] = OrderedDict()

    @classmethod
    def from_settings(
        cls, settings: Settings, clock: IReactorTime, store: SessionStore | None = None
    ) -> "SessionCache | None":
        """The cache that is configured; None: none is."""
        seconds = settings.smtp_tls_session_cache_timeout
        if not (settings.smtp_tls_session_cache_database and seconds and CAN_KEEP_SESSIONS):
            return None
        return cls(max(seconds, SHORTEST_SECONDS), clock, store)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def has_store(self) -> bool:
        """Whether a session may have to be waited for."""
        return self._store is not None

    @property
    def now(self) -> float:
        """The time, for `KeptSession.judged_at`."""
        return float(self._clock.seconds())

    async def look_up(self, key: SessionKey) -> KeptSession | None:
        """The session with this key, wherever it is; None: there is none that counts."""
        found = self.find(key)
        if found is not None or self._store is None:
            return found
        times_forgotten = self._times_forgotten
        octets = await self._store.lookup(key.id)
        found = self.find(key)
        if found is not None or octets is None:
            return found  # another handshake has kept one meanwhile, which is newer
        if self._times_forgotten != times_forgotten:
            return None  # another handshake may have failed with this one; that is too rare to ask with which
        session = read_session(octets, key.digest)
        if session is None or not self._counts(session):
            self._store.delete(key.id)
            return None
        self._remember(key, _Entry(session, self.now))
        return session

    def find(self, key: SessionKey) -> KeptSession | None:
        """The session in memory with this key; None: there is none that counts."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if not self._counts(kept.session):
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.session

    def keep(self, key: SessionKey, session: KeptSession) -> None:
        """Keep a session instead of the one with the same key."""
        if len(session.der) > LONGEST_SESSION:
            return
        former, stored_at = self._kept.get(key), None
        if former is not None and former.session.judged_at == session.judged_at:
            stored_at = former.stored_at
        if self._store is not None and not session.serves:
            # Whoever has mended something, and starts the service again, wants the server to be looked at again.
            self._store.delete(key.id)
            stored_at = None
        elif self._store is not None and (stored_at is None or not 0 <= self.now - stored_at < SECONDS_BETWEEN_WRITES):
            self._store.update(key.id, octets_of_session(session, key.digest))
            stored_at = self.now
        self._remember(key, _Entry(session, stored_at))

    def forget(self, key: SessionKey) -> None:
        """Keep the session with this key no longer, if there is one."""
        self._times_forgotten += 1
        self._drop(key)
        if self._store is not None:
            self._store.delete(key.id)

    def _counts(self, session: KeptSession) -> bool:
        """Whether its verdict is believed; one from the future is none: the clock was wrong, then or now."""
        return 0 <= self.now - session.judged_at < self.lifetime_seconds

    def _remember(self, key: SessionKey, entry: _Entry) -> None:
        self._drop(key)
        self._kept[key] = entry
        self._octets += len(entry.session.der)
        while len(self._kept) > self._limit or self._octets > MOST_OCTETS:
            _, oldest = self._kept.popitem(last=False)
            self._octets -= len(oldest.session.der)

    def _drop(self, key: SessionKey) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._octets -= len(kept.session.der)


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
