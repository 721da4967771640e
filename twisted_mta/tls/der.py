"""Elements of DER: what certificates and keys are written in.

It takes what comes from anybody: what makes no sense is a DerError, never anything else, and nothing is looked at twice.

Flow: tls/certificates.py and tls/strength.py read with it.
Sources: ITU-T X.690 sections 8.1 and 10; RFC 5280 section 4.1.
"""

from collections.abc import Iterator
from typing import NamedTuple

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER, SEQUENCE = 0x01, 0x02, 0x03, 0x04, 0x06, 0x30
"""Tags."""


class DerError(Exception):
    """Octets are not what they should be."""


class Element(NamedTuple):
    """An element: its tag, where it begins, where its content does, and where it ends."""

    tag: int
    at: int
    start: int
    end: int

    @property
    def inside(self) -> tuple[int, int]:
        """Where its content lies."""
        return self.start, self.end


def elements(der: bytes, at: int, end: int) -> Iterator[Element]:
    """The elements that lie side by side between two places.

    Raises:
        DerError: from the iterator: what follows is damaged.
    """
    while at < end:
        element = _element(der, at, end)
        yield element
        at = element.end


def inside(der: bytes) -> Iterator[Element]:
    """What is in a sequence, with nothing behind it.

    Raises:
        DerError: it is no sequence; or from the iterator: what follows is damaged.
    """
    (outer,) = exactly(1, der, 0, len(der), SEQUENCE)
    return elements(der, *outer.inside)


def exactly(number: int, der: bytes, at: int, end: int, tag: int | None = None) -> list[Element]:
    """As many elements as there must be.

    Args:
        number: how many.
        der: where they are.
        at: where they begin.
        end: where they end.
        tag: that each must have; None: any.

    Raises:
        DerError: there are more or less, or they are damaged.
    """
    found: list[Element] = []
    for element in elements(der, at, end):
        found.append(element)
        if len(found) > number:
            break
    if len(found) != number or (tag is not None and any(element.tag != tag for element in found)):
        raise DerError("not as many elements as there must be, or others")
    return found


def _element(der: bytes, at: int, limit: int) -> Element:
    if at + 2 > limit:
        raise DerError("it ends within an element")
    tag, length, start = der[at], der[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise DerError("a tag of several octets")
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or start + octets > limit:
            raise DerError("a length that makes no sense")
        length, start = int.from_bytes(der[start : start + octets], "big"), start + octets
    if start + length > limit:
        raise DerError("an element is longer than what it is in")
    return Element(tag, at, start, start + length)
