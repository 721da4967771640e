"""The line format of main.cf; each expectation is what postconf(1) and smtp(8) make of the same text."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import (
    LARGEST_FILE,
    Entry,
    logical_lines,
    parse_main_cf,
    parse_override,
    read_main_cf,
    read_text,
    split_assignment,
)

ANY_TEXT = st.text(st.sampled_from("ab=$# \t\n\r\v\f\0é\udcff"), max_size=60)


class Reading:
    """What comes of a text."""

    def __init__(self, text: str) -> None:
        self.warnings: list[str] = []
        self.errors: list[ConfigError] = []
        self.entries = parse_main_cf(text, "main.cf", self.warnings.append, self.errors.append)

    def values(self) -> dict[str, str]:
        """Names with their values."""
        return {name: entry.value for name, entry in self.entries.items()}


class LogicalLineTests(SynchronousTestCase):
    """Physical lines become logical ones."""

    def lines(self, text: str) -> list[tuple[str, int, int]]:
        """Texts with the numbers of their first and last lines; there must be no warning."""
        return [(line.text, line.number, line.last) for line in logical_lines(text, "file", self.fail)]

    def test_continuation(self) -> None:
        """White space at the start of a line continues the one before, and stays; so does what ends inner lines."""
        self.assertEqual(
            self.lines("a = one \n  two\n\tthree\nb = c\n"), [("a = one   two\tthree", 1, 3), ("b = c", 4, 4)]
        )

    def test_comments_and_empty_lines(self) -> None:
        """Comments, also indented, and blank lines vanish, even before a continuation."""
        self.assertEqual(self.lines("# x\n\na = b\n# c\n \t\r\n  # d\n  e\n"), [("a = b  e", 3, 7)])

    def test_comment_sign_inside(self) -> None:
        """A number sign after other text belongs to the text."""
        self.assertEqual(self.lines("a = b # c"), [("a = b # c", 1, 1)])

    def test_no_final_newline(self) -> None:
        """The last line needs no newline."""
        self.assertEqual(self.lines("a\nb"), [("a", 1, 1), ("b", 2, 2)])

    def test_only_ascii_white_space(self) -> None:
        """Spaces and line ends of Unicode are ordinary characters."""
        self.assertEqual(self.lines("a\n\xa0b\x85c\u2028d"), [("a", 1, 1), ("\xa0b\x85c\u2028d", 2, 2)])

    def test_vertical_tab_and_form_feed(self) -> None:
        """These are white space, too."""
        self.assertEqual(self.lines("a\n\vb\n\fc"), [("a\vb\fc", 1, 3)])

    def test_first_line_indented(self) -> None:
        """A file's first line cannot continue anything: it is left out with its continuations, the rest counts."""
        warnings: list[str] = []
        lines = [line.text for line in logical_lines("# x\n  foo = bar\n  baz\na = b\n", "file", warnings.append)]
        self.assertEqual(lines, ["a = b"])
        self.assertEqual(warnings, ['file: logical line must not start with whitespace: "  foo = bar  baz"'])

    def test_first_line_indented_and_long(self) -> None:
        """Thirty octets of it are shown; what comes behind a null character counts, but is not shown."""
        for text, shown in (
            ("  foo = abcdefghijklmnopqrstuvwxyz0123456789", "  foo = abcdefghijklmnopqrstuv..."),
            ("  foo = " + "é" * 12, "  foo = " + "é" * 11 + "..."),
            ("  foo = x\0" + "y" * 30, "  foo = x..."),
        ):
            warnings: list[str] = []
            list(logical_lines(text, "file", warnings.append))
            self.assertEqual(warnings[-1], f'file: logical line must not start with whitespace: "{shown}"')

    def test_null(self) -> None:
        """What follows a NUL in a logical line is lost, continuations included, with a warning."""
        warnings: list[str] = []
        lines = [line.text for line in logical_lines("x\na = b\n  c\0d\n  e\nf\n", "file", warnings.append)]
        self.assertEqual(lines, ["x", "a = b  c", "f"])
        self.assertEqual(warnings, ["file, line 2: text after null byte may be ignored"])

    @settings(deadline=None, max_examples=200)
    @given(ANY_TEXT)
    def test_any_text(self, text: str) -> None:
        """No text breaks the reader: lines come in order, none empty or indented, none with a newline."""
        lines = list(logical_lines(text, "file", lambda warning: None))
        self.assertEqual([line.number for line in lines], sorted({line.number for line in lines}))
        for line in lines:
            self.assertNotIn("\n", line.text)
            self.assertNotIn("\0", line.text)
            self.assertNotEqual(line.text[:1], " ")
            self.assertLessEqual(line.number, line.last)


class AssignmentTests(SynchronousTestCase):
    """``name = value``."""

    def test_forms(self) -> None:
        """Blanks around name, equals sign and value do not count; the value may be empty, or have equals signs."""
        for text, expected in {
            "a=b": ("a", "b"),
            "a = b c ": ("a", "b c"),
            " a\t=\vb\f": ("a", "b"),
            "a=": ("a", ""),
            "a== b=c": ("a", "= b=c"),
            "a-b.c = d": ("a-b.c", "d"),
        }.items():
            self.assertEqual(split_assignment(text), expected)

    def test_no_equals_sign(self) -> None:
        """Without an equals sign right behind the name there is no assignment."""
        for text in ("a", "a b = c", "{ a = b }"):
            error = self.assertRaises(ConfigError, split_assignment, text)
            self.assertEqual(error.text, "missing '=' after attribute name")

    def test_no_name(self) -> None:
        """Neither is there without a name."""
        for text in ("", " ", "= b", "="):
            self.assertEqual(self.assertRaises(ConfigError, split_assignment, text).text, "missing attribute name")

    def test_override(self) -> None:
        """An argument of -o has the same form, and Postfix's text where it has not."""
        self.assertEqual(parse_override("name = a value"), ("name", "a value"))
        self.assertEqual(parse_override("name="), ("name", ""))
        error = self.assertRaises(ConfigError, parse_override, "foo")
        self.assertEqual(error.text, "invalid \"-o foo\" option value: missing '=' after attribute name")


class MainCfTests(SynchronousTestCase):
    """Whole files."""

    def test_values(self) -> None:
        """Values are raw, trimmed at their ends, and know their first line."""
        reading = Reading("# c\na = one\n  two\r\nb=$a\n")
        self.assertEqual(reading.entries, {"a": Entry("one  two", 2), "b": Entry("$a", 4)})
        self.assertEqual((reading.warnings, reading.errors), ([], []))

    def test_duplicates(self) -> None:
        """The last one counts; there is a warning where it says something else."""
        reading = Reading("a = 1\na=1 \n# c\na = 2 \n q\na = $b\n")
        self.assertEqual(reading.values(), {"a": "$b"})
        self.assertEqual(
            reading.warnings,
            [
                "main.cf, line 4: overriding earlier entry: a=1",
                "main.cf, line 6: overriding earlier entry: a=2  q",
            ],
        )

    def test_no_assignment(self) -> None:
        """A line that is no assignment is an error; the others still count."""
        reading = Reading("a = b\nfoo bar = baz\n  blah\n= x\nc = d")
        self.assertEqual(reading.values(), {"a": "b", "c": "d"})
        self.assertEqual(
            [error.text for error in reading.errors],
            [
                "main.cf, line 2: missing '=' after attribute name: \"foo bar = baz  blah\"",
                'main.cf, line 4: missing attribute name: "= x"',
            ],
        )

    def test_undecodable_bytes(self) -> None:
        """Bytes that are not UTF-8 get through unchanged."""
        path = Path(self.mktemp())
        path.write_bytes(b"a = \xff\xc3\xbc\n")
        value = read_main_cf(path, self.fail, self.fail)["a"].value
        self.assertEqual(os.fsencode(value), b"\xff\xc3\xbc")

    def test_no_file(self) -> None:
        """What is no file, or has no end, is an error that names it; nobody waits for a pipe."""
        pipe = Path(self.mktemp())
        os.mkfifo(pipe)
        for path, problem in (
            (pipe, "not a file"),
            (pipe.parent, "Is a directory"),
            (Path("/dev/zero"), f"more than {LARGEST_FILE} octets"),
            (Path("a\0b"), "embedded null byte"),
        ):
            error = self.assertRaises(ConfigError, read_text, path)
            self.assertEqual((error.text, error.file), (f"open {path}: {problem}", str(path)))
        self.assertEqual(read_text(Path("/dev/null")), "")

    def test_missing_file(self) -> None:
        """A file that cannot be read is named, with the reason."""
        error = self.assertRaises(ConfigError, read_text, Path("/nonexistent/main.cf"))
        self.assertEqual(error.text, "open /nonexistent/main.cf: No such file or directory")
        self.assertEqual(error.file, "/nonexistent/main.cf")

    @settings(deadline=None, max_examples=200)
    @given(ANY_TEXT)
    def test_any_text(self, text: str) -> None:
        """Any text gives entries and errors: names without blanks, values without blanks at their ends."""
        reading = Reading(text)
        for name, entry in reading.entries.items():
            self.assertTrue(name)
            self.assertEqual(name, name.strip(" \t\r\v\f"))
            self.assertEqual(entry.value, entry.value.strip(" \t\r\v\f"))

    @settings(deadline=None, max_examples=100)
    @given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text("ab =$#{}", max_size=20), max_size=5))
    def test_round_trip(self, written: dict[str, str]) -> None:
        """What is written line by line is read back."""
        text = "".join(f"{name} = {value}\n" for name, value in written.items())
        self.assertEqual(Reading(text).values(), {name: value.strip(" ") for name, value in written.items()})
