"""Content from a queue file to the octets of the wire, the whole way."""

import re
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.queue_file import ContentRecord, record, records, text_of
from twisted_mta.content.lines import Lines
from twisted_mta.postfix.records import decode_content
from twisted_mta.session.body import Body

PAYLOADS = st.one_of(
    st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\0", b"\xff", b"N", b" "]), max_size=8).map(b"".join),
    st.integers(0, 400).map(lambda size: b"." * (size % 3) + b"x" * size),
    st.binary(max_size=40),
)
CONTENT = st.lists(st.tuples(st.sampled_from("NNNNNLw"), PAYLOADS), max_size=60)

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def on_the_wire(content: Sequence[ContentRecord], line_limit: int, piece_octets: int) -> bytes:
    """What is sent of these records, without the dot that ends it."""
    data = records(content) + record("X")

    def read(offset: int, octets: int) -> bytes:
        return data[offset : offset + octets]

    lines = Lines(lambda line_end: decode_content(read, 0, lambda: None, piece_octets, line_end))
    body = Body(lines, line_limit)
    wire = b""
    while not body.is_over:
        piece = body.next_piece()
        assert isinstance(piece, bytes)
        wire += piece
    return wire


class QueueFileTests(SynchronousTestCase):
    """Whatever a queue file holds, and however it is read."""

    @settings(max_examples=200, deadline=None)
    @given(CONTENT, st.sampled_from([0, 5, 78, 998]), st.integers(1, 700))
    @example([("N", b"a"), ("N", b"."), ("N", b"b")], 998, 700)
    @example([("N", b""), ("L", b"."), ("L", b"."), ("N", b"")], 998, 700)
    @example([("N", b"a\r\n.\r\nQUIT")], 998, 700)
    def test_any_content(self, content: list[ContentRecord], line_limit: int, piece_octets: int) -> None:
        """No octets can pass for an end of data or a bare line end, and what arrives is what was written."""
        wire = on_the_wire(content, line_limit, piece_octets)
        self.assertIsNone(BARE.search(wire))
        lines = (b"\r\n" + wire).split(b"\r\n")
        self.assertEqual(lines[-1], b"")
        self.assertNotIn(b".", lines)
        text = text_of(content)
        if text and not text.endswith(b"\n"):
            text += b"\n"
        received = b"\n".join(line.removeprefix(b".") for line in lines[1:])
        if line_limit and max(map(len, text.split(b"\n"))) >= line_limit:
            # A broken line goes on behind a space; with these taken away, nothing else may differ.
            self.assertLessEqual(max(map(len, lines)), line_limit + 1)
            received, text = received.translate(None, b" \n."), text.translate(None, b" \n.")
        self.assertEqual(received, text)
