"""Files of trust anchors (postconf(5) smtp_tls_trust_anchor_file)."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.test_pem import armored
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.tls.policy import Association
from twisted_mta.tls.policy_error import CONFIGURATION_PROBLEM, TlsPolicyError
from twisted_mta.tls.trust_anchor_files import TrustAnchorFiles


class TrustAnchorFilesTests(SynchronousTestCase):
    """`TrustAnchorFiles`."""

    def setUp(self) -> None:
        """A directory, and files below it."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.events: list[Event] = []
        self.files = TrustAnchorFiles(str(self.directory), self.events.append, tells=False)

    def write(self, name: str, *parts: bytes) -> str:
        """Write a file."""
        path = self.directory / name
        path.write_bytes(b"".join(parts))
        return str(path)

    @property
    def lines(self) -> list[str]:
        """The log."""
        return [line_of(event, LogStyle())[1] for event in self.events]

    def assert_unusable(self, *names: str) -> None:
        """Files cannot be used."""
        with self.assertRaises(TlsPolicyError) as unusable:
            self.files.load(names)
        self.assertIs(unusable.exception.why, CONFIGURATION_PROBLEM)

    def test_pairs(self) -> None:
        """Each certificate and each key is one for an issuer and one for the server; what is in it is not looked at."""
        one = self.write("one", b"text\n", armored("CERTIFICATE", b"cert"), armored("PUBLIC KEY", b"key"))
        self.write("two", armored("X509 CERTIFICATE", b"old"))
        self.assertEqual(
            self.files.load((one, "two")),
            (
                Association(2, 0, 0, b"cert"),
                Association(3, 0, 0, b"cert"),
                Association(2, 1, 0, b"key"),
                Association(3, 1, 0, b"key"),
                Association(2, 0, 0, b"old"),
                Association(3, 0, 0, b"old"),
            ),
        )
        self.assertEqual(self.lines, [])

    def test_other_objects(self) -> None:
        """Objects of other kinds are passed over, and a file of such objects alone is no error."""
        private = self.write("key", armored("PRIVATE KEY", b"secret"), armored("TRUSTED CERTIFICATE", b"x"))
        self.assertEqual(self.files.load((private,)), ())
        self.assertEqual(self.files.load(()), ())

    def test_told(self) -> None:
        """Each anchor is told where that is wanted, also when the file is known already."""
        self.files = TrustAnchorFiles(str(self.directory), self.events.append, tells=True)
        self.write("file", armored("CERTIFICATE", b"\xab" * 65), armored("PUBLIC KEY", b"\1\2"))
        for _ in range(2):
            self.files.load(("file",))
        told = [
            f"TA cert as TLSA record: file: 2 0 0 {'AB' * 32}...{'AB' * 32}",
            "TA pkey as TLSA record: file: 2 1 0 0102",
        ]
        self.assertEqual(self.lines, told * 2)

    def test_unreadable(self) -> None:
        """A file that is not there, or whose name is none, is told as it was given, whatever was found before."""
        good = self.write("good", armored("CERTIFICATE", b"cert"))
        self.assert_unusable(good, "missing")
        self.assert_unusable("a\0b")
        self.assertEqual(
            self.lines,
            [
                "error opening trust anchor file: missing: No such file or directory",
                "error opening trust anchor file: a?b: embedded null byte",
            ],
        )

    def test_empty(self) -> None:
        """A file without any object, or a pipe, cannot be used; Postfix says no more about it."""
        for text in (b"", b"hello\nworld\n"):
            self.assert_unusable(self.write("file", text))
        os.mkfifo(self.directory / "pipe")
        self.assert_unusable("pipe")
        self.assertEqual(self.lines, [])

    def test_damaged(self) -> None:
        """A damaged file is told."""
        damaged = self.write("file", armored("CERTIFICATE", b"cert")[:40])
        self.assert_unusable(damaged)
        self.assertEqual(self.lines, [f"error reading trust anchor file: {damaged}: bad end line"])

    def test_endless(self) -> None:
        """A file is not read beyond what all authorities of the world would take."""
        huge = self.write("huge", armored("CERTIFICATE", b"cert"))
        os.truncate(huge, 8 * 1024 * 1024 + 1)
        self.assert_unusable(huge)
        self.assertEqual(self.lines, [f"error reading trust anchor file: {huge}: file is too large"])

    def test_changed(self) -> None:
        """A file that has changed, or was damaged and is no longer, is read anew."""
        self.assert_unusable(self.write("file", b"nothing"))
        self.write("file", armored("CERTIFICATE", b"cert"))
        self.assertEqual(self.files.load(("file",))[0].data, b"cert")
        self.write("file", armored("CERTIFICATE", b"other"))
        self.assertEqual(self.files.load(("file",))[0].data, b"other")

    def test_many_files(self) -> None:
        """Any number of files can be read, but only so many are remembered."""
        names = [self.write(f"file{number}", armored("CERTIFICATE", b"%d" % number)) for number in range(120)]
        self.assertEqual(len(self.files.load(names)), 240)
        self.assertEqual(self.files.load((names[0],))[0].data, b"0")
