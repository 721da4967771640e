"""Tests of the types that need no source: static, randmap, fail, internal, environ, unix, nis, unionmap, pipemap."""

import grp
import importlib.util
import os
import pwd
from collections.abc import Callable
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.tables.opened import LaterTable, NowTable, OpenTables, TablesCase
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.tables.opening import EXACT
from twisted_mta.tables.pipemap import PipeTable
from twisted_mta.tables.results import LookupFailedError
from twisted_mta.tables.unionmap import UnionTable


class SimpleTests(TablesCase):
    """One value, any of several, none, or an error."""

    def test_contract(self) -> None:
        """All are tables that never change; which are asked for parts of addresses is Postfix's choice."""
        for spec, by_pattern in (
            ("static:x", False),
            ("randmap:{x}", True),
            ("fail:x", True),
            ("internal:x", False),
            ("environ:x", False),
            ("unix:passwd.byname", False),
            ("unionmap:{static:x,randmap:{x}}", False),
            ("pipemap:{randmap:{x},static:x}", True),
            ("texthash:/dev/null", False),
            ("inline:{a=b}", False),
            ("regexp:{{/x/ x}}", True),
            ("cidr:{{1.2.3.4 x}}", True),
        ):
            table = self.opened.tables.open(spec)
            self.assertTrue(verifyObject(ILookupTable, table))
            self.assertEqual((table.name, table.by_pattern, table.changed()), (spec, by_pattern, False))
        self.assertEqual(self.opened.events, [])

    def test_static(self) -> None:
        """The value as it is, or what stands in braces without the white space around it."""
        for name, value in (
            ("x", "x"),
            (" x y ", " x y "),
            ("{ a b }", "a b"),
            ("{{a}}", "{a}"),
            (" { a }", " { a }"),
            ("{}", ""),
        ):
            self.assertEqual(self.opened.find(f"static:{name}", "any"), value)
        self.assertEqual(self.opened.problem("static:{a"), "bad static:name syntax: missing '}' in \"{a\"")
        self.assertEqual(
            self.opened.problem("static:{a}x"), "bad static:name syntax: syntax error after '}' in \"{a}x\""
        )

    def test_randmap(self) -> None:
        """Each value turns up, and no other."""
        found = {self.opened.find("randmap:{a, b {c d}}", "any") for _ in range(200)}
        self.assertEqual(found, {"a", "b", "{c d}"})
        self.assertEqual(self.opened.problem("randmap:x"), 'bad syntax: "randmap:x"; need "randmap:{value...}"')
        self.assertEqual(self.opened.problem("randmap:{ }"), 'empty table: "randmap:{ }"; need "randmap:{value...}"')

    def test_fail(self) -> None:
        """Every lookup is an error that names table and key."""
        with self.assertRaises(TableError) as caught:
            self.opened.find("fail:x", "Key")
        self.assertEqual((caught.exception.table, caught.exception.key), ("fail:x", "Key"))

    def test_internal(self) -> None:
        """Nothing is found."""
        self.assertEqual(self.opened.find("internal:x", "a"), None)

    def test_environ(self) -> None:
        """Variables by their name; callers that fold keys find lower case alone."""
        for name in ("tables_test", "TABLES_TEST"):
            self.addCleanup(os.environ.pop, name)
            os.environ[name] = f"value of {name}"
        self.assertEqual(self.opened.find("environ:x", "Tables_Test"), "value of tables_test")
        self.assertEqual(self.opened.find("environ:x", "TABLES_TEST", EXACT), "value of TABLES_TEST")
        self.assertEqual(self.opened.find("environ:x", "none\0"), None)

    def test_environ_settled(self) -> None:
        """What import_environment sets counts for more than the environment of the process."""
        name = "tables_test"
        self.addCleanup(os.environ.pop, name)
        os.environ[name] = "outside"
        for settled, found in (
            ("TZ tables_test=one, { other = two words }", ("one", "two words")),
            ("tables_test", ("outside", None)),
            ("", ("outside", None)),
        ):
            opened = OpenTables(self.opened.directory, parameters={"import_environment": settled})
            self.assertEqual(tuple(opened.find("environ:x", key) for key in (name, "Other")), found)
        opened = OpenTables(self.opened.directory, parameters={"import_environment": "{ a = b"})
        self.assertEqual(opened.problem("environ:x"), "import_environment: missing '}' in \"{ a = b\"")

    def test_unix(self) -> None:
        """Lines of passwd(5) and group(5)."""
        root, group = pwd.getpwuid(0), grp.getgrgid(0)
        found = self.opened.find("unix:passwd.byname", root.pw_name.upper())
        assert found is not None
        self.assertEqual(found.split(":")[0:4:2], [root.pw_name, "0"])
        self.assertEqual(found.count(":"), 6)
        line = f"{group.gr_name}:{group.gr_passwd}:0:{','.join(group.gr_mem)}"
        self.assertEqual(self.opened.find("unix:group.byname", group.gr_name), line)
        for key in ("none such", "0", "a\0b", ""):
            self.assertEqual(self.opened.find("unix:passwd.byname", key), None)
            self.assertEqual(self.opened.find("unix:group.byname", key), None)
        self.assertEqual(self.opened.problem("unix:other"), "unknown table: unix:other")

    def test_unix_in_thread(self) -> None:
        """Where there are threads, some of them ask the system; a lookup that takes too long is an error."""
        waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

        def in_thread(work: Callable[[], Any]) -> Deferred[Any]:
            waiting.append((work, Deferred()))
            return waiting[-1][1]

        clock = Clock()
        opened = OpenTables(self.opened.directory, reactor=clock, in_thread=in_thread)
        table = opened.tables.open("unix:passwd.byname")
        first, *others = [table.lookup("root") for _ in range(10)]
        assert isinstance(first, Deferred)
        self.assertNoResult(first)
        self.assertLess(len(waiting), 10)
        work, waiter = waiting.pop(0)
        waiter.callback(work())
        self.assertTrue(str(self.successResultOf(first)).startswith("root:"))
        clock.advance(100)
        for late in others:
            assert isinstance(late, Deferred)
            self.failureResultOf(late, TableError)
        self.assertEqual(set(opened.lines), {"warning: unix:passwd.byname: no reply within 100 seconds"})
        opened.tables.close()

    def test_nis(self) -> None:
        """Without a domain that is told, and nothing is found; without a library the type is not supported."""
        if importlib.util.find_spec("nis") is None:
            self.assertIn("unsupported dictionary type: nis", self.opened.problem("nis:x"))
            return
        from twisted_mta.tables.nis import default_domain, match

        self.assertRaises(LookupFailedError, match, "none", "none.example", "key")
        if default_domain():
            raise SkipTest("needs a machine without NIS domain")
        self.assertEqual(self.opened.find("nis:passwd.byname", "root"), None)
        self.assertEqual(self.opened.lines, ["warning: dict_nis_init: NIS domain name not set - NIS lookups disabled"])


class CombinedTests(TablesCase):
    """Types unionmap and pipemap."""

    def test_union(self) -> None:
        """What is found is joined by commas; empty values count once something stands before them."""
        for members, value in (
            ("static:a", "a"),
            ("static:a, static:b", "a,b"),
            ("internal:x, static:b", "b"),
            ("internal:x", None),
            ("static:q, inline:{key=}", "q,"),
            ("inline:{key=}, static:q", "q"),
            ("inline:{key=}", None),
            ("unionmap:{static:a, static:b}, static:c", "a,b,c"),
        ):
            self.assertEqual(self.opened.find(f"unionmap:{{{members}}}", "key"), value, members)

    def test_pipe(self) -> None:
        """What one finds is the key for the next; the first that finds nothing ends it."""
        for members, value in (
            ("inline:{key=b}, inline:{b=C}", "C"),
            ("inline:{key=b}, inline:{c=d}, static:x", None),
            ("inline:{key=}, static:q", "q"),
            ("static:q, inline:{q=}", ""),
            ("pipemap:{inline:{key=b}, inline:{b=c}}, inline:{c=d}", "d"),
            ("inline:{key=b}, regexp:{{/b/ pattern}}", "pattern"),
        ):
            self.assertEqual(self.opened.find(f"pipemap:{{{members}}}", "KEY"), value, members)

    def test_errors(self) -> None:
        """An error of a table is one of the whole; tables behind it are not asked."""
        for kind in ("unionmap", "pipemap"):
            for members in ("fail:x", "static:key, fail:x", "fail:x, static:a"):
                self.opened.problem(f"{kind}:{{{members}}}")
        self.assertEqual(self.opened.find("pipemap:{internal:x, fail:x}", "key"), None)

    def test_malformed(self) -> None:
        """Names that list no tables."""
        for kind in ("unionmap", "pipemap"):
            for name in ("{}", "{ }", "x", "{x}", "{static:a}x", "{static:a, x}", "{static:a"):
                spec = f"{kind}:{name}"
                self.assertEqual(self.opened.problem(spec), f'bad syntax: "{spec}"; need "{kind}:{{type:name...}}"')

    def test_later(self) -> None:
        """Tables that answer later, before and behind others that answer at once."""
        now, later = NowTable("now:x", {"a": "b", "c": "d"}), LaterTable("later:x")
        union = UnionTable("unionmap:x", [now, later, now]).lookup("a")
        assert isinstance(union, Deferred)
        later.answer("a", "x")
        self.assertEqual(self.successResultOf(union), "b,x,b")
        pipe = PipeTable("pipemap:x", [now, later, now]).lookup("a")
        assert isinstance(pipe, Deferred)
        later.answer("b", "c")
        self.assertEqual(self.successResultOf(pipe), "d")
        for kind in (UnionTable, PipeTable):
            found = kind("x:x", [later, later]).lookup("a")
            assert isinstance(found, Deferred)
            later.fail("a")
            self.failureResultOf(found, TableError)
        missed = PipeTable("pipemap:x", [later, later]).lookup("a")
        assert isinstance(missed, Deferred)
        later.answer("a", None)
        self.assertEqual(self.successResultOf(missed), None)

    def test_changed(self) -> None:
        """A table has changed when one of its tables has; closing it leaves those alone, as they are not its own."""
        later = LaterTable("later:x")
        table = UnionTable("unionmap:x", [NowTable("now:x", {}), later])
        self.assertFalse(table.changed())
        later.has_changed = True
        self.assertTrue(table.changed())
        table.close()
        self.assertFalse(later.closed)
