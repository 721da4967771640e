"""Entries of master.cf; each expectation is what master(8) and smtp(8) make of the same text."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import LogicalLine
from twisted_mta.config.master_cf import (
    MasterEntry,
    find_line,
    is_disabled,
    parse_entry,
    read_entries,
    split_arguments,
)


def entry(text: str, *, chroot_default: bool = False) -> MasterEntry:
    """An entry of one line."""
    return parse_entry(LogicalLine(text, 7, 7), "master.cf", chroot_default=chroot_default)


class EntryTests(SynchronousTestCase):
    """One line."""

    def test_fields(self) -> None:
        """Eight fields and arguments."""
        self.assertEqual(
            entry("relay unix n y\tn 10? 5 smtp -o x=y flags=D"),
            MasterEntry("relay", "unix", False, True, False, 10, 5, "smtp", ("-o", "x=y", "flags=D"), 7),
        )

    def test_defaults(self) -> None:
        """What a hyphen stands for; chroot depends on the compatibility level."""
        self.assertEqual(
            entry("relay unix - - - - - /usr/lib/postfix/smtp"),
            MasterEntry("relay", "unix", True, True, False, 0, None, "/usr/lib/postfix/smtp", (), 7),
        )
        self.assertTrue(entry("relay unix - - - - - smtp", chroot_default=True).chroot)
        self.assertFalse(entry("relay unix - - n - - smtp", chroot_default=True).chroot)
        self.assertEqual(entry("relay unix - - - - - /usr/lib/postfix/smtp").program, "smtp")

    def test_errors(self) -> None:
        """Each mistake has master's text."""
        for text, problem in {
            "foo": 'missing "transport type" field',
            "foo unix": 'missing "private" field',
            "foo unix -": 'missing "unprivileged" field',
            "foo unix - - - - -": 'missing "command" field',
            "foo unix - - - - - -": 'field "command" has no default value',
            "foo - - - - - - smtp": 'field "transport type" has no default value',
            "foo bar - - - - - smtp": "bad transport type: bar",
            "foo UNIX - - - - - smtp": "bad transport type: UNIX",
            "foo unix yes - - - - smtp": 'field "private": bad value: "yes"',
            "foo unix - Y - - - smtp": 'field "unprivileged": bad value: "Y"',
            "foo unix - - x - - smtp": 'field "chroot": bad value: "x"',
            "foo unix - - - x - smtp": 'field "wakeup_time": bad value: "x"',
            "foo unix - - - -1? - smtp": 'field "wakeup_time": bad value: "-1?"',
            "foo unix - - - - x smtp": 'field "max_proc": bad value: "x"',
            "foo unix - - - - -1 smtp": 'field "max_proc": bad value: "-1"',
            "foo inet - - - - - smtp": "inet service cannot be private",
            "foo unix - - - - - smtp {a b": "missing '}' in \"{a b\"",
            "foo unix - - - - - smtp {a b}c": "syntax error after '}' in \"{a b}c\"",
        }.items():
            error = self.assertRaises(ConfigError, entry, text)
            self.assertEqual(error.text, f"master.cf: line 7: {problem}")

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(st.sampled_from(["foo", "unix", "-", "y", "n", "{", "}", " ", "\t", "5?", "smtp", "é", "inet"])).map(
            "".join
        )
    )
    def test_any_text(self, text: str) -> None:
        """Any line gives an entry or a ConfigError."""
        try:
            found = entry(text)
        except ConfigError as error:
            self.assertTrue(error.text.startswith("master.cf: line 7: "))
        else:
            self.assertTrue(found.name and found.command)


class FileTests(SynchronousTestCase):
    """Whole files."""

    def file(self, text: str) -> Path:
        """A file."""
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        return path

    def test_find(self) -> None:
        """The last unix entry of a name counts, whatever is wrong with others."""
        path = self.file(
            "smtp inet n - n - - smtpd\nsmtp unix - - n - - smtp\nbroken unix -\n"
            "smtp unix - - n - - smtp\n    -o smtp_helo_name=x\n# end\n"
        )
        line = find_line(path, "smtp", self.fail)
        assert line is not None
        found = parse_entry(line, str(path))
        self.assertEqual((found.line, found.arguments), (4, ("-o", "smtp_helo_name=x")))
        self.assertIsNone(find_line(path, "relay", self.fail))
        self.assertIsNone(find_line(Path("/nonexistent/master.cf"), "smtp", self.fail))

    def test_find_broken(self) -> None:
        """Our own entry must be right."""
        path = self.file("broken unix -\n")
        line = find_line(path, "broken", self.fail)
        assert line is not None
        error = self.assertRaises(ConfigError, parse_entry, line, str(path))
        self.assertEqual(error.text, f'{path}: line 1: missing "unprivileged" field')

    def test_all(self) -> None:
        """Each name and type once; a malformed line is a warning."""
        warnings: list[str] = []
        path = self.file("a unix - - - - - smtp\nb\na inet n - - - - smtpd\na unix - - - - - lmtp\n")
        entries = read_entries(path, warnings.append, chroot_default=True)
        self.assertEqual(
            [(each.type, each.program, each.chroot) for each in entries],
            [("unix", "lmtp", True), ("inet", "smtpd", True)],
        )
        self.assertEqual(warnings, [f'{path}: line 2: missing "transport type" field'])


class ArgumentTests(SynchronousTestCase):
    """Arguments of a command."""

    def test_split(self) -> None:
        """Braces protect blanks; around a whole argument they vanish, elsewhere they stay."""
        for text, arguments in {
            "smtp -o a=b": ("smtp", "-o", "a=b"),
            "smtp -o { a = b c }": ("smtp", "-o", "a = b c"),
            "smtp -o a={b c}": ("smtp", "-o", "a={b c}"),
            "smtp {}\t{ {x} y }": ("smtp", "", "{x} y"),
            "smtp a}b c": ("smtp", "a}b", "c"),
        }.items():
            self.assertEqual(split_arguments(text), arguments)


class DisabledTests(SynchronousTestCase):
    """master_service_disable."""

    def test_disabled(self) -> None:
        """Type, or name and type, in any case; an exclamation mark negates, the first match decides."""
        relay = entry("relay unix - - - - - smtp")
        for patterns, expected in (
            ((), False),
            (("unix",), True),
            (("Relay/UNIX",), True),
            (("relay",), False),
            (("inet",), False),
            (("relay/inet",), False),
            (("!relay/unix", "unix"), False),
            (("!other/unix", "unix"), True),
            (("!!unix",), True),
            (("!",), False),
        ):
            self.assertIs(is_disabled(relay, patterns), expected, patterns)
