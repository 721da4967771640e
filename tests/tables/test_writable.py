"""Tables that can be written to."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tables.opened import OpenTables
from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import IWritableTable
from twisted_mta.tables.writable import MOST_ENTRIES, MemoryTable


class MemoryTableTests(SynchronousTestCase):
    """A table in memory."""

    def test_writing(self) -> None:
        """What is written is found, until it is taken away, or the table is closed."""
        table = MemoryTable("internal:x")
        verifyObject(IWritableTable, table)
        self.assertIsNone(table.lookup("k"))
        self.successResultOf(table.update("k", "v"))
        self.successResultOf(table.update("l", "w"))
        self.assertEqual(table.lookup("k"), "v")
        self.successResultOf(table.delete("k"))
        self.successResultOf(table.delete("k"))
        self.assertIsNone(table.lookup("k"))
        self.assertFalse(table.changed())
        table.close()
        self.assertIsNone(table.lookup("l"))

    def test_bounds(self) -> None:
        """It does not grow without end: the oldest entry goes."""
        table = MemoryTable("internal:x")
        for number in range(MOST_ENTRIES + 1):
            table.update(str(number), "v")
        self.assertIsNone(table.lookup("0"))
        self.assertEqual(table.lookup("1"), "v")
        self.assertEqual(table.lookup(str(MOST_ENTRIES)), "v")


class OpeningTests(SynchronousTestCase):
    """Which types there are."""

    def test_types(self) -> None:
        """Tables of other types are refused by name."""
        tables = OpenTables(Path(self.mktemp())).tables
        self.assertEqual(tables.open_writable("internal:cache").name, "internal:cache")
        error = self.assertRaises(ConfigError, tables.open_writable, "btree:/x")
        self.assertEqual(error.text, "btree:/x: only proxy: and internal: tables can be written to")
        tables.close()
