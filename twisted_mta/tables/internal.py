"""``internal:NAME``: a table in memory with nothing in it.

Flow: registry.py opens it.
Sources: postconf(1), option ``-m``; a running postmap(1).
"""

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest


@implementer(ILookupTable)
class InternalTable(ConstantTable):
    """A table where nothing is found."""

    by_pattern = False

    def lookup(self, key: str) -> None:
        """Nothing, whatever the key."""


def open_internal(request: TableRequest) -> InternalTable:
    """Open ``internal:ANYTHING``."""
    return InternalTable(request.table)
