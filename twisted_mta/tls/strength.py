"""Whether keys and signatures of certificates are strong enough where a server must prove who it is.

A handshake demands the same of what is verified within it (security level 1: 80 bits); this is for chains that are verified
afterwards.

Flow: tls/anchors.py asks.
Sources: SSL_CTX_set_security_level(3); RFC 4055 section 3.1 (RSASSA-PSS).
"""

from twisted_mta.tls.certificates import Certificate, algorithm_of
from twisted_mta.tls.der import INTEGER, SEQUENCE, DerError, Element, elements, exactly, inside

_RSA, _RSA_PSS = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010a")
_DSA, _ELLIPTIC = bytes.fromhex("2a8648ce380401"), bytes.fromhex("2a8648ce3d0201")

_LEAST_BITS = {_RSA: 1024, _RSA_PSS: 1024, _DSA: 1024, _ELLIPTIC: 160}

_WEAK_SIGNATURES = frozenset(
    bytes.fromhex(identifier)
    for identifier in (
        "2a864886f70d010102",  # md2WithRSAEncryption
        "2a864886f70d010103",  # md4WithRSAEncryption
        "2a864886f70d010104",  # md5WithRSAEncryption
        "2a864886f70d010105",  # sha1WithRSAEncryption
        "2b0e03021d",  # the same of before PKCS #1
        "2b0e03021b",  # dsaWithSHA1
        "2a8648ce380403",  # the same of RFC 3279
        "2a8648ce3d0401",  # ecdsa-with-SHA1
    )
)
_SHA1 = bytes.fromhex("2b0e03021a")
_PSS_DIGEST = 0xA0
_COMPRESSED = (b"\x02", b"\x03")


def key_is_strong(info: bytes) -> bool:
    """Whether a key has 80 bits of strength; one that cannot be read has not.

    Args:
        info: a SubjectPublicKeyInfo in DER.
    """
    try:
        algorithm, key = exactly(2, info, *exactly(1, info, 0, len(info), SEQUENCE)[0].inside)
        kind = algorithm_of(info[algorithm.at : algorithm.end])
        return kind not in _LEAST_BITS or _size_of_key(info, kind, algorithm, key) >= _LEAST_BITS[kind]
    except DerError:
        return False


def signature_is_strong(certificate: Certificate) -> bool:
    """Whether the digest that was signed is none of those for which others can be found."""
    try:
        algorithm = algorithm_of(certificate.signature_algorithm)
        if algorithm == _RSA_PSS:
            return _pss_digest(certificate.signature_algorithm) != _SHA1
    except DerError:
        return False
    return algorithm not in _WEAK_SIGNATURES


def _size_of_key(info: bytes, kind: bytes, algorithm: Element, key: Element) -> int:
    """Bits of the modulus, of the prime, or of a coordinate (RFC 5280 section 4.1.2.7)."""
    content = key.start + 1  # behind the number of unused bits
    if kind in (_RSA, _RSA_PSS):
        (numbers,) = exactly(1, info, content, key.end, SEQUENCE)
        return _size_of_first(info, numbers)
    if kind == _DSA:
        _, parameters = exactly(2, info, *algorithm.inside)
        return _size_of_first(info, parameters)
    octets = key.end - content - 1
    return 8 * octets if info[content : content + 1] in _COMPRESSED else 8 * octets // 2


def _size_of_first(info: bytes, numbers: Element) -> int:
    first = next(elements(info, *numbers.inside), None)
    if first is None or first.tag != INTEGER:
        raise DerError("a number is missing")
    return int.from_bytes(info[first.start : first.end], "big").bit_length()


def _pss_digest(identifier: bytes) -> bytes:
    """The digest of an RSASSA-PSS signature (RFC 4055 section 3.1)."""
    parameters = list(inside(identifier))[1:]
    first = next(elements(identifier, *parameters[0].inside), None) if parameters else None
    if first is None or first.tag != _PSS_DIGEST:
        return _SHA1
    return algorithm_of(identifier[first.start : first.end])
