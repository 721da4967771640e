"""Tests of twisted_mta.content.lines."""

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_mta.content.lines import Lines
from twisted_mta.content.prepend import PrependedContent
from twisted_mta.interfaces import IMessageContent


def read(line_end: bytes) -> Iterator[bytes]:
    """Two chunks, the second one within a line."""
    yield b"a" + line_end + b"b"
    yield b"c" + line_end


@implementer(IMessageContent)
class Reread:
    """Content that can be had with either line end."""

    def chunks(self) -> Lines:
        """The chunks."""
        return Lines(read)


class LinesTests(SynchronousTestCase):
    """Chunks with either line end."""

    def test_line_feeds(self) -> None:
        """Who iterates gets LF."""
        self.assertEqual(list(Lines(read)), [b"a\nb", b"c\n"])

    def test_line_ends_of_the_wire(self) -> None:
        """Who asks gets CRLF."""
        self.assertEqual(list(Lines(read).with_crlf()), [b"a\r\nb", b"c\r\n"])

    def test_nothing_is_read_too_early(self) -> None:
        """The message is not read before somebody wants it, and only once."""
        ends: list[bytes] = []

        def noted(line_end: bytes) -> Iterator[bytes]:
            ends.append(line_end)
            return read(line_end)

        lines = Lines(noted)
        self.assertEqual(ends, [])
        list(lines)
        self.assertEqual(ends, [b"\n"])

    def test_with_headers_in_front(self) -> None:
        """Headers that are put in front get the same line ends."""
        content = PrependedContent(b"H: 1\nI: 2\n", Reread())
        for _ in range(2):
            chunks = content.chunks()
            assert isinstance(chunks, Lines)
            self.assertEqual(list(chunks), [b"H: 1\nI: 2\n", b"a\nb", b"c\n"])
            self.assertEqual(list(chunks.with_crlf()), [b"H: 1\r\nI: 2\r\n", b"a\r\nb", b"c\r\n"])
