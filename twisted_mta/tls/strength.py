"""Whether keys and signatures of certificates are strong enough where a server must prove who it is.

A handshake demands the same of what is verified within it (security level 1: 80 bits); this is for chains that are verified
afterwards.

Flow: tls/anchors.py asks.
Sources: SSL_CTX_set_security_level(3); RFC 4055 section 3.1 (RSASSA-PSS).
"""

from OpenSSL import crypto

from twisted_mta.tls.certificates import Certificate, CertificateError, algorithm_of, pss_digest

_LEAST_BITS = {crypto.TYPE_RSA: 1024, crypto.TYPE_DSA: 1024, crypto.TYPE_EC: 160}

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
_PSS = bytes.fromhex("2a864886f70d01010a")
_SHA1 = bytes.fromhex("2b0e03021a")


def key_is_strong(certificate: crypto.X509) -> bool:
    """Whether the key of a certificate has 80 bits of strength; one that nobody can read has not."""
    try:
        key = certificate.get_pubkey()
        return bool(key.bits() >= _LEAST_BITS.get(key.type(), 0))
    except (crypto.Error, ValueError, TypeError):
        return False


def signature_is_strong(certificate: Certificate) -> bool:
    """Whether the digest that was signed is none of those for which others can be found."""
    try:
        algorithm = algorithm_of(certificate.signature_algorithm)
        if algorithm == _PSS:
            return pss_digest(certificate.signature_algorithm) not in (b"", _SHA1)  # SHA-1 is the default
    except CertificateError:
        return False
    return algorithm not in _WEAK_SIGNATURES
