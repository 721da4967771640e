"""Lists of tables that are searched one after the other.

Flow: table_set.py opens one for a parameter; whoever the parameter belongs to searches it.
Sources: postconf(5), parameters such as smtp_generic_maps; DATABASE_README(5); a running postmap(1).
"""

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import Emit, TableLookupFailed, TableResultAdvice, TableResultEmpty
from twisted_mta.tables.answer import answer

_SHOWN_CHARACTERS = 256  # of a key, in the log


class Maps:
    """The tables of one parameter; false if there are none.

    Attributes:
        parameter: its name.
    """

    def __init__(self, parameter: str, tables: Sequence[ILookupTable], emit: Emit) -> None:
        """Take the tables.

        Args:
            parameter: for the log.
            tables: in the order in which they are asked.
            emit: takes events.
        """
        self.parameter = parameter
        self._emit = emit
        self._all = tuple(tables)
        self._fixed = tuple(table for table in tables if not table.by_pattern)

    def __bool__(self) -> bool:
        return bool(self._all)

    async def find(self, key: str, *, part: bool = False) -> str | None:
        """Look up a key: the first table that has it counts, and the first that fails ends the search.

        Waits for nothing where all tables answer at once.

        Args:
            key: what to look up; nothing is found for an empty one.
            part: whether the key is only a part of what is searched: then tables of patterns are not asked.

        Returns:
            The value, never empty; None if no table has one.

        Raises:
            TableError: a table failed, or has an empty value, which is no way to say that there is none.
        """
        if not key:
            return None
        for table in self._fixed if part else self._all:
            try:
                found = table.lookup(key)
                if isinstance(found, Deferred):
                    found = await found
            except TableError:
                self._emit(TableLookupFailed(table.name, key[:_SHOWN_CHARACTERS]))
                raise
            if found:
                return found
            if found is not None:
                self._emit(TableResultEmpty(self.parameter, key))
                self._emit(TableResultAdvice(self.parameter))
                raise TableError(table.name, "empty string result", key)
        return None

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up a key as `find` does, at once where all tables answer at once.

        Raises:
            TableError: as `find` raises it; the Deferred fails with the same.
        """
        return answer(self.find(key))
