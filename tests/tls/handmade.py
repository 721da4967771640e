"""Certificates of which any part can be odd: octets put together by hand, signed by nobody."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEQUENCE, SET, UTF8 = 0x30, 0x31, 0x0C
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
PUBLIC_KEY = (
    ec.derive_private_key(7, ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)


def der(tag: int, *parts: bytes) -> bytes:
    """An element with these parts in it."""
    content = b"".join(parts)
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def attribute(kind: str, value: str | bytes, tag: int = UTF8) -> bytes:
    """A part of a name; `kind` is the object identifier in hexadecimal."""
    content = value if isinstance(value, bytes) else value.encode()
    return der(SET, der(SEQUENCE, der(0x06, bytes.fromhex(kind)), der(tag, content)))


def name(common_names: str | Sequence[str]) -> bytes:
    """A name of common names."""
    names = [common_names] if isinstance(common_names, str) else common_names
    return der(SEQUENCE, *(attribute("550403", each) for each in names if each))


def subject_alt_name(*dns_names: bytes, addresses: Sequence[bytes] = ()) -> bytes:
    """The value of a subjectAltName."""
    return der(SEQUENCE, *(der(0x82, each) for each in dns_names), *(der(0x87, each) for each in addresses))


def extension(value: bytes, kind: str = "551d11") -> bytes:
    """An extension, subjectAltName if nothing else is said."""
    return der(SEQUENCE, der(0x06, bytes.fromhex(kind)), der(0x04, value))


def certificate(
    subject: str | Sequence[str] | bytes = "",
    alternative_names: bytes | None = None,
    *,
    issuer: bytes | None = None,
    extensions: Sequence[bytes] = (),
    dates: Sequence[bytes] = (b"\x17\x0d250101000000Z", b"\x17\x0d491231235959Z"),
    serial: bytes = b"\x02\x01\x07",
    algorithm: bytes = ECDSA_SHA256,
    key: bytes = PUBLIC_KEY,
) -> bytes:
    """A certificate; what is given as bytes is put in as it is."""
    own_name = subject if isinstance(subject, bytes) else name(subject)
    all_extensions = [*([extension(alternative_names)] if alternative_names is not None else []), *extensions]
    body = der(
        SEQUENCE,
        b"\xa0\x03\x02\x01\x02",
        serial,
        algorithm,
        own_name if issuer is None else issuer,
        der(SEQUENCE, *dates),
        own_name,
        key,
        *([der(0xA3, der(SEQUENCE, *all_extensions))] if all_extensions else []),
    )
    return der(SEQUENCE, body, algorithm, b"\x03\x03\x00\x30\x00")
