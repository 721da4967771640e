"""What people ask of a certificate, read part by part: a hostile one may have parts that no library reads.

Flow: cli/tls.py shows the reports of the certificates that a server has sent.
Sources: RFC 5280 section 4.1; RFC 6698 section 2.1 for the TLSA record that fits; posttls-finger(1).
"""

from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from twisted_mta.tls.certificates import CertificateError, read_certificate
from twisted_mta.tls.digests import SHA256, Digest

UNREADABLE = "(cannot be read)"
"""What stands for a part that no library reads."""


def report(der: bytes, digest: Digest = SHA256) -> dict[str, Any]:
    """Tell of a certificate.

    Args:
        der: as it came.
        digest: of the fingerprints (smtp_tls_fingerprint_digest).

    Returns:
        Text by the name of the part; lists for the names; ``fingerprint`` and ``tlsa`` also where nothing else can be read.
    """
    told: dict[str, Any] = {}
    try:
        certificate = x509.load_der_x509_certificate(der)
    except Exception:  # noqa: BLE001 - this library raises whatever it likes for octets of a stranger
        certificate = None
    for name, read in _PARTS:
        try:
            told[name] = UNREADABLE if certificate is None else read(certificate)
        except Exception:  # noqa: BLE001 - as above
            told[name] = UNREADABLE
    told["fingerprint"] = _colons(digest.of(der))
    key = _key(der)
    told["key_fingerprint"] = UNREADABLE if key is None else _colons(digest.of(key))
    told["tlsa"] = [f"3 0 1 {SHA256.of(der).hex().upper()}"]
    if key is not None:
        told["tlsa"].append(f"3 1 1 {SHA256.of(key).hex().upper()}")
    return told


def _names(certificate: x509.Certificate) -> Sequence[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*map(str, names.get_values_for_type(x509.DNSName)), *map(str, addresses)]


def _key_kind(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        return f"{'RSA' if isinstance(key, rsa.RSAPublicKey) else 'DSA'} {key.key_size} bits"
    return type(key).__name__.removesuffix("PublicKey")


def _signature(certificate: x509.Certificate) -> str:
    return certificate.signature_algorithm_oid._name


_PARTS: tuple[tuple[str, Callable[[x509.Certificate], Any]], ...] = (
    ("subject", lambda certificate: certificate.subject.rfc4514_string()),
    ("issuer", lambda certificate: certificate.issuer.rfc4514_string()),
    ("names", _names),
    ("not_before", lambda certificate: certificate.not_valid_before_utc.isoformat()),
    ("not_after", lambda certificate: certificate.not_valid_after_utc.isoformat()),
    ("key", _key_kind),
    ("signature", _signature),
)


def _key(der: bytes) -> bytes | None:
    """The SubjectPublicKeyInfo in DER; None: it cannot be read."""
    try:
        return read_certificate(der).public_key
    except CertificateError:
        return None


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()
