"""``pipemap:{type:name, ...}``: the value of one table is the key for the next.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "pipemap"; a running postmap(1).
"""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.combined import CombinedTable, open_combined
from twisted_mta.tables.opening import TableRequest


@implementer(ILookupTable)
class PipeTable(CombinedTable):
    """Several tables in a row."""

    async def _find(self, key: str) -> str | None:
        found: str | Deferred[str | None] | None = key
        for member in self._members:
            if isinstance(found, Deferred):
                found = await found
            if found is None:
                return None
            found = member.lookup(found)
        return await found if isinstance(found, Deferred) else found


def open_pipemap(request: TableRequest) -> PipeTable:
    """Open ``pipemap:{...}``.

    Raises:
        TableError: it is malformed.
    """
    return open_combined(request, PipeTable)
