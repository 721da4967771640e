"""Tests of twisted_mta.postfix.records."""

from collections.abc import Iterator, Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.queue_file import ContentRecord, pointer, record, records, scattered, text_of
from twisted_mta.postfix.records import END_OF_FILE, LONGEST_RECORD, NO_RECORD, DamagedRecordError, decode_content

PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.binary(min_size=120, max_size=140),
    st.sampled_from([b"", b"\r", b"\n", b"..", b"x" * 300, b"y" * 16383, b"z" * 16384, b"a\r\nb"]),
)
CONTENT = st.lists(st.tuples(st.sampled_from("NNNLw"), PAYLOADS), max_size=30)


class Reading:
    """Octets that are read like a file, and what a reader did with them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.strays = 0
        self.largest_read = 0

    def read(self, offset: int, octets: int) -> bytes:
        """The read function."""
        self.largest_read = max(self.largest_read, octets)
        return self.data[offset : offset + octets]

    def stray(self) -> None:
        """Counts calls."""
        self.strays += 1

    def chunks(self, offset: int = 0, piece_octets: int = 65536, line_end: bytes = b"\n") -> Iterator[bytes]:
        """Decode."""
        return decode_content(self.read, offset, self.stray, piece_octets, line_end)


def decoded(data: bytes, offset: int = 0, piece_octets: int = 65536, line_end: bytes = b"\n") -> list[bytes]:
    """The chunks of some octets."""
    return list(Reading(data).chunks(offset, piece_octets, line_end))


class DecodeContentTests(SynchronousTestCase):
    """Content comes out as lines."""

    def test_lines(self) -> None:
        """N records are lines, empty ones too, all in one chunk."""
        self.assertEqual(decoded(records([("N", b"one"), ("N", b""), ("N", b"."), ("X", b"")])), [b"one\n\n.\n"])

    def test_no_content(self) -> None:
        """Content may be empty."""
        self.assertEqual(decoded(record("X")), [])

    def test_continued_line(self) -> None:
        """A chunk ends right after an L record; padding is skipped."""
        content = [
            ("N", b"a"),
            ("L", b"one,"),
            ("w", b"NNNN"),
            ("L", b"two,"),
            ("N", b"three"),
            ("N", b"b"),
            ("X", b""),
        ]
        self.assertEqual(decoded(records(content)), [b"a\n", b"one,", b"two,", b"three\nb\n"])

    def test_ends_with_part_of_a_line(self) -> None:
        """The last line may lack its end; an empty part of a line is nothing."""
        self.assertEqual(decoded(records([("N", b"a"), ("L", b""), ("L", b"end"), ("X", b"")])), [b"a\n", b"end"])

    def test_heap(self) -> None:
        """Pointers lead behind the end of the file and back; 0 and blanks lead nowhere."""
        head = record("N", b"Subject: hi")
        back_at = len(head) + 17
        rest = record("N", b"") + pointer(0) + record("p", b"   ") + record("N", b"body") + record("X") + record("E")
        heap_at = back_at + len(rest)
        data = head + pointer(heap_at) + rest + record("N", b"X-Added: by milter") + pointer(back_at)
        for piece_octets in (20, 65536):
            self.assertEqual(
                b"".join(decoded(data, piece_octets=piece_octets)), b"Subject: hi\nX-Added: by milter\n\nbody\n"
            )

    def test_stray_line_ends(self) -> None:
        """CR and LF inside of a record become spaces, in lines and in parts of lines."""
        reading = Reading(records([("N", b"a\r\n.\r\nb"), ("L", b"\n."), ("N", b"ok"), ("N", b"c\r"), ("X", b"")]))
        self.assertEqual(list(reading.chunks()), [b"a  .  b\n", b" .", b"ok\nc \n"])
        self.assertEqual(reading.strays, 3)

    def test_equal_lines(self) -> None:
        """Long runs of lines of one length come out right, line ends inside of them too, whatever the length."""
        for size in (0, 1, 10, 13, 76, 127, 128, 300):
            lines = [bytes([65 + i % 26]) * size for i in range(300)]
            lines[200] = b"\n" * size
            content = [("N", line) for line in [b"first", *lines, b"last"]]
            reading = Reading(records(content) + record("X"))
            self.assertEqual(b"".join(reading.chunks()), text_of(content), size)
            self.assertEqual(reading.strays > 0, size > 0)

    def test_padded_length(self) -> None:
        """A length may take more octets than it needs."""
        self.assertEqual(b"".join(decoded(b"N\x83\x00abcN\x81\x80\x00dX\x00")), b"abc\nd\n")

    def test_reads_in_pieces(self) -> None:
        """Never more than one piece is read at a time, unless one record is longer."""
        reading = Reading(records([("N", b"x" * 70)] * 1000) + record("X"))
        self.assertLessEqual(max(len(chunk) for chunk in reading.chunks(piece_octets=4096)), 4096)
        self.assertEqual(reading.largest_read, 4096)

    def test_long_record(self) -> None:
        """A record that is longer than a piece is read in one go."""
        content = [("N", b"x" * 100_000), ("N", b"y")]
        self.assertEqual(b"".join(decoded(records(content) + record("X"), piece_octets=4096)), text_of(content))

    @given(st.lists(CONTENT, min_size=1, max_size=4), st.randoms(use_true_random=False), st.integers(1, 400))
    @settings(deadline=None, max_examples=150)
    def test_any_content(self, parts: Sequence[Sequence[ContentRecord]], random: Random, piece_octets: int) -> None:
        """Whatever is written is read back, in whatever order it stands in the file, and however it is read."""
        order = list(range(len(parts)))
        random.shuffle(order)
        data, start = scattered(parts, order, start=7)
        chunks = decoded(b"?" * 7 + data, start, piece_octets)
        text = text_of(record for part in parts for record in part)
        self.assertEqual(b"".join(chunks), text)
        self.assertNotIn(b"", chunks)
        self.assertEqual(b"".join(decoded(b"?" * 7 + data, start, piece_octets, b"\r\n")), text.replace(b"\n", b"\r\n"))


class DamageTests(SynchronousTestCase):
    """Damage is told as Postfix tells it, and never ends in anything else."""

    def damage(self, data: bytes) -> tuple[int, str]:
        """The record type and the problem of what follows a line."""
        chunks = Reading(record("N", b"fine") + data).chunks()
        self.assertEqual(next(chunks), b"fine\n")
        error = self.assertRaises(DamagedRecordError, list, chunks)
        return error.record_type, error.problem

    def test_wrong_type(self) -> None:
        """A record that is no content: only its number is told."""
        self.assertEqual(self.damage(record("Q", b"abc")), (81, ""))
        self.assertEqual(self.damage(record("E")), (69, ""))
        self.assertEqual(self.damage(b"\xf0\x00"), (240, ""))

    def test_end_of_file(self) -> None:
        """The file ends where a record should begin, or a pointer leads behind it."""
        self.assertEqual(self.damage(b""), (END_OF_FILE, ""))
        self.assertEqual(self.damage(pointer(99999)), (END_OF_FILE, ""))

    def test_end_of_file_in_record(self) -> None:
        """The file ends within a record."""
        self.assertEqual(self.damage(b"N"), (NO_RECORD, "unexpected EOF reading length, record type 78"))
        self.assertEqual(self.damage(b"N\x85"), (NO_RECORD, "unexpected EOF reading length, record type 78"))
        self.assertEqual(self.damage(b"N\x20abc"), (NO_RECORD, "unexpected EOF in data, record type 78 length 32"))
        self.assertEqual(self.damage(b"x\x78abc"), (NO_RECORD, "unexpected EOF in data, record type 120 length 120"))

    def test_length(self) -> None:
        """A length that no record has is not believed, so that memory is not filled."""
        reading = Reading(b"L\xff\xff\xff\x7f" + b"x" * 100)
        error = self.assertRaises(DamagedRecordError, list, reading.chunks())
        self.assertEqual(error.problem, "unexpected EOF in data, record type 76 length 268435455")
        self.assertLess(reading.largest_read, LONGEST_RECORD)
        reading = Reading(b"L\x81\x80\x80\x08" + bytes(LONGEST_RECORD + 1))
        error = self.assertRaises(DamagedRecordError, list, reading.chunks())
        self.assertEqual(error.problem, "length 16777217 is too large, record type 76")
        self.assertLess(reading.largest_read, LONGEST_RECORD)
        self.assertEqual(
            self.damage(b"N\x80\x80\x80\x80\x00"), (NO_RECORD, "length of more than 4 octets, record type 78")
        )

    def test_pointer(self) -> None:
        """A pointer that is no number."""
        for payload, shown in (
            (b"      1x", "1x"),
            (b"   -1  ", "-1  "),
            (b"9" * 5000, "9" * 5000),
            (b" \xff", "\udcff"),
        ):
            self.assertEqual(self.damage(record("p", payload)), (NO_RECORD, f"malformed pointer record value: {shown}"))

    def test_loop(self) -> None:
        """Pointers that lead back for ever end as damage."""
        for piece_octets in (5, 65536):
            chunks = Reading(b"?" + record("w") + pointer(1)).chunks(1, piece_octets)
            error = self.assertRaises(DamagedRecordError, list, chunks)
            self.assertEqual((error.record_type, error.problem), (NO_RECORD, "too many reverse jump records"))

    @given(st.binary(max_size=300), st.integers(1, 50), CONTENT)
    @settings(deadline=None, max_examples=150)
    def test_junk(self, junk: bytes, piece_octets: int, content: Sequence[ContentRecord]) -> None:
        """Junk is content or damage, nothing else."""
        for data in (junk, records(content) + junk):
            try:
                decoded(data, 0, piece_octets)
            except DamagedRecordError:
                continue
