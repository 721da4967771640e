"""Tests of twisted_mta.tables.registry and twisted_mta.tables.surrogate."""

import random
import re
from pathlib import Path

from zope.interface.verify import verifyObject

from tests.tables.opened import OpenTables, TablesCase, as_nobody
from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import TableProblem, TableUnavailable
from twisted_mta.tables.opening import ADDRESSES, EXACT, FOLDED, TableFlags
from twisted_mta.tables.registry import TYPES, TableType, open_table
from twisted_mta.tables.surrogate import UnavailableTable

PACKAGE = Path(__file__).parents[2] / "twisted_mta" / "tables"


class RegistryTests(TablesCase):
    """From ``type:name`` to a table."""

    def test_malformed(self) -> None:
        """What is not ``type:name`` is a configuration error: no table can take its place."""
        for spec in ("", ":", "hash", "hash:", ":name", "/etc/file"):
            with self.assertRaises(ConfigError) as caught:
                self.opened.tables.open(spec)
            self.assertEqual(caught.exception.text, f'open dictionary: expecting "type:name" form instead of "{spec}"')

    def test_name_with_colons(self) -> None:
        """The type ends at the first colon."""
        self.assertEqual(self.opened.find("static:a:b:c", "x"), "a:b:c")

    def test_unknown_type(self) -> None:
        """An unknown type is told once; then each lookup tells that the table is unavailable, and fails."""
        for _ in range(2):
            self.assertEqual(self.opened.problem("sdbm:x"), "unsupported dictionary type: sdbm")
        self.assertEqual(
            self.opened.lines,
            [
                "error: unsupported dictionary type: sdbm",
                "warning: sdbm:x is unavailable. unsupported dictionary type: sdbm",
                "warning: sdbm:x is unavailable. unsupported dictionary type: sdbm",
            ],
        )
        self.assertIsInstance(self.opened.events[0], TableProblem)
        self.assertIsInstance(self.opened.events[1], TableUnavailable)

    def test_missing_library(self) -> None:
        """The error of a type whose library is absent names what to install."""
        types = {"odd": TableType("no_such_module:open_odd", extra="odd")}
        tables = self.opened.tables
        table = open_table("odd:x", self.opened.context, flags=ADDRESSES, open_member=tables.open, types=types)
        with self.assertRaises(TableError) as caught:
            table.lookup("key")
        self.assertRegex(
            caught.exception.problem, r"^unsupported dictionary type: odd \(No module named .*\[odd\]\"\)$"
        )

    def test_fatal(self) -> None:
        """With daemon_table_open_error_is_fatal, a table that cannot be opened is a configuration error."""
        opened = OpenTables(self.opened.directory, open_errors_are_fatal=True)
        with self.assertRaises(ConfigError) as caught:
            opened.tables.open("texthash:none")
        self.assertEqual(caught.exception.text, f"open database {opened.directory}/none: No such file or directory")
        self.assertEqual(opened.events, [])

    def test_nested_without_end(self) -> None:
        """Tables that are nested too deeply are an error, not a crash."""
        spec = "static:x"
        for _ in range(3000):
            spec = f"pipemap:{{{spec}}}"
        self.assertEqual(self.opened.problem(spec), "pipemap: tables are nested too deeply")

    def test_rows(self) -> None:
        """Each row names a function of a module that is there."""
        for kind, row in TYPES.items():
            module, _, function = row.opener.partition(":")
            text = (PACKAGE / f"{module}.py").read_text("utf-8")
            self.assertTrue(re.search(rf"^def {function}\(", text, re.MULTILINE), kind)

    def test_surrogate(self) -> None:
        """A table that could not be opened keeps the contract of tables, but for giving values."""
        table = UnavailableTable("hash:x", "reason", self.opened.events.append)
        self.assertTrue(verifyObject(ILookupTable, table))
        self.assertTrue(table.by_pattern)
        self.assertFalse(table.changed())
        table.close()

    def test_repaired(self) -> None:
        """A table that could not be opened counts as changed once its file is there, or another one."""
        for kind, suffix in (("hash", ".db"), ("lmdb", ".lmdb"), ("cdb", ".cdb"), ("texthash", ""), ("regexp", "")):
            spec = f"{kind}:{kind}"
            self.opened.tables.close()
            if "unsupported" in self.opened.problem(spec):
                continue
            self.assertEqual(self.opened.changed, "")
            path = self.opened.write(f"{kind}{suffix}", b"a 1\na 2\n" if kind == "texthash" else b"x")
            self.assertEqual(self.opened.changed, spec)
            if kind == "regexp":
                continue
            self.opened.tables.close()
            self.opened.problem(spec)
            self.assertEqual(self.opened.changed, "")
            path.write_bytes(b"other content")
            self.assertEqual(self.opened.changed, spec)

    def test_out_of_sight(self) -> None:
        """What cannot be seen without privileges does not count as changed: there would be no end of tries."""
        directory = self.opened.directory / "closed"
        directory.mkdir()
        self.opened.problem("texthash:closed/text")
        directory.chmod(0)
        self.addCleanup(directory.chmod, 0o700)
        with as_nobody():
            self.assertEqual(self.opened.changed, "")

    def test_flags(self) -> None:
        """The flags are the numbers that proxymap(8) takes."""
        self.assertEqual((int(EXACT), int(FOLDED), int(ADDRESSES)), (64, 64 + 16384, 64 + 16384 + 524288))
        self.assertEqual(TableFlags(0), 0)

    def test_random_names(self) -> None:
        """No name of any type breaks the registry: there is a table, an error of it, or of the configuration."""
        chance = random.Random(1)
        kinds = [
            "inline",
            "static",
            "randmap",
            "unionmap",
            "pipemap",
            "regexp",
            "cidr",
            "unix",
            "fail",
            "texthash",
            "internal",
        ]
        for _ in range(2000):
            name = "".join(chance.choice('{}{}ab=,: /!\\"$\udcff\0é') for _ in range(chance.randint(1, 12)))
            spec = f"{chance.choice(kinds)}:{name}"
            try:
                table = self.opened.tables.open(spec)
                self.assertTrue(verifyObject(ILookupTable, table))
                self.assertEqual(table.name, spec)
                table.lookup("a")
            except (ConfigError, TableError):
                pass
