"""Digests by the names that settings have for them.

Flow: tls/rules.py reads the settings; tls/associations.py, tls/fingerprints.py and tls/verification.py compute digests.
Sources: postconf(5) smtp_tls_fingerprint_digest, tls_dane_digests; RFC 6698 section 2.1.3; RFC 7671 section 9; RFC 7672.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twisted_mta.model.events import ConfigurationWarning, Emit


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest algorithm.

    Attributes:
        name: as hashlib has it.
        size: octets of a digest.
    """

    name: str
    size: int

    def of(self, data: bytes) -> bytes:
        """The digest of data."""
        return hashlib.new(self.name, data, usedforsecurity=False).digest()


def digest_named(name: str) -> Digest | None:
    """The digest of a name such as ``sha256``, in any case, or as OpenSSL has it for a signature: ``RSA-SHA256``.

    Returns:
        None: there is none.
    """
    plain = name.lower().removeprefix("rsa-").removesuffix("withrsaencryption")
    try:
        made = hashlib.new(plain, usedforsecurity=False)
    except (ValueError, TypeError):  # a TypeError for a name with NUL
        return None
    return Digest(made.name, made.digest_size) if made.digest_size else None


FULL = 0
"""The matching type of records that hold no digest (RFC 6698 section 2.1.3)."""
PRIVATE_USE = 255
"""The matching type of records that are none: what smtp_tls_fingerprint_digest says."""

_FIXED = {1: "sha256", 2: "sha512"}
_NUMBERS = {name: number for number, name in _FIXED.items()}


@dataclass(frozen=True, slots=True)
class RecordDigests:
    """The digests of TLSA records.

    Attributes:
        by_type: those that count, by matching type, best first.
    """

    by_type: Mapping[int, Digest]


SHA256, SHA512 = Digest("sha256", 32), Digest("sha512", 64)
DEFAULT_RECORD_DIGESTS = RecordDigests({2: SHA512, 1: SHA256})
"""The default of tls_dane_digests."""


def record_digests(words: Iterable[str], emit: Emit) -> RecordDigests:
    """Read tls_dane_digests.

    Args:
        words: best first: ``name``, ``name=matching-type``, or ``=matching-type`` for one that is not to be used.
        emit: told of words that are wrong, which are left out.
    """
    seen: dict[int, Digest | None] = {}
    for word in words:
        try:
            number, digest = _record_digest(word)
            if number in seen:
                raise _WordError(f"matching type {number} specified more than once")
        except _WordError as error:
            emit(ConfigurationWarning(f"tls_dane_digests: {error}"))
        except ValueError as error:
            emit(ConfigurationWarning(f"{error} matching type number in tls_dane_digests: {word}"))
        else:
            seen[number] = digest
    return RecordDigests({number: digest for number, digest in seen.items() if digest is not None})


class _WordError(Exception):
    """What is wrong with a word."""


def _record_digest(word: str) -> tuple[int, Digest | None]:
    name, _, text = word.partition("=")
    if text:
        number = _number(text)
    elif name.lower() in _NUMBERS:
        number = _NUMBERS[name.lower()]
    else:
        raise _WordError(f"digest algorithm {name} needs an explicit number")
    if not name:
        return number, None
    if number in _FIXED and name.lower() != _FIXED[number]:
        raise _WordError(f"matching type {number} can only be {_FIXED[number]}")
    digest = digest_named(name)
    if digest is None:
        raise _WordError(f'digest algorithm "{name}"({number}) unknown')
    return number, digest


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not int(text[:4]) < PRIVATE_USE or len(text.lstrip("0")) > 3:
        raise ValueError("Invalid")
    if int(text) == FULL:
        raise ValueError("Reserved")
    return int(text)
