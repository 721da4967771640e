"""Make 8-bit text quoted-printable.

Lines of text stay lines; one that gets too long is continued in the next behind a soft line break.

Flow: pipeline.py feeds what scanner.py says is to be converted.
Sources: RFC 2045 section 6.7; RFC 6152 section 3; a running smtp(8), for where it breaks lines.
"""

from twisted_mta.content.encode import has_long_line

_LITERAL = b"\t\n" + bytes(octet for octet in range(0x20, 0x7F) if octet != 0x3D)
_EQUALS = b"="
_ESCAPES = tuple((bytes([octet]), b"=%02X" % octet) for octet in range(256))
_FULL = 73
"""Octets from which on a line gets a soft break before the next character: with that, and an escape, it has 76 at most."""


class QuotedPrintable:
    """Encodes the bodies of a message, one after the other; an unfinished line waits for its end, which must come."""

    def __init__(self) -> None:
        self._begun = b""  # the encoded start of the current line

    def feed(self, data: bytes) -> bytes:
        """Encode records; returns whole lines."""
        encoded = self._begun + _escaped(data)
        if has_long_line(encoded, _FULL):
            lines = encoded.split(b"\n")
            encoded = b"\n".join(
                [piece for line in lines for piece in (_broken(line) if len(line) > _FULL else (line,))]
            )
        end = encoded.rfind(b"\n") + 1
        self._begun = encoded[end:]
        encoded = encoded[:end]
        # A blank at the end of a line would not survive every relay.
        if b" \n" in encoded:
            encoded = encoded.replace(b" \n", b"=20\n")
        return encoded.replace(b"\t\n", b"=09\n") if b"\t" in encoded else encoded


def _escaped(data: bytes) -> bytes:
    """Escape all but printable characters: one pass for each kind of octet that is there, which is faster than one for all."""
    specials = set(data.translate(None, _LITERAL))
    if _EQUALS[0] in specials:
        # First, as all escapes begin with it.
        specials.remove(_EQUALS[0])
        data = data.replace(*_ESCAPES[_EQUALS[0]])
    for octet in specials:
        data = data.replace(*_ESCAPES[octet])
    return data


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
