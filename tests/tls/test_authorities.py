"""Certification authorities."""

import os

from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki, write
from tests.kit.tls_server import TlsServer
from tests.tls.engines import EngineBench, policy
from twisted_mta.model.events import Event
from twisted_mta.model.tls_events import AuthoritiesUnusable, TlsLibraryProblem
from twisted_mta.tls.authorities import Authorities, AuthoritiesError


class AuthorityTests(SynchronousTestCase):
    """`Authorities`, in engines."""

    def setUp(self) -> None:
        """Authorities in a file, and in a directory by hash."""
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        root = shared_pki().root
        self.file = write(self.directory, "roots.pem", shared_pki().other_root.certificate_pem + root.certificate_pem)
        self.by_hash = os.path.join(self.directory, "by_hash")
        os.mkdir(self.by_hash)
        certificate = crypto.load_certificate(crypto.FILETYPE_PEM, root.certificate_pem)
        write(self.by_hash, f"{certificate.subject_name_hash():08x}.0", root.certificate_pem)

    def trusts(self, **settings: str) -> bool:
        """Whether an engine with these settings trusts a server that the root vouches for."""
        bench = EngineBench(**settings)
        return bench.shake(TlsServer(shared_pki()["valid"]), policy())[1].trusted

    def test_nobody(self) -> None:
        """Without authorities nobody is trusted, not even those whom the system trusts."""
        self.assertFalse(self.trusts())
        self.assertFalse(self.trusts(tls_append_default_CA="yes"))

    def test_file_and_directory(self) -> None:
        """Either will do, or both."""
        self.assertTrue(self.trusts(smtp_tls_CAfile=self.file))
        self.assertTrue(self.trusts(smtp_tls_CApath=self.by_hash))
        self.assertTrue(self.trusts(smtp_tls_CAfile=self.file, smtp_tls_CApath="/does/not/exist"))
        self.assertTrue(self.trusts(smtp_tls_CAfile=self.file, tls_append_default_CA="yes"))

    def test_several_directories(self) -> None:
        """There may be several directories between colons; nothing between them is none, and not queue_directory."""
        self.assertTrue(self.trusts(smtp_tls_CApath=f"/does/not/exist::{self.by_hash}"))
        self.assertFalse(self.trusts(smtp_tls_CApath="/does/not/exist:", queue_directory=self.by_hash))

    def test_shared(self) -> None:
        """Every context trusts what was loaded once, also after the file is gone."""
        bench = EngineBench(smtp_tls_CAfile=self.file)
        os.remove(self.file)
        server = TlsServer(shared_pki()["valid"])
        for grade in ("medium", "high"):
            self.assertTrue(bench.shake(server, policy(grade=grade))[1].trusted)

    def test_unreadable(self) -> None:
        """What cannot be loaded is told with its cause."""
        told: list[Event] = []
        with self.assertRaises(AuthoritiesError):
            Authorities("/does/not/exist", "/neither", emit=told.append)
        self.assertEqual(told[0], AuthoritiesUnusable('CAfile="/does/not/exist", CApath="/neither"'))
        self.assertEqual(
            told[1],
            TlsLibraryProblem(
                "error:80000002:system library::No such file or directory:calling fopen(/does/not/exist, r):"
            ),
        )

    def test_without_certificates(self) -> None:
        """A file in which there is no certificate cannot be loaded either; nothing is left behind in the library."""
        told: list[Event] = []
        path = write(self.directory, "empty.pem", b"nothing\n")
        with self.assertRaises(AuthoritiesError):
            Authorities(path, emit=told.append)
        self.assertIn("no certificate or crl found", str(told[1]))
        Authorities(self.file, emit=told.append).trusted_by(SSL.Context(SSL.TLS_CLIENT_METHOD))
        self.assertEqual(len(told), 2)
