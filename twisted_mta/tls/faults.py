"""What is wrong with a server's certificates: which fault counts, and in what words it is told.

Faults have the numbers of OpenSSL (X509_STORE_CTX_get_error(3)), whether OpenSSL or this package found them.

Flow: tls/verification.py and tls/anchors.py collect faults; the one that `worst_of` chooses is told.
Sources: the "certificate verification failed" lines of smtp(8); X509_STORE_CTX_get_error(3).
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from OpenSSL import crypto

from twisted_mta.model.tls_events import VerificationFailed
from twisted_mta.tls.library import verification_error_text


class Code(enum.IntEnum):
    """The faults that this package finds itself, or tells in words of its own."""

    UNSPECIFIED = 1
    ISSUER_MISSING = 2
    NOT_YET_VALID = 9
    EXPIRED = 10
    NOT_BEFORE_UNREADABLE = 13
    NOT_AFTER_UNREADABLE = 14
    SELF_SIGNED = 18
    SELF_SIGNED_ABOVE = 19
    ISSUER_UNKNOWN = 20
    LEAF_NOT_VERIFIED = 21
    CHAIN_TOO_LONG = 22
    WRONG_PURPOSE = 26
    NOT_TRUSTED = 27
    REJECTED = 28
    NAME_MISMATCH = 62
    ADDRESS_MISMATCH = 64
    NO_ASSOCIATION = 65
    LEAF_KEY_WEAK = 66
    AUTHORITY_KEY_WEAK = 67
    DIGEST_WEAK = 68


FOUND_AFTER_NAMES = frozenset({4, 6, 7, 9, 10, 13, 14, 21, 32, 76, 77, 78})
"""What OpenSSL finds when it looks at signatures and dates, which is after the names."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        depth: with which certificate; 0: the server's own.
        code: of OpenSSL.
        issuer: who should have signed that certificate, as in ``/CN=Some Root``.
    """

    depth: int
    code: int
    issuer: str = "<unknown>"


@dataclass(frozen=True, slots=True)
class CallbackEvent:
    """One call of OpenSSL's verification callback, or what would be one.

    Attributes:
        depth: of the certificate that is concerned; 0: the server's own.
        error: the number of what is wrong, or was found wrong before.
        ok: whether nothing is wrong this time.
        certificate: the one that is concerned.
    """

    depth: int
    error: int
    ok: bool
    certificate: crypto.X509 | None = None


AnyFault = TypeVar("AnyFault", Fault, CallbackEvent)


def worst_of(faults: Iterable[AnyFault]) -> AnyFault | None:
    """The fault that counts: the one nearest to the server, of several there the first that was found."""
    return min(faults, key=lambda fault: fault.depth, default=None)


_GENERAL = {
    Code.NOT_TRUSTED: "not trusted by local or TLSA policy",
    Code.SELF_SIGNED: "self-signed certificate",
}

_OF_ONE_CERTIFICATE = {
    Code.NOT_YET_VALID: "certificate not yet valid",
    Code.NOT_BEFORE_UNREADABLE: "certificate not yet valid",
    Code.EXPIRED: "certificate has expired",
    Code.NOT_AFTER_UNREADABLE: "certificate has expired",
}


def told(fault: Fault, server: str) -> VerificationFailed:
    """The line of a fault.

    Args:
        fault: the one that counts.
        server: ``host[address]:port`` in lower case.
    """
    purpose = "CA" if fault.depth > 0 else "server"
    if fault.code in _GENERAL:
        return VerificationFailed("certificate", server, _GENERAL[Code(fault.code)])
    if fault.code in (Code.SELF_SIGNED_ABOVE, Code.ISSUER_UNKNOWN):
        return VerificationFailed("certificate", server, f"untrusted issuer {fault.issuer}")
    if fault.code == Code.CHAIN_TOO_LONG:
        return VerificationFailed("certificate", server, f"certificate chain longer than limit({fault.depth - 1})")
    if fault.code == Code.WRONG_PURPOSE:
        return VerificationFailed("certificate", server, f"not designated for use as a {purpose} certificate")
    what = f"{purpose} certificate"
    if fault.code in _OF_ONE_CERTIFICATE:
        return VerificationFailed(what, server, _OF_ONE_CERTIFICATE[Code(fault.code)])
    return VerificationFailed(what, server, f"num={fault.code}:{verification_error_text(fault.code)}")
