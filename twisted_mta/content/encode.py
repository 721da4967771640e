"""The content as it goes over the wire: CRLF, dots, and lines that are not too long.

Chunks come in as records of the queue: lines with LF, or CRLF if the reader could be asked for that, the last one of a chunk
perhaps without. Whole chunks are converted at once; only a chunk with a line that may be too long is taken apart.

The rule for long lines is Postfix's: a line of more than `line_limit` octets is broken after so many octets, and goes on in the
next line behind a space. Where a record ends exactly there and the line goes on in the next record, it is broken too.

Flow: session/body.py feeds the chunks of an IMessageContent and gives away what comes back.
Sources: RFC 5321 sections 4.5.2 and 4.5.3.1.6; postconf(5) smtp_line_length_limit.
"""

from collections.abc import Callable, Iterator

from twisted_mta.compiled import or_compiled


class DataEncoder:
    """Encodes one message for one server; feed it every chunk, then `finish`.

    Attributes:
        broke_line: whether a line had to be broken so far.
    """

    def __init__(self, line_limit: int = 998, broke_line: Callable[[], None] | None = None) -> None:
        """Start at the beginning of a line.

        Args:
            line_limit: octets of a line without its end; 0 or less: no limit.
            broke_line: called when a line has to be broken for the first time.
        """
        # With room for one octet only, a broken line would never make headway.
        self._limit = max(line_limit, 2) if line_limit > 0 else 0
        self._used = (
            0  # octets in the current line; the space in front of a rest counts, a dot in front of a dot does not
        )
        self.broke_line = False
        self._broke_line = broke_line

    def feed(self, chunk: bytes) -> bytes:
        """Encode a chunk of whole records (see IMessageContent.chunks)."""
        if self._limit and (self._used or has_long_line(chunk, self._limit)):
            return b"".join(self._by_record(chunk))
        if b"." in chunk:  # base64 has none
            encoded = _with_dots_doubled(chunk).replace(b"\n", b"\r\n")
        else:
            encoded = chunk.replace(b"\n", b"\r\n")
        if not self._used and chunk.startswith(b"."):
            encoded = b"." + encoded
        tail = len(chunk) - chunk.rfind(b"\n") - 1
        self._used = tail if tail < len(chunk) else self._used + tail
        return encoded

    def feed_crlf(self, chunk: bytes) -> bytes:
        """Encode a chunk of whole records whose lines end with CRLF; there is no other CR or LF in them."""
        if not self._used and (ready := _get_ready(chunk, self._limit)) is not None:
            self._used = len(chunk) - chunk.rfind(b"\n") - 1
            return ready
        # A line that began before, or one that is too long: both are rare.
        return self.feed(chunk.replace(b"\r\n", b"\n"))

    def finish(self) -> bytes:
        """What is missing at the end: the line end of a last line that has none."""
        return b"\r\n" if self._used else b""

    def _by_record(self, chunk: bytes) -> Iterator[bytes]:
        lines = chunk.split(b"\n")
        unfinished = lines.pop()
        for line in lines:
            yield from self._record(line, ends_line=True)
        if unfinished:
            yield from self._record(unfinished, ends_line=False)

    def _record(self, data: bytes, *, ends_line: bool) -> Iterator[bytes]:
        """One record; `ends_line` tells whether its line goes on in the next one."""
        if not self._used and data.startswith(b"."):
            yield b"."
        room = self._limit - self._used
        while len(data) > room or (len(data) == room and not ends_line):
            yield data[:room]
            yield b"\r\n "
            if not self.broke_line:
                self.broke_line = True
                if self._broke_line is not None:
                    self._broke_line()
            data = data[room:]
            self._used = 1
            room = self._limit - 1
        yield data
        if ends_line:
            yield b"\r\n"
            self._used = 0
        else:
            self._used += len(data)


def ready_lines(chunk: bytes, limit: int) -> bytes | None:
    """Double the dots that begin lines.

    Args:
        chunk: lines with CRLF, from the beginning of one.
        limit: octets of a line without its end; 0: any number.

    Returns:
        None if a line is too long, or has no end and as many octets.
    """
    if limit and (len(chunk) - chunk.rfind(b"\n") > limit or has_long_line(chunk, limit + 1)):
        return None
    if b"." in chunk:
        chunk = _with_dots_doubled(chunk)
        if chunk.startswith(b"."):
            chunk = b"." + chunk
    return chunk


_get_ready = or_compiled(ready_lines)


def _with_dots_doubled(chunk: bytes) -> bytes:
    """Double each dot behind LF; they are rare, so this is twice as fast as replace(), which would look for them twice."""
    parts = chunk.split(b"\n.")
    return b"\n..".join(parts) if len(parts) > 1 else chunk


def has_long_line(chunk: bytes, limit: int) -> bool:
    """Whether a line has more octets than that, or as many and no end: from LF to the last LF within reach, in long steps."""
    begin, end = 0, len(chunk)
    while end - begin >= limit:
        newline = chunk.rfind(b"\n", begin, begin + limit + 1)
        if newline < 0:
            return True
        begin = newline + 1
    return False
