"""Every local type with values of a megabyte, with keys of a megabyte, and with files that may not be read."""

import os
import sqlite3
from importlib import import_module
from pathlib import Path
from unittest import SkipTest

from tests.tables.databases import WRITERS, write_database
from tests.tables.opened import TablesCase, as_nobody

LARGE = "x" * 1_000_000

LIBRARIES = {"hash": "berkeleydb", "btree": "berkeleydb", "lmdb": "lmdb", "pcre": "twisted_mta.tables.perl_regex"}


class ExtremesTests(TablesCase):
    """What may be expected of any table."""

    def tables(self) -> dict[str, Path]:
        """A table of each type whose library is there, and the file that it is made from; ``k`` has a large value."""
        directory = self.opened.directory
        texts = {
            "texthash": f"k {LARGE}\n",
            "regexp": f"/^k$/ {LARGE}\n",
            "pcre": f"/^k$/ {LARGE}\n",
            "cidr": f"192.0.2.1 {LARGE}\n",
        }
        made = {}
        for kind in (*texts, *WRITERS):
            try:
                import_module(LIBRARIES.get(kind, "os"))
            except ImportError:
                continue
            if kind in texts:
                made[kind] = self.opened.write(kind, texts[kind])
            else:
                write_database(kind, directory / kind, [("k", LARGE)])
                made[kind] = directory / f"{kind}{WRITERS[kind][1]}"
        with sqlite3.connect(directory / "data") as connection:
            connection.execute("create table t (v text)")
            connection.execute("insert into t values (?)", (LARGE,))
        made["sqlite"] = self.opened.write(
            "sqlite", "dbpath = data\nquery = select v from t where '%s' in ('k', '192.0.2.1')\n"
        )
        return made

    def test_large_values(self) -> None:
        """They are found as they are."""
        for kind in self.tables():
            name = f"{self.opened.directory}/{kind}"
            key = "192.0.2.1" if kind == "cidr" else "k"
            self.assertEqual(self.opened.find(f"{kind}:{name}", key), LARGE, kind)
        self.assertEqual(self.opened.find(f"inline:{{k={LARGE}}}", "k"), LARGE)
        self.assertEqual(self.opened.find(f"static:{LARGE}", "k"), LARGE)
        self.assertEqual(self.opened.find(f"unionmap:{{static:{LARGE}, static:{LARGE}}}", "k"), f"{LARGE},{LARGE}")
        self.assertEqual(self.opened.events, [])

    def test_large_keys(self) -> None:
        """They are not found, or refused with an error that names the table."""
        for kind in self.tables():
            spec = f"{kind}:{self.opened.directory}/{kind}"
            if kind == "regexp":
                self.assertIn("octets is longer than", self.opened.problem(spec, LARGE))
                self.assertIn(spec, self.opened.lines.pop())
                self.opened.events.clear()
            else:
                self.assertIsNone(self.opened.find(spec, LARGE), kind)
        self.assertEqual(self.opened.events, [])

    def test_permissions(self) -> None:
        """A file that may not be read is named in the log, and each lookup is an error."""
        if os.geteuid():
            raise SkipTest("needs root, to give up its rights")
        made = self.tables()
        self.opened.directory.chmod(0o755)
        for kind, path in made.items():
            path.chmod(0o600)
            with as_nobody():
                problem = self.opened.problem(f"{kind}:{self.opened.directory}/{kind}")
            self.assertRegex(problem, rf"^open (database )?{path}: Permission denied$", kind)
            self.assertIn(f"error: {problem}", self.opened.lines)
