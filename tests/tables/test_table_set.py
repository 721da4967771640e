"""Tests of twisted_mta.tables.table_set."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock

from tests.tables.opened import OpenTables, TablesCase, as_nobody
from twisted_mta.config.errors import ConfigError
from twisted_mta.tables.match_list import MatchKind
from twisted_mta.tables.opening import ADDRESSES, EXACT


class TableSetTests(TablesCase):
    """Tables that belong together."""

    def test_shared(self) -> None:
        """The same table for the same use is opened once; another use opens it again."""
        tables = self.opened.tables
        self.assertIs(tables.open("static:a"), tables.open("static:a", ADDRESSES))
        self.assertIsNot(tables.open("static:a"), tables.open("static:a", EXACT))
        self.assertIsNot(tables.open("static:a"), tables.open("static:b"))

    def test_members_are_shared(self) -> None:
        """A table within another is the one that stands alone, and is told of once."""
        self.opened.problem("unionmap:{sdbm:x, static:a}")
        self.opened.problem("sdbm:x")
        self.assertEqual(
            [line for line in self.opened.lines if line.startswith("error")],
            ["error: unsupported dictionary type: sdbm"],
        )

    def test_use_decides_folding(self) -> None:
        """Keys are folded for addresses, and not for header checks."""
        self.assertEqual(self.opened.find("inline:{Ab=1}", "aB"), "1")
        self.assertEqual(self.opened.find("inline:{Ab=1}", "aB", EXACT), None)
        self.assertEqual(self.opened.find("inline:{Ab=1}", "Ab", EXACT), "1")

    def test_lists_fold_for_themselves(self) -> None:
        """Tables in lists of patterns get folded names, and keep their keys as they are."""
        names = "inline:{Upper.example=x, lower.example=x, {É=x}, {é=x}}"
        made = self.opened.tables.match_list("mydestination", [names], MatchKind.STRING)
        found = [name for name in ("upper.example", "Upper.example", "LOWER.example", "É") if made.test(name)]
        self.assertEqual(found, ["LOWER.example", "É"])

    def test_listed(self) -> None:
        """A list can be searched while the configuration is loaded, if it answers at once."""
        tables = self.opened.tables
        self.assertTrue(tables.is_listed("A", "parameter", ["!b", "inline:{a=x}"]))
        self.assertFalse(tables.is_listed("b", "parameter", ["!b", "inline:{a=x}"]))
        with self.assertRaises(ConfigError) as caught:
            tables.is_listed("a", "failing", ["fail:x"])
        self.assertEqual(caught.exception.text, "failing: fail:x: table lookup problem")
        self.assertEqual(self.opened.lines, ["warning: failing: fail:x: table lookup problem"])
        opened = OpenTables(self.opened.directory, reactor=MemoryReactorClock())
        with self.assertRaises(ConfigError) as caught:
            opened.tables.is_listed("a", "slow", ["tcp:127.0.0.1:1"])
        self.assertEqual(caught.exception.text, "slow: there are tables that cannot answer at once")
        opened.tables.close()

    def test_changed(self) -> None:
        """The set tells which table has changed, within others, too."""
        path = self.opened.write("text", "a 1\n")
        self.assertEqual(self.opened.find("unionmap:{texthash:text, static:x}", "a"), "1,x")
        self.assertEqual(self.opened.changed, "")
        os.utime(path, (1, 1))
        self.assertEqual(self.opened.changed, "texthash:text")

    def test_removed_and_replaced(self) -> None:
        """A file that is gone, or another one of the same time, counts as changed."""
        for change in (os.unlink, lambda path: os.replace(self.opened.write("other", "a 1\n"), path)):
            path = self.opened.write("text", "a 1\n")
            self.opened.find("texthash:text", "a")
            self.assertEqual(self.opened.changed, "")
            change(path)
            self.assertEqual(self.opened.changed, "texthash:text")
            self.opened.tables.close()

    def test_lists_change(self) -> None:
        """The files of match lists are watched, too."""
        path = self.opened.write("domains", "example.com\n")
        tables = self.opened.tables
        made = tables.match_list("mydestination", [str(path)], MatchKind.STRING)
        self.assertIs(made, tables.match_list("mydestination", [str(path)], MatchKind.STRING))
        self.assertEqual(self.opened.changed, "")
        os.utime(path, (1, 1))
        self.assertEqual(self.opened.changed, "mydestination")

    def check_mended(self, open_it: Callable[[], object], path: Path) -> None:
        """What cannot be opened watches a file until that is mended; while it is young, it may be just being written."""
        for each in path.parent.iterdir():
            os.utime(each, (1, 1))
        self.assertRaises(ConfigError, open_it)
        self.assertEqual((self.opened.changed, self.opened.tables.is_settling()), ("", False))
        self.opened.write(path.name, "mended\n")
        self.assertEqual((self.opened.changed, self.opened.tables.is_settling()), (str(path), True))
        self.opened.tables.close()
        self.assertEqual(self.opened.changed, "")

    def test_mended_parameters(self) -> None:
        """The parameters of a database that make no sense."""
        path = self.opened.write("table.cf", "bogus\n")
        self.check_mended(partial(self.opened.tables.open, f"sqlite:{path}"), path)

    def test_mended_database(self) -> None:
        """A database that is not there."""
        path = self.opened.write("table.cf", "dbpath = data\nquery = select 1\n")
        self.check_mended(partial(self.opened.tables.open, f"sqlite:{path}"), self.opened.directory / "data")

    def test_mended_list(self) -> None:
        """A list without sense, also that of a database."""
        text = "a !\n"
        path = self.opened.write("list", text)
        table = self.opened.write("table.cf", f"dbpath = data\nquery = select 1\ndomain = {path}\n")
        tables = self.opened.tables
        self.check_mended(partial(tables.match_list, "parameter", [str(path)], MatchKind.STRING), path)
        path.write_text(text)
        self.check_mended(partial(tables.open, f"sqlite:{table}"), path)

    def test_closed(self) -> None:
        """A set that was closed holds no descriptor any more, and opens tables anew."""
        before = len(os.listdir("/proc/self/fd"))
        self.opened.write("text", "a 1\n")
        first = self.opened.tables.open("texthash:text")
        self.opened.find("regexp:text", "a")
        self.opened.tables.maps("smtp_generic_maps", ["texthash:text"])
        self.assertGreater(len(os.listdir("/proc/self/fd")), before)
        self.opened.tables.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertIsNot(self.opened.tables.open("texthash:text"), first)

    def test_no_privileges(self) -> None:
        """A file whose directory cannot be seen any more is still watched, by its descriptor."""
        directory = self.opened.directory / "closed"
        directory.mkdir()
        path = self.opened.write("closed/text", "a 1\n")
        self.opened.find("texthash:closed/text", "a")
        directory.chmod(0)
        self.addCleanup(directory.chmod, 0o700)
        with as_nobody():
            self.assertEqual(self.opened.changed, "")
        directory.chmod(0o700)
        os.utime(path, (1, 1))
        directory.chmod(0)
        with as_nobody():
            self.assertEqual(self.opened.changed, "texthash:closed/text")
