"""Handshakes: what is told, what comes of them, and their sessions."""

import gc
import os
import re
import weakref
from dataclasses import replace

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import HOST, IDENTITIES, shared_pki, write
from tests.kit.tls_server import TlsServer, pass_on, shake_hands
from tests.tls.engines import NAMADDR, PEER, SERVER, EngineBench, policy
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association, TlsPolicy
from twisted_mta.tls.state import TlsState

TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
VERIFY = policy(Level.VERIFY, exclusions="aNULL", matches=("hostname",))


class HandshakeCase(SynchronousTestCase):
    """An engine that trusts the root."""

    def setUp(self) -> None:
        """Write the root to a file."""
        directory = os.path.abspath(self.mktemp())
        os.mkdir(directory)
        self.roots = write(directory, "roots.pem", shared_pki().root.certificate_pem)

    def bench(self, **settings: str) -> EngineBench:
        """An engine."""
        return EngineBench(**({"smtp_tls_CAfile": self.roots} | settings))


class ExaminationTests(HandshakeCase):
    """Certificates that are examined, and those of which only counts whether the library trusts them."""

    def test_same_verdict(self) -> None:
        """Whoever the server is, both come to the same."""
        trusted = set()
        for name in IDENTITIES.keys() - {"client_dsa"}:  # no server of our times would take that one
            server, states = TlsServer(shared_pki()[name]), []
            for classes in ("summary", "summary, untrusted"):
                bench = self.bench(smtp_tls_loglevel=classes, smtp_tls_scert_verifydepth="1")
                handshake = bench.begin(policy(exclusions="aNULL"))
                states.append(bench.finish(handshake, server.accept()))
                handshake.closed()
            self.assertEqual(states[0], states[1], name)
            if states[0].trusted:
                trusted.add(name)
        self.assertTrue({"valid", "rsa", "wrong_name"} <= trusted)
        self.assertFalse(trusted & {"expired", "self_signed", "no_intermediate", "not_for_servers"})

    def test_no_certificate(self) -> None:
        """A server that shows none is not trusted."""
        for classes in ("summary", "summary, untrusted"):
            bench = self.bench(smtp_tls_loglevel=classes)
            _, state = bench.shake(TlsServer(), policy(grade="medium"))
            self.assertEqual((state.has_certificate, state.trusted), (False, False))

    def test_quiet(self) -> None:
        """What only lines tell is not looked for where none are wanted."""
        _, state = self.bench(smtp_tls_loglevel="0").shake(TlsServer(shared_pki()["valid"]), policy())
        self.assertEqual((state.trusted, state.details), (True, ""))


class SummaryTests(HandshakeCase):
    """The line that tells of a connection."""

    def line(self, server: TlsServer, wanted: TlsPolicy | None = None) -> str:
        """The line, without what is the same in all."""
        bench = self.bench()
        bench.shake(server, wanted or policy())
        (line,) = bench.log
        return line.replace(f" TLS connection established to {SERVER}:", "")

    def test_kinds_of_keys(self) -> None:
        """With TLS 1.3 the line tells how the server signed."""
        begin = "Trusted TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature"
        cases = {
            "valid": "ECDSA (prime256v1) server-digest SHA256",
            "p384": "ECDSA (secp384r1) server-digest SHA384",
            "rsa": "RSA-PSS (2048 bits) server-digest SHA256",
            "ed25519": "ED25519",
        }
        for name, words in cases.items():
            self.assertEqual(self.line(TlsServer(shared_pki()[name])), f"{begin} {words}")

    def test_before_tls_1_3(self) -> None:
        """Before TLS 1.3 the cipher says it all."""
        self.assertEqual(
            self.line(TlsServer(shared_pki()["rsa"], versions=TLS12)),
            "Trusted TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)",
        )
        self.assertEqual(self.line(TlsServer()), "Anonymous TLSv1.2 with cipher ADH-AES256-GCM-SHA384 (256/256 bits)")
        tls10 = TlsServer(shared_pki()["rsa"], versions=(SSL.TLS1_VERSION, SSL.TLS1_VERSION))
        self.assertEqual(self.line(tls10), "Trusted TLSv1 with cipher ECDHE-RSA-AES256-SHA (256/256 bits)")

    def test_how_far_known(self) -> None:
        """A server that must match and does is verified; at lower levels it is trusted at best."""
        self.assertTrue(self.line(TlsServer(shared_pki()["valid"]), VERIFY).startswith("Verified "))
        self.assertTrue(self.line(TlsServer(shared_pki()["wrong_name"])).startswith("Trusted "))
        self.assertTrue(self.line(TlsServer(shared_pki()["expired"])).startswith("Untrusted "))
        self.assertTrue(self.line(TlsServer(shared_pki()["self_signed"])).startswith("Untrusted "))

    def test_silence(self) -> None:
        """Without the class nothing is told."""
        bench = self.bench(smtp_tls_loglevel="0")
        bench.shake(TlsServer(shared_pki()["valid"]), policy())
        self.assertEqual(bench.log, [])


class JudgementTests(HandshakeCase):
    """What comes of a handshake."""

    def state(self, name: str, wanted: TlsPolicy, **settings: str) -> TlsState:
        """What comes of a handshake with one of the servers; it never fails because of certificates."""
        self.engine = self.bench(**settings)
        return self.engine.shake(TlsServer(shared_pki()[name]), wanted)[1]

    def test_verify(self) -> None:
        """Authorities, dates and names count where the server must prove who it is."""
        self.assertEqual(
            {name: self.state(name, VERIFY).serves for name in ("valid", "wrong_name", "expired", "no_intermediate")},
            {"valid": True, "wrong_name": False, "expired": False, "no_intermediate": False},
        )
        self.assertFalse(self.state("valid", VERIFY, smtp_tls_CAfile="").serves)

    def test_depth(self) -> None:
        """A chain may have one intermediate certificate more than smtp_tls_scert_verifydepth says."""
        second = shared_pki().issue("Second", names=(), authority=True)
        deep = TlsServer(shared_pki().issue(issuer=second))
        self.assertFalse(self.bench(smtp_tls_scert_verifydepth="0").shake(deep, VERIFY)[1].serves)
        self.assertTrue(self.bench(smtp_tls_scert_verifydepth="1").shake(deep, VERIFY)[1].serves)
        self.assertTrue(self.state("valid", VERIFY, smtp_tls_scert_verifydepth="0").serves)

    def test_fingerprint(self) -> None:
        """A fingerprint is enough, whatever else is wrong."""
        wanted = policy(Level.FINGERPRINT, exclusions="aNULL", matches=(shared_pki()["expired"].fingerprint(),))
        self.assertTrue(self.state("expired", wanted).secured)
        self.assertFalse(self.state("valid", wanted).serves)

    def test_dane(self) -> None:
        """A TLSA record that matches is enough; where none can be used, encryption is."""
        record = Association(3, 0, 0, shared_pki()["self_signed"].der)
        wanted = policy(Level.DANE, exclusions="aNULL", associations=(record,), dane_names=(HOST,), servername=HOST)
        self.assertTrue(self.state("self_signed", wanted).secured)
        self.assertFalse(self.state("valid", wanted).serves)
        unusable = policy(Level.DANE, exclusions="aNULL", associations=(Association(3, 1, 1, b"short"),))
        state = self.state("valid", unusable)
        self.assertEqual((state.level, state.serves, state.secured), (Level.ENCRYPT, True, False))

    def test_examined(self) -> None:
        """What is seen of certificates is told while the handshake goes on, also where the library does not see it."""
        valid, anchor = shared_pki()["valid"], Association(2, 0, 0, shared_pki().intermediate.der)
        for name, wanted, seen in (
            ("valid", policy(Level.FINGERPRINT, exclusions="aNULL", matches=(valid.fingerprint(),)), ["0 1"]),
            ("valid", policy(Level.DANE, exclusions="aNULL", associations=(anchor,), dane_names=(HOST,)), ["0 1"]),
            ("valid", VERIFY, ["2 1", "1 1", "0 1"]),
            ("wrong_name", VERIFY, ["0 0", "2 1", "1 1", "0 1"]),
            ("self_signed", replace(VERIFY, matches=("other.example",)), ["0 0", "0 0", "0 1"]),
            ("expired", VERIFY, ["2 1", "1 1", "0 0", "0 1"]),
        ):
            bench = self.bench(smtp_tls_loglevel="verbose, ssl-debug")
            bench.shake(TlsServer(shared_pki()[name]), wanted)
            lines = [line.replace(f"{SERVER}: ", "") for line in bench.log]
            first = lines.index("SSL_connect:TLSv1.3 read encrypted extensions") + 1
            told = lines[first : lines.index("SSL_connect:SSLv3/TLS read server certificate")]
            self.assertEqual(
                [line.partition(" subject=/CN=")[0] for line in told],
                ["depth={} verify={}".format(*each.split()) for each in seen],
                name,
            )
            self.assertEqual(sum("depth=" in line and "verify=" in line for line in lines), len(seen))

    def test_dane_trust_anchor(self) -> None:
        """A TLSA record may be about a certificate above the server's, as it was sent."""
        anchor = Association(2, 0, 0, shared_pki().intermediate.der)
        wanted = policy(Level.DANE_ONLY, exclusions="aNULL", associations=(anchor,), dane_names=(HOST,))
        self.assertTrue(self.state("valid", wanted).secured)
        self.assertFalse(self.state("wrong_name", wanted).serves)

    def test_steps(self) -> None:
        """Our own steps are told, each certificate among them."""
        self.state("valid", policy(), smtp_tls_loglevel="verbose")
        identity = shared_pki()["valid"]
        self.assertEqual(
            self.engine.log[:2],
            ["initializing the client-side TLS engine", f"setting up TLS connection to {SERVER}"],
        )
        self.assertRegex(self.engine.log[2], r': TLS cipher list "aNULL:-aNULL:HIGH:.*@STRENGTH"\Z')
        self.assertEqual(
            self.engine.log[3:],
            [
                f"{SERVER}: depth=2 verify=1 subject=/CN=Test Root",
                f"{SERVER}: depth=1 verify=1 subject=/CN=Test Intermediate",
                f"{SERVER}: depth=0 verify=1 subject=/CN={HOST}",
                f"{SERVER}: subject_CN={HOST}, issuer=Test Intermediate, cert fingerprint={identity.fingerprint()},"
                f" pkey fingerprint={identity.key_fingerprint()}",
            ],
        )

    def test_not_kept_alive(self) -> None:
        """A handshake that was closed is free at once, not when garbage is collected."""
        gc.disable()
        self.addCleanup(gc.enable)
        bench = self.bench()
        handshake, _ = bench.shake(TlsServer(shared_pki()["valid"]), policy())
        connection = weakref.ref(handshake.connection)
        del handshake
        self.assertIsNone(connection())


class FailureTests(HandshakeCase):
    """What is told of handshakes that fail."""

    def test_library(self) -> None:
        """What the library has to say comes behind the number that stands for it."""
        bench = self.bench()
        server = TlsServer(shared_pki()["valid"], ciphers="AES128-SHA", versions=TLS12)
        self.assertRaises(SSL.Error, bench.shake, server, policy())
        self.assertEqual(
            bench.log,
            [
                f"SSL_connect error to {SERVER}: -1",
                "warning: TLS library problem: error:0A000410:SSL routines::sslv3 alert handshake failure:"
                "SSL alert number 40:",
            ],
        )

    def test_connection(self) -> None:
        """What became of the connection is told in words."""
        cases: list[tuple[SSL.Error | str, str]] = [
            ("lost connection", "lost connection"),
            ("Connection timed out", "Connection timed out"),
            (SSL.SysCallError(-1, "Unexpected EOF"), "lost connection"),
            (SSL.SysCallError(104, "ECONNRESET"), "Connection reset by peer"),
            (SSL.ZeroReturnError(), "lost connection"),
        ]
        for problem, words in cases:
            bench = self.bench()
            bench.begin(policy()).failed(problem)
            self.assertEqual(bench.log, [f"SSL_connect error to {SERVER}: {words}"])

    def test_step(self) -> None:
        """Where steps are told, so is the one at which the connection was lost; there was none where only time ran out."""
        for problem, told in (("lost connection", 1), ("Connection reset by peer", 1), ("Connection timed out", 0)):
            bench = self.bench(smtp_tls_loglevel="ssl-debug")
            handshake = bench.begin(policy())
            self.assertRaises(SSL.WantReadError, handshake.connection.do_handshake)
            handshake.failed(problem)
            self.assertEqual(
                bench.log[2:],
                ["SSL_connect:error in SSLv3/TLS write client hello"] * told
                + [f"SSL_connect error to {SERVER}: {problem}"],
            )

    def test_broken(self) -> None:
        """What breaks a session behind its handshake is told too, as of a server that misses our certificate in TLS 1.3."""
        bench, server = self.bench(), TlsServer(shared_pki()["valid"])
        handshake, end = bench.begin(policy()), server.accept()
        bench.finish(handshake, end)
        bench.told()
        end.send(b"250 ok\r\n")
        record = bytearray(end.bio_read(65536))
        record[-1] ^= 1
        handshake.connection.bio_write(bytes(record))
        handshake.broken(self.assertRaises(SSL.Error, handshake.connection.heard))
        problem = "warning: TLS library problem: error:0A000119:SSL routines::decryption failed or bad record mac:"
        self.assertIn(problem, bench.told())
        handshake.broken()
        handshake.broken(SSL.SysCallError(104, "ECONNRESET"))
        self.assertEqual(bench.told(), [])

    def test_case_of_names(self) -> None:
        """The server is written here as it was found, and in lower case in all that verification says."""
        peer = replace(PEER, relay=SERVER.upper(), namaddr=NAMADDR.upper())
        bench = self.bench(smtp_tls_loglevel="verbose")
        bench.begin(policy(), peer=peer).failed("lost connection")
        self.assertEqual(bench.log[1], f"setting up TLS connection to {SERVER}")
        self.assertEqual(bench.log[-1], f"SSL_connect error to {SERVER.upper()}: lost connection")


class SessionTests(HandshakeCase):
    """Sessions that are taken up again."""

    def caching(self, **settings: str) -> EngineBench:
        """An engine that keeps sessions."""
        return self.bench(smtp_tls_session_cache_database="btree:sessions", **settings)

    def test_taken_up(self) -> None:
        """The second handshake takes up the session of the first, with its verdict, in each version of TLS."""
        for versions in ((0, 0), TLS12):
            bench, server = self.caching(), TlsServer(shared_pki()["valid"], versions=versions)
            states = [bench.shake(server, VERIFY)[1] for _ in range(3)]
            self.assertEqual([state.resumed for state in states], [False, True, True])
            self.assertTrue(all(state.secured for state in states))

    def test_line(self) -> None:
        """A connection with such a session is a new one; nobody signed anything."""
        bench, server = self.caching(), TlsServer(shared_pki()["valid"])
        bench.shake(server, policy())
        bench.told()
        bench.shake(server, policy())
        self.assertEqual(
            bench.log,
            [
                f"Trusted TLS connection established to {SERVER}: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"
                " (256/256 bits) key-exchange X25519"
            ],
        )

    def test_lines_of_cache(self) -> None:
        """What the cache does is told, and a session by its key; one without a ticket is never kept."""
        bench, server = self.caching(smtp_tls_loglevel="cache"), TlsServer(shared_pki()["valid"])
        bench.shake(server, policy())
        first, second = bench.told()
        key = rf"smtp&dest\.example&{re.escape(HOST)}&192\.0\.2\.1&&&[0-9A-F]{{64}}"
        self.assertRegex(first, rf"\Alooking for session {key} in smtp cache\Z")
        self.assertRegex(second, rf"\Asave session {key} to smtp cache\Z")
        bench.shake(server, policy())
        lines = bench.told()
        self.assertRegex(lines[1], rf"\Areloaded session {key} from smtp cache\Z")
        self.assertEqual(lines[2], f"{SERVER}: Reusing old session")

    def test_certificate(self) -> None:
        """Whose certificate it is can be told though the server has not shown it again."""
        bench, server = self.caching(smtp_tls_loglevel="peercert"), TlsServer(shared_pki()["valid"])
        for _ in range(2):
            bench.shake(server, policy())
        first, second = bench.log
        self.assertIn(f"cert fingerprint={shared_pki()['valid'].fingerprint()}", first)
        self.assertEqual(first, second)
        anonymous = TlsServer()
        for _ in range(2):
            bench.shake(anonymous, policy())
        self.assertEqual(len(bench.log), 2)

    def test_key(self) -> None:
        """A session is taken up only for the same server, asked for in the same way, with the same demands."""
        other = policy(Level.FINGERPRINT, exclusions="aNULL", matches=("00" * 32,))
        for wanted, name in (
            (policy(protocols="<=TLSv1.3"), HOST),
            (policy(grade="high"), HOST),
            (policy(exclusions="MD5"), HOST),
            (policy(servername="other.example"), HOST),
            (policy(Level.ENCRYPT), HOST),
            (other, HOST),
            (policy(), "another.name"),
        ):
            bench, server = self.caching(), TlsServer(shared_pki()["valid"])
            bench.shake(server, policy())
            self.assertFalse(bench.shake(server, wanted, name)[1].resumed)
            self.assertTrue(bench.shake(server, policy())[1].resumed)

    def test_untrusted(self) -> None:
        """A server that did not match when the session began does not match when it is taken up, and that is told."""
        bench, server = self.caching(), TlsServer(shared_pki()["wrong_name"])
        bench.shake(server, VERIFY)
        bench.told()
        state = bench.shake(server, VERIFY)[1]
        self.assertEqual((state.resumed, state.serves), (True, False))
        self.assertEqual(
            bench.log[0],
            f"{SERVER}: re-using session with untrusted peer credential, look for details earlier in the log",
        )

    def test_age(self) -> None:
        """A verdict is not believed for longer than the lifetime of the cache, however often its session is taken up."""
        bench, server = self.caching(smtp_tls_session_cache_timeout="1000s"), TlsServer(shared_pki()["valid"])
        bench.shake(server, policy())
        bench.clock.advance(600)
        self.assertTrue(bench.shake(server, policy())[1].resumed)
        bench.clock.advance(600)
        self.assertFalse(bench.shake(server, policy())[1].resumed)
        self.assertTrue(bench.shake(server, policy())[1].resumed)

    def test_forgotten(self) -> None:
        """After a handshake that failed the session is not tried again."""
        bench, server = self.caching(smtp_tls_loglevel="cache"), TlsServer(shared_pki()["valid"])
        bench.shake(server, policy())
        bench.begin(policy()).failed("lost connection")
        self.assertRegex(bench.told()[-1], r"\Aremove session smtp&.* from client cache\Z")
        self.assertFalse(bench.shake(server, policy())[1].resumed)

    def test_not_liked(self) -> None:
        """A server that has forgotten a session makes a new one, and is judged anew."""
        bench = self.caching()
        bench.shake(TlsServer(shared_pki()["valid"]), VERIFY)
        state = bench.shake(TlsServer(shared_pki()["wrong_name"]), VERIFY)[1]
        self.assertEqual((state.resumed, state.serves), (False, False))

    def test_off(self) -> None:
        """Without a database, or with a time of zero, no session is kept."""
        for settings in ({}, {"smtp_tls_session_cache_database": "btree:x", "smtp_tls_session_cache_timeout": "0"}):
            bench, server = self.bench(**settings), TlsServer(shared_pki()["valid"])
            bench.shake(server, policy())
            self.assertFalse(bench.shake(server, policy())[1].resumed)

    def test_late_ticket(self) -> None:
        """A ticket that comes only after the first words is kept when the connection ends."""
        bench, server = self.caching(), TlsServer(shared_pki()["valid"])
        handshake, end = bench.begin(policy()), server.accept()
        bench.finish(handshake, end)
        handshake.application_data_came()  # before anything was read
        end.send(b"x")
        pass_on(handshake.connection, end)
        handshake.connection.recv(1)
        handshake.closed()
        self.assertTrue(bench.shake(server, policy())[1].resumed)

    def test_lmtp(self) -> None:
        """The cache of LMTP is another one, by its own parameters."""
        bench = EngineBench(
            protocol="lmtp", lmtp_tls_loglevel="cache", lmtp_tls_session_cache_database="btree:sessions"
        )
        bench.shake(TlsServer(shared_pki()["valid"]), policy())
        self.assertRegex(bench.log[0], r"\Alooking for session lmtp&.* in lmtp cache\Z")


class ChannelTests(HandshakeCase):
    """What ties a login to a connection."""

    def test_bindings(self) -> None:
        """The bindings of the connection, also of one with a session that was taken up."""
        bench = self.bench(smtp_tls_session_cache_database="btree:sessions")
        server = TlsServer(shared_pki()["valid"], versions=TLS12)
        for resumed in (False, True):
            handshake, end = bench.begin(policy()), server.accept()
            shake_hands(handshake.connection, end)
            self.assertEqual(handshake.completed().resumed, resumed)
            theirs = end.get_finished() if resumed else end.get_peer_finished()
            self.assertEqual(handshake.channel_binding("tls-unique"), theirs)
