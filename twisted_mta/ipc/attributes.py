"""The attribute lists that Postfix's daemons exchange, in their binary form.

A list is any number of ``name NUL value NUL`` pairs and a NUL more, an empty name. Names may repeat: order is what counts.
Flow: ipc/client.py and postfix/ encode what they send, feed what they receive to a Decoder, and read its lists with `expect`.
Sources: Postfix's attribute protocol with null-terminated attributes, as its daemons speak it; RFC 4648 section 4 (base64).
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from twisted_mta.model.text import to_text, to_wire

LONGEST_VALUE = 1 << 20
"""Octets of one name or value. Postfix has no limit; TLS sessions and table values are the longest that are seen."""

LONGEST_LIST = 4 << 20
"""Octets of one list, terminator included."""

_INT_BITS, _LONG_BITS = 32, 64
_SURELY_SMALL = 10  # fewer digits than this fit in 31 bits, as nearly every number does
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]{1,20})")


class IpcError(Exception):
    """What came over a private socket, or should go there, is not what the protocol allows; the text says what and where."""


class Long(int):
    """An integer of 64 bits on the wire; a plain int has 32."""


Value = str | bytes | int
"""What a list can hold: text, bytes, an int of 32 bits, a Long of 64."""


class AttributeList(NamedTuple):
    """A received list: names and values in the order of the wire."""

    names: tuple[bytes, ...]
    values: tuple[bytes, ...]

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """The attributes one by one."""
        return zip(self.names, self.values, strict=True)


# ---- sending ----


def encode(attributes: Iterable[tuple[str, Value]]) -> bytes:
    """One list, complete with its terminator: hand it to the transport in ONE write.

    Raises:
        IpcError: a name is empty, a name or value holds NUL, or a number does not fit.
    """
    parts: list[bytes] = []
    for name, value in attributes:
        wire_name, wire_value = _text_on_wire(name, name), _on_wire(name, value)
        if not wire_name:
            raise IpcError("an attribute without a name cannot be sent")
        if b"\0" in wire_name or b"\0" in wire_value:
            raise IpcError(f"attribute {_shown(wire_name)}: NUL cannot be sent")
        parts += (wire_name, wire_value)
    return b"\0".join((*parts, b"", b""))


def _on_wire(name: str, value: Value) -> bytes:
    if isinstance(value, str):
        return _text_on_wire(name, value)
    if isinstance(value, int):
        bits, number = _LONG_BITS if isinstance(value, Long) else _INT_BITS, int(value)
        if not -(1 << bits - 1) <= number < 1 << bits:
            raise IpcError(f"attribute {name}: {number} does not fit in {bits} bits")
        return b"%d" % (number & (1 << bits) - 1)
    return value


def _text_on_wire(name: str, text: str) -> bytes:
    try:
        return to_wire(text)
    except UnicodeEncodeError as error:
        raise IpcError(f"attribute {name!r}: {error}") from error


def encode_data(octets: bytes) -> bytes:
    """The wire form of binary data: base64."""
    return base64.b64encode(octets)


# ---- receiving ----


class Decoder:
    """Finds the lists in a stream of bytes, however it is cut.

    Args:
        longest_value: octets of a name or value, at most.
        longest_list: octets of a list, at most.
    """

    __slots__ = ("_longest_list", "_longest_value", "_next_name", "_partial", "_tokens", "_unfinished")

    def __init__(self, longest_value: int = LONGEST_VALUE, longest_list: int = LONGEST_LIST) -> None:
        self._longest_value = longest_value
        self._longest_list = longest_list
        self._partial = bytearray()  # a name or value whose NUL is still to come
        self._tokens: list[bytes] = []  # complete names and values of a list that has not ended
        self._next_name = 0  # where in _tokens the next name is expected
        self._unfinished = 0  # octets of that list so far

    @property
    def unfinished(self) -> int:
        """Octets of a list that has begun and not ended; 0 between lists."""
        return self._unfinished

    def feed(self, data: bytes) -> list[AttributeList]:
        """Take bytes from the stream.

        Returns:
            The lists that are complete now, in order.

        Raises:
            IpcError: a list or a value is longer than allowed; the stream cannot be used any more.
        """
        end = data.rfind(b"\0")
        if end < 0:
            self._partial += data
            self._unfinished += len(data)
            self._refuse_too_long()
            return []
        pieces = (bytes(self._partial) + data if self._partial else data).split(b"\0")
        self._partial = bytearray(pieces.pop())
        if self._unfinished + len(data) > self._longest_value:
            self._refuse_long_values(pieces)
        return self._lists(pieces, len(data))

    def _lists(self, pieces: list[bytes], octets: int) -> list[AttributeList]:
        tokens = self._tokens
        tokens += pieces
        found: list[AttributeList] = []
        start, name, count = 0, self._next_name, len(tokens)
        while name < count:
            if tokens[name]:
                name += 2
                continue
            found.append(AttributeList(tuple(tokens[start:name:2]), tuple(tokens[start + 1 : name : 2])))
            start = name = name + 1
        if start:
            if self._unfinished + octets > self._longest_list:
                self._refuse_long_lists(found)
            del tokens[:start]
            self._unfinished = len(self._partial) + (sum(map(len, tokens)) + len(tokens) if tokens else 0)
        else:
            self._unfinished += octets
        self._next_name = name - start
        self._refuse_too_long()
        return found

    def _refuse_too_long(self) -> None:
        if len(self._partial) > self._longest_value:
            raise IpcError(f"{self._where()}: longer than {self._longest_value} octets")
        if self._unfinished > self._longest_list:
            raise IpcError(f"{self._where()}: the list is longer than {self._longest_list} octets")

    def _refuse_long_values(self, pieces: list[bytes]) -> None:
        for index, piece in enumerate(pieces):
            if len(piece) > self._longest_value:
                before = pieces[index - 1] if index else self._tokens[-1] if self._tokens else b""
                raise IpcError(f"attribute behind {_shown(before)}: longer than {self._longest_value} octets")

    def _refuse_long_lists(self, lists: list[AttributeList]) -> None:
        for names, values in lists:
            if sum(map(len, names)) + sum(map(len, values)) + 2 * len(names) + 1 > self._longest_list:
                raise IpcError(f"the list that begins with {_shown(names[0])}: longer than {self._longest_list} octets")

    def _where(self) -> str:
        return f"attribute behind {_shown(self._tokens[-1])}" if self._tokens else "first attribute"


def expect(attributes: AttributeList, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The values of a list that must hold exactly these attributes in this order.

    Raises:
        IpcError: one is missing, or another stands where it belongs, or there are more.
    """
    if attributes.names == names:
        return attributes.values
    for position, wanted in enumerate(names):
        if position == len(attributes.names):
            raise IpcError(f"attribute {_shown(wanted)} is missing")
        if attributes.names[position] != wanted:
            raise IpcError(f"attribute {_shown(attributes.names[position])} stands where {_shown(wanted)} belongs")
    raise IpcError(f"unexpected attribute {_shown(attributes.names[len(names)])}")


def expect_among(attributes: AttributeList, names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The values of these attributes, which must come in this order; others between them are skipped.

    Postfix's clients of verify(8) and tlsmgr(8) read replies so.

    Raises:
        IpcError: one is missing.
    """
    found: list[bytes] = []
    pairs = attributes.pairs()
    for wanted in names:
        for name, value in pairs:
            if name == wanted:
                found.append(value)
                break
        else:
            raise IpcError(f"attribute {_shown(wanted)} is missing")
    return tuple(found)


def read_texts(values: tuple[bytes, ...]) -> list[str]:
    """All values as text, in one step."""
    return to_text(b"\0".join(values)).split("\0")


def read_int(value: bytes, name: str) -> int:
    """A value of 32 bits; both ``-1`` and ``4294967295`` are -1.

    Args:
        value: as received.
        name: for the error.

    Raises:
        IpcError: not a number, or too large.
    """
    if len(value) < _SURELY_SMALL and value.isdigit():
        return int(value)
    return _read_number(value, name, _INT_BITS)


def read_long(value: bytes, name: str) -> int:
    """A value of 64 bits; both ``-1`` and ``18446744073709551615`` are -1.

    Args:
        value: as received.
        name: for the error.

    Raises:
        IpcError: not a number, or too large.
    """
    if len(value) < _SURELY_SMALL and value.isdigit():
        return int(value)
    return _read_number(value, name, _LONG_BITS)


def _read_number(value: bytes, name: str, bits: int) -> int:
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise IpcError(f"attribute {name}: {_shown(value)} is not a number")
    number = int(match[1])
    if not -(1 << bits - 1) <= number < 1 << bits:
        raise IpcError(f"attribute {name}: {_shown(value)} does not fit in {bits} bits")
    return number if number < 1 << bits - 1 else number - (1 << bits)


def read_data(value: bytes, name: str) -> bytes:
    """Binary data.

    Args:
        value: as received: base64.
        name: for the error.

    Raises:
        IpcError: not base64.
    """
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise IpcError(f"attribute {name}: not base64") from error


def _shown(octets: bytes) -> str:
    """Foreign bytes within an error: short; observe/ makes them printable."""
    text = to_text(octets[:60])
    return f'"{text}..."' if len(octets) > 60 else f'"{text}"'
