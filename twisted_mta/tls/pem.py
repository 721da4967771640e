"""The objects in a PEM file, such as certificates and keys, without a look at what is in them.

Flow: tls/trust_anchor_files.py reads files with it.
Sources: RFC 7468; PEM_read_bio(3), whose ways are followed: text between the objects is skipped, blanks at the end of a line too.
"""

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

_BEGIN = re.compile(rb"-----BEGIN ([^\r\n]*?)-----[ \t\r]*")
_BLANKS = b" \t\r\n"


class PemError(Exception):
    """An object begins, and is cut short or damaged; the text says what is wrong with it."""


class PemObject(NamedTuple):
    """One object.

    Attributes:
        kind: what stands in its first line, such as ``CERTIFICATE``.
        data: what is encoded.
    """

    kind: bytes
    data: bytes


def pem_objects(text: bytes) -> Iterator[PemObject]:
    """Read objects, one after the other.

    Raises:
        PemError: from the iterator, at the first damaged object.
    """
    lines = iter(text.split(b"\n"))
    for line in lines:
        if begin := _BEGIN.fullmatch(line):
            yield PemObject(begin[1], _data(begin[1], lines))


def _data(kind: bytes, lines: Iterator[bytes]) -> bytes:
    """What is encoded in the lines up to the end of the object."""
    end = b"-----END %b-----" % kind
    encoded: list[bytes] = []
    for line in lines:
        stripped = line.rstrip(_BLANKS)
        if stripped == end:
            break
        if stripped.startswith(b"-----"):
            raise PemError("bad end line")
        if b":" in stripped:
            # Headers, which end in an empty line, belong to encrypted keys.
            encoded.clear()
            stripped = b""
        encoded.append(stripped)
    else:
        raise PemError("bad end line")
    try:
        return binascii.a2b_base64(b"".join(encoded), strict_mode=True)
    except binascii.Error:
        raise PemError("bad base64 decode") from None
