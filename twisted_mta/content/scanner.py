"""Take a message apart as it passes: headers by the block they stand in, and bodies, in chunks.

The theory. A message begins with its primary headers. Where a header block says that its body is made of parts, lines that begin
with ``--`` and a known boundary begin the headers of a part; where it says that the body is a message, nested headers follow.
Boundaries form a stack: that of an outer multipart ends all inner ones. A block ends at an empty line, or before a line that is
no header.

Where the content is to become 7bit, the scanner also says which body is to be converted, and adjusts the labels: the
Content-Transfer-Encoding of an 8bit part is withheld, and another one put at the end of its block.

What cannot happen: that more than one header, a record, and a bounded stack of boundaries are held, whatever the message is like.

Flow: pipeline.py feeds the chunks of an IMessageContent and treats the parts that come back.
Sources: RFC 5322 section 2.2; RFC 2045 section 6; RFC 2046 section 5; RFC 6152 section 3; postconf(5) header_size_limit,
mime_nesting_limit, mime_boundary_length_limit; a running smtp(8).
"""

import enum
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from twisted_mta.content.failures import ContentFailedError
from twisted_mta.content.mime_syntax import PartType, content_type, is_eight_bit
from twisted_mta.model.dsn import DsnStatus

NESTING_TOO_DEEP = DsnStatus("5.6.0", "MIME nesting exceeds safety limit")

HEADER_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
"""Matches where a header begins, up to its colon; the group is the name."""

_SPARE_BOUNDARIES = 2  # the limit counts from the second one inside of the first


class Block(enum.Enum):
    """Where headers stand."""

    PRIMARY = "the message's own"
    PART = "of a part of a multipart"
    NESTED = "of an attached message"


@dataclass(frozen=True, slots=True)
class Header:
    """A logical header.

    Attributes:
        block: where it stands.
        name: as it is written.
        text: all of it, name included; its lines are joined by LF, with none at the end, and it holds no NUL.
        is_added: whether it was made here.
    """

    block: Block
    name: bytes
    text: bytes
    is_added: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """Whole records of the body, or a line between header and body.

    Attributes:
        data: as a chunk of IMessageContent.
        convert: whether it must become quoted-printable.
    """

    data: bytes
    convert: bool = False


Part = Header | Body


@dataclass(frozen=True, slots=True)
class ScannerLimits:
    """How far the scanner goes.

    Attributes:
        header_octets: a header that is longer gets no further lines (header_size_limit).
        nesting: multiparts within multiparts (mime_nesting_limit).
        boundary_octets: of a boundary that count (mime_boundary_length_limit).
    """

    header_octets: int = 102400
    nesting: int = 100
    boundary_octets: int = 2048


class Scanner:
    """Takes one message apart; feed it every chunk, then `finish`."""

    def __init__(self, limits: ScannerLimits, *, mime: bool = True, convert: bool = False) -> None:
        """Start before the first header.

        Args:
            limits: how far to go.
            mime: whether there may be parts; otherwise all behind the primary headers is body.
            convert: whether the content is to become 7bit.
        """
        self._limits = limits
        self._mime = mime
        self._convert = convert
        self._block: Block | None = Block.PRIMARY  # None: in a body
        self._mid_line = False  # whether the next record goes on with a line
        self._name = b""
        self._header: list[bytes] = []  # pieces of the current header
        self._header_octets = 0
        self._boundaries: list[bytes] = []  # the innermost last, each with "--" in front
        self._inner_first: tuple[bytes, ...] = ()
        self._digests: list[bool] = []  # for each boundary
        self._type = PartType.LEAF
        self._is_digest = False
        self._eight_bit = False

    def feed(self, chunk: bytes) -> Iterator[Part]:
        """Take apart a chunk of whole records.

        Raises:
            ContentFailedError: parts are nested too deeply to be converted.
        """
        at, end = 0, len(chunk)
        while at < end:
            if self._block is None:
                at = yield from self._scan_body(chunk, at)
                continue
            newline = chunk.find(b"\n", at)
            stop = newline if newline >= 0 else end
            if (yield from self._take_header_record(chunk[at:stop])):
                at = stop + 1
                self._mid_line = newline < 0

    def finish(self) -> Iterator[Part]:
        """The content is over: what is unfinished gets its end.

        Raises:
            ContentFailedError: parts are nested too deeply to be converted.
        """
        if self._mid_line and not self._header:
            yield Body(b"\n", self._converts_body)
        if self._block is not None:
            yield from self._end_header()
            yield from self._end_labels()

    # ---- headers ----

    def _take_header_record(self, record: bytes) -> Generator[Part, None, bool]:
        """Take a record in a header block; False if it is the first of the body instead."""
        text = record.partition(b"\0")[0]
        if self._header and (self._mid_line or text[:1] in (b" ", b"\t")):
            self._append(text if self._mid_line else b"\n" + text)
            return True
        yield from self._end_header()
        match = HEADER_NAME.match(text)
        if match:
            self._name = match[1]
            self._append(match[1] + text[match.end() - 1 :])
            return True
        is_blank = not record
        yield from self._end_block(is_blank=is_blank)
        return is_blank

    def _append(self, piece: bytes) -> None:
        if self._header_octets < self._limits.header_octets:
            self._header.append(piece)
            self._header_octets += len(piece)

    def _end_header(self) -> Iterator[Header]:
        if not self._header:
            return
        block = self._block
        assert block is not None
        text = b"".join(self._header)
        self._header.clear()
        self._header_octets = 0
        if self._mime:
            value = text[len(self._name) + 1 :]
            name = self._name.lower()
            if name == b"content-type":
                self._take_type(value)
            elif name == b"content-transfer-encoding":
                eight_bit = is_eight_bit(value)
                if eight_bit is not None:
                    self._eight_bit = eight_bit
                if self._convert and self._eight_bit:
                    return
        yield Header(block, self._name, text)

    def _take_type(self, value: bytes) -> None:
        found = content_type(value)
        if found is None:
            return
        self._type, self._is_digest = found.type, found.is_digest
        for boundary in found.boundaries:
            self._push(boundary)

    def _push(self, boundary: bytes) -> None:
        if len(self._boundaries) >= self._limits.nesting + _SPARE_BOUNDARIES:
            if self._convert:
                raise ContentFailedError(NESTING_TOO_DEEP)
            return
        self._boundaries.append(b"--" + boundary[: self._limits.boundary_octets])
        self._digests.append(self._is_digest)
        self._inner_first = tuple(reversed(self._boundaries))

    def _end_labels(self) -> Iterator[Header]:
        """All headers of a block are there: say how its body will be encoded."""
        if self._convert and self._eight_bit:
            block = self._block
            assert block is not None
            name = b"Content-Transfer-Encoding"
            label = b"quoted-printable" if self._type in (PartType.LEAF, PartType.GLOBAL) else b"7bit"
            yield Header(block, name, name + b": " + label, is_added=True)

    def _end_block(self, *, is_blank: bool) -> Iterator[Part]:
        """The block ends, by an empty line or by one that is no header."""
        yield from self._end_labels()
        block = self._block
        self._block = None
        if is_blank:
            yield Body(b"\n")
            kind = self._type
            if kind is PartType.RFC822 or (kind is PartType.GLOBAL and not (self._convert and self._eight_bit)):
                self._begin_block(Block.NESTED, PartType.LEAF)
            elif kind is PartType.MULTIPART:
                self._eight_bit = False
        elif block is Block.PRIMARY:
            yield Body(b"\n")

    def _begin_block(self, block: Block, default: PartType) -> None:
        self._block = block
        self._type, self._is_digest, self._eight_bit = default, False, False

    # ---- bodies ----

    @property
    def _converts_body(self) -> bool:
        return self._convert and self._eight_bit and self._block is None

    def _scan_body(self, chunk: bytes, at: int) -> Generator[Part, None, int]:
        """Pass on the body from `at` to behind the next boundary, or to the end of the chunk; returns where that is."""
        begin = at
        candidate = at if not self._mid_line and chunk.startswith(b"--", at) else self._next_candidate(chunk, at)
        while candidate >= 0 and not chunk.startswith(self._inner_first, candidate):
            candidate = self._next_candidate(chunk, candidate)
        if candidate < 0:
            yield Body(chunk[begin:] if begin else chunk, self._converts_body)
            self._mid_line = not chunk.endswith(b"\n")
            return len(chunk)
        if begin < candidate:
            yield Body(chunk[begin:candidate], self._converts_body)
        end = chunk.find(b"\n", candidate) + 1 or len(chunk)
        yield Body(chunk[candidate:end])
        self._mid_line = chunk[end - 1] != 0x0A
        self._leave_part(chunk, candidate)
        return end

    def _next_candidate(self, chunk: bytes, at: int) -> int:
        """Where the next line begins that may be a boundary; -1 if there is none."""
        if not self._boundaries:
            return -1
        newline = chunk.find(b"\n--", at)
        return newline + 1 if newline >= 0 else -1

    def _leave_part(self, chunk: bytes, at: int) -> None:
        """A boundary stands at `at`: it ends a part, and begins one, unless ``--`` behind it ends the multipart."""
        while not chunk.startswith(self._boundaries[-1], at):
            self._pop()
        is_digest = self._digests[-1]
        if chunk.startswith(b"--", at + len(self._boundaries[-1])):
            self._pop()
            self._eight_bit = False
        else:
            self._begin_block(Block.PART, PartType.RFC822 if is_digest else PartType.LEAF)
        self._inner_first = tuple(reversed(self._boundaries))

    def _pop(self) -> None:
        self._boundaries.pop()
        self._digests.pop()
