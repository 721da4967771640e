"""Our own certificates."""

import os

from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import Files, shared_pki, write
from tests.kit.tls_server import TlsServer
from tests.tls.engines import EngineBench, policy
from twisted_mta.tls.levels import Level


class ClientCertificateTests(SynchronousTestCase):
    """Engines with client certificates."""

    def setUp(self) -> None:
        """Files for each of them."""
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)

    def files(self, name: str) -> Files:
        """The files of a client."""
        return shared_pki()[name].write(self.directory, name)

    def shown(self, bench: EngineBench, versions: tuple[int, int] = (0, 0), level: Level = Level.MAY) -> list[bytes]:
        """What a server that asks is shown, in DER; and what the line about it says, in `details`."""
        server = TlsServer(shared_pki()["valid"], versions=versions, asks_for_certificate=True)
        handshake, end = bench.begin(policy(level, exclusions="aNULL")), server.accept()
        self.details = bench.finish(handshake, end).details
        leaf = end.get_peer_certificate()
        rest = [each for each in end.get_peer_cert_chain() or [] if leaf is None or each != leaf]
        return [crypto.dump_certificate(crypto.FILETYPE_ASN1, each) for each in ([leaf] if leaf else []) + rest]

    def test_chain_files(self) -> None:
        """A certificate goes out with what is above it; a server that does not ask gets none."""
        bench = EngineBench(smtp_tls_chain_files=self.files("client").both)
        self.assertEqual(self.shown(bench), [shared_pki()["client"].der, shared_pki().intermediate.der])
        self.assertTrue(
            self.details.endswith(" client-signature ECDSA (prime256v1) client-digest SHA256"), self.details
        )
        _, state = bench.shake(TlsServer(shared_pki()["valid"]), policy())
        self.assertNotIn("client", state.details)

    def test_pairs_of_files(self) -> None:
        """Certificate and key in one file or in two, by the older parameters."""
        rsa, ec, edwards = self.files("client_rsa"), self.files("client"), self.files("client_ed25519")
        self.assertEqual(self.shown(EngineBench(smtp_tls_cert_file=rsa.both))[0], shared_pki()["client_rsa"].der)
        self.assertTrue(
            self.details.endswith(" client-signature RSA-PSS (2048 bits) client-digest SHA256"), self.details
        )
        bench = EngineBench(smtp_tls_eccert_file=ec.chain, smtp_tls_eckey_file=ec.key)
        self.assertEqual(self.shown(bench), [shared_pki()["client"].der, shared_pki().intermediate.der])
        bench = EngineBench(smtp_tls_cert_file=edwards.chain, smtp_tls_key_file=edwards.key)
        self.assertEqual(self.shown(bench)[0], shared_pki()["client_ed25519"].der)
        self.assertTrue(self.details.endswith(" client-signature ED25519"), self.details)

    def test_relative_paths(self) -> None:
        """They begin in the queue directory, wherever the process has been started; so do those of authorities."""
        shared_pki()["client"].write(self.directory, "client")
        write(self.directory, "root.pem", shared_pki().root.certificate_pem)
        for settings in (
            {"smtp_tls_chain_files": "client-both.pem"},
            {"smtp_tls_cert_file": "client-chain.pem", "smtp_tls_key_file": "client-key.pem"},
        ):
            bench = EngineBench(queue_directory=self.directory, smtp_tls_CAfile="root.pem", **settings)
            self.assertEqual(self.shown(bench)[0], shared_pki()["client"].der)
            self.assertIn("Trusted TLS connection", bench.log[0])

    def test_chain_files_come_first(self) -> None:
        """With smtp_tls_chain_files the others are not even looked at."""
        bench = EngineBench(smtp_tls_chain_files=self.files("client").both, smtp_tls_cert_file="/does/not/exist")
        self.assertEqual(self.shown(bench)[0], shared_pki()["client"].der)

    def test_last_one_before_tls_1_3(self) -> None:
        """Of several, servers before TLS 1.3 get the one that was loaded last; each has a chain of its own."""
        rsa, ec = self.files("client_rsa"), self.files("client")
        bench = EngineBench(smtp_tls_cert_file=rsa.both, smtp_tls_eccert_file=ec.both)
        version = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
        self.assertEqual(self.shown(bench, version), [shared_pki()["client"].der, shared_pki().intermediate.der])

    def test_later_contexts(self) -> None:
        """The files are read once: a context that is made later has what was in them."""
        files = self.files("client")
        bench = EngineBench(smtp_tls_chain_files=files.both)
        os.remove(files.both)
        for level in (Level.MAY, Level.FINGERPRINT):
            self.assertEqual(self.shown(bench, level=level)[0], shared_pki()["client"].der)

    def test_weak_key(self) -> None:
        """A key that is too weak for the servers that must prove who they are is still ours to show."""
        weak = shared_pki().issue("client.example", names=(), key="rsa1024").write(self.directory, "weak")
        bench = EngineBench(smtp_tls_cert_file=weak.both)
        self.assertEqual(len(self.shown(bench, level=Level.FINGERPRINT)), 2)

    def told(self, **settings: str) -> list[str]:
        """What is told of settings with which there is no engine; the directory is shown as DIR."""
        bench = EngineBench(**settings)
        self.assertIsNone(bench.made)
        return [line.replace(self.directory, "DIR") for line in bench.log]

    def test_missing_files(self) -> None:
        """Each file that is missing is named, and there is no TLS."""
        missing, ec = os.path.join(self.directory, "none"), self.files("client")
        opening = ["warning: error opening chain file: DIR/none: No such file or directory"]
        self.assertEqual(self.told(smtp_tls_cert_file=missing), opening)
        for settings, what in (
            ({"smtp_tls_cert_file": missing, "smtp_tls_key_file": ec.key}, "RSA certificate"),
            ({"smtp_tls_dcert_file": ec.chain, "smtp_tls_dkey_file": missing}, "DSA private key"),
        ):
            told = self.told(**settings)
            self.assertEqual(told[0], f'warning: cannot get {what} from file "DIR/none": disabling TLS support')
            problem = "warning: TLS library problem: error:{}:".format
            self.assertEqual(
                told[1:],
                [
                    problem("80000002:system library::No such file or directory:calling fopen(DIR/none, r)"),
                    problem("10080002:BIO routines::system lib"),
                    problem("0A080002:SSL routines::system lib"),
                ],
            )

    def test_missing_chain_file(self) -> None:
        """One file of a list that is missing costs all certificates, and nothing else; a directory is an empty file."""
        ec = self.files("client")
        bench = EngineBench(smtp_tls_chain_files=f"{ec.both} {self.directory}/none")
        self.assertEqual(
            bench.log, [f"warning: error opening chain file: {self.directory}/none: No such file or directory"]
        )
        self.assertEqual(self.shown(bench), [])
        self.assertEqual(self.told(smtp_tls_chain_files=self.directory)[0], "warning: No PEM data in DIR")

    def test_wrong_files(self) -> None:
        """What is wrong inside a file is told, and there is no TLS."""
        ec, rsa, other = self.files("client"), self.files("client_rsa"), self.files("valid")
        ending = "warning: error loading private keys and certificates from:"
        self.assertEqual(
            self.told(smtp_tls_chain_files=f"{ec.chain}, {rsa.both}"),
            [
                "warning: error loading chain from DIR/client-chain.pem: key not first",
                f"{ending} DIR/client-chain.pem, DIR/client_rsa-both.pem: disabling TLS support",
            ],
        )
        self.assertEqual(
            self.told(smtp_tls_cert_file=ec.chain),
            [
                "warning: No private key found in DIR/client-chain.pem",
                f"{ending} DIR/client-chain.pem: disabling TLS support",
            ],
        )
        self.assertEqual(
            self.told(smtp_tls_eccert_file=ec.chain, smtp_tls_eckey_file=rsa.key),
            [
                "warning: ECDSA private key in DIR/client_rsa-key.pem does not match public key in DIR/client-chain.pem:"
                " disabling TLS support"
            ],
        )
        self.assertEqual(
            self.told(smtp_tls_eccert_file=ec.chain, smtp_tls_eckey_file=other.key),
            [
                'warning: cannot get ECDSA private key from file "DIR/valid-key.pem": disabling TLS support',
                "warning: TLS library problem: error:05800074:x509 certificate routines::key values mismatch:",
            ],
        )
        empty = write(self.directory, "empty", b"")
        self.assertEqual(
            self.told(smtp_tls_cert_file=empty, smtp_tls_key_file=ec.key),
            ['warning: cannot get RSA certificate from file "DIR/empty": disabling TLS support'],
        )
        self.assertEqual(
            self.told(smtp_tls_cert_file=ec.chain, smtp_tls_key_file=empty),
            ['warning: cannot get RSA private key from file "DIR/empty": disabling TLS support'],
        )

    def test_warnings(self) -> None:
        """What is only odd is told, and there is TLS."""
        path = write(self.directory, "two", shared_pki()["client"].key_pem * 2 + shared_pki()["client"].chain_pem)
        bench = EngineBench(smtp_tls_cert_file=path)
        self.assertEqual(bench.log, [f"warning: ignoring 2nd key at index 2 in {path} after 1st at 1"])
        self.assertIsNotNone(bench.made)
