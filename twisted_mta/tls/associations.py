"""Which certificate associations count, and what they match.

Flow: tls/demands.py chooses among the TLSA records, fingerprints or trust anchors of a policy before a handshake;
tls/verification.py and tls/anchors.py match the rest with the server's certificates.
Sources: RFC 6698 section 2.1; RFC 7671 sections 5 and 9; RFC 7672 section 3.1; postconf(5) tls_dane_digests.
"""

from collections.abc import Iterable
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import crypto

from twisted_mta.tls.certificates import Certificate, is_public_key, read_certificate
from twisted_mta.tls.der import DerError
from twisted_mta.tls.digests import FULL, PRIVATE_USE, Digest, RecordDigests
from twisted_mta.tls.policy import Association

ANCHOR, LEAF = 2, 3
"""The usages that mail uses (RFC 7672 section 3.1): DANE-TA, an issuer at any height, and DANE-EE, the server itself."""
CERTIFICATE, KEY = 0, 1
"""The selectors: all of a certificate, or its SubjectPublicKeyInfo."""

_REMEMBERED = 64  # certificates and keys in full: those of trust anchor files come with each handshake


def is_usable(association: Association, digests: RecordDigests, fingerprint: Digest) -> bool:
    """Whether any certificate could match an association.

    Args:
        association: from anywhere.
        digests: those of TLSA records that count.
        fingerprint: the digest of fingerprints.
    """
    if association.usage not in (ANCHOR, LEAF) or association.selector not in (CERTIFICATE, KEY):
        return False
    if association.matching_type == FULL:
        return _is_key(association.data) if association.selector == KEY else _is_certificate(association.data)
    digest = _digest_of_type(association.matching_type, digests, fingerprint)
    return digest is not None and len(association.data) == digest.size


def best_of(associations: Iterable[Association], digests: RecordDigests) -> tuple[Association, ...]:
    """Leave out digests where there are better ones for the same usage and selector (RFC 7671 section 9).

    Args:
        associations: usable ones.
        digests: those of TLSA records, best first.

    Returns:
        In the order in which they are tried: the server's own key and certificate first, digests before full data.
    """
    ranks = {matching_type: rank for rank, matching_type in enumerate(digests.by_type)}
    kept = set(associations)
    best: dict[tuple[int, int], int] = {}
    for each in kept:
        if each.matching_type in ranks:
            place = (each.usage, each.selector)
            best[place] = min(best.get(place, len(ranks)), ranks[each.matching_type])
    return tuple(
        sorted(
            (
                each
                for each in kept
                if each.matching_type not in ranks or ranks[each.matching_type] == best[each.usage, each.selector]
            ),
            key=lambda each: (-each.usage, -each.selector, each.matching_type == FULL, each),
        )
    )


def matches(association: Association, certificate: Certificate, digests: RecordDigests, fingerprint: Digest) -> bool:
    """Whether a certificate, or its key, is what an association says."""
    data = certificate.der if association.selector == CERTIFICATE else certificate.public_key
    if association.matching_type == FULL:
        return association.data == data
    digest = _digest_of_type(association.matching_type, digests, fingerprint)
    return digest is not None and digest.of(data) == association.data


def _digest_of_type(matching_type: int, digests: RecordDigests, fingerprint: Digest) -> Digest | None:
    return fingerprint if matching_type == PRIVATE_USE else digests.by_type.get(matching_type)


@lru_cache(_REMEMBERED)
def _is_certificate(der: bytes) -> bool:
    """Whether both this package and OpenSSL take it for a certificate."""
    try:
        read_certificate(der)
        crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except (DerError, crypto.Error):
        return False
    return True


@lru_cache(_REMEMBERED)
def _is_key(der: bytes) -> bool:
    if not is_public_key(der):
        return False
    try:
        serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True
