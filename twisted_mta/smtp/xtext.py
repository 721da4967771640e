"""The encodings of DSN and XFORWARD parameters.

Flow: smtp/commands.py encodes what stands behind ENVID=, ORCPT= and the XFORWARD attributes.
Sources: RFC 3461 section 4 (xtext); RFC 6533 section 3 (utf-8-addr-xtext); XFORWARD_README.
"""

import re

from twisted_mta.model.text import to_wire

_XTEXT_SPECIAL = re.compile(rb"[^!-*,-<>-~]")
_XFORWARD_SPECIAL = re.compile(rb"[^!-*,-~]")
_UXTEXT_SPECIAL = re.compile(r"[^!-*,-<>-\[\]-~]")


def xtext(text: str) -> bytes:
    """Encode all but printable ASCII, and ``+`` and ``=``, as ``+XX``."""
    return _XTEXT_SPECIAL.sub(lambda match: b"+%02X" % match[0][0], to_wire(text))


def xforward_text(text: str) -> bytes:
    """The same for an XFORWARD attribute, where ``=`` stays."""
    return _XFORWARD_SPECIAL.sub(lambda match: b"+%02X" % match[0][0], to_wire(text))


def uxtext(text: str) -> bytes:
    r"""Encode a UTF-8 address as ASCII: ``\x{HEX}`` for all that is not plain.

    Raises:
        ValueError: the text holds octets that are not UTF-8.
    """
    text.encode("utf-8")
    return _UXTEXT_SPECIAL.sub(lambda match: rf"\x{{{ord(match[0]):02X}}}", text).encode("ascii")
