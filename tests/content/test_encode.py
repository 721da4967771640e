"""Tests of twisted_mta.content.encode."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.content.encode import DataEncoder

RECORDS = st.lists(st.tuples(st.text(". ab", max_size=12).map(str.encode), st.booleans()), max_size=12)


def reference(records: list[tuple[bytes, bool]], limit: int) -> bytes:
    """The rule for lines as postconf(5) has it, record by record and octet by octet."""
    out = bytearray()
    left = limit
    for number, (data, ends_line) in enumerate(records):
        if not data and not ends_line:
            continue
        while True:
            if left == limit and data.startswith(b"."):
                out += b"."
            if limit > 0 and (len(data) > left or (len(data) == left and not ends_line)):
                out += data[:left] + b"\r\n "
                data = data[left:]
                left = limit - 1
                if data or ends_line:
                    continue
                break
            out += data
            left -= len(data)
            if ends_line:
                out += b"\r\n"
                left = limit
            break
        if number == len(records) - 1:
            break
    if left != limit:
        out += b"\r\n"
    return bytes(out)


def chunked(records: list[tuple[bytes, bool]], cuts: list[int]) -> list[bytes]:
    """The records as chunks: one ends behind each record without a line end, and wherever `cuts` says so."""
    chunks, current = [], b""
    for number, (data, ends_line) in enumerate(records):
        current += data + (b"\n" if ends_line else b"")
        if not ends_line or number in cuts:
            chunks.append(current)
            current = b""
    return [chunk for chunk in [*chunks, current] if chunk]


def encode(chunks: list[bytes], limit: int = 998) -> bytes:
    """All that an encoder says to these chunks."""
    encoder = DataEncoder(limit)
    return b"".join([encoder.feed(chunk) for chunk in chunks] + [encoder.finish()])


class DataEncoderTests(SynchronousTestCase):
    """Lines, dots and limits."""

    def test_line_ends(self) -> None:
        """LF becomes CRLF."""
        self.assertEqual(encode([b"a\nb\n"]), b"a\r\nb\r\n")

    def test_dots_at_every_place(self) -> None:
        """A dot that begins a line is doubled: at the start, in a chunk, and where a chunk begins."""
        self.assertEqual(encode([b".\n..a\nb.\n", b".c\n"]), b"..\r\n...a\r\nb.\r\n..c\r\n")

    def test_dot_in_the_middle_of_a_line(self) -> None:
        """A chunk that begins with a dot within a line gets no second one, with and without a limit."""
        self.assertEqual(encode([b"a", b".b\n"]), b"a.b\r\n")
        self.assertEqual(encode([b"a", b".b\n"], 0), b"a.b\r\n")

    def test_final_newline_is_added(self) -> None:
        """A last line without end gets one (RFC 5321 4.1.1.4); an empty message gets nothing."""
        self.assertEqual(encode([b"a\nb"]), b"a\r\nb\r\n")
        self.assertEqual(encode([]), b"")

    def test_line_of_exactly_the_limit(self) -> None:
        """998 octets go out whole, 999 are broken before the last one."""
        self.assertEqual(encode([b"x" * 998 + b"\n"]), b"x" * 998 + b"\r\n")
        self.assertEqual(encode([b"x" * 999 + b"\n"]), b"x" * 998 + b"\r\n x\r\n")

    def test_line_of_two_thousand(self) -> None:
        """Rests begin with a space that counts."""
        self.assertEqual(
            encode([b"y" * 2000 + b"\n"]), b"y" * 998 + b"\r\n " + b"y" * 997 + b"\r\n " + b"y" * 5 + b"\r\n"
        )

    def test_record_that_ends_at_the_limit(self) -> None:
        """A line that goes on in an empty record leaves a line with a lone space."""
        self.assertEqual(encode([b"x" * 998, b"\n"]), b"x" * 998 + b"\r\n \r\n")

    def test_tells_of_broken_lines(self) -> None:
        """The encoder knows whether it broke a line."""
        encoder = DataEncoder(10)
        encoder.feed(b"0123456789\n")
        self.assertFalse(encoder.broke_line)
        encoder.feed(b"0123456789a\n")
        self.assertTrue(encoder.broke_line)

    def test_limit_of_one_makes_headway(self) -> None:
        """The smallest limit ends all the same."""
        self.assertEqual(encode([b"abc\n"], 1), b"ab\r\n c\r\n")

    @given(RECORDS, st.lists(st.integers(0, 12)), st.sampled_from([0, 2, 3, 5, 8, 100]))
    def test_as_record_by_record(self, records: list[tuple[bytes, bool]], cuts: list[int], limit: int) -> None:
        """Whatever the chunks, the result is that of the rule applied to one record after the other."""
        records = [record for record in records if record[0] or record[1]]
        self.assertEqual(encode(chunked(records, cuts), limit), reference(records, limit))

    @given(RECORDS, st.lists(st.integers(0, 12)), st.sampled_from([0, 2, 3, 5, 8, 100]))
    def test_line_ends_of_the_wire(self, records: list[tuple[bytes, bool]], cuts: list[int], limit: int) -> None:
        """Chunks that have CRLF already come to the same, and so does the news of broken lines."""
        chunks = chunked([record for record in records if record[0] or record[1]], cuts)
        one, other = DataEncoder(limit), DataEncoder(limit)
        for chunk in chunks:
            self.assertEqual(other.feed_crlf(chunk.replace(b"\n", b"\r\n")), one.feed(chunk))
        self.assertEqual((other.finish(), other.broke_line), (one.finish(), one.broke_line))

    @given(RECORDS, st.lists(st.integers(0, 12)))
    def test_no_end_of_data_inside(self, records: list[tuple[bytes, bool]], cuts: list[int]) -> None:
        """No line of the result is a lone dot, and undoing it gives the lines back."""
        encoded = encode(chunked(records, cuts), 0)
        lines = encoded.split(b"\r\n")
        self.assertNotIn(b".", lines)
        whole = b"".join(data + (b"\n" if ends_line else b"") for data, ends_line in records)
        undone = b"\n".join(line[1:] if line.startswith(b".") else line for line in lines)
        self.assertEqual(undone, whole if whole.endswith(b"\n") or not whole else whole + b"\n")
