"""Tests of regexp and pcre tables: rule_source, pattern_rules, pattern_table, replacement, posix_regex, perl_regex."""

import gc
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tables.opened import OpenTables, TablesCase, WaitingThreads
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.tables.pattern_rules import parse_rules
from twisted_mta.tables.patterns import Dialect, Effort, PatternError, TooHardError, TooMuchError
from twisted_mta.tables.perl_regex import QUICK_OCTETS, PatientPerlPattern, PerlCompiler, PerlPattern
from twisted_mta.tables.perl_regex import Option as PerlOption
from twisted_mta.tables.posix_regex import LONGEST_KEY, Option, PosixPattern, posix_compiler
from twisted_mta.tables.replacement import Cause, ReplacementError, parse_replacement
from twisted_mta.tables.results import LookupFailedError
from twisted_mta.tables.rule_source import RuleLine

QUICK, PATIENT = Effort(), Effort(patient=True)


def posix(pattern: bytes, effort: Effort = QUICK) -> PosixPattern:
    """A pattern of the C library, in the extended syntax."""
    return PosixPattern(pattern, Option.EXTENDED, effort)


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
            (f"${'0' * 5000}1", "a"),
            ("$1é", "aé"),
            ("é$3", "é"),
            ("none", "none"),
        ):
            self.assertEqual(self.fill(text, b"a", b"b", None), expected)
        self.assertEqual(parse_replacement(b"a$$b").constant, "a$b")
        self.assertEqual([parse_replacement(text).groups for text in (b"x", b"$2$1", b"${11}")], [0, 2, 11])

    def test_errors(self) -> None:
        """What stands behind a dollar and is no group: all of it, up to where nothing more can be made of the text."""
        for text, *problems in (
            ("$1y", 'non-numeric replacement index "1y"'),
            ("$0", 'out-of-range replacement index "0"'),
            ("${00}", 'out-of-range replacement index "0"'),
            ("${ 1 }", 'non-numeric replacement index " 1 "'),
            ("${{1}}", 'non-numeric replacement index "{1}"'),
            (
                "${x}$1$0 $y z",
                'non-numeric replacement index "x"',
                'out-of-range replacement index "0"',
                'non-numeric replacement index "y"',
            ),
            ("$x $(y) $z", 'non-numeric replacement index "x"'),
            ("$x ${} $", 'non-numeric replacement index "x"'),
        ):
            self.assertEqual(self.refused(text), tuple(map(Cause, problems)))
        for text in ("${1", "$(1", "a${1}$(", "${{1}"):
            self.assertEqual(self.refused(text), (Cause(f'truncated macro reference: "{text}"', has_place=False),))
        for text in ("$", "x$ y", "${}", "$-1", "$()", "$é"):
            self.assertEqual(self.refused(text), (Cause(f'empty macro name: "{text}"', has_place=False),))
        text = "$x ${ $y"
        self.assertEqual(
            self.refused(text),
            (
                Cause('non-numeric replacement index "x"'),
                Cause(f'truncated macro reference: "{text}"', has_place=False),
            ),
        )
        self.assertRaises(ReplacementError, parse_replacement, b"$" + b"9" * 5000)

    def refused(self, text: str) -> tuple[Cause, ...]:
        """What is wrong with a text."""
        with self.assertRaises(ReplacementError) as caught:
            parse_replacement(text.encode(), "out-of-range")
        self.assertEqual(caught.exception.problem, "bad replacement syntax")
        causes: tuple[Cause, ...] = caught.exception.causes
        return causes

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

    def test_order_of_problems(self) -> None:
        """Of a rule with several faults, one of the text is told before one of the pattern."""
        for rule, *problems in (
            ("/(/ $x", 'non-numeric replacement index "x"', "bad replacement syntax: skipping this rule"),
            ("!/(/ $1", "$number found in negative match replacement text: skipping this rule"),
            ("/a/z $x", 'unknown regexp option "z": skipping this rule'),
            (
                "/a/ $x$y",
                *(f'non-numeric replacement index "{x}"' for x in "xy"),
                "bad replacement syntax: skipping this rule",
            ),
        ):
            self.assertEqual(self.rules(rule, "a"), [None], rule)
            self.told(1, *problems)
        self.rules("/(/", "a")
        self.assertIn("no replacement text: using empty string", self.opened.lines[0])
        self.assertEqual(len(self.opened.lines), 2)

    def test_unplaced_problems(self) -> None:
        """A text that breaks off is told without its place, as everywhere in Postfix."""
        self.rules("/a/ ${1", "a")
        place = f"{self.kind} map {self.path}, line 1"
        self.assertEqual(
            self.opened.lines,
            [
                'warning: truncated macro reference: "${1"',
                f"warning: {place}: bad replacement syntax: skipping this rule",
            ],
        )

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
        self.assertEqual(self.opened.find(self.kind + ":{{#a# X}, { # a comment}}", "a"), None)
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

    def test_group_zero(self) -> None:
        """There is no group 0; the words for that are this type's own."""
        self.rules("/a/ $0", "a")
        self.told(1, 'out-of-range replacement index "0"', "bad replacement syntax: skipping this rule")

    def test_last_backslash(self) -> None:
        """A backslash at the end of a line ends the pattern."""
        self.assertEqual(self.rules("/b\\", "ab", "a"), ["", None])
        self.told(1, "no replacement text: using empty string")
        self.assertEqual(self.rules("if /b\\\n/a/ X\nendif\n/./ Y", "ab", "a"), ["X", "Y"])
        self.assertEqual(self.rules("/a\\/b/ X", "a/b"), ["X"])

    def test_order_of_patterns(self) -> None:
        """The first pattern and its groups come before the second pattern."""
        self.rules("/a/!/(/ $1", "a")
        self.told(1, 'out of range replacement index "1": skipping this rule')

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
            pattern = posix(b"(a)" * count + b"x")
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
                posix(pattern)
            self.assertTrue(str(caught.exception))

    def test_memory(self) -> None:
        """Patterns that nobody holds any more give back their memory."""

        def resident_pages() -> int:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1])

        def make(count: int) -> None:
            for _ in range(count):
                posix(b"(a|b)*c[^d]{1,20}").test(b"abcabc")
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
            compiled = posix(pattern.encode())
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
    module = "twisted_mta.tables.perl_regex"

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

    def test_last_backslash(self) -> None:
        """A backslash at the end of a line protects nothing."""
        self.assertEqual(self.rules("/b\\", "ab"), [None])
        self.told(1, 'no closing regexp delimiter "/": ignoring this rule')

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
            compiler=lambda effort: lambda pattern, _: Strange() if pattern == b"x" else posix(pattern),
            options={},
            default=Option.EXTENDED,
            obsolete="",
            second_pattern=True,
            skipping="skipping",
        )
        for text in ("/(a)/!/x/ $1", "/a/!/x/ X", "/x/ X", "/x/ $1", "!/x/ X"):
            rules = parse_rules([RuleLine(text, "place")], dialect, Effort(), told.append)
            self.assertEqual(rules(b"a"), None)
            self.assertEqual(told.pop(), "place: too much")


class HardKeysTests(TablesCase):
    """Keys that take patterns too long: threads look them up, of which the tests decide when they end."""

    hostile = "a" * 40 + "b"
    """Takes the pattern below more steps than anybody can wait for."""

    rules = "/^(a+)+$/ X\n/^Subject: (.*)/ <$1>\n/./ Y\n"

    def setUp(self) -> None:
        """Tables with threads."""
        super().setUp()
        self.clock, self.threads = Clock(), WaitingThreads()
        self.opened = OpenTables(self.opened.directory, reactor=self.clock, in_thread=self.threads)
        self.addCleanup(self.opened.tables.close)

    def later(self, kind: str, key: str, rules: str = "") -> Deferred[str | None]:
        """Ask for a key that needs a thread."""
        path = self.opened.write("rules", rules or self.rules)
        found = self.opened.tables.open(f"{kind}:{path}").lookup(key)
        assert isinstance(found, Deferred)
        return found

    def test_others_need_no_thread(self) -> None:
        """Keys of the usual kind are looked up at once, by the same tables."""
        for kind in ("regexp", "pcre"):
            path = self.opened.write("rules", self.rules)
            keys = ("Subject: hello", "x" * 900, "aaaa", "b" + "a" * 500)
            self.assertEqual(
                [self.opened.find(f"{kind}:{path}", key) for key in keys], ["<hello>", "Y", "X", "Y"], kind
            )
        self.assertEqual(self.threads.waiting, [])

    def test_match_limit(self) -> None:
        """pcre: the limit is Postfix's, in a thread: then the rule does not apply, which is told."""
        found = self.later("pcre", self.hostile)
        self.assertNoResult(found)
        self.threads.run()
        self.assertEqual(self.successResultOf(found), "Y")
        path = self.opened.directory / "rules"
        self.assertEqual(self.opened.lines, [f"warning: pcre map {path}, line 1: match limit exceeded"])

    def test_long_keys(self) -> None:
        """Long keys are looked up in a thread, to the same end; regexp: with a limit, as nothing else limits a match."""
        for kind, length in (("regexp", 1000), ("regexp", 100_000), ("pcre", 100_000)):
            found = self.later(kind, "Subject: " + "z" * length)
            self.threads.run()
            self.assertEqual(self.successResultOf(found), f"<{'z' * length}>")
        found = self.later("regexp", "z" * (LONGEST_KEY + 1))
        self.threads.run()
        problem = f"a key of {LONGEST_KEY + 1} octets is longer than {LONGEST_KEY}"
        self.assertEqual(self.failureResultOf(found, TableError).value.problem, problem)
        self.assertEqual(self.opened.lines, [f"warning: regexp:{self.opened.directory}/rules: {problem}"])

    def test_references(self) -> None:
        """regexp: where a pattern refers to its groups, only short keys are looked up at once."""
        rules = "/^(a+)\\1$/ X\n"
        path = self.opened.write("rules", rules)
        self.assertEqual(self.opened.find(f"regexp:{path}", "aaaa"), "X")
        found = self.later("regexp", "a" * 30, rules)
        self.threads.run()
        self.assertEqual(self.successResultOf(found), "X")

    def test_too_slow(self) -> None:
        """A lookup that takes too long is an error; the thread ends when the library lets go."""
        for kind in ("regexp", "pcre"):
            found = self.later(kind, "a" * 9000)
            self.clock.advance(60)
            self.assertEqual(self.failureResultOf(found, TableError).value.problem, "no reply within 60 seconds")
            work, _ = self.threads.waiting.pop()
            self.assertRaises(LookupFailedError, work)
            self.assertEqual(
                self.opened.lines, [f"warning: {kind}:{self.opened.directory}/rules: no reply within 60 seconds"]
            )
            self.opened.events.clear()

    def test_without_threads(self) -> None:
        """A command waits for such keys itself."""
        opened = OpenTables(self.opened.directory)
        path = opened.write("rules", "/x$/ X\n")
        for kind in ("regexp", "pcre"):
            self.assertEqual(opened.find(f"{kind}:{path}", "y" * 9000 + "x"), "X")
        opened.tables.close()


class PerlPatternTests(SynchronousTestCase):
    """The library PCRE2."""

    quick = PerlCompiler(Effort())
    patient = PerlCompiler(PATIENT)

    def test_steps_are_bounded(self) -> None:
        """However long a text: the steps for each place where a match may begin, times these places, are bounded."""
        pattern = self.quick(b"(a|a)*$", 0)
        shortest = next(length for length in range(100) if self.is_too_hard(pattern, b"a" * length + b"b"))
        for length in (shortest, 100, 1000, QUICK_OCTETS):
            self.assertTrue(self.is_too_hard(pattern, b"a" * length + b"b"), length)
        # Each place takes as many steps as there are letters behind it, which is not too many for short texts.
        linear = self.quick(rb"\S+@foo", 0)
        self.assertFalse(self.is_too_hard(linear, b"@foo" + b"a" * 100))
        self.assertTrue(self.is_too_hard(linear, b"@foo" + b"a" * 5000))

    def is_too_hard(self, pattern: PerlPattern, subject: bytes) -> bool:
        """Whether a quick pattern refuses a text."""
        try:
            pattern.test(subject)
        except TooHardError:
            return True
        return False

    def test_groups(self) -> None:
        """Groups are counted, however many."""
        for compiler in (self.quick, self.patient):
            for count in (0, 1, 2, 9, 31, 32, 99):
                pattern = compiler(b"(a)" * count + b"x(y)?", 0)
                self.assertEqual(pattern.groups, count + 1)
                groups = pattern.search(b"b" + b"a" * count + b"x")
                assert groups is not None
                self.assertEqual([groups(number + 1) for number in range(count)], [b"a"] * count)
                self.assertIsNone(groups(count + 1))
                self.assertIsNone(pattern.search(b"y"))

    def test_malformed(self) -> None:
        """What is malformed is an error with a text and a place."""
        for pattern, problem in (
            (b"(", "offset 1: missing closing parenthesis"),
            (b"a**", "offset 2: quantifier does not follow a repeatable item"),
            (b"[a", "offset 2: missing terminating ] for character class"),
        ):
            with self.assertRaises(PatternError) as caught:
                self.quick(pattern, 0)
            self.assertIn(problem, str(caught.exception))

    def test_memory(self) -> None:
        """What a match may remember is bounded, and beyond that there is no telling."""
        pattern = self.patient(b"^((a)|(b)|(c)|(d)|(e)|(f)|(g)|(h)|(i)|(j)|(k)|(l)|(m)|(n))*$", 0)
        self.assertRaises(TooMuchError, pattern.test, b"n" * 3_000_000)

    def test_abandoned(self) -> None:
        """Nothing more is done when nobody waits any more."""
        effort = Effort(patient=True, abandoned=True)
        self.assertRaises(TooMuchError, PerlCompiler(effort)(b"a", 0).test, b"a")
        self.assertRaises(TooMuchError, posix_compiler(effort)(b"a", 0).test, b"a")

    @given(
        st.text(st.sampled_from("ab().*+?|^$[]{}12\\bG"), max_size=9),
        st.text(st.sampled_from("ab\n"), max_size=8),
        st.sampled_from((0, PerlOption.MULTILINE, PerlOption.ANCHORED, PerlOption.UNGREEDY)),
    )
    @settings(deadline=None, max_examples=300)
    def test_same_answer(self, pattern: str, text: str, options: int) -> None:
        """Quick and patient patterns find the same, and place by place nothing else is found."""
        try:
            quick, patient = self.quick(pattern.encode(), options), self.patient(pattern.encode(), options)
        except PatternError:
            return
        subject = text.encode()
        assert isinstance(patient, PatientPerlPattern)
        numbers = range(1, quick.groups + 1)
        found, same = quick.search(subject), patient.search(subject)
        expected = [found(number) for number in numbers] if found else None
        self.assertEqual([same(number) for number in numbers] if same else None, expected)
        self.assertEqual(patient.search_by_place(subject) >= 0, found is not None)
        self.assertEqual(quick.test(subject), found is not None)


del PatternCase
