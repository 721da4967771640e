"""Keys and signatures that are too weak."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.tls.handmade import SEQUENCE, certificate, der
from twisted_mta.tls.certificates import read_certificate
from twisted_mta.tls.strength import key_is_strong, signature_is_strong

SHA256_PARAMETERS = bytes.fromhex("a00f300d06096086480165030402010500")
SHA1_PARAMETERS = bytes.fromhex("a00b300906052b0e03021a0500")


RSA_512 = b"""\
-----BEGIN CERTIFICATE-----
MIIBeTCCASOgAwIBAgIUR1R/8Qb25rhEKsfX1Z6NuavvpxcwDQYJKoZIhvcNAQEL
BQAwEDEOMAwGA1UEAwwFc2hvcnQwIBcNMjYxMTIyMjExNTQ5WhgPMjEyNjEwMjky
MTE1NDlaMBAxDjAMBgNVBAMMBXNob3J0MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJB
AMMHBNMyQ82U7P+9cGix9PdZ5q3JOAvGc3JAd7Jsio3gTIhPQlDJLBgOeohywRTm
4mAdpWWRbm81qruGD2XuA70CAwEAAaNTMFEwHQYDVR0OBBYEFGINcFF1ttGCNUlJ
T/5qpzL6DJ4EMB8GA1UdIwQYMBaAFGINcFF1ttGCNUlJT/5qpzL6DJ4EMA8GA1Ud
EwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADQQAR7xOgrL/cilSavm8abAmJf6GB
pvaDfM8Dt2Cu1frSSKKm6HMpv2cRfeoKJmhGVu5pmAopR9/k0tzNRzNFczR5
-----END CERTIFICATE-----
"""


def key(kind: str, octets: bytes, *parameters: bytes) -> bytes:
    """A SubjectPublicKeyInfo."""
    return der(SEQUENCE, der(SEQUENCE, der(0x06, bytes.fromhex(kind)), *parameters), der(0x03, b"\0" + octets))


def signed_by(identifier: str, parameters: bytes = b"") -> bool:
    """Whether a signature by this algorithm is strong."""
    algorithm = der(SEQUENCE, der(0x06, bytes.fromhex(identifier)), parameters)
    return signature_is_strong(read_certificate(certificate("x", algorithm=algorithm)))


class StrengthTests(SynchronousTestCase):
    """`key_is_strong` and `signature_is_strong`."""

    def test_keys(self) -> None:
        """Keys of 80 bits and more, of all kinds."""
        pki = shared_pki()
        for name in ("valid", "rsa", "weak", "p384", "ed25519", "client_dsa"):
            self.assertTrue(key_is_strong(pki[name].public_key_der), name)
        point = (
            ec.derive_private_key(7, ec.SECP256R1())
            .public_key()
            .public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        )
        self.assertTrue(key_is_strong(key("2a8648ce3d0201", point)))
        self.assertTrue(key_is_strong(key("2a03", b"a kind of which nobody knows")))

    def test_weak_keys(self) -> None:
        """RSA of less than 1024 bits, small curves, and keys that cannot be read."""
        short = x509.load_pem_x509_certificate(RSA_512).public_key()
        info = short.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertFalse(key_is_strong(info))
        self.assertFalse(key_is_strong(key("2a8648ce3d0201", b"\x04" + bytes(28))))
        self.assertFalse(key_is_strong(key("2a8648ce3d0201", b"\x02" + bytes(14))))
        small = der(SEQUENCE, der(0x02, b"\x7f" * 64))
        self.assertFalse(key_is_strong(key("2a864886f70d01010a", small)))
        self.assertFalse(key_is_strong(key("2a8648ce380401", b"", small)))
        for damaged in (
            b"",
            info[:-1],
            key("2a8648ce380401", b""),
            key("2a864886f70d010101", b"\x30\x00"),
            b"\x30\x00",
        ):
            self.assertFalse(key_is_strong(damaged))

    def test_signatures(self) -> None:
        """SHA-1 and older digests are weak, whatever the key."""
        for weak in ("2a864886f70d010104", "2a864886f70d010105", "2a8648ce3d0401", "2a8648ce380403", "2b0e03021d"):
            self.assertFalse(signed_by(weak), weak)
        for strong in ("2a864886f70d01010b", "2a8648ce3d040302", "2b6570"):
            self.assertTrue(signed_by(strong), strong)

    def test_pss(self) -> None:
        """With RSASSA-PSS the parameters tell; the default is SHA-1."""
        pss = "2a864886f70d01010a"
        self.assertTrue(signed_by(pss, der(SEQUENCE, SHA256_PARAMETERS)))
        for weak in (
            b"",
            der(SEQUENCE),
            der(SEQUENCE, SHA1_PARAMETERS),
            der(SEQUENCE, b"\xa0\x02\x30\x00"),
            b"\x30\x05",
        ):
            self.assertFalse(signed_by(pss, weak))
