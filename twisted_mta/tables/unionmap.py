"""``unionmap:{type:name, ...}``: what all tables have for a key, joined by commas.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "unionmap"; a running postmap(1).
"""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.combined import CombinedTable, open_combined
from twisted_mta.tables.opening import TableRequest


@implementer(ILookupTable)
class UnionTable(CombinedTable):
    """The values of several tables."""

    async def _find(self, key: str) -> str | None:
        joined = ""
        for member in self._members:
            found = member.lookup(key)
            if isinstance(found, Deferred):
                found = await found
            if found is not None:
                joined = f"{joined},{found}" if joined else found
        return joined or None


def open_unionmap(request: TableRequest) -> UnionTable:
    """Open ``unionmap:{...}``.

    Raises:
        TableError: it is malformed.
    """
    return open_combined(request, UnionTable)
