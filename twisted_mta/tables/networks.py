"""Network addresses and patterns of them, as numbers.

Flow: cidr.py and match_list.py read their patterns here.
Sources: cidr_table(5); inet_pton(3); the texts are those of a running postmap(1).
"""

import re
import socket
from dataclasses import dataclass

_MASK_LENGTH = re.compile(r"[0-9]+", re.ASCII)
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}
_MOST_DIGITS = 9


class NetworkError(Exception):
    """A text that is no pattern of addresses; it says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address.

    Attributes:
        bits: how many it has: 32 or 128.
        number: the address as a number.
    """

    bits: int
    number: int


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses that begin like `number`.

    Attributes:
        bits: how many an address has: 32 or 128.
        length: how many of them count.
        number: the address where all others are 0.
    """

    bits: int
    length: int
    number: int

    @property
    def mask(self) -> int:
        """A number with those bits set that count."""
        return (1 << self.bits) - (1 << (self.bits - self.length))

    def contains(self, address: Address) -> bool:
        """Whether an address is one of these."""
        return address.bits == self.bits and address.number & self.mask == self.number


def parse_address(text: str) -> Address | None:
    """Read an address in the usual spelling; None if it is none."""
    family = _family(text)
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None
    return Address(_BITS[family], int.from_bytes(packed))


def _family(text: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def parse_network(text: str) -> Network:
    """Read ``address`` or ``address/length``.

    Raises:
        NetworkError: it is neither.
    """
    network, slash, length_text = text.partition("/")
    address = parse_address(network)
    if not slash:
        if address is None:
            raise NetworkError(f'bad address pattern: "{text}"')
        return Network(address.bits, address.bits, address.number)
    if not _MASK_LENGTH.fullmatch(length_text):
        raise NetworkError(f'bad mask value in "{text}"')
    length = int(length_text[-_MOST_DIGITS:])
    if len(length_text) > _MOST_DIGITS or length > _BITS[_family(network)]:
        raise NetworkError(f'bad mask length in "{text}"')
    if address is None:
        raise NetworkError(f'bad network value in "{text}"')
    found = Network(address.bits, length, address.number)
    start = found.number & found.mask
    if start != found.number:
        family = socket.AF_INET if address.bits == _BITS[socket.AF_INET] else socket.AF_INET6
        right = socket.inet_ntop(family, start.to_bytes(address.bits // 8))
        raise NetworkError(f'non-null host address bits in "{text}", perhaps you should use "{right}/{length}" instead')
    return found


def without_brackets(pattern: str) -> str:
    """``[address]/length``, ``[address/length]`` and ``[address]`` without the brackets, for `parse_network`.

    Raises:
        NetworkError: there is no closing bracket, or more behind it.
    """
    if not pattern.startswith("["):
        return pattern
    inner, bracket, behind = pattern[1:].partition("]")
    if not bracket:
        raise NetworkError(f"missing ']' character after \"{pattern}\"")
    if behind and not behind.startswith("/"):
        raise NetworkError(f'garbage after "[{inner}]"')
    if behind and "/" in inner:
        raise NetworkError(f'bad network value in "{inner}{behind}"')
    return inner + behind
