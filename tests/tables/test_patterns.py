"""Tests of regexp and pcre tables: rule_source, pattern_rules, replacement, posix_regex, pcre."""

import gc
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tables.opened import TablesCase
from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.pattern_rules import parse_rules
from twisted_mta.tables.patterns import Dialect, PatternError
from twisted_mta.tables.posix_regex import Option, PosixPattern
from twisted_mta.tables.replacement import ReplacementError, parse_replacement
from twisted_mta.tables.rule_source import RuleLine

random_lines = st.lists(st.text(st.sampled_from("if endif/!()[]*{}1$\\aimx#\n"), max_size=14), max_size=5)
random_key = st.text(st.sampled_from("aif1$/\0é"), max_size=6)


class ReplacementTests(SynchronousTestCase):
    """Texts with places for groups."""

    def fill(self, text: str, *groups: bytes | None) -> str:
        """A text with groups."""
        return parse_replacement(text.encode()).fill(lambda number: groups[number - 1])

    def test_forms(self) -> None:
        """Three ways to write a group, and one to write a dollar."""
        for text, expected in (
            ("$1", "a"),
            ("${1}y", "ay"),
            ("$(2)y", "by"),
            ("$2-$1", "b-a"),
            ("$$1", "$1"),
            ("$$$1", "$a"),
            ("$01", "a"),
            ("$1é", "aé"),
            ("é$3", "é"),
            ("none", "none"),
        ):
            self.assertEqual(self.fill(text, b"a", b"b", None), expected)
        self.assertEqual(parse_replacement(b"a$$b").constant, "a$b")
        self.assertEqual([parse_replacement(text).groups for text in (b"x", b"$2$1", b"${11}")], [0, 2, 11])

    def test_errors(self) -> None:
        """What stands behind a dollar and is no group."""
        for text, cause in (
            ("$1y", 'non-numeric replacement index "1y"'),
            ("$0", 'out of range replacement index "0"'),
            ("${00}", 'out of range replacement index "0"'),
            ("${1", 'truncated macro reference: "${1"'),
            ("$", 'empty macro name: "$"'),
            ("x$ y", 'empty macro name: "x$ y"'),
            ("${}", 'empty macro name: "${}"'),
            ("${ 1 }", 'non-numeric replacement index " 1 "'),
            ("${{1}}", 'non-numeric replacement index "{1}"'),
            ("$-1", 'empty macro name: "$-1"'),
        ):
            with self.assertRaises(ReplacementError) as caught:
                parse_replacement(text.encode())
            self.assertEqual((caught.exception.cause, caught.exception.problem), (cause, "bad replacement syntax"))
        self.assertRaises(ReplacementError, parse_replacement, b"$" + b"9" * 5000)

    @given(st.binary(max_size=12), st.binary(max_size=5))
    @settings(deadline=None)
    def test_anything(self, text: bytes, group: bytes) -> None:
        """Any text is read or refused; without dollars it stays as it is."""
        try:
            made = parse_replacement(text)
        except ReplacementError:
            self.assertIn(b"$", text)
            return
        made.fill(lambda _: group)
        if b"$" not in text:
            self.assertEqual((made.parts, made.groups), ((text,) if text else (), 0))


class PatternCase(TablesCase):
    """What both types have in common; each test runs once for each."""

    kind: ClassVar[str] = "regexp"
    module: ClassVar[str] = "twisted_mta.tables.regexp"

    def setUp(self) -> None:
        """Skip without the library."""
        super().setUp()
        self.needs(self.module)

    def rules(self, text: str, *keys: str) -> list[str | None]:
        """What a table finds for each key."""
        self.opened.tables.close()
        self.opened.events.clear()
        self.path = self.opened.write("rules", text)
        return [self.opened.find(f"{self.kind}:{self.path}", key) for key in keys]

    def told(self, line: int, *problems: str) -> None:
        """What was told of a line, and nothing else."""
        self.assertEqual(
            self.opened.lines, [f"warning: {self.kind} map {self.path}, line {line}: {problem}" for problem in problems]
        )

    def test_rules(self) -> None:
        """The first rule that applies counts; case does not matter, unless a rule says so."""
        found = self.rules("/^a/ one\n/B$/i two\n!/c/ three\n/./ four\n", "Abc", "xcB", "xcb", "bd")
        self.assertEqual(found, ["one", "two", "four", "three"])
        self.assertTrue(verifyObject(ILookupTable, self.opened.tables.open(f"{self.kind}:{self.path}")))
        self.assertEqual(self.opened.events, [])

    def test_delimiters(self) -> None:
        """Any character that is no letter, digit or blank; a backslash protects it."""
        for text in (r"/a\/b/ X", "|a/b| X", "!!|a/b| X", "! ! |a/b| X", '"a/b" X', "_a/b_ X"):
            self.assertEqual(self.rules(text, "a/b", "a"), ["X", None])

    def test_groups(self) -> None:
        """Groups go into the text; one that took no part is nothing."""
        self.assertEqual(self.rules("/(a)|(b)/ <$1$2>", "A", "b", "c"), ["<A>", "<b>", None])
        self.assertEqual(self.rules("/^(.*)@(.*)$/ ${1}+x@$2", "user@é"), ["user+x@é"])

    def test_conditions(self) -> None:
        """Rules between if and endif, in each other, and with the opposite sense."""
        text = "if /a/\nIF !/b/\n/c/ ac\nEndif\n/b/ ab\nendif\n/./ other"
        self.assertEqual(self.rules(text, "ac", "abc", "a", "c"), ["ac", "ab", "other", "other"])
        self.assertEqual(self.opened.events, [])
        self.assertEqual(self.rules("if /a/\n/b/ ab\n/./ other", "ab", "a", "c"), ["ab", "other", None])
        self.told(1, "IF has no matching ENDIF")

    def test_odd_rules(self) -> None:
        """A rule that is wrong is told and left out; the others work."""
        for rule, *problems in (
            ("a X", "ignoring unrecognized request"),
            ("ifa /b/ X", "ignoring unrecognized request"),
            ("endif", "ignoring ENDIF without matching IF"),
            ("/a/z X", 'unknown regexp option "z": skipping this rule'),
            ("!", "no regexp: skipping this rule"),
            ("if", "no regexp: skipping this rule"),
            ("/a/ $1y", 'non-numeric replacement index "1y"', "bad replacement syntax: skipping this rule"),
            ("/(a)/ $2", 'out of range replacement index "2": skipping this rule'),
            ("!/(a)/ $1", "$number found in negative match replacement text: skipping this rule"),
        ):
            self.assertEqual(self.rules(f"# comment\n{rule}\n/^[Aa]/ other\n", "a"), ["other"], rule)
            self.told(2, *problems)

    def test_empty_text(self) -> None:
        """A rule without text is told, and has the empty text."""
        for rule in ("/a/", "/a/  "):
            self.assertEqual(self.rules(rule, "a"), [""])
            self.told(1, "no replacement text: using empty string")

    def test_extra_text(self) -> None:
        """What stands behind conditions is told, and has no meaning; an indented rule becomes such text."""
        self.assertEqual(self.rules("if /a/\n /b/ X\nendif\n/./ Y", "ab"), ["Y"])
        self.told(
            1,
            'ignoring extra text after IF statement: "/b/ X"',
            "do not prepend whitespace to statements between IF and ENDIF",
        )
        self.assertEqual(self.rules("if /a/\n/b/ X\nendif /a/\n/./ Y", "b"), ["Y"])
        self.told(3, "ignoring extra text after ENDIF")

    def test_bytes(self) -> None:
        """Patterns are bytes, whatever the key is; keys end at a null character."""
        self.assertEqual(self.rules("/^.$/ one\n/^..$/ two\n", "a", "é", "a\0b"), ["one", "two", "one"])

    def test_inline(self) -> None:
        """Rules in the name of the table."""
        name = self.kind + ":{{/a{2}/ X}, {!/b/ Y} {/(c)/ <$1>}}"
        self.assertEqual([self.opened.find(name, key) for key in ("aa", "a", "bc", "b")], ["X", "Y", "<c>", None])
        self.assertEqual(self.opened.find(self.kind + ":{}", "a"), None)
        self.assertEqual(self.opened.find(self.kind + ":{ {} }", "a"), None)
        self.assertEqual(self.opened.events, [])
        self.assertEqual(self.opened.find(self.kind + ":{{/a/z X}, {/./ Y}}", "a"), "Y")
        self.assertEqual(
            self.opened.lines,
            [
                f'warning: {self.kind} map {{{{/a/z X}}, {{/./ Y}}}}, line 1: unknown regexp option "z": skipping this rule'
            ],
        )
        for name, problem in (
            ("{/a/ X}", "no '{' at start of text in \"/a/\""),
            ("{{/a/ X}", "missing '}' in \"{{/a/ X}\""),
            ("{{/a/ X}}x", "syntax error after '}' in \"{{/a/ X}}x\""),
            ("{{/a/ X}x}", "syntax error after '}' in \"{/a/ X}x\""),
        ):
            self.assertEqual(self.opened.problem(f"{self.kind}:{name}"), f"{self.kind} map: {problem}")

    def test_no_file(self) -> None:
        """A file that is not there."""
        directory = self.opened.directory
        self.assertEqual(self.opened.problem(f"{self.kind}:none"), f"open {directory}/none: No such file or directory")


class RegexpTests(PatternCase):
    """Type regexp."""

    def test_leftmost_longest(self) -> None:
        """Of several ways to match, the longest counts, as POSIX has it."""
        self.assertEqual(self.rules("/(a|ab|abc)/ $1", "abcd"), ["abc"])

    def test_second_pattern(self) -> None:
        """A second pattern directly behind the first, with a sense of its own; groups are those of the first."""
        self.assertEqual(self.rules("/a/!/b/ X", "a", "ab", "b"), ["X", None, None])
        self.assertEqual(self.rules("/(a)/i!!/(b)/ $1", "ab", "a", "A"), ["a", None, None])
        self.assertEqual(self.rules("!/a/!/b/ X", "c", "a", "b"), ["X", None, None])
        self.assertEqual(self.rules("/a/!/b/!/c/ X", "a", "ab"), ["!/c/ X", None])
        self.assertEqual(self.rules("/a/!b/ X\n/./ Y", "a"), ["Y"])
        self.told(1, 'no closing regexp delimiter "b": skipping this rule')

    def test_options(self) -> None:
        """Letters turn options around: case, lines, extended syntax."""
        self.assertEqual(self.rules("/a/i X", "a", "A"), ["X", None])
        self.assertEqual(self.rules("/a/ii X", "A"), ["X"])
        self.assertEqual(self.rules("/^b/ X", "a\nb"), [None])
        self.assertEqual(self.rules("/^b/m X", "a\nb"), ["X"])
        self.assertEqual(self.rules("/a.b/ X", "a\nb"), ["X"])
        self.assertEqual(self.rules("/a.b/m X", "a\nb"), [None])
        self.assertEqual(self.rules(r"/a(b)\(c\)/x $1", "a(b)c"), ["c"])

    def test_library_errors(self) -> None:
        """What is wrong with a pattern, in the library's words."""
        self.rules("/(a/ X\n", "a")
        self.told(1, "Unmatched ( or \\(")
        self.rules("/a X", "a")
        self.told(1, 'no closing regexp delimiter "/": skipping this rule')

    @given(random_lines, random_key)
    @settings(deadline=None, max_examples=150)
    def test_any_rules(self, lines: list[str], key: str) -> None:
        """Any file of rules can be read, and any key looked up."""
        self.rules("\n".join(lines), key)


class PosixPatternTests(SynchronousTestCase):
    """The C library."""

    def test_groups(self) -> None:
        """Groups are counted, however many."""
        for count in (0, 1, 2, 9, 40):
            pattern = PosixPattern(b"(a)" * count + b"x", Option.EXTENDED)
            self.assertEqual(pattern.groups, count)
            groups = pattern.search(b"a" * count + b"x")
            assert groups is not None
            self.assertEqual([groups(number + 1) for number in range(count)], [b"a"] * count)
            self.assertIsNone(pattern.search(b"y"))
            self.assertEqual((pattern.test(b"zz" + b"a" * count + b"x"), pattern.test(b"y")), (True, False))

    def test_malformed(self) -> None:
        """What is malformed is an error with a text."""
        for pattern in (b"(", b"[", b"a{2", b"a{2,1}", b"[[:none:]]"):
            with self.assertRaises(PatternError) as caught:
                PosixPattern(pattern, Option.EXTENDED)
            self.assertTrue(str(caught.exception))

    def test_memory(self) -> None:
        """Patterns that nobody holds any more give back their memory."""

        def resident_pages() -> int:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1])

        def make(count: int) -> None:
            for _ in range(count):
                PosixPattern(b"(a|b)*c[^d]{1,20}", Option.EXTENDED).test(b"abcabc")
            gc.collect()

        make(300)
        before = resident_pages()
        make(3000)
        self.assertLess(resident_pages() - before, 1000)

    @given(st.text(st.sampled_from("ab().*+?|^$[]{}12\\"), max_size=8), st.text(st.sampled_from("ab\n"), max_size=6))
    @settings(deadline=None, max_examples=200)
    def test_same_answer(self, pattern: str, subject: str) -> None:
        """Whether a pattern matches does not depend on how one asks, and a match lies within the text."""
        try:
            compiled = PosixPattern(pattern.encode(), Option.EXTENDED)
        except PatternError:
            return
        groups = compiled.search(subject.encode())
        self.assertEqual(compiled.test(subject.encode()), groups is not None)
        for number in range(1, compiled.groups + 1):
            found = groups(number) if groups else None
            self.assertTrue(found is None or found in subject.encode())


class PcreTests(PatternCase):
    """Type pcre."""

    kind = "pcre"
    module = "pcre2"

    def test_options(self) -> None:
        """Letters turn options around."""
        self.assertEqual(self.rules("/a/i X", "a", "A"), ["X", None])
        self.assertEqual(self.rules("/^b/m X", "a\nb"), ["X"])
        self.assertEqual(self.rules("/a.b/ X", "a\nb"), ["X"])
        self.assertEqual(self.rules("/a.b/s X", "a\nb"), [None])
        self.assertEqual(self.rules("/b|c/A X", "ab", "ac", "cb"), [None, None, "X"])
        self.assertEqual(self.rules("/a$/ X", "a\n"), ["X"])
        self.assertEqual(self.rules("/a$/E X", "a\n"), [None])
        self.assertEqual(self.rules("/(a+)/U $1", "aaa"), ["a"])
        self.assertEqual(self.rules("/a b/x X", "ab"), ["X"])
        self.assertEqual(self.rules("/(a|ab|abc)/ $1", "abcd"), ["a"])
        self.assertEqual(self.rules("/a/X Y", "a"), ["Y"])
        self.told(1, 'ignoring obsolete regexp option "X"')

    def test_no_second_pattern(self) -> None:
        """There is none in this type."""
        self.rules("/a/!/b/ X", "a")
        self.told(1, 'unknown regexp option "!": skipping this rule')

    def test_library_errors(self) -> None:
        """What is wrong with a pattern, in the library's words."""
        self.rules("/(a/ X\n", "a")
        self.told(1, "error in regex at offset 2: missing closing parenthesis")
        self.rules("/a X", "a")
        self.told(1, 'no closing regexp delimiter "/": ignoring this rule')

    def test_match_limit(self) -> None:
        """A text that is too much for a pattern is told; the rule does not apply, whatever its sense."""
        hostile = "a" * 40 + "b"
        for rule in ("/^(a+)+$/ X", "!/^(a+)+$/ X", "/^((a+)+)$/ $1"):
            self.assertEqual(self.rules(f"{rule}\n/./ Y", hostile), ["Y"])
            self.told(1, "match limit exceeded")
        self.assertEqual(self.rules("if !/^(a+)+$/\n/./ X\nendif\n/./ Y", hostile), ["Y"])

    @given(random_lines, random_key)
    @settings(deadline=None, max_examples=150)
    def test_any_rules(self, lines: list[str], key: str) -> None:
        """Any file of rules can be read, and any key looked up."""
        self.rules("\n".join(lines), key)


class LimitsTests(SynchronousTestCase):
    """What a library cannot tell."""

    def test_second_test(self) -> None:
        """A rule does not apply if one of its tests cannot be told."""
        told: list[str] = []

        class Strange:
            groups = 1

            def test(self, subject: bytes) -> bool:
                raise PatternError("too much")

            def search(self, subject: bytes) -> None:
                raise PatternError("too much")

        dialect = Dialect(
            compile=lambda pattern, options: Strange() if pattern == b"x" else PosixPattern(pattern, Option(options)),
            options={},
            default=Option.EXTENDED,
            obsolete="",
            second_pattern=True,
            skipping="skipping",
        )
        for text in ("/(a)/!/x/ $1", "/a/!/x/ X", "/x/ X", "/x/ $1", "!/x/ X"):
            rules = parse_rules([RuleLine(text, "place")], dialect, told.append)
            self.assertEqual(rules(b"a"), None)
            self.assertEqual(told.pop(), "place: too much")


del PatternCase
