"""Turn reply octets into Reply values.

Octets become censored lines (LineReader), lines become replies (ReplyAssembler). They are apart because a reply filter may
change a line in between.

Only the last line of a reply gives its code and enhanced status. A line that is no reply line at all is kept in the text and
otherwise passed over, as smtp(8) does; but it is told, because with pipelining it may shift the replies that follow.

Flow: session/incoming.py feeds octets; dialogs get the replies.
Sources: RFC 5321 sections 4.2 and 4.5.3.1.5; RFC 2034 section 4; RFC 3463 section 2; postconf(5) line_length_limit.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from twisted_mta.model.text import first_octets, octets_in

_ENHANCED_STATUS = re.compile(r"[0-9]{3}. *([245]\.[0-9]{1,3}\.[0-9]{1,3})(?= |\Z)", re.DOTALL)
_CONTINUED = re.compile(r"[0-9]{3}-")
_LAST = re.compile(r"[0-9]{3}(?: |\Z)")
_PLAIN_LINES = re.compile(rb"(?:[ -~]*\r\n)+")
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

REPLY_OCTETS_LIMIT = 1024 * 1024
"""A reply with more octets than this is an attack: 20,000 EHLO lines of 50 octets each still fit."""

GARBAGE_LINES_LIMIT = 100
"""A reply with more lines than this that are no reply lines is one, too: each of them makes log lines."""


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    """Replace each octet that cannot be decoded by one question mark."""
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("twisted_mta.question_marks", _question_marks)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply.

    Attributes:
        code: the three digits of the last line.
        status: enhanced status; made from the code where the line has none of its class, 5.5.0 where the code means nothing.
        text: all lines, codes and garbage included, joined by newlines; cut at about twice the line limit.
        garbled: whether lines that are no reply lines came with it.
        early: whether it came before all that was written had left.
    """

    code: int
    status: str
    text: str
    garbled: bool = False
    early: bool = False

    @property
    def is_positive(self) -> bool:
        """2xx."""
        return 200 <= self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3xx."""
        return 300 <= self.code < 400

    @property
    def one_line(self) -> str:
        """The text with blanks for newlines, for logs and reports."""
        return self.text.replace("\n", " ")

    @property
    def smells_of_client_error(self) -> bool:
        """Whether this reply to a command that failed hints at a protocol error: such a session is not used again."""
        return not 400 <= self.code <= 599 or self.code == 555 or 500 <= self.code <= 509


@dataclass(frozen=True, slots=True)
class OverlongLine:
    """A line was cut; it is used all the same."""

    start: str


@dataclass(frozen=True, slots=True)
class EndlessLine:
    """A line did not end within twice the limit: nothing more will be read."""


@dataclass(frozen=True, slots=True)
class OverlongReply:
    """Lines of a multi-line reply are dropped from its text."""

    start: str


@dataclass(frozen=True, slots=True)
class GarbageLine:
    """A line that is no reply line."""

    line: str


Trouble: TypeAlias = OverlongLine | EndlessLine | OverlongReply | GarbageLine


_SHOWN_OCTETS = 30  # of what is too long, in the log

_USUAL_OCTETS = 256
_USUAL_REPLIES = 256

_PLAIN_REPLY = rb"(?:[0-9]{3}-[ -~]*\r\n)*[0-9]{3}(?: [ -~]*)?\r\n"
_PLAIN_REPLIES = re.compile(b"(?:%b)+" % _PLAIN_REPLY)
_ONE_PLAIN_REPLY = re.compile(_PLAIN_REPLY.decode())


def plain_replies(data: bytes, limit: int = 2048) -> list[Reply] | None:
    """The replies in octets that hold nothing else: the short way for what nearly every server sends.

    Args:
        data: octets behind a complete reply, or the first ones.
        limit: octets of a line (line_length_limit).

    Returns:
        What LineReader and ReplyAssembler would make of them; None if only these can tell.
    """
    if len(data) > limit:
        return None
    replies = _usual_replies(data) if len(data) <= _USUAL_OCTETS else _read_plain(data)
    return None if replies is None else [*replies]


def _read_plain(data: bytes) -> tuple[Reply, ...] | None:
    if _PLAIN_REPLIES.fullmatch(data) is None:
        return None
    replies = []
    for match in _ONE_PLAIN_REPLY.finditer(data.decode("ascii")):
        text = match[0][:-2].replace("\r\n", "\n")
        last = text[text.rfind("\n") + 1 :]
        replies.append(Reply(int(last[:3]), enhanced_status(last), text))
    return tuple(replies)


# Servers say the same again and again: to RSET, to MAIL, RCPT and DATA.
_usual_replies = lru_cache(_USUAL_REPLIES)(_read_plain)


class LineReader:
    """Octets to censored lines, with a hard limit on what is kept."""

    def __init__(self, limit: int = 2048, *, utf8: bool = True) -> None:
        """Start with nothing read.

        Args:
            limit: octets of a line, its line end included (line_length_limit).
            utf8: whether valid UTF-8 may stay (smtputf8_enable).
        """
        self._limit = limit
        self._utf8 = utf8
        self._buffer = b""
        self._ended = False

    @property
    def has_leftover(self) -> bool:
        """Whether octets of an unfinished line wait."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[str | OverlongLine | EndlessLine]:
        """Take octets.

        Returns:
            The lines that are complete now, in order; a cut line comes behind the trouble that tells of it. After an
            EndlessLine nothing more is ever returned.
        """
        if self._ended:
            return []
        if not self._buffer and len(data) <= self._limit and _PLAIN_LINES.fullmatch(data):
            # Whole lines with nothing to censor, none of them too long: nearly all that servers send.
            plain: list[str | OverlongLine | EndlessLine] = [*data.decode("ascii").split("\r\n")]
            plain.pop()
            return plain
        data = self._buffer + data if self._buffer else data
        items: list[str | OverlongLine | EndlessLine] = []
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0 and end - begin <= 2 * self._limit:
            self._finish(data[begin:end], items)
            begin = end + 1
        rest = data[begin:] if begin else data
        if len(rest) > 2 * self._limit:
            self._ended = True
            items.append(EndlessLine())
            self._finish(rest[: 2 * self._limit], items)
            rest = b""
        self._buffer = rest
        return items

    def _finish(self, line: bytes, items: list[str | OverlongLine | EndlessLine]) -> None:
        """Cut, censor and append one line, given without its LF."""
        # A limit that falls between CR and LF cuts nothing off.
        overlong = len(line) >= self._limit and not (len(line) == self._limit and line.endswith(b"\r"))
        if overlong:
            line = line[: self._limit]
        line = line.rstrip(b"\r")
        if b"\0" in line:
            line = line[: line.index(b"\0")]
        text = self._censor(line)
        if overlong:
            items.append(OverlongLine(first_octets(text, _SHOWN_OCTETS)))
        items.append(text)

    def _censor(self, line: bytes) -> str:
        if line.isascii():
            text = line.decode("ascii")
            return text if text.isprintable() else _NOT_PRINTABLE.sub("?", text)
        if self._utf8:
            return _NOT_PRINTABLE.sub("?", line.decode("utf-8", "twisted_mta.question_marks"))
        return re.sub(r"[^ -~]", "?", line.decode("latin-1"))


class ReplyAssembler:
    """Censored lines to replies."""

    def __init__(self, limit: int = 2048) -> None:
        """Start with no line.

        Args:
            limit: octets of text after which further lines are dropped.
        """
        self._limit = limit
        self._is_over = False
        self._reset()

    def _reset(self) -> None:
        self._lines: list[str] = []
        self._stored = -1  # octets of the text so far: the first line has no newline in front
        self._seen = 0
        self._dropping = False
        self._garbage = 0

    @property
    def is_idle(self) -> bool:
        """Whether no line of an unfinished reply waits."""
        return not self._lines and not self._seen

    def add(self, line: str) -> Sequence[Trouble | Reply]:
        """Take a line.

        Returns:
            The trouble it makes, mostly none, and the reply that it completes; EndlessLine alone if the reply is beyond all
            measure, and for whatever follows it.
        """
        trouble: Sequence[Trouble] = ()
        self._seen += len(line) + 2
        if self._is_over or self._seen > REPLY_OCTETS_LIMIT:
            self._is_over = True
            return (EndlessLine(),)
        if self._stored < self._limit:
            if line or self._lines:
                self._lines.append(line)
                self._stored += octets_in(line) + 1
        elif not self._dropping:
            self._dropping = True
            trouble = (OverlongReply(first_octets("\n".join(self._lines), _SHOWN_OCTETS)),)
        if _CONTINUED.match(line):
            return trouble
        if not _LAST.match(line):
            self._garbage += 1
            self._is_over = self._garbage > GARBAGE_LINES_LIMIT
            return (EndlessLine(),) if self._is_over else (*trouble, GarbageLine(line))
        reply = Reply(int(line[:3]), enhanced_status(line), "\n".join(self._lines), self._garbage > 0)
        self._reset()
        return (*trouble, reply)


def enhanced_status(line: str) -> str:
    """The enhanced status of a reply's last line (RFC 2034 section 4), or what stands in for it."""
    code_class = line[0]
    if code_class not in "245":
        return "5.5.0"
    match = _ENHANCED_STATUS.match(line)
    if match is not None and match[1][0] == code_class:
        return match[1]
    return code_class + ".0.0"
