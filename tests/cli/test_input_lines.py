"""Lines of a descriptor, while a reactor runs."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.private_reactor import PrivateReactor
from twisted_mta.cli.input_lines import LONGEST_LINE, InputError, lines_of
from twisted_mta.model.text import to_text


class LineCase(SynchronousTestCase):
    """A pipe, and a reactor that reads from it."""

    def setUp(self) -> None:
        """Make both."""
        self.reactor = PrivateReactor()
        self.addCleanup(self.reactor.close)
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.lines: list[str] = []
        self.outcome: list[Failure | None] = []

    def begin(self, descriptor: int) -> None:
        """Read lines until there are no more."""

        async def read() -> None:
            async for line in lines_of(self.reactor, descriptor):
                self.lines.append(line)

        Deferred.fromCoroutine(read()).addBoth(self.outcome.append)

    def end(self) -> None:
        """Write no more, and wait for the end."""
        os.close(self.writing)
        self.reactor.until(lambda: self.outcome)


class LineTests(LineCase):
    """Lines."""

    def test_as_they_come(self) -> None:
        """A line is there as soon as it is complete; the last one needs no end."""
        self.begin(self.reading)
        os.write(self.writing, b"one\ntw")
        self.reactor.until(lambda: self.lines)
        self.assertEqual((self.lines, self.outcome), (["one"], []))
        os.write(self.writing, b"o\n\n\xff\r\nfour")
        self.reactor.until(lambda: len(self.lines) == 4)
        self.end()
        self.assertEqual((self.lines, self.outcome), (["one", "two", "", "\udcff\r", "four"], [None]))

    def test_nothing(self) -> None:
        """No input has no lines."""
        self.begin(self.reading)
        self.end()
        self.assertEqual((self.lines, self.outcome), ([], [None]))

    def test_file(self) -> None:
        """A file that is longer than what is read at a time."""
        path = Path(self.mktemp())
        lines = [f"{number:0100}" for number in range(2000)]
        path.write_text("\n".join(lines))
        with path.open("rb") as file:
            self.begin(file.fileno())
            self.end()
        self.assertEqual(self.lines, lines)

    def test_endless_line(self) -> None:
        """A line without end is an error, long before memory is used up."""
        with open("/dev/zero", "rb") as zeros:
            self.begin(zeros.fileno())
            self.end()
        [failure] = self.outcome
        assert failure is not None
        self.assertEqual(str(failure.trap(InputError) and failure.value), f"a line is longer than {LONGEST_LINE} bytes")

    def test_unreadable(self) -> None:
        """What cannot be read is an error that says why."""
        self.begin(self.writing)
        self.reactor.until(lambda: self.outcome)
        os.close(self.writing)
        [failure] = self.outcome
        assert failure is not None
        self.assertEqual(str(failure.trap(InputError) and failure.value), "Bad file descriptor")


class AnySplitTests(SynchronousTestCase):
    """How input comes makes no difference."""

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.binary(max_size=8).map(lambda data: data.replace(b"\x01", b"\n")), max_size=6))
    def test_any_pieces(self, pieces: list[bytes]) -> None:
        """Whatever the pieces, the lines are those of the whole."""
        case = LineCase()
        case.setUp()
        try:
            case.begin(case.reading)
            for piece in filter(None, pieces):
                os.write(case.writing, piece)
                case.reactor.iterate(0)
            case.end()
        finally:
            case.doCleanups()
        *lines, last = b"".join(pieces).split(b"\n")
        self.assertEqual(case.lines, [to_text(line) for line in (*lines, *filter(None, [last]))])
