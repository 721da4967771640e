"""Tests of twisted_mta.tables.keys."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tables.opened import LaterTable, NowTable, OpenTables, TablesCase
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.keys import FoldedTable, Utf8Table, fold_ascii, fold_unicode, is_utf8, keep, prepared
from twisted_mta.tables.opening import ADDRESSES, EXACT, FOLDED, TableRequest

any_text = st.binary(max_size=20).map(to_text)


class FoldTests(SynchronousTestCase):
    """What counts as equal."""

    @given(any_text)
    @settings(deadline=None)
    def test_ascii(self, text: str) -> None:
        """ASCII folding changes A to Z alone, byte for byte."""
        self.assertEqual(to_wire(fold_ascii(text)), to_wire(text).lower())

    @given(st.text(max_size=20))
    @settings(deadline=None)
    def test_unicode(self, text: str) -> None:
        """Unicode folding makes equal what differs by case alone, and leaves it so."""
        if is_utf8(text):
            self.assertEqual(fold_unicode(text), fold_unicode(fold_unicode(text)))
            self.assertEqual(fold_unicode(text.swapcase()), fold_unicode(text.swapcase().casefold()))

    def test_sharp_s(self) -> None:
        """A letter may become two."""
        self.assertEqual(fold_unicode("Straße"), fold_unicode("STRASSE"))
        self.assertNotEqual(fold_ascii("Straße"), fold_ascii("STRASSE"))
        self.assertEqual(keep("Straße"), "Straße")

    @given(st.binary(max_size=12))
    @settings(deadline=None)
    def test_is_utf8(self, data: bytes) -> None:
        """Text is UTF-8 if the bytes it came from are."""
        try:
            data.decode("utf-8")
            good = True
        except UnicodeDecodeError:
            good = False
        self.assertEqual(is_utf8(to_text(data)), good)


class WrappedTests(TablesCase):
    """Tables whose callers need not care."""

    def test_contract(self) -> None:
        """The wrappers are tables."""
        table = NowTable("now:x", {"a": "1"})
        for wrapped in (FoldedTable(table), Utf8Table(table, keep, self.opened.events.append)):
            self.assertTrue(verifyObject(ILookupTable, wrapped))
            self.assertEqual((wrapped.name, wrapped.by_pattern, wrapped.changed()), ("now:x", False, False))
            wrapped.close()

    def test_smtputf8_no(self) -> None:
        """Without smtputf8_enable, keys are bytes: nothing is checked, ASCII alone is folded."""
        opened = OpenTables(self.opened.directory, smtputf8=False)
        opened.write("text", b"\xff\xc9A 1\n\xc3\x89 2\n")
        self.assertEqual(opened.find("texthash:text", to_text(b"\xff\xc9a")), "1")
        self.assertEqual(opened.find("texthash:text", to_text(b"\xff\xe9a")), None)
        self.assertEqual((opened.find("texthash:text", "É"), opened.find("texthash:text", "é")), ("2", None))
        self.assertEqual(opened.events, [])

    def test_bad_key(self) -> None:
        """A key that is not UTF-8 is told and not found, even in tables of patterns."""
        for spec in ("static:x", "regexp:{{/./ x}}"):
            self.assertEqual(self.opened.find(spec, to_text(b"a\xffb")), None)
            self.assertEqual(
                self.opened.lines.pop(),
                f'warning: {spec}: non-UTF-8 key "a?b": malformed UTF-8 or invalid codepoint',
            )

    def test_bad_key_of_a_file(self) -> None:
        """Tables in the files of some types are called by the name of the file, as by Postfix."""
        for kind, suffix in (("hash", ".db"), ("btree", ".db"), ("cdb", ".cdb"), ("lmdb", ""), ("texthash", "")):
            request = TableRequest(kind, "/x", ADDRESSES, self.opened.context, self.opened.tables.open)
            prepared(NowTable(request.table, {}), request).lookup("\udcff")
            self.assertIn(f"warning: {kind}:/x{suffix}: non-UTF-8 key ", self.opened.lines.pop())

    def test_bad_value(self) -> None:
        """A value that is not UTF-8 is an error."""
        spec = "static:x\udcff"
        self.assertIn("non-UTF-8 value", self.opened.problem(spec))
        self.assertEqual(
            self.opened.lines,
            ['warning: static:x?: key "key": non-UTF-8 value "x?": malformed UTF-8 or invalid codepoint'],
        )
        self.assertEqual(self.opened.find(spec, "key", FOLDED), "x\udcff")

    def test_patterns_see_case(self) -> None:
        """Keys of pattern tables are never folded."""
        for flags in (EXACT, FOLDED, ADDRESSES):
            self.assertEqual(self.opened.find("regexp:{{/(.*)/ <$1>}}", "AbÉ", flags), "<AbÉ>")

    def test_later(self) -> None:
        """Values that come later are checked as well."""
        table = LaterTable("later:x")
        wrapped = Utf8Table(table, fold_unicode, self.opened.events.append)
        found = wrapped.lookup("STRASSE")
        assert isinstance(found, Deferred)
        table.answer("strasse", "ok é")
        self.assertEqual(self.successResultOf(found), "ok é")
        found = wrapped.lookup("A")
        assert isinstance(found, Deferred)
        table.answer("a", None)
        self.assertEqual(self.successResultOf(found), None)
        found = wrapped.lookup("B")
        assert isinstance(found, Deferred)
        table.answer("b", "\udcff")
        self.failureResultOf(found, TableError)
        self.assertEqual(len(self.opened.events), 1)
