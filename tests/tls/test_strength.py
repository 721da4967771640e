"""Keys and signatures that are too weak."""

from OpenSSL import crypto
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


def signed_by(identifier: str, parameters: bytes = b"") -> bool:
    """Whether a signature by this algorithm is strong."""
    algorithm = der(SEQUENCE, der(0x06, bytes.fromhex(identifier)), parameters)
    return signature_is_strong(read_certificate(certificate("x", algorithm=algorithm)))


class StrengthTests(SynchronousTestCase):
    """`key_is_strong` and `signature_is_strong`."""

    def test_keys(self) -> None:
        """Keys of 80 bits and more."""
        pki = shared_pki()
        for name in ("valid", "rsa", "weak", "p384", "ed25519", "client_dsa"):
            self.assertTrue(key_is_strong(crypto.X509.from_cryptography(pki[name].certificate)), name)

    def test_weak_keys(self) -> None:
        """RSA of less than 1024 bits, and keys that nobody can read."""
        short = crypto.load_certificate(crypto.FILETYPE_PEM, RSA_512)
        self.assertFalse(key_is_strong(short))
        unknown = der(SEQUENCE, der(SEQUENCE, b"\x06\x02\x2a\x03"), b"\x03\x02\x00\x01")
        odd = crypto.load_certificate(crypto.FILETYPE_ASN1, certificate("x", key=unknown))
        self.assertFalse(key_is_strong(odd))

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
        for weak in (b"", der(SEQUENCE), der(SEQUENCE, SHA1_PARAMETERS), der(SEQUENCE, b"\xa0\x02\x30\x00")):
            self.assertFalse(signed_by(pss, weak))
