"""Decode the records of a queue file into the lines of a message.

Flow: postfix/queue_file.py lends its `read` and passes the chunks on to whoever reads the content; no file is touched here.
postfix/line_records.py takes the lines.
Sources: postcat(1), which shows the records of a queue file; postconf(5) line_length_limit; a running Postfix's log of damage.

A record is a type octet, a length (little-endian groups of seven bits; 0x80: more follow) and the payload. In message content
`N` is a line without its end, `L` a part of a line that goes on in the next record, `p` holds the file offset where reading
goes on (0: right here), `w` is padding, and `X` ends the content.
"""

from collections.abc import Callable, Iterator

from twisted_mta.model.text import to_text
from twisted_mta.postfix.line_records import NORM, LineRecords

PIECE_OCTETS = 65536
"""How much of the file is read, and held, at a time."""

LONGEST_RECORD = 16 * 1024 * 1024
"""Octets. What cleanup(8) writes is far shorter; a damaged length must not fill the memory."""

END_OF_FILE, NO_RECORD = -1, -2
"""Stand for the type where there is no record."""

_CONT, _POINTER, _PADDING, _END = b"LpwX"
_LENGTH_OCTETS = 4
_REVERSE_JUMPS = 10000
_LARGEST_OFFSET = 2**62  # of any file; reading near the limit of the type would fail in ways that look temporary

ReadAt = Callable[[int, int], bytes]
"""(offset, octets): what stands there; less than asked for only at the end of the file."""


class DamagedRecordError(Exception):
    """What follows is no message content.

    Attributes:
        record_type: the octet found where content belongs, END_OF_FILE or NO_RECORD.
        problem: details; empty if the type says it all.
    """

    def __init__(self, record_type: int, problem: str = "") -> None:
        super().__init__(problem or f"record type {record_type}")
        self.record_type = record_type
        self.problem = problem


def decode_content(
    read: ReadAt,
    offset: int,
    stray: Callable[[], None],
    piece_octets: int = PIECE_OCTETS,
    line_end: bytes = b"\n",
) -> Iterator[bytes]:
    """Read message content.

    Args:
        read: gives octets of the file.
        offset: of the first content record.
        stray: called whenever CR or LF inside of records became spaces.
        piece_octets: how much to read at a time.
        line_end: what each line gets.

    Yields:
        Lines, each with its end; a chunk ends right after an `L` record, and its last line goes on in the next chunk.

    Raises:
        DamagedRecordError: what follows is no message content.
    """
    base, data, position = offset, read(offset, piece_octets), 0
    lines, pointers = LineRecords(stray, line_end), _Pointers()
    while True:
        chunk, position = lines.take(data, position)
        if chunk:
            yield chunk
            continue
        # Here stands anything but a short line that is wholly in this piece.
        start, end = _bounds(data, position)
        while end > len(data):
            wanted = end - position
            if wanted > LONGEST_RECORD:
                raise _too_long(data[position], end - start, is_there=bool(read(base + end - 1, 1)))
            base, position = base + position, 0
            data = read(base, max(piece_octets, wanted))
            start, end = _bounds(data, position)
            if len(data) < wanted:
                _check_whole(data, start, end)
        kind = data[position]
        position = end
        if kind == NORM:
            yield lines.joined([data[start:end]])
        elif kind == _CONT:
            if start < end:
                yield lines.unfinished(data[start:end])
        elif kind == _POINTER:
            if target := pointers.target(data[start:end]):
                position = target - base
                if not 0 <= position < len(data):
                    base, data, position = target, read(target, piece_octets), 0
        elif kind == _END:
            return
        elif kind != _PADDING:
            raise DamagedRecordError(kind)


def _bounds(data: bytes, position: int) -> tuple[int, int]:
    """Where the payload of a record begins and ends; behind the end of `data` if the record, or its head, is cut off there."""
    size = shift = 0
    for place in range(position + 1, position + 1 + _LENGTH_OCTETS):
        if place >= len(data):
            return len(data) + 1, max(place, len(data)) + _LENGTH_OCTETS
        size |= (data[place] & 127) << shift
        if data[place] < 128:
            return place + 1, place + 1 + size
        shift += 7
    raise DamagedRecordError(NO_RECORD, f"length of more than {_LENGTH_OCTETS} octets, record type {data[position]}")


def _check_whole(data: bytes, start: int, end: int) -> None:
    """Raise DamagedRecordError if the record that `data` begins with is cut off by the end of the file."""
    if not data:
        raise DamagedRecordError(END_OF_FILE)
    if start > len(data):
        raise DamagedRecordError(NO_RECORD, f"unexpected EOF reading length, record type {data[0]}")
    if end > len(data):
        raise _cut_off(data[0], end - start)


def _too_long(kind: int, size: int, *, is_there: bool) -> DamagedRecordError:
    """What is wrong with a record that is longer than any; mostly its length is, and the file is shorter (not `is_there`)."""
    if not is_there:
        return _cut_off(kind, size)
    return DamagedRecordError(NO_RECORD, f"length {size} is too large, record type {kind}")


def _cut_off(kind: int, size: int) -> DamagedRecordError:
    return DamagedRecordError(NO_RECORD, f"unexpected EOF in data, record type {kind} length {size}")


class _Pointers:
    """Follows pointer records, but not for ever: cleanup(8) lets edited headers point behind the end of the file and back."""

    def __init__(self) -> None:
        self._last = 0
        self._reverse_jumps = 0

    def target(self, payload: bytes) -> int:
        """The offset to go on at; 0: right behind the pointer.

        Raises:
            DamagedRecordError: no number, or a jump back too many.
        """
        digits = payload.lstrip()
        if not digits:
            return 0
        if not digits.isdigit() or len(digits) > len(str(_LARGEST_OFFSET)) or int(digits) > _LARGEST_OFFSET:
            raise DamagedRecordError(NO_RECORD, f"malformed pointer record value: {to_text(digits)}")
        target = int(digits)
        if target and target <= self._last:
            self._reverse_jumps += 1
            if self._reverse_jumps > _REVERSE_JUMPS:
                raise DamagedRecordError(NO_RECORD, "too many reverse jump records")
        self._last = target or self._last
        return target
