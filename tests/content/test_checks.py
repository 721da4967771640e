"""Tests of twisted_mta.content.checks; the log lines are those of smtp(8)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.content.driving import Answer, drive, result, table
from twisted_mta.content.checks import Checker, Verdict
from twisted_mta.content.held_events import HeldEvents
from twisted_mta.content.lookups import Asked
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of

PARAMETERS = {Asked.HEADER_CHECKS: "smtp_header_checks", Asked.BODY_CHECKS: "lmtp_body_checks"}


class CheckTestCase(SynchronousTestCase):
    """A checker and what it logs."""

    def setUp(self) -> None:
        """Begin a message."""
        self.events: list[Event] = []
        self.held = HeldEvents(self.events.append)
        self.checker = Checker(PARAMETERS, "4Abc12", self.held)

    @property
    def log(self) -> list[str]:
        """The lines of the log."""
        self.held.tell()
        lines = [line_of(event, LogStyle()) for event in self.events]
        return [f"{severity.value}: {text}" if severity.value else text for severity, text in lines]

    def header(self, action: str | None, text: bytes = b"X: y") -> Verdict | None:
        """What becomes of a header for which a table has this."""
        return result(self.checker.header(Asked.HEADER_CHECKS, text), {Asked.HEADER_CHECKS: lambda key: action})

    def body(self, data: bytes, answer: Answer) -> bytes:
        """What becomes of lines."""
        given, _ = drive(self.checker.body(data), {Asked.BODY_CHECKS: answer})
        return given[0] if len(given) == 1 else b"".join(given)


class ActionTests(CheckTestCase):
    """The actions of header_checks(5) that delivery knows."""

    def test_no_action(self) -> None:
        """What no table has, and what one has DUNNO or OK for, stays, without a word."""
        for action in (None, "DUNNO", "ok", "dunno and more"):
            self.assertIsNone(self.header(action))
        self.assertEqual(self.log, [])

    def test_actions_that_only_tell(self) -> None:
        """WARN and INFO write a line."""
        for action in ("WARN", "warn some  text ", "INFO\tx"):
            self.assertIsNone(self.header(action))
        self.assertEqual(
            self.log,
            [
                "4Abc12: warning: header X: y",
                "4Abc12: warning: header X: y: some  text ",
                "4Abc12: info: header X: y: x",
            ],
        )

    def test_deletion(self) -> None:
        """STRIP deletes with a line, IGNORE without."""
        for action in ("STRIP", "strip text", "IGNORE", "ignore text"):
            self.assertEqual(self.header(action), Verdict(replacement=b""))
        self.assertEqual(self.log, ["4Abc12: strip: header X: y", "4Abc12: strip: header X: y: text"])

    def test_replacement(self) -> None:
        """REPLACE and PREPEND have lines of the message behind them."""
        self.assertEqual(self.header("REPLACE \t A: b "), Verdict(replacement=b"A: b \n"))
        self.assertEqual(self.header("PREPEND A : b"), Verdict(before=b"A : b\n"))
        self.assertEqual(self.log, ["4Abc12: replace: header X: y: A: b ", "4Abc12: prepend: header X: y: A : b"])

    def test_other_actions(self) -> None:
        """Those that belong to cleanup(8) are complained about, and do nothing; so does what is no action."""
        for action in ("REJECT no way", "HOLD", "FILTER x:y", "BCC a@b", "gibberish", " REPLACE A: b"):
            self.assertIsNone(self.header(action))
        self.assertEqual(self.log[0], "warning: unsupported command in smtp_header_checks map: REJECT no way")
        self.assertEqual(self.log[-1], "warning: unsupported command in smtp_header_checks map:  REPLACE A: b")
        self.assertEqual(len(self.log), 6)

    def test_unusable_texts(self) -> None:
        """A replacement must be there, and for a header it must be one."""
        for action in ("REPLACE", "PREPEND  ", "REPLACE not a header", "prepend : x", "REPLACE \xe4: x"):
            self.assertIsNone(self.header(action))
        self.assertEqual(
            self.log,
            [
                "warning: REPLACE action without text in smtp_header_checks map",
                "warning: PREPEND action without text in smtp_header_checks map",
                'warning: bad REPLACE header text "not a header" in smtp_header_checks map -- need "headername: headervalue"',
                'warning: bad PREPEND header text ": x" in smtp_header_checks map -- need "headername: headervalue"',
                'warning: bad REPLACE header text "\xe4: x" in smtp_header_checks map -- need "headername: headervalue"',
            ],
        )

    def test_logged_part(self) -> None:
        """200 octets of a header are shown, its line ends as question marks."""
        self.header("WARN", b"X: a\n b" + b"c" * 300)
        self.assertEqual(self.log, ["4Abc12: warning: header X: a? b" + "c" * 193])

    def test_line_ends_in_texts(self) -> None:
        """A header may have lines, a line of the body may not, and there is no other CR or LF."""
        self.assertEqual(self.header("REPLACE A: b\n c\rd"), Verdict(replacement=b"A: b\n c d\n"))
        self.assertEqual(self.header("PREPEND A: b\0c"), Verdict(before=b"A: b\n"))
        self.assertEqual(self.body(b"x\n", lambda key: "REPLACE a\nb\rc\0d"), b"a b c\n")


class KeyTests(CheckTestCase):
    """What tables are asked for."""

    def keys(self, data: bytes) -> list[str]:
        """The keys for lines of the body."""
        asked: list[str] = []
        self.assertEqual(self.body(data, asked.append), data)
        return asked

    def test_header(self) -> None:
        """The whole header, with LF between its lines; bytes that are not UTF-8 arrive as they are."""
        found = self.header("STRIP", b"X: \xe4\n b")
        self.assertEqual(found, Verdict(replacement=b""))
        answers = {Asked.HEADER_CHECKS: table({"X: \udce4\n b": "WARN"})}
        result(self.checker.header(Asked.HEADER_CHECKS, b"X: \xe4\n b"), answers)
        self.assertEqual(len(self.log), 2)

    def test_lines(self) -> None:
        """Each line that is not empty, up to a NUL, and the unfinished one."""
        self.assertEqual(self.keys(b"a\n\n b \nc\0d\n\0\nrest"), ["a", " b ", "c", "", "rest"])
        self.assertEqual(self.keys(b"\n"), [])


class BodyTests(CheckTestCase):
    """What becomes of lines."""

    def test_changes(self) -> None:
        """Lines are replaced, deleted, and get others in front; the rest stays."""
        actions = {"r": "REPLACE new", "i": "IGNORE", "p": "PREPEND before", "w": "WARN"}
        self.assertEqual(self.body(b"a\nr\ni\np\nw\n\nz\n", table(actions)), b"a\nnew\nbefore\np\nw\n\nz\n")
        self.assertEqual(
            self.log, ["4Abc12: replace: body r: new", "4Abc12: prepend: body p: before", "4Abc12: warning: body w"]
        )

    def test_unfinished_line(self) -> None:
        """What takes its place is unfinished, too; what is put in front of it is a line."""
        self.assertEqual(self.body(b"a\nb", table({"b": "REPLACE c"})), b"a\nc")
        self.assertEqual(self.body(b"a\nb", table({"b": "PREPEND c"})), b"a\nc\nb")
        self.assertEqual(self.body(b"a\nb", table({"b": "IGNORE"})), b"a\n")

    @given(st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12), st.booleans())
    def test_any_lines(self, words: list[str], ends: bool) -> None:
        """Each line is treated for itself."""
        actions = {"b": "IGNORE", "c": "REPLACE d"}
        data = "\n".join(words) + "\n" * ends
        *whole, rest = data.split("\n")
        expected = "".join(word.replace("c", "d") + "\n" for word in whole if word != "b") + rest.replace(
            "c", "d"
        ).replace("b", "")
        self.assertEqual(self.body(data.encode(), table(actions)), expected.encode())

    def test_unchanged_is_not_copied(self) -> None:
        """Lines for which there is nothing to do pass as they are."""
        data = b"text\n" * 100
        self.assertIs(self.body(data, lambda key: None), data)


class FailureTests(CheckTestCase):
    """Tables that cannot be asked."""

    def test_header(self) -> None:
        """The error ends the message, after a line in the log."""
        core = self.checker.header(Asked.HEADER_CHECKS, b"X: y")
        self.assertRaises(TableError, result, core, {Asked.HEADER_CHECKS: table({"X: y": None})})
        self.assertEqual(self.log, ["warning: 4Abc12: smtp header checks lookup error"])

    def test_body(self) -> None:
        """The same for a line, in LMTP as well."""
        core = self.checker.body(b"a\nb\n")
        self.assertRaises(TableError, drive, core, {Asked.BODY_CHECKS: table({"b": None})})
        self.assertEqual(self.log, ["warning: 4Abc12: smtp body checks lookup error"])
