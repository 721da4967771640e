"""One digest for one value, in every process: what a session is kept under outlives the process that kept it.

The octets that are digested say of each value what it is, how long it is, and all that is in it: no two values have the same
octets, and the same value has the same ones whatever the order of a set is, or where in memory something lies.

Flow: tls/session_key.py digests its keys, tls/session_scope.py what belongs to all of them.
Sources: none; a netstring is an idea of D. J. Bernstein.
"""

import dataclasses
import enum
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any


def digest_of(value: Any) -> str:
    """The digest of a value, in upper-case hexadecimal.

    Args:
        value: None, a bool, an int, text, octets, a member of an enumeration; a dataclass, a tuple, a frozenset, or a mapping
            (whose order counts) of such values.

    Raises:
        TypeError: something else is among it, of which nobody knows whether it is the same in another process.
    """
    return hashlib.sha256(octets_of(value)).hexdigest().upper()


def octets_of(value: Any) -> bytes:
    """The octets that stand for a value, and for no other; the arguments are those of `digest_of`.

    Raises:
        TypeError: as above.
    """
    kind = type(value)
    if kind is str:
        return _tagged(b"s", value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return _tagged(b"b", value)
    if kind is tuple:
        return _tagged(b"t", *map(octets_of, value))
    if kind is bool or value is None:
        return _tagged(b"c", str(value).encode())
    if kind is int:
        return _tagged(b"i", b"%d" % value)
    if isinstance(value, enum.Enum):
        return _tagged(b"e", kind.__name__.encode(), b".", octets_of(value.value))
    if dataclasses.is_dataclass(value):
        # All fields, also those that are not shown or compared.
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return _tagged(b"d", octets_of(kind.__name__), *_pairs(fields))
    if isinstance(value, Mapping):
        return _tagged(b"m", *_pairs(value.items()))
    if kind is frozenset:
        return _tagged(b"f", *sorted(map(octets_of, value)))
    raise TypeError(f"{kind.__name__} has no digest")


def _pairs(items: Iterable[tuple[Any, Any]]) -> Iterable[bytes]:
    return (octets_of(item) for item in items)


def _tagged(tag: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return b"%c%d:%b" % (tag, len(content), content)
