"""Headers that delivery puts in front of a message, and those that show that it has been here before.

Flow: delivery/outgoing.py puts the headers in front, before the content goes its way, and looks for a loop.
Sources: smtp(8), "flags"; RFC 5321 section 4.4 (Return-Path); RFC 9228 (Delivered-To); a running smtp(8).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain

from zope.interface import implementer

from twisted_mta.content.lines import LF, Lines
from twisted_mta.content.scanner import HEADER_NAME
from twisted_mta.interfaces import IMessageContent
from twisted_mta.model.text import to_text, to_wire

_DELIVERED_TO = b"delivered-to"
_MOST_VALUES = 1000
_WITHOUT_LINE_ENDS = str.maketrans("\r\n", "  ")


def header(name: str, value: str) -> bytes:
    """A header as a line."""
    return to_wire(f"{name}: {value}".translate(_WITHOUT_LINE_ENDS)) + b"\n"


@implementer(IMessageContent)
class PrependedContent:
    """A message with headers in front."""

    def __init__(self, headers: bytes, content: IMessageContent) -> None:
        """Put together.

        Args:
            headers: lines.
            content: the message.
        """
        self._headers = headers
        self._content = content

    def chunks(self) -> Iterator[bytes]:
        """The headers, and then the message (IMessageContent)."""
        chunks = self._content.chunks()
        return Lines(partial(self._before, chunks)) if isinstance(chunks, Lines) else chain((self._headers,), chunks)

    def _before(self, chunks: Lines, line_end: bytes) -> Iterator[bytes]:
        yield self._headers.replace(LF, line_end)
        yield from chunks if line_end == LF else chunks.with_crlf()


def earlier_recipients(chunks: Iterable[bytes], fold: Callable[[str], str]) -> frozenset[str]:
    """To whom the message has been delivered, as its Delivered-To headers say.

    Args:
        chunks: of an IMessageContent; no more are read than there are headers.
        fold: makes equal what is to count as equal.

    Returns:
        The values, folded; no more than 1000.
    """
    found: set[str] = set()
    for record in _header_records(chunks):
        match = HEADER_NAME.match(record)
        if match is None and record[:1] not in (b" ", b"\t"):
            break
        if match is not None and match[1].lower() == _DELIVERED_TO and len(found) < _MOST_VALUES:
            found.add(fold(to_text(record[match.end() :].partition(b"\0")[0].lstrip())))
    return frozenset(found)


def _header_records(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The records that begin a line."""
    mid_line = False
    for chunk in chunks:
        lines = chunk.split(b"\n")
        unfinished = lines.pop()
        if mid_line and lines:
            del lines[0]
            mid_line = False
        yield from lines
        if unfinished:
            if not mid_line:
                yield unfinished
            mid_line = True
