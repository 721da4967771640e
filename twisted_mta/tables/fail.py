"""``fail:``: every lookup is an error; for tests of what a table's failure leads to.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "fail".
"""

from typing import NoReturn

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest


@implementer(ILookupTable)
class FailTable(ConstantTable):
    """A table that always fails."""

    by_pattern = True

    def lookup(self, key: str) -> NoReturn:
        """Fail.

        Raises:
            TableError: always.
        """
        raise TableError(self.name, "lookups always fail", key)


def open_fail(request: TableRequest) -> FailTable:
    """Open ``fail:ANYTHING``."""
    return FailTable(request.table)
