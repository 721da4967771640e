"""Tests of twisted_mta.tables.maps and twisted_mta.tables.address_lookup."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.tables.opened import LaterTable, NowTable, TablesCase
from twisted_mta.interfaces import TableError
from twisted_mta.tables.address_lookup import AddressFound, ExtensionRules, LocalDomains, find_address
from twisted_mta.tables.answer import answer
from twisted_mta.tables.maps import Maps
from twisted_mta.tables.match_list import MatchKind
from twisted_mta.tables.opening import EXACT

PARAMETER = "smtp_generic_maps"


class MapsTests(TablesCase):
    """Tables one after the other."""

    def maps(self, *tables: NowTable | LaterTable) -> Maps:
        """A list of tables."""
        return Maps(PARAMETER, tables, self.opened.events.append)

    def test_first_counts(self) -> None:
        """The first table that has a key is the last one asked."""
        first, second, third = (NowTable(name, {"a": name, name: name}) for name in ("x:1", "x:2", "x:3"))
        maps = self.maps(first, second, third)
        self.assertEqual(maps.lookup("a"), "x:1")
        self.assertEqual(maps.lookup("x:2"), "x:2")
        self.assertEqual(maps.lookup("none"), None)
        self.assertEqual(third.asked, ["none"])

    def test_no_tables(self) -> None:
        """A list of no tables is false, and finds nothing."""
        self.assertFalse(self.maps())
        self.assertEqual(self.maps().lookup("a"), None)
        self.assertTrue(self.maps(NowTable("x:1", {})))

    def test_empty_key(self) -> None:
        """No table is asked for an empty key."""
        table = NowTable("x:1", {"": "1"})
        self.assertEqual(self.maps(table).lookup(""), None)
        self.assertEqual(table.asked, [])

    def test_null_character(self) -> None:
        """A key ends at a null character, for all types."""
        maps = self.maps(NowTable("x:1", {"a": "1"}))
        self.assertEqual([maps.lookup(key) for key in ("a\0b", "a\0", "\0a")], ["1", "1", None])
        self.assertEqual(answer(maps.find("a\0b")), "1")
        self.assertEqual(answer(maps.find("\0")), None)

    def test_error_ends(self) -> None:
        """The first error ends the search: what stands behind it is not asked."""
        last = NowTable("x:2", {"a": "1"})
        maps = self.maps(NowTable("x:1", {"a": "ERROR"}), last)
        self.assertRaises(TableError, maps.lookup, "a")
        self.assertEqual(last.asked, [])
        self.assertEqual(self.opened.lines, ['warning: x:1 lookup error for "a"'])

    def test_empty_value(self) -> None:
        """An empty value is an error, and no way to say that there is none."""
        last = NowTable("x:2", {"a": "1"})
        maps = self.maps(NowTable("x:1", {"a": ""}), last)
        with self.assertRaises(TableError) as caught:
            maps.lookup("a")
        self.assertEqual((caught.exception.table, caught.exception.key), ("x:1", "a"))
        self.assertEqual(last.asked, [])
        self.assertEqual(
            self.opened.lines,
            [
                f"warning: {PARAMETER} lookup of a returns an empty string result",
                f"warning: {PARAMETER} should return NO RESULT in case of NOT FOUND",
            ],
        )

    def test_parts(self) -> None:
        """Tables of patterns are not asked for parts of a key."""
        pattern, fixed = NowTable("x:1", {"a": "1"}, by_pattern=True), NowTable("x:2", {"a": "2"})
        maps = self.maps(pattern, fixed)
        self.assertEqual(answer(maps.find("a")), "1")
        self.assertEqual(answer(maps.find("a", part=True)), "2")

    def test_later(self) -> None:
        """One table that answers later makes a Deferred of the search, errors included."""
        now, later = NowTable("x:1", {"a": "1"}), LaterTable("x:2")
        maps = self.maps(now, later, NowTable("x:3", {"c": "3"}))
        self.assertEqual(maps.lookup("a"), "1")
        for key, value, expected in (("b", "2", "2"), ("c", None, "3"), ("d", None, None)):
            found = maps.lookup(key)
            assert isinstance(found, Deferred)
            self.assertNoResult(found)
            later.answer(key, value)
            self.assertEqual(self.successResultOf(found), expected)
        for key in ("b", "e"):
            found = maps.lookup(key)
            assert isinstance(found, Deferred)
            if key == "b":
                later.answer(key, "")
            else:
                later.fail(key)
            self.failureResultOf(found, TableError)

    def test_opened(self) -> None:
        """A parameter's tables are opened with its use."""
        maps = self.opened.tables.maps(PARAMETER, ("inline:{A=1}", "static:{x y}"))
        self.assertEqual((maps.lookup("a"), maps.lookup("b")), ("1", "x y"))
        exact = self.opened.tables.maps("smtp_header_checks", ("inline:{A=1}",), EXACT)
        self.assertEqual((exact.lookup("a"), exact.lookup("A")), (None, "1"))


class ExtensionTests(SynchronousTestCase):
    """Where a local part ends."""

    def test_split(self) -> None:
        """At the first of the delimiters, unless nothing stands before it."""
        rules = ExtensionRules("+-")
        for local, expected in (
            ("user", ("user", "")),
            ("user+ext", ("user", "+ext")),
            ("user-a+b", ("user", "-a+b")),
            ("user+", ("user", "+")),
            ("+user", ("+user", "")),
            ("-user+ext", ("-user+ext", "")),
            ("", ("", "")),
            ("postmaster+x", ("postmaster", "+x")),
        ):
            self.assertEqual(rules.split(local), expected)
        self.assertEqual(ExtensionRules("").split("user+ext"), ("user+ext", ""))

    def test_never_split(self) -> None:
        """Names of the mail system, and, with a hyphen, of lists."""
        rules = ExtensionRules("-", double_bounce_sender="double-bounce")
        for local in ("mailer-daemon", "MAILER-DAEMON", "Double-Bounce", "owner-list", "Owner-List", "list-REQUEST"):
            self.assertEqual(rules.split(local), (local, ""))
        self.assertEqual(ExtensionRules("-", owner_request_special=False).split("owner-list"), ("owner", "-list"))
        self.assertEqual(ExtensionRules("+").split("owner-list+x"), ("owner-list", "+x"))

    @given(st.text(st.sampled_from("ab+-."), max_size=8), st.sampled_from(("", "+", "-+", ".")))
    @settings(deadline=None)
    def test_whole(self, local: str, delimiters: str) -> None:
        """The parts make up the whole; the extension begins with a delimiter, and there is none before it."""
        base, extension = ExtensionRules(delimiters).split(local)
        self.assertEqual(base + extension, local)
        if extension:
            self.assertIn(extension[0], delimiters)
            self.assertTrue(base)
            self.assertFalse(set(base) & set(delimiters))


class AddressTests(TablesCase):
    """The search for an address."""

    def search(
        self, entries: Mapping[str, str], address: str, *, by_pattern: bool = False, plain_too: bool = False
    ) -> tuple[AddressFound | None, list[str]]:
        """Search, with what was asked."""
        table = NowTable("x:y", entries, by_pattern=by_pattern)
        maps = Maps(PARAMETER, [table], self.opened.events.append)

        async def is_local(domain: str) -> bool:
            return domain == "local.example"

        found = answer(find_address(maps, address, ExtensionRules("+"), is_local, plain_too=plain_too))
        assert not isinstance(found, Deferred)
        return found, table.asked

    def test_order(self) -> None:
        """The whole, without extension, for own domains the local part in both forms, the domain."""
        for address, keys in (
            ("u+x@other.example", ["u+x@other.example", "u@other.example", "@other.example"]),
            ("u@other.example", ["u@other.example", "@other.example"]),
            ("u+x@local.example", ["u+x@local.example", "u@local.example", "u+x", "u", "@local.example"]),
            ("u@local.example", ["u@local.example", "u", "@local.example"]),
            ("u+x", ["u+x", "u"]),
            ("u", ["u"]),
        ):
            self.assertEqual(self.search({}, address), (None, keys))
            for at, key in enumerate(keys):
                found, asked = self.search({key: "value"}, address)
                assert found is not None
                self.assertEqual(asked, keys[: at + 1])
                without = "+x" in address and key in ("u@other.example", "u@local.example", "u")
                self.assertEqual((found.value, found.unmatched_extension), ("value", "+x" if without else ""))

    def test_patterns(self) -> None:
        """Tables of patterns are asked for the whole address alone."""
        self.assertEqual(
            self.search({"@local.example": "x"}, "u+x@local.example", by_pattern=True), (None, ["u+x@local.example"])
        )

    def test_quotes(self) -> None:
        """Keys have the quotes that a local part needs; on request they are tried without them, too."""
        _, asked = self.search({}, "a b+x@local.example")
        self.assertEqual(asked, ['"a b+x"@local.example', '"a b"@local.example', '"a b+x"', '"a b"', "@local.example"])
        _, asked = self.search({}, "a b@other.example", plain_too=True)
        self.assertEqual(asked, ['"a b"@other.example', "a b@other.example", "@other.example"])
        _, asked = self.search({}, "u@other.example", plain_too=True)
        self.assertEqual(asked, ["u@other.example", "@other.example"])
        _, asked = self.search({}, "a@b@local.example")
        self.assertEqual(asked, ['"a@b"@local.example', '"a@b"', "@local.example"])

    def test_odd_addresses(self) -> None:
        """Addresses without local part or domain are no reason to fail."""
        for address in ("@", "@x", "a@", "", "+@x", "@@", "\udcff@x"):
            self.search({}, address)

    def test_error_ends(self) -> None:
        """An error at any key ends the search."""
        for key in ("u+x@local.example", "u@local.example", "u+x", "u", "@local.example"):
            self.assertRaises(TableError, self.search, {key: "ERROR"}, "u+x@local.example")

    def test_later(self) -> None:
        """Tables that answer later, and a local domain that is found later."""
        table, domains = LaterTable("x:y"), LaterTable("x:domains")
        maps = Maps(PARAMETER, [table], self.opened.events.append)

        async def is_local(domain: str) -> bool:
            return await domains.lookup(domain) is not None

        found = answer(find_address(maps, "u@d.example", ExtensionRules(), is_local))
        assert isinstance(found, Deferred)
        table.answer("u@d.example", None)
        domains.answer("d.example", "yes")
        self.assertNoResult(found)
        table.answer("u", "value")
        self.assertEqual(self.successResultOf(found), AddressFound("value"))


class LocalDomainTests(TablesCase):
    """Which domains are own ones."""

    def is_local(self, domain: str) -> bool:
        """Whether a domain is one."""
        destinations = self.opened.tables.match_list(
            "mydestination", ("one.example", "inline:{two.example=x}"), MatchKind.STRING
        )
        found = answer(
            LocalDomains("origin.example", destinations, lambda address: address in ("192.0.2.1", "2001:db8::1"))(
                domain
            )
        )
        assert isinstance(found, bool)
        return found

    def test_domains(self) -> None:
        """myorigin, mydestination, and own addresses in brackets; one dot at the end does not matter."""
        own = ("Origin.Example", "one.example", "ONE.example.", "Two.Example", "[192.0.2.1]", "[IPv6:2001:db8::1]")
        for domain in own:
            self.assertTrue(self.is_local(domain), domain)
        foreign = (
            "",
            ".",
            "example",
            "sub.one.example",
            "one.example..",
            "192.0.2.1",
            "[192.0.2.2]",
            "[one.example]",
            "[]",
        )
        for domain in foreign:
            self.assertFalse(self.is_local(domain), domain)
