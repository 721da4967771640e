"""The TLS engine: from settings, and how handshakes begin."""

from dataclasses import replace
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import HOST, shared_pki
from tests.kit.tls_server import TlsServer
from tests.tls.engines import SERVER, EngineBench, policy
from twisted_mta.tls.engine import TlsStartError
from twisted_mta.tls.levels import Level


class SettingsTests(SynchronousTestCase):
    """`TlsEngine.from_settings`."""

    def told_without_engine(self, **settings: str) -> list[str]:
        """What is told of settings with which there is no TLS."""
        bench = EngineBench(**settings)
        self.assertIsNone(bench.made)
        return bench.log

    def test_defaults(self) -> None:
        """With the defaults there is an engine, which has nothing to say."""
        bench = EngineBench()
        self.assertTrue(bench.engine.fast_shutdown)
        self.assertEqual(bench.log, [])
        self.assertFalse(EngineBench(tls_fast_shutdown_enable="no").engine.fast_shutdown)

    def test_no_engine(self) -> None:
        """Where something is missing that TLS needs, it is told, and there is no engine."""
        self.assertEqual(
            self.told_without_engine(smtp_tls_fingerprint_digest="foo"),
            ['warning: Digest algorithm "foo" not found', "warning: disabling TLS support"],
        )
        self.assertEqual(
            self.told_without_engine(smtp_tls_CAfile="/does/not/exist")[0],
            'cannot load Certification Authority data, CAfile="/does/not/exist": disabling TLS support',
        )
        self.assertEqual(
            self.told_without_engine(smtp_tls_cert_file="/does/not/exist"),
            ["warning: error opening chain file: /does/not/exist: No such file or directory"],
        )
        self.assertEqual(
            self.told_without_engine(tls_config_file="some.cnf"),
            ["warning: non-default tls_config_file = some.cnf is not an absolute pathname, disabling TLS support"],
        )

    def test_order(self) -> None:
        """What is told at the start comes in a fixed order; what is only odd does not stop it."""
        bench = EngineBench(
            smtp_tls_loglevel="2", tls_ssl_options="foo", tls_eecdh_auto_curves="bar X25519", smtp_tls_enable_rpk="yes"
        )
        self.assertIsNotNone(bench.made)
        self.assertEqual(
            bench.log,
            [
                "initializing the client-side TLS engine",
                "smtp_tls_enable_rpk has no effect: the TLS library cannot do raw public keys",
                'warning: unknown tls_ssl_options value "foo" in "foo"',
                'warning: ignoring unknown key exchange group "bar"',
            ],
        )

    def test_names_of_lmtp(self) -> None:
        """In LMTP mode parameters have its names."""
        bench = EngineBench(protocol="lmtp", lmtp_tls_enable_rpk="yes", lmtp_tls_loglevel="odd")
        self.assertEqual(bench.log, ['warning: unknown lmtp_tls_loglevel value "odd" in "odd"'])
        bench = EngineBench(protocol="lmtp", lmtp_tls_enable_rpk="yes", lmtp_tls_loglevel="verbose")
        self.assertIn("lmtp_tls_enable_rpk has no effect: the TLS library cannot do raw public keys", bench.log)

    def test_randomness(self) -> None:
        """How much randomness tlsmgr(8) should give does not matter: the system's is used."""
        self.assertIsNotNone(EngineBench(tls_daemon_random_bytes="1").made)


class BeginningTests(SynchronousTestCase):
    """`TlsEngine.begin`."""

    def versions(self, protocols: str, server: tuple[int, int] = (0, 0)) -> str:
        """The version that is agreed on."""
        wanted = policy(protocols=protocols)
        return EngineBench().shake(TlsServer(shared_pki()["rsa"], versions=server), wanted)[1].protocol

    def test_versions(self) -> None:
        """The versions of the policy count, down to TLS 1.0 where anything goes."""
        self.assertEqual(self.versions(">=TLSv1"), "TLSv1.3")
        self.assertEqual(self.versions("!TLSv1.3"), "TLSv1.2")
        self.assertEqual(self.versions("TLSv1.1"), "TLSv1.1")
        self.assertEqual(self.versions("<=TLSv1"), "TLSv1")
        self.assertEqual(self.versions("", (0, SSL.TLS1_VERSION)), "TLSv1")
        self.assertRaises(SSL.Error, self.versions, ">=TLSv1.3", (0, SSL.TLS1_2_VERSION))

    def test_old_versions_prove_nothing(self) -> None:
        """Where the server must prove who it is, TLS 1.0 and 1.1 are too weak for that."""
        wanted = policy(Level.FINGERPRINT, matches=(shared_pki()["rsa"].fingerprint(),))
        server = TlsServer(shared_pki()["rsa"], versions=(0, SSL.TLS1_1_VERSION))
        self.assertRaises(SSL.Error, EngineBench().shake, server, wanted)

    def test_ciphers(self) -> None:
        """The grade and the exclusions of the policy count."""
        server = TlsServer(shared_pki()["rsa"], versions=(0, SSL.TLS1_2_VERSION))
        null = TlsServer(shared_pki()["rsa"], ciphers="eNULL:HIGH", versions=(0, SSL.TLS1_2_VERSION))
        bench = EngineBench()
        self.assertEqual(bench.shake(server, policy(exclusions="AESGCM"))[1].cipher, "ECDHE-RSA-CHACHA20-POLY1305")
        self.assertEqual(bench.shake(null, policy(grade="null"))[1].used_bits, 0)

    def test_server_name(self) -> None:
        """The server is asked for by the name of the policy, or by none."""
        bench, server = EngineBench(), TlsServer(shared_pki()["valid"])
        bench.shake(server, policy(servername="mx.example"))
        bench.shake(server, policy())
        self.assertEqual(server.asked_for, ["mx.example", None])

    def test_odd_server_name(self) -> None:
        """A name of odd octets goes out as it is, and the next handshake is none the worse."""
        bench, server = EngineBench(), TlsServer(shared_pki()["valid"])
        bench.shake(server, policy(servername="\udcff"))
        bench.shake(server, policy())
        self.assertEqual(server.asked_for, ["\ufffd", None])

    def test_problems(self) -> None:
        """Where a policy cannot be carried out the handshake does not begin, and the log says why, each time."""
        cases: dict[str, dict[str, Any]] = {
            'Invalid TLS protocol list "foo": aborting TLS session': {"protocols": "foo"},
            'invalid cipher grade: "foo"': {"grade": "foo"},
            "invalid unary '!+-@' in cipher exclusion: !MD5": {"exclusions": "!MD5"},
            f"ignoring too long SNI hostname: {'a' * 256}": {"servername": "a" * 256},
        }
        for problem, wishes in cases.items():
            bench = EngineBench()
            for _ in range(2):
                self.assertRaises(TlsStartError, bench.begin, policy(**wishes))
                self.assertEqual(bench.told(), [f"warning: {SERVER}: {problem}"])

    def test_order_of_remarks(self) -> None:
        """Names that cannot be matched are told before the name that is asked for, records behind it; nothing after a mistake."""
        names = policy(Level.VERIFY, matches=(".",), servername="x.example")
        digest = policy(Level.FINGERPRINT, matches=("AA:BB",), servername="x.example")
        for wanted, before, behind in ((names, 2, 0), (digest, 0, 3)):
            bench = EngineBench(smtp_tls_loglevel="2")
            bench.told()
            bench.begin(wanted)
            lines = bench.told()
            self.assertIn(": TLS cipher list ", lines[1])
            self.assertEqual(lines[2 + before], f"{SERVER}: SNI hostname: x.example")
            self.assertEqual([line.partition(":")[0] for line in lines[2:]].count("warning"), before + behind)
            self.assertRaises(TlsStartError, bench.begin, replace(wanted, grade="foo"))
            self.assertEqual(bench.told()[1:], [f'warning: {SERVER}: invalid cipher grade: "foo"'])

    def test_no_cipher_left(self) -> None:
        """What the library says is told, too."""
        bench = EngineBench()
        self.assertRaises(TlsStartError, bench.begin, policy(exclusions="ALL, COMPLEMENTOFALL"))
        self.assertEqual(
            bench.log,
            [
                f'warning: {SERVER}: error setting cipher grade: "medium"',
                "warning: TLS library problem: error:0A0000B9:SSL routines::no cipher match:",
            ],
        )

    def test_odd_limit(self) -> None:
        """A limit that the library does not know is told at each handshake, and does not count."""
        bench = EngineBench()
        for _ in range(2):
            bench.begin(policy(protocols=">=0399"))
            self.assertEqual(bench.told(), [f"warning: {SERVER}: error setting minimum TLS version to: 0x0399"])

    def test_contexts_are_shared(self) -> None:
        """Handshakes of one shape share a context, whatever else they want."""
        bench = EngineBench()
        contexts = {
            bench.begin(wanted).connection.get_context()
            for wanted in (policy(), policy(servername=HOST), policy(Level.ENCRYPT), policy(nexthop="x"))
        }
        self.assertEqual(len(contexts), 1)

    def test_unusable_records_weaken(self) -> None:
        """DANE without a record that can be used is shaped like the encryption that it has become, if both tell why."""
        bench = EngineBench(smtp_tls_loglevel="summary, untrusted")
        dane, encrypt = (bench.begin(policy(level)).connection.get_context() for level in (Level.DANE, Level.ENCRYPT))
        self.assertIs(dane, encrypt)
