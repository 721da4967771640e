"""The table that remembers refused logins: asked, written, and tidied up.

It only spares servers and accounts a login that would fail again. So where it cannot be asked, the login is tried.

Flow: session/login.py asks before a login, and tells of refusals.
Sources: postconf(5) smtp_sasl_auth_cache_name, smtp_sasl_auth_cache_time.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from twisted_mta.config.settings import Settings
from twisted_mta.interfaces import IWritableTable, TableError
from twisted_mta.model.events import Emit
from twisted_mta.model.sasl_events import BadCacheEntry
from twisted_mta.sasl.credentials import Credentials
from twisted_mta.sasl.refusals import REMEMBERED_CODE, Refusal, digest_of, key_of, parse_refusal
from twisted_mta.smtp.reply import Reply
from twisted_mta.tables.keys import is_utf8
from twisted_mta.tables.table_set import TableSet

_CACHE = "smtp_sasl_auth_cache"


@dataclass(frozen=True, slots=True)
class RefusalMemory:
    """What is known of refused logins.

    Attributes:
        table: keeps it.
        lifetime_seconds: how long it counts.
        now: the time in seconds since the epoch.
        emit: takes what is to be logged.
    """

    table: IWritableTable
    lifetime_seconds: int
    now: Callable[[], float]
    emit: Emit

    @classmethod
    def from_settings(
        cls, settings: Settings, tables: TableSet, now: Callable[[], float], emit: Emit
    ) -> "RefusalMemory | None":
        """Open the table.

        Args:
            settings: name it.
            tables: opens it.
            now: the time in seconds since the epoch.
            emit: takes what is to be logged.

        Returns:
            None, if nothing is to be remembered.

        Raises:
            ConfigError: it cannot be used.
        """
        name = settings.smtp_sasl_auth_cache_name
        if not name:
            return None
        return cls(tables.open_writable(name), settings.smtp_sasl_auth_cache_time, now, emit)

    async def find(self, host: str, credentials: Credentials) -> Refusal | None:
        """What the server said to the same name and password, not too long ago; what no longer counts is taken away."""
        key = key_of(host, credentials.user)
        if not is_utf8(key):
            return None
        try:
            found = self.table.lookup(key)
            text = await found if isinstance(found, Deferred) else found
            if text is None:
                return None
            refusal = parse_refusal(text)
            if refusal is None:
                self.emit(BadCacheEntry(_CACHE, key))
            elif refusal.applies(credentials.password, int(self.now()), self.lifetime_seconds):
                return refusal
            await self.table.delete(key)
        except TableError:
            pass  # which the table has told
        return None

    async def remember(self, host: str, credentials: Credentials, reply: Reply) -> None:
        """Write down what a server said, if that makes another try pointless."""
        key = key_of(host, credentials.user)
        if reply.code != REMEMBERED_CODE or not is_utf8(key + reply.text):
            return
        refusal = Refusal(int(self.now()), digest_of(credentials.password), reply.status, reply.text)
        with suppress(TableError):  # which the table has told
            await self.table.update(key, refusal.to_text())
