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
_NULL = "\0"


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
            key: what to look up, up to a null character; nothing is found for an empty one.
            part: whether the key is only a part of what is searched: then tables of patterns are not asked.

        Returns:
            The value, never empty; None if no table has one.

        Raises:
            TableError: a table failed, or has an empty value, which is no way to say that there is none.
        """
        if _NULL in key:
            key = key.partition(_NULL)[0]
        return await self._search(key, self._fixed if part else self._all) if key else None

    async def _search(
        self, key: str, tables: Sequence[ILookupTable], first: Deferred[str | None] | None = None
    ) -> str | None:
        """Ask tables; `first` is what the first of them has answered already."""
        for table in tables:
            try:
                found = table.lookup(key) if first is None else first
                first = None
                if isinstance(found, Deferred):
                    found = await found
            except TableError:
                self._tell_failure(table, key)
                raise
            if found is not None:
                return self._checked(table, key, found)
        return None

    def _tell_failure(self, table: ILookupTable, key: str) -> None:
        self._emit(TableLookupFailed(table.name, key[:_SHOWN_CHARACTERS]))

    def _checked(self, table: ILookupTable, key: str, found: str) -> str:
        if not found:
            self._emit(TableResultEmpty(self.parameter, key))
            self._emit(TableResultAdvice(self.parameter))
            raise TableError(table.name, "empty string result", key)
        return found

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up a key as `find` does, at once where all tables answer at once.

        Raises:
            TableError: as `find` raises it; the Deferred fails with the same.
        """
        if _NULL in key:
            key = key.partition(_NULL)[0]
        if not key:
            return None
        # As `_search`, but without a coroutine: this runs for each line of a message.
        for at, table in enumerate(self._all):
            try:
                found = table.lookup(key)
            except TableError:
                self._tell_failure(table, key)
                raise
            if found is None:
                continue
            if isinstance(found, str):
                return self._checked(table, key, found)
            return answer(self._search(key, self._all[at:], found))
        return None
