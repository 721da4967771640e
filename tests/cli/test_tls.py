"""``smtpdeliver tls``: what it shows of certificates, hostile ones too, and what it complains of.

tests/scenarios/test_tls.py has it connect.
"""

import json
import os

from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.captured import run_command
from tests.kit.pki import HOST, shared_pki
from tests.tls.handmade import certificate, extension, name, subject_alt_name
from twisted_mta.cli.certificate_report import UNREADABLE, report
from twisted_mta.cli.tls_report import LONGEST_DIALOG, Dialog, Finding, as_json, as_text, pem
from twisted_mta.tls.digests import digest_named


class TextTests(SynchronousTestCase):
    """`as_text`."""

    def test_before_tls_1_3(self) -> None:
        """Where there is nothing to tell of signatures, the line ends with the cipher."""
        tls = {"protocol": "TLSv1.2", "cipher": "AES128-SHA", "used_bits": 128, "cipher_bits": 128, "details": ""}
        finding = Finding("mx.example[192.0.2.1]:25", tls=tls | {"trusted": True, "matched": False})
        self.assertIn("    tls: TLSv1.2 with AES128-SHA (128/128 bits)", list(as_text(finding)))


class ReportTests(SynchronousTestCase):
    """`report`."""

    def test_parts(self) -> None:
        """Names, dates, key, signature, fingerprints, and the TLSA records that would fit."""
        identity = shared_pki()["valid"]
        told = report(identity.der)
        self.assertEqual((told["subject"], told["issuer"]), (f"CN={HOST}", "CN=Test Intermediate"))
        self.assertEqual((told["names"], told["key"], told["signature"]), ([HOST], "EC secp256r1", "ecdsa-with-SHA256"))
        self.assertEqual(told["not_after"], identity.certificate.not_valid_after_utc.isoformat())
        self.assertEqual(told["fingerprint"], identity.fingerprint())
        self.assertEqual(told["key_fingerprint"], identity.key_fingerprint())
        digests = (identity.fingerprint(), identity.key_fingerprint())
        self.assertEqual(
            told["tlsa"], [f"3 {selector} 1 {text.replace(':', '')}" for selector, text in enumerate(digests)]
        )

    def test_kinds(self) -> None:
        """Other keys, and addresses among the names."""
        for identity, key in (("rsa", "RSA 2048 bits"), ("ed25519", "Ed25519"), ("client_dsa", "DSA 1024 bits")):
            self.assertEqual(report(shared_pki()[identity].der)["key"], key)
        self.assertEqual(report(shared_pki()["ip_address"].der)["names"], ["192.0.2.1"])
        self.assertEqual(report(shared_pki()["nameless"].der)["names"], [])

    def test_digest(self) -> None:
        """Fingerprints are those that smtp_tls_fingerprint_digest asks for."""
        digest = digest_named("sha1")
        assert digest is not None
        self.assertEqual(len(report(shared_pki()["valid"].der, digest)["fingerprint"]), 20 * 3 - 1)

    def test_odd_certificates(self) -> None:
        """What cannot be read is said to be so; the rest is told all the same."""
        for der, damaged in (
            (b"", {"subject", "names", "key", "key_fingerprint"}),
            (b"\x30\x80", {"subject", "key_fingerprint"}),
            (certificate("a.example", dates=(b"\x17\x01x", b"\x17\x01y")), {"not_before"}),
            (certificate("a.example", b"\x30\x03\x82\x7fx"), {"names"}),
            (certificate("a.example", extensions=[extension(subject_alt_name(b"a"))] * 2), {"names"}),
            (certificate("a.example", key=b"\x30\x0a\x30\x03\x06\x01\x2a\x03\x03\0xx"), {"key"}),
        ):
            told = report(der)
            self.assertEqual({part for part in damaged if told[part] != UNREADABLE}, set(), told)
            self.assertEqual(len(told["fingerprint"]), 32 * 3 - 1)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=4), st.integers(1, 700))
    def test_damaged(self, changes: list[tuple[int, int]], length: int) -> None:
        """Whatever a server sends, there is a report, and it can be shown."""
        der = bytearray(shared_pki()["valid"].der)
        for at, octet in changes:
            if at < len(der):
                der[at] = octet
        finding = Finding("mx[192.0.2.1]:25", certificates=[report(bytes(der[:length]))])
        for line in (*as_text(finding), *as_json(finding)):
            self.assertTrue(line.isprintable() and line.isascii(), line)


class ShowTests(SynchronousTestCase):
    """`as_text` and `as_json`."""

    def finding(self) -> Finding:
        """A host that tries to write on the terminal."""
        evil = certificate(name(["\x1b[2J\u202emoc.evil"]), subject_alt_name(b"\x1b]0;x\x07.example"))
        return Finding(
            "mx.example[192.0.2.1]:25",
            policy={"level": "secure", "match": ["nexthop"], "ciphers": ""},
            certificates=[report(evil)],
            problem="lost \x1b[31m connection",
            dialog=["> EHLO client.example", "< 250 \x1b[2J"],
            log=["warning: certificate verification failed"],
        )

    def test_text(self) -> None:
        """Lines for people, with nothing in them that could do harm to a terminal."""
        lines = list(as_text(self.finding(), with_dialog=True))
        self.assertEqual(
            lines[:4],
            ["mx.example[192.0.2.1]:25", "    policy level: secure", "    policy match: nexthop", "    tls: none"],
        )
        self.assertIn("    dialog: > EHLO client.example", lines)
        self.assertIn("    verdict: no mail would be sent: lost ?[31m connection", lines)
        self.assertEqual(lines[-1], "    log: warning: certificate verification failed")
        for line in lines:
            self.assertTrue(line.isprintable(), line)
        self.assertNotIn("dialog", "".join(as_text(self.finding())))

    def test_resumed(self) -> None:
        """Whether a session was taken up, where that was tried."""
        for resumed, word in ((True, "taken up again"), (False, "not taken up again")):
            self.assertIn(f"    session: {word}", list(as_text(Finding("mx", resumed=resumed))))

    def test_pem(self) -> None:
        """A certificate as files have it, in one piece for people to copy."""
        identity = shared_pki()["valid"]
        text = pem(identity.der)
        self.assertEqual(x509.load_pem_x509_certificate(text.encode()), identity.certificate)
        lines = list(as_text(Finding("mx", certificates=[{"pem": text}])))
        begin = lines.index("    certificate 0 pem: -----BEGIN CERTIFICATE-----")
        self.assertEqual(lines[begin + 1].strip(), text.split("\n")[1])

    def test_json(self) -> None:
        """One object on one line, in ASCII."""
        (line,) = as_json(self.finding())
        self.assertTrue(line.isascii() and line.isprintable())
        self.assertEqual(json.loads(line)["problem"], "lost \x1b[31m connection")

    def test_long_dialogs(self) -> None:
        """A server that talks for ever fills no memory."""
        lines: list[str] = []
        dialog = Dialog(lines)
        for _ in range(2 * LONGEST_DIALOG):
            dialog.heard("250-x")
        self.assertEqual(len(lines), LONGEST_DIALOG)


class OptionTests(SynchronousTestCase):
    """What is complained of before anybody is asked."""

    def test_complaints(self) -> None:
        """Options and settings that cannot be used."""
        for words, status, complaint in (
            (("--nameserver", "nowhere"), os.EX_USAGE, "--nameserver"),
            (("--reconnect", "-1"), os.EX_USAGE, "--reconnect"),
            (("--reconnect", "inf"), os.EX_USAGE, "--reconnect"),
            (("-o", "nothing"), os.EX_CONFIG, "nothing"),
        ):
            came = run_command("tls", *words, "dest.example")
            self.assertEqual((came.result, came.octets), (status, b""), words)
            self.assertIn(complaint, came.complaints[0])
