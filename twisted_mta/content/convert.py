"""Make 8-bit text quoted-printable.

Lines of text stay lines; one that gets too long is continued in the next behind a soft line break.

Flow: pipeline.py feeds what scanner.py says is to be converted.
Sources: RFC 2045 section 6.7; RFC 6152 section 3; a running smtp(8), for where it breaks lines.
"""

import re

_LITERAL = frozenset(b"\t\n" + bytes(range(0x20, 0x7F))) - frozenset(b"=")
_SPECIAL = re.compile(b"[" + re.escape(bytes(sorted(set(range(256)) - _LITERAL))) + b"]")
_ESCAPES = {bytes([octet]): b"=%02X" % octet for octet in range(256)}
_FULL = 73
"""Octets from which on a line gets a soft break before the next character: with that, and an escape, it has 76 at most."""


class QuotedPrintable:
    """Encodes the bodies of a message, one after the other; an unfinished line waits for its end, which must come."""

    def __init__(self) -> None:
        self._begun = b""  # the encoded start of the current line

    def feed(self, data: bytes) -> bytes:
        """Encode records; returns whole lines."""
        encoded = _SPECIAL.sub(lambda match: _ESCAPES[match[0]], data)
        lines = (self._begun + encoded).split(b"\n")
        if max(map(len, lines)) > _FULL:
            lines = [piece for line in lines for piece in (_broken(line) if len(line) > _FULL else (line,))]
        self._begun = lines.pop()
        if not lines:
            return b""
        lines.append(b"")
        # A blank at the end of a line would not survive every relay.
        return b"\n".join(lines).replace(b" \n", b"=20\n").replace(b"\t\n", b"=09\n")


def _broken(line: bytes) -> list[bytes]:
    """The encoded line in pieces, all but the last one with a soft line break."""
    pieces = []
    at = 0
    while True:
        stop = at + _FULL
        # Never within an escape.
        if line[stop - 1 : stop] == b"=":
            stop += 2
        elif line[stop - 2 : stop - 1] == b"=":
            stop += 1
        if stop >= len(line):
            pieces.append(line[at:])
            return pieces
        pieces.append(line[at:stop] + b"=")
        at = stop
