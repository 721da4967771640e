"""Turn runs of line records into lines, as many as there are at a time: here large messages spend their time.

There are three ways, from the fastest to the most patient:

1. Lines of one length, as in a base64 body, are taken apart together.
2. Lines of any length: the type and the length in front of each are overwritten by a mark, and all marks then become line ends
   in one step; no line is ever an object of its own.
3. One by one: where a line holds CR or LF, or the octet that marks are made of, or where some other record stands among lines.

The first two have a compiled twin, which takes all lines alike.

Flow: postfix/records.py asks for the lines that begin at a position, and deals with whatever else stands there.
Sources: postcat(1), which shows the records of a queue file.
"""

import functools
import struct
from collections.abc import Callable

from twisted_mta.compiled import or_compiled

NORM = 0x4E
"""The type of a record that is a whole line."""

_STRETCH = 64  # lines
_EQUAL_HEADS = tuple(b"N" * _STRETCH + bytes([size]) * _STRETCH for size in range(128))
_WITHOUT_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")

_MOST_CUTS = 8
"""How often other records may stand among the lines of a piece: each of them costs as much as all that follows it."""


_MARKS = (0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0xF7, 0xF6, 0xF5, 0xC1, 0xC0)
"""Octets that are in neither ASCII nor UTF-8; but in the lengths of long lines they may be."""


_STEPS = tuple(range(2, 130))
"""From one length of one octet to the next."""


class LineRecords:
    """Makes chunks of the line records of one message."""

    def __init__(self, stray: Callable[[], None], line_end: bytes = b"\n") -> None:
        """Prepare.

        Args:
            stray: called whenever CR or LF inside of records became spaces.
            line_end: what each line gets.
        """
        self._stray = stray
        self._end = line_end
        self._piece = b""  # the one that was looked at last
        self._cuts = 0  # how often other records have ended its lines; _MOST_CUTS: lines are taken one by one

    def take(self, data: bytes, position: int) -> tuple[bytes, int]:
        """Make a chunk.

        Args:
            data: a piece of the file.
            position: in it, of a record.

        Returns:
            The lines, perhaps none, and the position of the first record that is no line, or is not wholly in the piece, or of
            further lines.
        """
        if data is not self._piece:
            self._piece, self._cuts = data, 0
        if self._cuts < _MOST_CUTS and data.startswith(b"N", position):
            found = _take_bulk(data, position, self._end)
            if found is not None:
                chunk, behind, is_cut = found
                self._cuts += is_cut
                return chunk, behind
            self._cuts = _MOST_CUTS
        lines: list[bytes] = []
        behind = _single_lines(data, position, lines)
        return (self.joined(lines) if lines else b""), behind

    def joined(self, lines: list[bytes]) -> bytes:
        """The lines, each with its end, and without any other CR or LF.

        Args:
            lines: is used up, or it would be held as long as the chunk.
        """
        payload = b"".join(lines)
        if b"\n" in payload or b"\r" in payload:
            self._stray()
            lines[:] = [line.translate(_WITHOUT_LINE_ENDS) for line in lines]
        lines.append(b"")
        chunk = self._end.join(lines)
        lines.clear()
        return chunk

    def unfinished(self, part: bytes) -> bytes:
        """A part of a line, which has no end, without any CR or LF."""
        return self.joined([part])[: -len(self._end)]


def bulk_lines(data: bytes, position: int, line_end: bytes) -> tuple[bytes, int, bool] | None:
    """Take many of the lines that are whole in a piece.

    Args:
        data: the piece.
        position: in it, of a line record.
        line_end: what each line gets.

    Returns:
        A chunk, the position behind it, and whether it ends early, at another kind of record; None if the lines must be taken
        one by one.
    """
    lines: list[bytes] = []
    behind = _equal_lines(data, position, lines)
    if not lines:
        return _marked_lines(data, position, line_end)
    payload = b"".join(lines)
    if b"\n" in payload or b"\r" in payload:
        return None
    lines.append(b"")
    return line_end.join(lines), behind, False


_take_bulk = or_compiled(bulk_lines)


def _equal_lines(data: bytes, position: int, lines: list[bytes]) -> int:
    """Append lines of one length to `lines`, if there are enough of them, and return the position behind them."""
    head = data[position : position + 2]
    if len(head) < 2 or head[1] > 127:
        return position
    step = 2 + head[1]
    stretch = _STRETCH * step
    heads, unpack = _EQUAL_HEADS[head[1]], _unpacking(head[1])
    end = position + stretch
    while (
        end <= len(data)
        and data[end - step : end - step + 2] == head
        and data[position:end:step] + data[position + 1 : end : step] == heads
    ):
        lines += unpack(data, position)
        position, end = end, end + stretch
    return position


@functools.lru_cache(maxsize=128)
def _unpacking(size: int) -> Callable[[bytes, int], tuple[bytes, ...]]:
    return struct.Struct(f"2x{size}s" * _STRETCH).unpack_from


def _marked_lines(data: bytes, position: int, line_end: bytes) -> tuple[bytes, int, bool] | None:
    """Take all lines that are whole in a piece, of whatever length (see `bulk_lines`)."""
    mark = next((octet for octet in _MARKS if octet not in data), None)
    if mark is None:
        return None
    buffer = bytearray(memoryview(data)[position:])
    at, step, has_long = 1, 0, False  # at: where a length begins
    try:
        # What runs for each line does no more than it must; it ends with the piece, or at a line of more than 127 octets.
        while True:
            step = _STEPS[buffer[at]]
            buffer[at] = mark
            at += step
    except IndexError:
        pass
    try:
        while True:
            step = 2 + buffer[at]
            if step > 129:
                more = buffer[at + 1]
                if more > 127 or buffer[at - 1] != NORM:
                    break
                buffer[at + 1] = mark
                step += (more << 7) - 127
                has_long = True
            buffer[at] = mark
            at += step
    except IndexError:
        pass  # the record goes on in the next piece
    end = at - 1
    if end > len(buffer):
        end -= step  # so did the record before
    if end <= 0:
        return b"", position, False
    head = b"N%c" % mark
    # The line ends stand between the heads: so the first one goes, and there is one more at the end.
    buffer[end:] = head
    first = 2 if data[position + 1] < 128 else 3
    text = bytes(memoryview(buffer)[first:])
    if b"\n" in text or b"\r" in text:
        return None
    long_head = b"N%c%c" % (mark, mark)
    chunk = (text.replace(long_head, head) if has_long else text).replace(head, line_end)
    # The mark of another record has no N in front.
    stranger = chunk.find(mark) - 1
    if stranger < 0:
        return chunk, position + end, False
    # Where that is in the text: its heads are longer than line ends.
    behind = short = stranger + chunk.count(line_end, 0, stranger) * (len(head) - len(line_end))
    while has_long and (further := short + text.count(long_head, 0, behind)) > behind:
        behind = further
    return chunk[:stranger] + line_end, position + first + behind, True


def _single_lines(data: bytes, position: int, lines: list[bytes]) -> int:
    """Append lines to `lines`, one by one, up to whatever else comes; return where that is."""
    length = len(data)
    append = lines.append
    start = position
    try:
        while data[position] == NORM:
            size = data[position + 1]
            start = position + 2
            if size > 127:
                more = data[start]
                size += (more << 7) - 128
                start += 1
                if more > 127 or start + size > length:
                    break
            position = start + size
            append(data[start:position])
    except IndexError:
        pass  # the record goes on in the next piece
    if position > length:
        # So did the record before. This is found out here, as to look at each record would cost a tenth more.
        lines.pop()
        position = start - 2
    return position
