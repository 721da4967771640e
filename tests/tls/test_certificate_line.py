"""The line about a server's certificate; the lines are those of Postfix."""

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.tls.handmade import SEQUENCE, attribute, certificate, der, name
from tests.tls.judging import SERVER, line
from twisted_mta.model.events import Event
from twisted_mta.tls.certificate_line import certificate_told
from twisted_mta.tls.certificates import read_certificate
from twisted_mta.tls.digests import SHA256, Digest


class CertificateLineTests(SynchronousTestCase):
    """`certificate_told`."""

    def told(self, octets: bytes, peername: str = "", digest: Digest = SHA256) -> list[str]:
        """All that is told."""
        told: list[Event] = []
        told.append(certificate_told(read_certificate(octets), peername, SERVER, digest, told.append))
        return [line(event) for event in told]

    def names(self, octets: bytes, peername: str = "") -> tuple[str, str, list[str]]:
        """Subject, issuer, and what is wrong with names."""
        *problems, last = self.told(octets, peername)
        subject, issuer, *_ = last.removeprefix(f"{SERVER}: ").split(", ")
        return subject.removeprefix("subject_CN="), issuer.removeprefix("issuer="), problems

    def test_line(self) -> None:
        """Names and fingerprints."""
        valid = shared_pki()["valid"]
        self.assertEqual(
            self.told(valid.der),
            [
                f"{SERVER}: subject_CN=mx1.dest.example, issuer=Test Intermediate,"
                f" cert fingerprint={valid.fingerprint()}, pkey fingerprint={valid.key_fingerprint()}"
            ],
        )
        self.assertIn(
            "cert fingerprint=" + Digest("md5", 16).of(valid.der).hex(":").upper(),
            *self.told(valid.der, digest=Digest("md5", 16)),
        )

    def test_which_names(self) -> None:
        """The first common name, or the name that matched; the issuer's common name, or its organization."""
        organization = der(SEQUENCE, attribute("55040a", "Org"))
        self.assertEqual(self.names(certificate(("first", "second"))), ("first", "first", []))
        self.assertEqual(self.names(certificate(organization), "mx.example"), ("mx.example", "Org", []))
        self.assertEqual(self.names(certificate("x", issuer=name(()))), ("x", "", []))
        empty = der(SEQUENCE, attribute("550403", ""))
        self.assertEqual(self.names(certificate(empty), "mx.example"), ("", "", []))
        self.assertEqual(self.names(certificate("b\u00fccher")), ("b\u00fccher", "b\u00fccher", []))

    def test_odd_names(self) -> None:
        """Names that are too long, or not fit to be shown, are told and left out."""
        for text, problem in (
            ("x" * 256, "peer subject CN too long: 256"),
            ("\u00fc" * 128, "peer subject CN too long: 256"),
            ("a\0b", "NULL character in peer subject CN"),
            ("a\nb", "non-printable content in peer subject CN"),
            ("a\tb", "non-printable content in peer subject CN"),
            ("a\x9bb", "non-printable content in peer subject CN"),
        ):
            octets = certificate(text, issuer=name("ca"))
            warning = f"warning: tls_text_name: {SERVER}: {problem}"
            self.assertEqual(self.names(octets), ("", "ca", [warning]))
            self.assertEqual(self.names(octets, "mx.example")[0], "mx.example")
        self.assertEqual(self.names(certificate("x" * 255, issuer=name("ca"))), ("x" * 255, "ca", []))

    def test_odd_issuer(self) -> None:
        """The organization of an issuer takes the place of a name that is not fit; what is no text is told."""
        issuer = der(SEQUENCE, attribute("550403", "y" * 300), attribute("55040a", "Org"))
        warning = f"warning: tls_text_name: {SERVER}: peer issuer CN too long: 300"
        self.assertEqual(self.names(certificate("x", issuer=issuer)), ("x", "Org", [warning]))
        number = der(SEQUENCE, attribute("550403", b"\x07", 0x02))
        warning = f"warning: tls_text_name: {SERVER}: error decoding peer issuer CN of ASN.1 string"
        self.assertEqual(self.names(certificate("x", issuer=number)), ("x", "", [warning]))
