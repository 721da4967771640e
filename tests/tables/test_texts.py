"""Tests of tables made of text: text_records, texthash, inline, braces."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tables.opened import TablesCase
from twisted_mta.interfaces import ILookupTable
from twisted_mta.model.text import to_text
from twisted_mta.tables.braces import BracesError, end_of_braces, inner_text
from twisted_mta.tables.opening import EXACT
from twisted_mta.tables.text_records import RecordError, split_key_value, split_name_value

line_text = st.text(st.sampled_from('ab"\\ \t=é{}'), max_size=12)


class RecordTests(SynchronousTestCase):
    """Lines of text tables."""

    def test_keys(self) -> None:
        """A key ends at white space that is neither quoted nor behind a backslash."""
        for line, expected in (
            ("a b", ("a", "b")),
            ("a \t b  c ", ("a", "b  c")),
            (r"a\ b c", (r"a\ b", "c")),
            (r'"a b"c d', ('"a b"c', "d")),
            (r'"a\" b" c', (r'"a\" b"', "c")),
            ('a b"', ("a", 'b"')),
            ('"" x', ('""', "x")),
            ("a\xa0b c", ("a\xa0b", "c")),
            ("a\vb", ("a", "b")),
        ):
            self.assertEqual(split_key_value(line), expected)

    def test_no_records(self) -> None:
        """Lines without value, and quotes that are never closed."""
        for line in ("a", "a ", "a\\ b", '"a b"', "\\"):
            with self.assertRaises(RecordError) as caught:
                split_key_value(line)
            self.assertEqual(caught.exception.problem, "expected format: key whitespace value")
        for line in ('"a', '"a\\" b', 'a"b c'):
            with self.assertRaises(RecordError) as caught:
                split_key_value(line)
            self.assertEqual(caught.exception.problem, f"unbalanced '\"' in '{line}'")

    @given(line_text)
    @settings(deadline=None)
    def test_nothing_is_lost(self, line: str) -> None:
        """A record is its key, white space, and its value; the key is not empty and neither is the value."""
        try:
            key, value = split_key_value(line)
        except RecordError:
            return
        self.assertTrue(key)
        self.assertTrue(value)
        stripped = line.strip(" \t")
        self.assertTrue(stripped.startswith(key))
        self.assertEqual(stripped[len(key) :].lstrip(" \t"), value)

    @given(line_text)
    @settings(deadline=None, max_examples=300)
    def test_keys_step_by_step(self, line: str) -> None:
        """The key ends where one finds it who goes character by character."""
        stripped = line.strip(" \t")
        at, quoted = 0, False
        while at < len(stripped) and (quoted or stripped[at] not in " \t"):
            if stripped[at] == "\\" and at + 1 < len(stripped):
                at += 1
            elif stripped[at] == '"':
                quoted = not quoted
            at += 1
        try:
            self.assertEqual(split_key_value(line)[0], stripped[:at])
            self.assertFalse(quoted)
        except RecordError as error:
            self.assertEqual(error.problem.startswith("unbalanced"), quoted)

    @given(line_text)
    @settings(deadline=None)
    def test_names(self, item: str) -> None:
        """A name ends at the first equals sign that is neither quoted nor behind a backslash."""
        try:
            name, value = split_name_value(item)
        except RecordError:
            return
        bare = re.sub(r'\\.|"(?:\\.|[^"\\])*"', "", name)
        self.assertNotIn("=", bare)
        self.assertEqual(re.sub(r"\s", "", item), re.sub(r"\s", "", f"{name}={value}"))

    def test_long(self) -> None:
        """Long lines without value are refused at once: no pattern tries all ways to split them."""
        for text in ("a" * 100_000, '"a' * 50_000, "\\a" * 50_000, '"' * 100_001):
            self.assertRaises(RecordError, split_key_value, text)


class BracesTests(SynchronousTestCase):
    """Text in braces."""

    def test_inner(self) -> None:
        """What is between the first brace and the one that closes it."""
        self.assertEqual(inner_text("{ a {b} c }"), "a {b} c")
        for text, problem in (
            ("a", "no '{' at start of text in \"a\""),
            ("{a", "missing '}' in \"{a\""),
            ("{a}}", "syntax error after '}' in \"{a}}\""),
            ("{a} b", "syntax error after '}' in \"{a} b\""),
        ):
            with self.assertRaises(BracesError) as caught:
                inner_text(text)
            self.assertEqual(caught.exception.problem, problem)

    @given(st.text(st.sampled_from("{}a"), max_size=10))
    @settings(deadline=None)
    def test_balanced(self, text: str) -> None:
        """A group holds as many opening as closing braces, and no shorter beginning of it does."""
        end = end_of_braces("{" + text)
        if end:
            group = ("{" + text)[:end]
            self.assertEqual(group.count("{"), group.count("}"))
            for cut in range(1, end):
                self.assertGreater(group[:cut].count("{"), group[:cut].count("}"))


class TexthashTests(TablesCase):
    """Type texthash."""

    def test_lookups(self) -> None:
        """Keys are folded, values are not; comments vanish, lines go on behind white space."""
        self.opened.write("text", '# comment\nKey  Value One \n\tand more\n# here, too\n  and\n"Q R"@x y\nß s\n')
        self.assertTrue(verifyObject(ILookupTable, self.opened.tables.open("texthash:text")))
        self.assertEqual(self.opened.find("texthash:text", "kEY"), "Value One \tand more  and")
        self.assertEqual(self.opened.find("texthash:text", '"q r"@X'), "y")
        self.assertEqual(self.opened.find("texthash:text", "SS"), "s")
        self.assertEqual(self.opened.find("texthash:text", "key", EXACT), None)
        self.assertEqual(self.opened.find("texthash:text", ""), None)
        self.assertEqual(self.opened.events, [])

    def test_bad_lines(self) -> None:
        """Lines that are no records are told and passed over."""
        path = self.opened.write("text", b'a: 1\nb\n"x y 2\nnot \xff\nc 3\n')
        self.assertEqual(self.opened.find("texthash:text", "a:"), "1")
        self.assertEqual(self.opened.find("texthash:text", "c"), "3")
        self.assertEqual(
            self.opened.lines,
            [
                f'warning: {path}, line 1: record is in "key: value" format; is this an alias file?',
                f"warning: {path}, line 2: expected format: key whitespace value -- ignoring this line",
                f"warning: {path}, line 3: unbalanced '\"' in '\"x y 2' -- ignoring this line",
                f'warning: {path}, line 4: non-UTF-8 input "not ?" -- ignoring this line',
            ],
        )

    def test_duplicate(self) -> None:
        """A key that stands twice makes the table unusable, even with the same value."""
        path = self.opened.write("text", "a 1\nb 2\nA 1\n")
        self.assertEqual(self.opened.problem("texthash:text"), f'{path}, line 3: duplicate entry: "A"')
        self.assertEqual(self.opened.find("texthash:text", "A", EXACT), "1")

    def test_no_file(self) -> None:
        """No file, a directory, an impossible name."""
        directory = self.opened.directory
        self.assertEqual(
            self.opened.problem("texthash:none"), f"open database {directory}/none: No such file or directory"
        )
        self.assertEqual(self.opened.problem(f"texthash:{directory}"), f"read {directory}: Is a directory")
        self.assertEqual(self.opened.problem("texthash:a\0b"), f"open database {directory}/a\0b: embedded null byte")

    def test_no_end(self) -> None:
        """A device that never ends is refused instead of filling memory; an empty one is an empty table."""
        self.assertEqual(self.opened.problem("texthash:/dev/zero"), "read /dev/zero: more than 1073741824 octets")
        self.assertEqual(self.opened.find("texthash:/dev/null", "a"), None)

    @given(
        st.dictionaries(
            st.text(st.sampled_from("abcéß@.-"), min_size=1, max_size=6).map(str.casefold),
            st.text(st.sampled_from("ab é"), min_size=1).map(str.strip).filter(bool),
            max_size=20,
        )
    )
    @settings(deadline=None, max_examples=50)
    def test_all_are_found(self, entries: dict[str, str]) -> None:
        """Each entry is found, in any case, and nothing else."""
        self.opened.tables.close()
        self.opened.write("text", "".join(f"{key} {value}\n" for key, value in entries.items()))
        for key, value in entries.items():
            self.assertEqual(
                self.opened.find("texthash:text", key.upper().casefold()), entries.get(key.upper().casefold())
            )
            self.assertEqual(self.opened.find("texthash:text", key), value)
        self.assertEqual(self.opened.find("texthash:text", "other"), None)


class InlineTests(TablesCase):
    """Type inline."""

    def test_forms(self) -> None:
        """Plain items, items in braces, quoted keys; the last value of a key counts."""
        for spec, key, value in (
            ("{a=1}", "A", "1"),
            ("{a=1,a=2}", "a", "2"),
            ("{ {a = 1 =2 } {b=3}}", "a", "1 =2"),
            ("{{a={x}}}", "a", "{x}"),
            ("{a={x y}}", "a", "{x y}"),
            ('{{"a b"=2}}', '"a b"', "2"),
            ('{{"a=b"=2}}', '"a=b"', "2"),
            ("{{a\\=b=1}}", "a\\=b", "1"),
            ("{=1}", "", "1"),
            ("{a=1}", "b", None),
            ("{a=$x}", "a", "$x"),
            ("{É=1}", "é", "1"),
        ):
            self.assertEqual(self.opened.find(f"inline:{spec}", key), value, spec)
        self.assertTrue(verifyObject(ILookupTable, self.opened.tables.open("inline:{a=1}")))

    def test_malformed(self) -> None:
        """What is wrong is told in Postfix's words."""
        need = 'need "inline:{name=value...}"'
        for spec, problem in (
            ("{}", "bad syntax"),
            ("a=1", "bad syntax"),
            ("{a=1}x", "bad syntax"),
            ("{ }", "empty table"),
            ("{a}", "missing '=' after attribute name"),
            ('{"a b"=2}', "unbalanced '\"'"),
            ("{{}}", "no key found; expected format: key = value"),
            ("{{a=1}b=2}", "syntax error after '}' in \"{a=1}b=2\""),
            ("{a=\udcff}", "bad UTF-8 syntax"),
        ):
            self.assertEqual(self.opened.problem(f"inline:{spec}"), f'{problem}: "inline:{spec}"; {need}')

    @given(st.binary(max_size=15).map(to_text))
    @settings(deadline=None)
    def test_anything(self, name: str) -> None:
        """Any name gives a table, or the reason why not."""
        self.opened.tables.close()
        self.opened.tables.open(f"inline:{{{name}}}").changed()
