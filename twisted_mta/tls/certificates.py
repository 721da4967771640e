"""What matters of a certificate, read from its DER: names, key, dates.

A certificate comes from anybody. This reader takes what it needs and looks at nothing else, in one pass over the octets, so
that no oddity elsewhere in a certificate hides its names, and no size of it costs more than its length. What it cannot read
it says with CertificateError; it never raises anything else.

Flow: tls/verification.py reads the server's certificates; tls/names.py and tls/associations.py look at what was read.
Sources: RFC 5280 sections 4.1 and 4.2.1.6; ITU-T X.690 (DER).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from twisted_mta.tls.der import (
    BIT_STRING,
    BOOLEAN,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    DerError,
    Element,
    elements,
    exactly,
    inside,
)

CertificateError = DerError
"""What should be a certificate is none, or is damaged where it matters."""

_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87

_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
COMMON_NAME = bytes.fromhex("550403")
"""The object identifier of commonName, its octets."""
ORGANIZATION = bytes.fromhex("55040a")
"""The object identifier of organizationName, its octets."""

_TEXT_ENCODINGS = {
    0x0C: "utf-8",  # UTF8String
    0x12: "latin-1",  # NumericString
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # T61String, which OpenSSL takes for ISO 8859-1
    0x16: "latin-1",  # IA5String
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a name, such as its commonName.

    Attributes:
        kind: the object identifier, its octets.
        tag: the type of string.
        value: the octets of the string.
    """

    kind: bytes
    tag: int
    value: bytes

    @property
    def text(self) -> str | None:
        """The string; None: it is no text."""
        encoding = _TEXT_ENCODINGS.get(self.tag)
        if encoding is None:
            return None
        try:
            return self.value.decode(encoding)
        except UnicodeDecodeError:
            return None


Name = tuple[Attribute, ...]
"""A distinguished name, flat."""


@dataclass(frozen=True, slots=True)
class AlternativeNames:
    """The subjectAltName of a certificate (RFC 5280 section 4.2.1.6).

    Attributes:
        dns_names: in their order, as they were written.
        addresses: IP addresses, 4 or 16 octets each.
        damaged: whether it cannot be read, or there are several; then it has no names.
    """

    dns_names: tuple[bytes, ...] = ()
    addresses: tuple[bytes, ...] = ()
    damaged: bool = False


_DAMAGED = AlternativeNames(damaged=True)


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """A certificate. What it says of names and dates is read when it is asked for.

    Attributes:
        der: all of it.
        public_key: its SubjectPublicKeyInfo in DER.
        signature_algorithm: how it was signed, an AlgorithmIdentifier in DER.
        fields: the places of what is in its body, from the serial number on.
    """

    der: bytes
    public_key: bytes
    signature_algorithm: bytes
    fields: tuple[Element, ...]

    @property
    def issuer(self) -> Name:
        """Who signed it; empty where that is damaged."""
        return _name(self.der, self.fields[_ISSUER])

    @property
    def subject(self) -> Name:
        """Whose it is; empty where that is damaged."""
        return _name(self.der, self.fields[_SUBJECT])

    @property
    def is_self_issued(self) -> bool:
        """Whether issuer and subject are the same (RFC 5280 section 6.1)."""
        issuer, subject = self.fields[_ISSUER], self.fields[_SUBJECT]
        return self.der[issuer.start : issuer.end] == self.der[subject.start : subject.end]

    @property
    def dates(self) -> tuple[datetime | None, datetime | None]:
        """From when, and until when, it is valid; None: that cannot be read."""
        try:
            begins, ends = exactly(2, self.der, *self.fields[_VALIDITY].inside)
        except CertificateError:
            return None, None
        return _time(self.der, begins), _time(self.der, ends)

    @property
    def alternative_names(self) -> AlternativeNames | None:
        """Its subjectAltName; None: none."""
        try:
            return _alternative_names(self.der, self.fields[_KEY + 1 :])
        except CertificateError:
            return _DAMAGED


_ISSUER, _VALIDITY, _SUBJECT, _KEY = 2, 3, 4, 5  # of `Certificate.fields`


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate.

    Args:
        der: nothing but the certificate.

    Raises:
        CertificateError: it is damaged.
    """
    (outer,) = exactly(1, der, 0, len(der), SEQUENCE)
    body, algorithm, _ = exactly(3, der, *outer.inside)
    fields = tuple(elements(der, *body.inside))
    if fields and fields[0].tag == _VERSION:
        fields = fields[1:]
    if len(fields) <= _KEY:
        raise CertificateError("fields are missing")
    key = fields[_KEY]
    return Certificate(der, der[key.at : key.end], der[algorithm.at : algorithm.end], fields)


def algorithm_of(identifier: bytes) -> bytes:
    """The object identifier of an AlgorithmIdentifier in DER, its octets (RFC 5280 section 4.1.1.2).

    Raises:
        CertificateError: it is damaged.
    """
    kind = next(inside(identifier), None)
    if kind is None or kind.tag != OBJECT_IDENTIFIER:
        raise CertificateError("an algorithm has no identifier")
    return identifier[kind.start : kind.end]


def is_public_key(der: bytes) -> bool:
    """Whether this is a SubjectPublicKeyInfo with nothing behind it (RFC 5280 section 4.1)."""
    try:
        (outer,) = exactly(1, der, 0, len(der), SEQUENCE)
        algorithm, key = exactly(2, der, *outer.inside)
        algorithm_of(der[algorithm.at : algorithm.end])
    except CertificateError:
        return False
    return key.tag == BIT_STRING


# ---- parts ----


def _name(der: bytes, element: Element) -> Name:
    try:
        return tuple(
            Attribute(der[kind.start : kind.end], value.tag, der[value.start : value.end])
            for relative in elements(der, *element.inside)
            for attribute in elements(der, *relative.inside)
            for kind, value in [exactly(2, der, *attribute.inside)]
        )
    except CertificateError:
        return ()


def _time(der: bytes, element: Element) -> datetime | None:
    text = der[element.start : element.end].decode("latin-1")
    if element.tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text  # RFC 5280 4.1.2.5.1
    elif element.tag != _GENERALIZED_TIME:
        return None
    if len(text) != 15 or not (text[:14].isascii() and text[:14].isdecimal()) or text[14] != "Z":
        return None
    year = int(text[:4])
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _alternative_names(der: bytes, rest: Sequence[Element]) -> AlternativeNames | None:
    values = [value for element in rest if element.tag == _EXTENSIONS for value in _extension(der, element)]
    if not values:
        return None
    if len(values) > 1:  # RFC 5280 4.2: there must not be two; which one would count?
        return _DAMAGED
    dns_names, addresses = [], []
    (outer,) = exactly(1, values[0], 0, len(values[0]), SEQUENCE)
    for name in elements(values[0], *outer.inside):
        if name.tag == _DNS_NAME:
            dns_names.append(values[0][name.start : name.end])
        elif name.tag == _IP_ADDRESS:
            addresses.append(values[0][name.start : name.end])
    return AlternativeNames(tuple(dns_names), tuple(addresses))


def _extension(der: bytes, extensions: Element) -> Iterator[bytes]:
    """The values of each subjectAltName."""
    for sequence in elements(der, *extensions.inside):
        for extension in elements(der, *sequence.inside):
            parts = list(elements(der, *extension.inside))
            if len(parts) == 3 and parts[1].tag == BOOLEAN:
                del parts[1]
            if len(parts) != 2 or parts[0].tag != OBJECT_IDENTIFIER or parts[1].tag != OCTET_STRING:
                raise CertificateError("an extension is damaged")
            if der[parts[0].start : parts[0].end] == _SUBJECT_ALT_NAME:
                yield der[parts[1].start : parts[1].end]
