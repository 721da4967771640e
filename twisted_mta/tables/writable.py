"""Tables that can be written to: those behind proxymap(8), and one in memory.

Flow: table_set.py opens one for smtp_sasl_auth_cache_name.
Sources: proxymap(8); postconf(5) smtp_sasl_auth_cache_name.
"""

from collections import OrderedDict

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_mta.interfaces import IWritableTable
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.proxy import open_writable_proxy

MOST_ENTRIES = 10_000
"""Of a table in memory; beyond that the oldest entry goes."""


@implementer(IWritableTable)
class MemoryTable:
    """``internal:NAME``, writable: lasts as long as the configuration that opened it.

    Args:
        name: ``type:name``.
    """

    by_pattern = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: OrderedDict[str, str] = OrderedDict()

    def lookup(self, key: str) -> str | None:
        """The value of a key."""
        return self._values.get(key)

    def update(self, key: str, value: str) -> Deferred[None]:
        """Give a key a value."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > MOST_ENTRIES:
            self._values.popitem(last=False)
        return succeed(None)

    def delete(self, key: str) -> Deferred[None]:
        """Take a key away."""
        self._values.pop(key, None)
        return succeed(None)

    def changed(self) -> bool:
        """Never: it is made from nothing."""
        return False

    def close(self) -> None:
        """Forget everything."""
        self._values.clear()


def open_writable(request: TableRequest) -> IWritableTable:
    """Open a table for writing, too.

    Raises:
        TableError: tables of its type cannot be written to, or as `open_proxy` raises.
        ConfigError: as `open_proxy` raises.
    """
    if request.type == "proxy":
        return open_writable_proxy(request)
    if request.type == "internal":
        return MemoryTable(request.table)
    raise request.unusable(f"{request.table}: only proxy: and internal: tables can be written to")
