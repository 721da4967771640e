"""Files of TLS that change."""

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import write
from twisted_mta.config.settings import load_settings
from twisted_mta.tls.files import TlsFiles


class FileTests(SynchronousTestCase):
    """`TlsFiles`."""

    def setUp(self) -> None:
        """Two files."""
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.key, self.certificate = (write(self.directory, name, b"former") for name in ("key.pem", "certificate.pem"))
        self.files = TlsFiles(("", self.key, self.certificate))

    def test_unchanged(self) -> None:
        """Files that are what they were; none at all."""
        self.assertEqual(self.files.changed(), "")
        self.assertEqual(TlsFiles(()).changed(), "")

    def test_written_anew(self) -> None:
        """A file with other content, or another file in its place."""
        write(self.directory, "certificate.pem", b"renewed")
        self.assertEqual(self.files.changed(), self.certificate)
        self.assertEqual(TlsFiles((self.certificate,)).changed(), "")
        new = write(self.directory, "new.pem", b"renewed")
        os.replace(new, self.key)
        self.assertEqual(self.files.changed(), self.key)

    def test_gone(self) -> None:
        """A file that is gone has not changed, until it is there again; one that was missing changes when it comes."""
        os.remove(self.certificate)
        self.assertEqual(self.files.changed(), "")
        late = TlsFiles((self.certificate,))
        write(self.directory, "certificate.pem", b"renewed")
        self.assertEqual(self.files.changed(), self.certificate)
        self.assertEqual(late.changed(), self.certificate)

    def test_settings(self) -> None:
        """The files of all parameters that name some."""
        for name in (
            "smtp_tls_CAfile",
            "smtp_tls_trust_anchor_file",
            "smtp_tls_chain_files",
            "smtp_tls_cert_file",
            "smtp_tls_key_file",
            "smtp_tls_eckey_file",
        ):
            files = TlsFiles.from_settings(load_settings(None, overrides=[(name, self.key)]))
            self.assertEqual(files.changed(), "")
            write(self.directory, "key.pem", os.urandom(20) + name.encode())
            self.assertEqual(files.changed(), self.key, name)

    def test_relative_paths(self) -> None:
        """They begin in the queue directory, and are told as they are written."""
        settings = load_settings(None, overrides=[("queue_directory", self.directory), ("smtp_tls_CAfile", "key.pem")])
        files = TlsFiles.from_settings(settings)
        write(self.directory, "key.pem", b"another")
        self.assertEqual(files.changed(), "key.pem")
