"""Tests of twisted_mta.postfix.line_records."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.queue_file import record, records, text_of
from twisted_mta.postfix.line_records import LineRecords, bulk_lines

EVERY_OCTET = bytes(octet for octet in range(256) if octet not in b"\r\n")
LENGTHS = (0, 1, 10, 13, 36, 76, 98, 127, 128, 130, 255, 300, 998, 1152)

LINES = st.lists(
    st.one_of(
        st.binary(max_size=10),
        st.sampled_from(LENGTHS).map(lambda length: b"x" * length),
        st.sampled_from(
            [b"N", b"N\xff", b"\xff", b"N\xff\xff", b"\xfe\xffN", b"\r", b"a\nb", EVERY_OCTET, "ä".encode()]
        ),
    ),
    max_size=40,
)


class LineRecordsTests(SynchronousTestCase):
    """Lines are taken in bulk, and come out as if each had been looked at."""

    def setUp(self) -> None:
        """Nothing stray has been seen."""
        self.strays = 0

    def stray(self) -> None:
        """Count."""
        self.strays += 1

    def take(self, data: bytes, position: int = 0, line_end: bytes = b"\n") -> tuple[bytes, int]:
        """All lines that can be taken from a position on, and where that ends."""
        lines = LineRecords(self.stray, line_end)
        text = b""
        while True:
            chunk, position = lines.take(data, position)
            if not chunk:
                return text, position
            text += chunk

    def check(self, lines: Sequence[bytes], before: bytes = b"", behind: bytes = b"", size: int | None = None) -> None:
        """Lines between other things: they come out, with either end, and nothing else."""
        content = [("N", line) for line in lines]
        data = before + records(content) + behind
        for line_end in (b"\n", b"\r\n"):
            text, position = self.take(data[:size], len(before), line_end)
            self.assertEqual(position, len(data) - len(behind))
            self.assertEqual(text, text_of(content).replace(b"\n", line_end))

    def test_lengths(self) -> None:
        """Lines of all lengths, alone and mixed, with one and with two octets for the length."""
        for length in LENGTHS:
            self.check([b"x" * length])
            self.check([b"first", b"y" * length, b"", b"z" * length, b"last"])
        self.check([b"x" * length for length in LENGTHS * 20])
        self.assertEqual(self.strays, 0)

    def test_runs(self) -> None:
        """Many lines of one length, with others around them."""
        for length in LENGTHS:
            self.check([b"x" * length] * 1000)
            self.check([b"a", *[b"x" * length] * 200, b"bc", *[b"y" * length] * 63, b"d"])

    def test_every_octet(self) -> None:
        """No octet of a line means anything, whatever stands in other lines."""
        for octet in EVERY_OCTET:
            for line in (
                bytes([octet]),
                bytes([octet, octet]),
                b"N%c" % octet,
                b"%cN" % octet,
                b"N%c%c" % (octet, octet),
            ):
                self.check([line, b"", line, b"x" * 200, line])
        self.check([bytes([octet]) for octet in EVERY_OCTET] * 3)
        self.assertEqual(self.strays, 0)

    def test_other_records(self) -> None:
        """Lines end where anything else begins, whatever its type and its length."""
        for kind in (0, 0x0A, 0x4C, 0x58, 0x70, 0xFE, 0xFF):
            for length in (b"\0", b"\x05", b"\x7f", b"\x80\x01", b"\xff\x7f", b"\x80\x80\x01"):
                behind = b"%c%b" % (kind, length) + b"x" * 20_000
                self.check([b"a", b"", b"bN"], b"?", behind)
                self.check([b"a", b"y" * 200, b"bN"], b"?", behind)
                self.check([b"a" * 30] * 200, b"?", behind)

    def test_bulk_ends_at_other_records(self) -> None:
        """No line has to be looked at for itself only because something else follows, as it does in each queue file."""
        few, long = [b"a", b"", b"bN"], [b"x" * 300, b"a", b"y" * 130]
        for lines in ([b"a"], [b""], few, long, long[::-1], [*long, *few] * 9):
            content = [("N", line) for line in lines]
            data = b"?" + records(content) + record("X") + record("A", b"encoding=7bit") + record("E")
            for line_end in (b"\n", b"\r\n"):
                found = bulk_lines(data, 1, line_end)
                assert found is not None, lines
                text, position, _ = found
                self.assertEqual(text, text_of(content).replace(b"\n", line_end))
                self.assertEqual(data[position : position + 2], b"X\0")

    def test_cut_off(self) -> None:
        """A line that is not wholly there is left, wherever it is cut off."""
        for last in (b"", b"abc", b"x" * 127, b"x" * 128, b"x" * 300):
            whole = record("N", last)
            for size in range(len(whole)):
                for lines in ([], [b"one"], [b"one", b"y" * 150], [b"z" * 20] * 100):
                    self.check(lines, behind=whole[:size])

    def test_long_lengths(self) -> None:
        """A length of three octets is left to somebody else."""
        self.check([b"a", b"b"], behind=record("N", b"x" * 16384))
        self.check([b"a", b"b"], behind=b"N\x81\x80\x00x")

    def test_strays(self) -> None:
        """CR and LF within lines become spaces, whoever else is there, and that is told."""
        for stray in (b"a\rb", b"\n", b"\r\n.\r\n"):
            for others in ([], [b"x" * 10] * 5, [b"x" * 76] * 200, [b"x" * 300, b"y" * 13], [b"\xff"]):
                self.strays = 0
                self.check([*others, stray, *others])
                self.assertGreater(self.strays, 0)

    def test_lengths_that_look_like_line_ends(self) -> None:
        """Lines of 10 and 13 octets are nothing special."""
        self.check([b"x" * 10, b"y" * 13, b"z"] * 50)
        self.assertEqual(self.strays, 0)

    def test_odd_piece(self) -> None:
        """A piece with thousands of other records takes no more than a few looks at all that follows."""
        lines = LineRecords(self.stray)
        data = (record("N", b"a") + record("w")) * 20_000
        position, text = 0, b""
        while position < len(data):
            chunk, position = lines.take(data, position)
            text += chunk
            position += 2
        self.assertEqual(text, b"a\n" * 20_000)

    @given(LINES, st.binary(max_size=5), st.binary(max_size=300), st.integers(0, 200))
    @settings(deadline=None, max_examples=200)
    def test_any_lines(self, lines: list[bytes], before: bytes, junk: bytes, cut: int) -> None:
        """Whatever the lines are, and whatever stands behind them: no more and no less than the lines come out."""
        data = before + records(("N", line) for line in lines) + junk
        data = data[: max(len(before), len(data) - cut)]
        expected, position = [], len(before)
        while data[position : position + 1] == b"N":
            size, start = one_length(data, position)
            if start < 0 or start + size > len(data):
                break
            expected.append(("N", data[start : start + size]))
            position = start + size
        for line_end in (b"\n", b"\r\n"):
            found = self.take(data, len(before), line_end)
            self.assertEqual(found, (text_of(expected).replace(b"\n", line_end), position))


def one_length(data: bytes, position: int) -> tuple[int, int]:
    """The length of a record, if it has one octet or two, and where the payload begins; -1: that is not there."""
    octets = data[position + 1 : position + 3]
    if octets and octets[0] < 128:
        return octets[0], position + 2
    if len(octets) == 2 and octets[1] < 128:
        return octets[0] - 128 + (octets[1] << 7), position + 3
    return 0, -1
