"""Certificates, read from their octets."""

from datetime import UTC, datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.tls.handmade import PUBLIC_KEY, SEQUENCE, attribute, certificate, der, extension, name, subject_alt_name
from twisted_mta.tls.certificates import (
    COMMON_NAME,
    ORGANIZATION,
    Attribute,
    CertificateError,
    algorithm_of,
    is_public_key,
    read_certificate,
)


class CertificateTests(SynchronousTestCase):
    """`read_certificate`."""

    def test_real_ones(self) -> None:
        """Certificates of each kind are read as cryptography reads them."""
        pki = shared_pki()
        for identity in (pki["valid"], pki["rsa"], pki["ed25519"], pki["ip_address"], pki["nameless"], pki.root):
            read, known = read_certificate(identity.der), identity.certificate
            self.assertEqual(read.public_key, identity.public_key_der)
            self.assertEqual(read.dates, (known.not_valid_before_utc, known.not_valid_after_utc))
            self.assertEqual([each.text for each in read.subject], [each.value for each in known.subject])
            self.assertEqual([each.text for each in read.issuer], [each.value for each in known.issuer])
            self.assertEqual(read.is_self_issued, known.subject == known.issuer)
            names, addresses = [], []
            for extension_ in known.extensions:
                if isinstance(extension_.value, x509.SubjectAlternativeName):
                    names = extension_.value.get_values_for_type(x509.DNSName)
                    addresses = extension_.value.get_values_for_type(x509.IPAddress)
            found = read.alternative_names
            self.assertEqual([each.decode() for each in found.dns_names] if found else [], names)
            self.assertEqual([ip_address(each) for each in found.addresses] if found else [], addresses)

    def test_names(self) -> None:
        """Attributes in order, whatever kinds of strings they are."""
        whose = der(
            SEQUENCE,
            attribute("55040a", "Org"),
            attribute("550403", "b\u00fc"),
            attribute("550403", b"b\xfc", 0x14),
            attribute("550403", "b\u00fc".encode("utf-16-be"), 0x1E),
            attribute("550403", "b\u00fc".encode("utf-32-be"), 0x1C),
            attribute("550403", b"b\xff"),
            attribute("550403", b"b", 0x02),
            attribute("550403", b"\0", 0x1E),
        )
        subject = read_certificate(certificate(whose)).subject
        self.assertEqual(subject[0], Attribute(ORGANIZATION, 0x0C, b"Org"))
        self.assertEqual({each.kind for each in subject[1:]}, {COMMON_NAME})
        self.assertEqual([each.text for each in subject[1:]], ["b\u00fc"] * 4 + [None] * 3)

    def test_no_version(self) -> None:
        """A certificate of version 1 has no version, and no extensions."""
        whole = certificate("old")
        body = der(
            SEQUENCE,
            b"\x02\x01\x07",
            b"\x30\x00",
            name("ca"),
            der(SEQUENCE, b"\x17\x00", b"\x17\x00"),
            name("old"),
            PUBLIC_KEY,
        )
        read = read_certificate(der(SEQUENCE, body, b"\x30\x00", b"\x03\x00"))
        self.assertEqual(
            (read.subject, read.alternative_names, read.dates),
            (read_certificate(whole).subject, None, (None, None)),
        )

    def test_dates(self) -> None:
        """Both forms of dates; None for those that are none."""
        begins, ends = read_certificate(
            certificate(dates=(der(0x17, b"491231235959Z"), der(0x18, b"20501231235958Z")))
        ).dates
        self.assertEqual(begins, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC))
        self.assertEqual(ends, datetime(2050, 12, 31, 23, 59, 58, tzinfo=UTC))
        self.assertEqual(
            read_certificate(certificate(dates=(der(0x17, b"500101000000Z"), b"\x17\x00"))).dates[0],
            datetime(1950, 1, 1, tzinfo=UTC),
        )
        for text in (b"491331235959Z", b"4912312359Z", b"491231235959+0100", b"49123123595xZ", b"49\xb2\xb23123595Z"):
            self.assertEqual(
                read_certificate(certificate(dates=(der(0x17, text), der(0x17, text)))).dates, (None, None)
            )
        self.assertEqual(
            read_certificate(certificate(dates=(b"\x02\x01\x01", der(0x18, b"20501231235958Z")))).dates[0], None
        )
        self.assertEqual(read_certificate(certificate(dates=())).dates, (None, None))

    def test_odd_but_readable(self) -> None:
        """Negative and endless serial numbers, unknown extensions and keys do no harm."""
        for serial in (b"\x02\x01\xff", der(0x02, b"\x7f" * 100_000), b"\x02\x00"):
            read = read_certificate(
                certificate(
                    "mx.example",
                    subject_alt_name(b"mx.example"),
                    serial=serial,
                    extensions=[extension(b"\xff\xff", "2a03")],
                    key=der(SEQUENCE, b"\x05\x00"),
                )
            )
            self.assertEqual(read.alternative_names and read.alternative_names.dns_names, (b"mx.example",))

    def test_damaged_names(self) -> None:
        """Names that are damaged are empty; there is no doubt whether alternative names are there."""
        twice = extension(subject_alt_name(b"a.example"))
        for extensions in ([twice, twice], [der(SEQUENCE, b"\x06\x03\x55\x1d\x11")], [b"\x30\x05\x06"], [b"\x04"]):
            names = read_certificate(certificate("x", extensions=extensions)).alternative_names
            self.assertTrue(names is not None and names.damaged and not names.dns_names)
        for subject in (b"\x30\x02\x31\x05", b"\x30\x04\x31\x02\x30\x00", b"\x30\x03\x31\x01\x30"):
            self.assertEqual(read_certificate(certificate(subject)).subject, ())

    def test_critical(self) -> None:
        """An extension may be marked as critical."""
        value = der(0x04, subject_alt_name(b"a.example"))
        critical = der(SEQUENCE, b"\x06\x03\x55\x1d\x11", b"\x01\x01\xff", value)
        names = read_certificate(certificate(extensions=[critical])).alternative_names
        self.assertEqual(names and names.dns_names, (b"a.example",))

    def test_no_certificates(self) -> None:
        """What is no certificate, or has something behind it."""
        whole = certificate("x")
        for octets in (b"", b"\x30", b"\x30\x00", whole + b"\0", whole[:-1], b"\x31" + whole[1:], b"\x30\x80\x00\x00"):
            self.assertRaises(CertificateError, read_certificate, octets)
        for octets in (b"\x30\x85\x01\x01\x01\x01\x01", b"\x1f\x01\x00", der(SEQUENCE, whole[4:-5])):
            self.assertRaises(CertificateError, read_certificate, octets)

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=60), st.integers(0, 400))
    def test_anything(self, octets: bytes, place: int) -> None:
        """Whatever is in it, reading raises nothing but CertificateError, and what is read raises nothing."""
        whole = certificate(("a", "b"), subject_alt_name(b"mx.example"))
        for changed in (octets, whole[:place] + octets + whole[place + len(octets) :]):
            try:
                read = read_certificate(changed)
            except CertificateError:
                continue
            for attributes in (read.subject, read.issuer):
                self.assertTrue(all(each.text is None or isinstance(each.text, str) for each in attributes))
            self.assertEqual(len(read.dates), 2)
            names = read.alternative_names
            self.assertTrue(names is None or not (names.damaged and names.dns_names))


class AlgorithmTests(SynchronousTestCase):
    """`algorithm_of` and `is_public_key`."""

    def test_algorithms(self) -> None:
        """The identifier of an algorithm."""
        self.assertEqual(algorithm_of(bytes.fromhex("300506032b6570")).hex(), "2b6570")
        for octets in (b"\x30\x02\x05\x00", b"\x30\x00", b"", b"\x31\x00"):
            self.assertRaises(CertificateError, algorithm_of, octets)

    def test_public_keys(self) -> None:
        """A SubjectPublicKeyInfo, and nothing behind it."""
        info = (
            shared_pki()["rsa"].certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
        self.assertTrue(is_public_key(info))
        for octets in (info + b"\0", info[:-1], b"", b"\x30\x00", der(SEQUENCE, b"\x30\x00", b"\x03\x00")):
            self.assertFalse(is_public_key(octets))
