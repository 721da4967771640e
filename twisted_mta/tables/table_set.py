"""The tables of one generation of the configuration: each opened once, all closed together.

Flow: service.py makes one for each generation; whoever has a table parameter opens its tables here.
Sources: postconf(5); daemons open a table with the same name and use once.
"""

from functools import partial

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.opening import ADDRESSES, TableContext, TableFlags
from twisted_mta.tables.registry import open_table


class TableSet:
    """Opens tables and shares them."""

    def __init__(self, context: TableContext) -> None:
        self._context = context
        self._tables: dict[tuple[str, TableFlags], ILookupTable] = {}

    def open(self, spec: str, flags: TableFlags = ADDRESSES) -> ILookupTable:
        """Open a table, or give the one that is already open for the same use.

        Args:
            spec: ``type:name``.
            flags: EXACT, FOLDED or ADDRESSES.

        Raises:
            ConfigError: as `open_table` does.
        """
        table = self._tables.get((spec, flags))
        if table is None:
            table = open_table(spec, self._context, flags=flags, open_member=partial(self.open, flags=flags))
            self._tables[spec, flags] = table
        return table

    def changed(self) -> str:
        """The name of a table that must be opened anew because of what it was made from; empty if there is none."""
        return next((table.name for table in self._tables.values() if table.changed()), "")

    def close(self) -> None:
        """Close all tables; no lookup may follow."""
        tables = list(self._tables.values())
        self._tables.clear()
        for table in reversed(tables):
            table.close()
