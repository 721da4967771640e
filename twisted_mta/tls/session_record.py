"""A kept session as octets, for other processes, and those to come.

    format, level, flags, time of the verdict, digest of the key, and the session as OpenSSL writes it

The digest says whose it is: an answer to another question, or an entry under another name, is nobody's.

Flow: tls/session_cache.py writes and reads what is stored outside of the process.
Sources: SSL_SESSION as d2i_SSL_SESSION(3) reads it; struct of Python.
"""

import math
import struct
from dataclasses import dataclass, field

from twisted_mta.tls.der import SEQUENCE, DerError, exactly
from twisted_mta.tls.levels import Level
from twisted_mta.tls.session_key import FORMAT
from twisted_mta.tls.verification import Verdict

LONGEST_SESSION = 32 * 1024
"""Octets of a session; a server that makes larger ones gets full handshakes."""

_HEAD = struct.Struct(">4sHBBd32s")
_MAGIC = b"tmta"


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session.

    Attributes:
        der: as OpenSSL writes it, with its secret.
        verdict: on the server, of its first handshake.
        judged_at: when that was, in seconds since the epoch.
    """

    der: bytes = field(repr=False)
    verdict: Verdict
    judged_at: float

    @property
    def serves(self) -> bool:
        """Whether mail may go over a connection with it."""
        return self.verdict.matched or not self.verdict.level.must_match


_HAS_CERTIFICATE, _TRUSTED, _MATCHED = 1, 2, 4
_ALL_FLAGS = 7


def octets_of_session(session: KeptSession, digest: str) -> bytes:
    """Write a session.

    Args:
        session: no larger than LONGEST_SESSION.
        digest: of its key, in hexadecimal.
    """
    verdict = session.verdict
    flags = _HAS_CERTIFICATE * verdict.has_certificate | _TRUSTED * verdict.trusted | _MATCHED * verdict.matched
    return _HEAD.pack(_MAGIC, FORMAT, verdict.level, flags, session.judged_at, bytes.fromhex(digest)) + session.der


def read_session(octets: bytes, digest: str) -> KeptSession | None:
    """Read a session.

    Args:
        octets: from anywhere.
        digest: of the key that it should have, in hexadecimal.

    Returns:
        The session; None: this is none, or not that of the key.
    """
    if not _HEAD.size < len(octets) <= _HEAD.size + LONGEST_SESSION:
        return None
    magic, version, number, flags, judged_at, whose = _HEAD.unpack_from(octets)
    if (magic, version, whose) != (_MAGIC, FORMAT, bytes.fromhex(digest)) or not math.isfinite(judged_at):
        return None
    verdict = _verdict(number, flags)
    der = octets[_HEAD.size :]
    if verdict is None or not _is_one_sequence(der):
        return None
    return KeptSession(der, verdict, judged_at)


def _verdict(number: int, flags: int) -> Verdict | None:
    """A verdict as tls/verification.py makes them; None: it makes none such."""
    if not Level.MAY <= number <= Level.SECURE or flags > _ALL_FLAGS:
        return None
    level = Level(number)
    verdict = Verdict(
        level,
        has_certificate=bool(flags & _HAS_CERTIFICATE),
        trusted=bool(flags & _TRUSTED),
        matched=bool(flags & _MATCHED),
    )
    is_sound = (verdict.has_certificate or not verdict.trusted) and (
        verdict.trusted and level.must_match
    ) == verdict.matched
    return verdict if is_sound else None


def _is_one_sequence(der: bytes) -> bool:
    try:
        exactly(1, der, 0, len(der), SEQUENCE)
    except DerError:
        return False
    return True
