"""Tests of twisted_mta.tables.match_list."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.tables.opened import LaterTable, NowTable, OpenTables, TablesCase
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import split_items
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.tables.match_list import MatchKind, MatchList


class MatchListCase(TablesCase):
    """A test with lists."""

    kind = MatchKind.STRING

    def setUp(self) -> None:
        """Tables by their names."""
        super().setUp()
        self.known: dict[str, ILookupTable] = {}

    def open(self, spec: str) -> ILookupTable:
        """A table of the test, or a real one."""
        known = self.known.get(spec)
        return known if known is not None else self.opened.tables.open(spec)

    def made(self, text: str, kind: MatchKind | None = None, *, parents: bool = False) -> MatchList:
        """A list as main.cf has it."""
        made = MatchList(
            "parameter",
            split_items(text),
            kind or self.kind,
            self.open,
            self.opened.events.append,
            parents_match=parents,
        )
        self.addCleanup(made.close)
        return made

    def matching(self, made: MatchList, *names: str) -> list[str]:
        """Those names that match."""
        return [name for name in names if made.test(name) is True]


class StringListTests(MatchListCase):
    """Lists of texts."""

    def test_literals(self) -> None:
        """A text matches as a whole, without regard to case."""
        made = self.made("one.example, Two.Example\tÉ")
        names = ("one.example", "ONE.EXAMPLE", "two.example", "é", "example", "sub.one.example", "")
        self.assertEqual(self.matching(made, *names), ["one.example", "ONE.EXAMPLE", "two.example", "é"])
        self.assertFalse(self.made(""))
        self.assertTrue(made)

    def test_negation(self) -> None:
        """The first item that matches decides; every ``!`` turns it around."""
        made = self.made("!a, b, !!c, inline:{d=x}, !static:x, e")
        self.assertEqual(self.matching(made, "a", "b", "c", "d", "e", "f"), ["b", "c", "d"])

    def test_no_pattern(self) -> None:
        """A ``!`` with nothing behind it makes the configuration unusable."""
        with self.assertRaises(ConfigError) as caught:
            self.made("a, !, b")
        self.assertEqual(caught.exception.text, "parameter: no pattern after '!'")
        path = self.opened.write("list", "# comment\na\nb !, c\n")
        with self.assertRaises(ConfigError) as caught:
            self.made(f"x {path}")
        self.assertEqual(caught.exception.describe(), f"{path}, line 3: parameter: no pattern after '!'")

    def test_comment(self) -> None:
        """A comment behind other text is told, and ends the list."""
        made = self.made("a #b c")
        self.assertEqual(self.matching(made, "a", "b", "#b", "c"), ["a"])
        self.assertEqual(self.opened.lines, ["warning: parameter: #comment after other text is not allowed: #b c"])

    def test_files(self) -> None:
        """The items of a file take its place, with its sense; comments in it are none of them."""
        inner = self.opened.write("inner", "x !y\n")
        outer = self.opened.write("outer", f"# comment\na b #c\n  d\n!{inner}\n")
        self.assertEqual(self.matching(self.made(f"{outer}"), "a", "b", "c", "d", "x", "y"), ["a", "b", "y"])
        self.assertEqual(self.matching(self.made(f"!{outer} static:x"), "a", "b", "x", "y"), ["x"])

    def test_nothing_in_it(self) -> None:
        """A list of which nothing is left is a list, though nothing matches it; one without text is none."""
        for text in (str(self.opened.write("empty", "# none\n")), "#comment"):
            made = self.made(text)
            self.assertTrue(made)
            self.assertFalse(made.test("a"))
        self.assertFalse(self.made(" "))

    def test_file_that_is_not_there(self) -> None:
        """It is told at once, and is an error at every use that comes that far; it is noticed when it comes."""
        path = self.opened.directory / "later"
        made = self.made(f"a, {path}, b")
        problem = f"open file {path}: No such file or directory"
        self.assertEqual(self.opened.lines, [f"error: {problem}"])
        self.assertTrue(made.test("a"))
        self.assertRaises(TableError, made.test, "b")
        self.assertEqual(
            self.opened.lines[1:],
            [
                f"warning: non-existent:{path} is unavailable. {problem}",
                f"warning: parameter: non-existent:{path}: table lookup problem",
            ],
        )
        self.assertFalse(made.changed())
        path.write_text("b\n")
        self.assertTrue(made.changed())

    def test_file_that_must_be_there(self) -> None:
        """Where errors of tables are fatal, those of files are, too."""
        for table in ("/no/such/file", "hash:/no/such/file"):
            opened = OpenTables(self.opened.directory, open_errors_are_fatal=True)
            with self.assertRaises(ConfigError):
                opened.tables.match_list("parameter", [table], MatchKind.STRING)

    def test_files_in_a_circle(self) -> None:
        """Files that name each other without end are an error, not a crash."""
        path = self.opened.write("circle", "")
        path.write_text(f"a {path} b")
        made = self.made(str(path))
        self.assertTrue(made.test("a"))
        self.assertRaises(TableError, made.test, "b")
        self.assertIn("without end", self.opened.lines[0])

    def test_tables(self) -> None:
        """A table is asked for the folded text; its value does not matter."""
        table = self.known["x:y"] = NowTable("x:y", {"a": "", "b": "no"})
        made = self.made("x:y")
        self.assertEqual(self.matching(made, "A", "b", "c.d"), ["A", "b"])
        self.assertEqual(table.asked, ["a", "b", "c.d"])

    def test_error(self) -> None:
        """An error ends the search, and is told."""
        self.known["x:y"] = NowTable("x:y", {"b": "ERROR"})
        made = self.made("a, x:y, b")
        self.assertTrue(made.test("a"))
        self.assertRaises(TableError, made.test, "b")
        self.assertEqual(self.opened.lines, ["warning: parameter: x:y: table lookup problem"])

    def test_later(self) -> None:
        """A table that answers later makes a Deferred of the answer."""
        table = LaterTable("x:y")
        self.known["x:y"] = table
        made = self.made("a, !x:y, b")
        self.assertIs(made.test("a"), True)
        for value, expected in (("x", False), (None, True)):
            found = made.test("b")
            assert isinstance(found, Deferred)
            table.answer("b", value)
            self.assertIs(self.successResultOf(found), expected)
        found = made.test("c")
        assert isinstance(found, Deferred)
        table.fail("c")
        self.failureResultOf(found, TableError)

    @given(st.text(st.sampled_from("ab!#:/{}[], é"), max_size=15), st.text(st.sampled_from("ab.é\udcff"), max_size=4))
    @settings(deadline=None)
    def test_anything(self, text: str, name: str) -> None:
        """Any text is a list, or the reason why not; any name can be asked for."""
        for kind in MatchKind:
            try:
                self.made(text, kind).test(name, "192.0.2.1")
            except (ConfigError, TableError):
                continue


class DomainListTests(MatchListCase):
    """Lists of domains."""

    kind = MatchKind.DOMAIN

    def test_dot_style(self) -> None:
        """Without parents, subdomains match what begins with a dot alone."""
        made = self.made("one.example, .two.example")
        names = ("one.example", "sub.one.example", "two.example", "sub.Two.example", "a.b.two.example", "xtwo.example")
        self.assertEqual(self.matching(made, *names), ["one.example", "sub.Two.example", "a.b.two.example"])

    def test_parent_style(self) -> None:
        """With parents, a domain stands for its subdomains."""
        made = self.made("one.example, !x.org, org", parents=True)
        names = ("one.example", "a.sub.One.example", "xone.example", "y.org", "x.org", "a.x.org", "org")
        self.assertEqual(self.matching(made, *names), ["one.example", "a.sub.One.example", "y.org", "org"])

    def keys(self, *, parents: bool, by_pattern: bool = False) -> list[str]:
        """What a table is asked."""
        table = self.known["x:y"] = NowTable("x:y", {}, by_pattern=by_pattern)
        self.made("x:y", parents=parents).test("A.b.example")
        return table.asked

    def test_tables(self) -> None:
        """A table is asked for the name and its parents, in either style; one of patterns for the name alone."""
        self.assertEqual(self.keys(parents=True), ["a.b.example", "b.example", "example"])
        self.assertEqual(self.keys(parents=False), ["a.b.example", ".b.example", ".example"])
        self.assertEqual(self.keys(parents=True, by_pattern=True), ["a.b.example"])

    def test_brackets(self) -> None:
        """What begins with a bracket is no table."""
        self.assertEqual(self.matching(self.made("[2001:db8::1]"), "[2001:db8::1]", "x"), ["[2001:db8::1]"])


class AddressListTests(MatchListCase):
    """Lists of names and addresses."""

    kind = MatchKind.NAME_OR_ADDRESS

    def addresses(self, text: str, addresses: Iterable[str]) -> list[str]:
        """Those addresses that match."""
        made = self.made(text)
        return [address for address in addresses if made.test("host.example", address) is True]

    def test_names(self) -> None:
        """Names match as in lists of domains, whatever the address."""
        self.assertIs(self.made("host.example").test("HOST.example", "noaddr"), True)
        self.assertIs(self.made(".example").test("host.example"), True)
        self.assertIs(self.made("example", parents=True).test("host.example", "192.0.2.1"), True)

    def test_addresses(self) -> None:
        """Exact addresses, networks, brackets, and any spelling of IPv6."""
        some = ("192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:DB8:0::1", "2001:db9::1", "noaddr", "")
        for text, expected in (
            ("192.0.2.1", ["192.0.2.1"]),
            ("[192.0.2.1]", ["192.0.2.1"]),
            ("192.0.2.0/24", ["192.0.2.1", "192.0.2.2"]),
            ("[192.0.2.0/24]", ["192.0.2.1", "192.0.2.2"]),
            ("[192.0.2.0]/24", ["192.0.2.1", "192.0.2.2"]),
            ("!192.0.2.1, 192.0.2.0/24", ["192.0.2.2"]),
            ("[2001:db8:0:0::1]", ["2001:db8::1", "2001:DB8:0::1"]),
            ("[2001:db8::]/32", ["2001:db8::1", "2001:DB8:0::1"]),
            ("0.0.0.0/0", ["192.0.2.1", "192.0.2.2", "198.51.100.1"]),
        ):
            self.assertEqual(self.addresses(text, some), expected, text)
        self.assertEqual(self.opened.events, [])

    def test_no_address(self) -> None:
        """What stands for no address matches no pattern; a table may have it."""
        for text, found in (("noaddr", False), ("[noaddr]", False), ("inline:{noaddr=x}", True), ("static:x", True)):
            self.assertIs(self.made(text).test("x.test", "noaddr"), found, text)
        self.assertTrue(self.made("noaddr").test("NoAddr", "192.0.2.1"))

    def test_bad_network(self) -> None:
        """A malformed network is told, and an error where an address comes that far."""
        made = self.made("192.0.2.1/24, 192.0.2.1")
        self.assertIs(made.test("x", "noaddr"), False)
        self.assertEqual(self.opened.lines, [])
        self.assertRaises(TableError, made.test, "x", "192.0.2.1")
        advice = 'non-null host address bits in "192.0.2.1/24", perhaps you should use "192.0.2.0/24" instead'
        self.assertEqual(self.opened.lines, [f"warning: parameter: {advice}"])

    def test_tables(self) -> None:
        """A table is asked for the name, its parents, and the address as it is."""
        table = self.known["x:y"] = NowTable("x:y", {"192.0.2.1": "x"})
        self.assertIs(self.made("x:y").test("a.example", "192.0.2.1"), True)
        self.assertEqual(table.asked, ["a.example", ".example", "192.0.2.1"])
        self.assertIs(self.made("x:y").test("a.example", "noaddr"), False)
