"""No TLS session crosses a border: whatever a verdict depends on, another value of it means a full handshake."""

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import HOST, shared_pki
from tests.kit.tls_server import TlsServer
from tests.tls.engines import PEER, SERVER, EngineBench, MemoryStore, policy
from twisted_mta.config.choices import InsecureMxPolicy, TlsLevel
from twisted_mta.config.parameter import Kind
from twisted_mta.config.parameters_tls import TlsLibraryRows, TlsRows
from twisted_mta.config.settings import load_settings
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.client_certificates import ClientCertificates
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association, TlsPolicy
from twisted_mta.tls.session_scope import IMMATERIAL, MOST_OCTETS, authorities_digest, scope_of
from twisted_mta.tls.state import TlsState

IDENTITY = shared_pki()["valid"]
CACHE = {"smtp_tls_session_cache_database": "btree:sessions"}

LEAF = Association(3, 1, 0, IDENTITY.public_key_der)
OTHER_LEAF = Association(3, 1, 0, shared_pki()["p384"].public_key_der)
ANCHOR = Association(2, 0, 0, shared_pki().intermediate.der)

SECURE = policy(Level.SECURE, matches=("hostname", "nexthop"), trust_anchors=(ANCHOR,), servername="a.example")
DANE = policy(Level.DANE, associations=(LEAF,), dane_names=(HOST,), servername=HOST)
FINGERPRINT = policy(Level.FINGERPRINT, matches=(IDENTITY.fingerprint(),))

OTHER_POLICIES: dict[str, list[tuple[TlsPolicy, dict[str, Any]]]] = {
    "level": [
        (policy(one), {"level": other})
        for one in (Level.MAY, Level.ENCRYPT)
        for other in (Level.MAY, Level.ENCRYPT, Level.FINGERPRINT, Level.VERIFY, Level.SECURE, Level.DANE_ONLY)
        if one is not other
    ]
    + [(SECURE, {"level": Level.VERIFY}), (DANE, {"level": Level.DANE_ONLY}), (DANE, {"level": Level.HALF_DANE})],
    "protocols": [(policy(), {"protocols": "TLSv1.3"}), (SECURE, {"protocols": ">=TLSv1.2"})],
    "grade": [(policy(), {"grade": "high"}), (SECURE, {"grade": "high"})],
    "exclusions": [(policy(), {"exclusions": "MD5"}), (SECURE, {"exclusions": "aNULL MD5"})],
    "matches": [
        (SECURE, {"matches": ("hostname",)}),
        (SECURE, {"matches": (".example",)}),
        (FINGERPRINT, {"matches": (IDENTITY.fingerprint(), IDENTITY.key_fingerprint())}),
    ],
    "trust_anchors": [
        (SECURE, {"trust_anchors": ()}),
        (SECURE, {"trust_anchors": (ANCHOR, Association(2, 0, 0, shared_pki().root.der))}),
    ],
    "servername": [
        (policy(), {"servername": "a.example"}),
        (SECURE, {"servername": "b.example"}),
        (SECURE, {"servername": ""}),
    ],
    "associations": [
        (DANE, {"associations": (LEAF, OTHER_LEAF)}),
        (DANE, {"associations": (OTHER_LEAF,)}),
        (DANE, {"associations": ()}),
    ],
    "dane_names": [(DANE, {"dane_names": (HOST, "dest.example")})],
    "nexthop": [(SECURE, {"nexthop": "other.example"})],
    "enable_rpk": [(policy(), {"enable_rpk": True})],
}
"""By the field of TlsPolicy: policies, and what is different of another one."""

HARMLESS = {"connection_reuse"}
"""It says what becomes of the connection, not of the session."""

OTHER_PEERS: tuple[dict[str, Any], ...] = (
    {"host": "mx2.dest.example"},
    {"address": "192.0.2.2"},
    {"relay": PEER.relay.replace(":25", ":587")},
    {"nexthop": "other.example"},
)


class ScopeTests(SynchronousTestCase):
    """Who may take a session up.

    Attributes:
        keeps_unproved: whether a session is kept where the server did not prove what was demanded.
        state: of the last handshake.
    """

    keeps_unproved = True

    def bench(self) -> EngineBench:
        """An engine with a memory of its own."""
        return EngineBench(**CACHE)

    def again(self, bench: EngineBench) -> EngineBench:
        """The engine of the next handshake."""
        return bench

    def resumed(
        self, bench: EngineBench, server: TlsServer, wanted: TlsPolicy, ehlo: str = HOST, peer: Peer = PEER
    ) -> bool:
        """Shake hands; whether an earlier session was taken up."""
        bench = self.again(bench)
        handshake, end = bench.begin(wanted, ehlo, peer), server.accept()
        self.state = state = bench.finish(handshake, end)
        end.send(b"250 ok\r\n")
        handshake.connection.bio_write(end.bio_read(65536))
        handshake.connection.recv(100)
        handshake.application_data_came()
        handshake.closed()
        return state.resumed

    def test_policies(self) -> None:
        """Another value of any field of a policy is another session; the first policy still finds its own."""
        for name, cases in OTHER_POLICIES.items():
            for wanted, changes in cases:
                bench, server = self.bench(), TlsServer(IDENTITY)
                self.assertFalse(self.resumed(bench, server, wanted))
                self.assertFalse(self.resumed(bench, server, replace(wanted, **changes)), (name, changes))
                kept = self.resumed(bench, server, wanted)
                self.assertEqual(kept, self.keeps_unproved or self.state.serves, (name, changes))

    def test_all_fields(self) -> None:
        """No field of a policy is left out here."""
        self.assertEqual({field.name for field in fields(TlsPolicy)}, {*OTHER_POLICIES} | HARMLESS)

    def test_harmless(self) -> None:
        """Whether a connection may be kept makes no difference to its session."""
        bench, server = self.bench(), TlsServer(IDENTITY)
        self.resumed(bench, server, policy())
        self.assertTrue(self.resumed(bench, server, policy(connection_reuse=True)))

    def test_peers(self) -> None:
        """Another host, address, port or destination, or another name in the reply to EHLO, is another session."""
        for changes in OTHER_PEERS:
            bench, server = self.bench(), TlsServer(IDENTITY)
            self.resumed(bench, server, policy())
            self.assertFalse(self.resumed(bench, server, policy(), peer=replace(PEER, **changes)), changes)
        bench, server = self.bench(), TlsServer(IDENTITY)
        self.resumed(bench, server, policy())
        for name in ("", HOST.upper(), "mx.example"):
            self.assertFalse(self.resumed(bench, server, policy(), name), name)

    def test_engines(self) -> None:
        """Another configuration, with other authorities or certificates of ours, is another engine with a cache of its own."""
        server = TlsServer(IDENTITY)
        for _ in range(2):
            self.assertFalse(self.resumed(EngineBench(**CACHE), server, policy()))

    def test_unverified_never_becomes_verified(self) -> None:
        """A session of a level that demands nothing proves nothing at one that does, whoever has the server's tickets."""
        bench, server = self.bench(), TlsServer(shared_pki()["self_signed"])
        for level in (Level.MAY, Level.ENCRYPT):
            self.resumed(bench, server, policy(level))
        for wanted in (policy(Level.VERIFY, matches=("hostname",)), SECURE, DANE, FINGERPRINT):
            handshake, end = self.again(bench).begin(wanted), server.accept()
            state = bench.finish(handshake, end)
            self.assertEqual((state.resumed, state.serves, state.secured), (False, False, False))


class StoredScopeTests(ScopeTests):
    """The same where each handshake is that of another process: all have one store."""

    keeps_unproved = False

    def bench(self) -> EngineBench:
        """An engine with a new store."""
        return EngineBench(store=MemoryStore(), **CACHE)

    def again(self, bench: EngineBench) -> EngineBench:
        """Another engine with the same store."""
        return EngineBench(store=bench.store, **CACHE)

    def test_stored(self) -> None:
        """A session is stored under a name of ours, with its verdict, and taken up by whoever comes next."""
        bench, server = self.bench(), TlsServer(IDENTITY)
        self.assertEqual([self.resumed(bench, server, FINGERPRINT) for _ in range(3)], [False, True, True])
        (name,) = bench.store.kept
        self.assertTrue(name.startswith("twisted_mta:"))
        state = self.finish(self.again(bench), server, FINGERPRINT)
        self.assertTrue(state.resumed and state.secured)

    def finish(self, bench: EngineBench, server: TlsServer, wanted: TlsPolicy) -> TlsState:
        """Shake hands; what comes of it."""
        handshake, end = bench.begin(wanted), server.accept()
        return bench.finish(handshake, end)

    def test_lines(self) -> None:
        """The log tells of a stored session as of one in memory."""
        bench, server = EngineBench(store=MemoryStore(), smtp_tls_loglevel="cache", **CACHE), TlsServer(IDENTITY)
        bench.shake(server, policy())
        (key,) = (name.partition("&")[2] for name in bench.store.kept)
        self.assertEqual(
            bench.told(), [f"looking for session {key} in smtp cache", f"save session {key} to smtp cache"]
        )
        other = EngineBench(store=bench.store, smtp_tls_loglevel="cache", **CACHE)
        other.shake(server, policy())
        self.assertEqual(
            other.log,
            [
                f"looking for session {key} in smtp cache",
                f"reloaded session {key} from smtp cache",
                f"{SERVER}: Reusing old session",
                f"save session {key} to smtp cache",
            ],
        )

    def test_failure(self) -> None:
        """A handshake that fails, or an error inside TLS, deletes the stored session, too."""
        for fail in ("failed", "broken"):
            bench, server = self.bench(), TlsServer(IDENTITY)
            bench.shake(server, policy())
            handshake = self.again(bench).begin(policy())
            handshake.failed("lost connection") if fail == "failed" else handshake.broken()
            self.assertEqual(bench.store.kept, {})

    def test_no_session_in_it(self) -> None:
        """What OpenSSL cannot read is no session: a full handshake, and it goes."""
        bench, server = self.bench(), TlsServer(IDENTITY)
        bench.shake(server, policy())
        ((name, octets),) = bench.store.kept.items()
        bench.store.kept[name] = octets[:48] + b"\x30\x03\x02\x01\x01"
        handshake = self.again(bench).begin(policy())
        self.assertEqual(bench.store.kept, {})
        end = server.accept()
        self.assertFalse(bench.finish(handshake, end).resumed)

    def test_age(self) -> None:
        """A verdict is believed no longer than the lifetime of the cache, whichever processes took its session up."""
        store, server = MemoryStore(), TlsServer(IDENTITY)
        found = []
        for seconds in (0, 600, 900, 999, 1000, 1600):
            bench = EngineBench(store=store, smtp_tls_session_cache_timeout="1000s", **CACHE)
            bench.clock.advance(1_000_000 + seconds)
            found.append(bench.shake(server, policy())[1].resumed)
        self.assertEqual(found, [False, True, True, True, False, True])


class ConfigurationTests(SynchronousTestCase):
    """What belongs to all sessions of an engine: `authorities_digest` and `scope_of`."""

    def setUp(self) -> None:
        """Make a place for files."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def scope(self, protocol: str = "smtp", **parameters: str) -> str:
        """The digest with these parameters."""
        loaded = load_settings(None, protocol=protocol, overrides=list(parameters.items()))
        authorities = authorities_digest(loaded)
        assert authorities is not None
        certificates = ClientCertificates.from_settings(loaded, lambda event: None)
        return scope_of(loaded, certificates, authorities)

    def write(self, name: str, content: bytes) -> str:
        """Write a file."""
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def test_parameters(self) -> None:
        """Each parameter of TLS counts, but for those that are named as immaterial."""
        values = {
            str: ("some", "other"),
            tuple: ("some", "other"),
            int: ("3", "4"),
            bool: ("yes", "no"),
            InsecureMxPolicy: ("may", "encrypt"),
            TlsLevel: ("may", "encrypt"),
        }
        files = {"smtp_tls_chain_files", "smtp_tls_cert_file", "smtp_tls_dcert_file", "smtp_tls_eccert_file"}
        defaults = load_settings(None)
        names = [row.name for row in (*TlsRows.rows, *TlsLibraryRows.rows) if row.kind is not Kind.LEGACY]
        self.assertEqual(set(IMMATERIAL) - set(names), set())
        for name in names:
            if name in files:
                continue
            one, other = values[type(getattr(defaults, name))]
            self.assertEqual(self.scope(**{name: one}), self.scope(**{name: one}), name)
            self.assertEqual(self.scope(**{name: one}) == self.scope(**{name: other}), name in IMMATERIAL, name)

    def test_protocols(self) -> None:
        """LMTP is something else."""
        self.assertNotEqual(self.scope(), self.scope("lmtp"))

    def test_authorities(self) -> None:
        """The name and the content of the file count; what time it has does not."""
        root, other = shared_pki().root.certificate_pem, shared_pki().other_root.certificate_pem
        file = self.write("roots.pem", root)
        first = self.scope(smtp_tls_CAfile=file)
        os.utime(file, (1, 1))
        self.assertEqual(self.scope(smtp_tls_CAfile=file), first)
        self.assertNotEqual(self.scope(smtp_tls_CAfile=self.write("same.pem", root)), first)
        self.write("roots.pem", root + other)
        self.assertNotEqual(self.scope(smtp_tls_CAfile=file), first)
        self.write("roots.pem", root)
        self.assertEqual(self.scope(smtp_tls_CAfile=file), first)
        self.assertNotEqual(self.scope(smtp_tls_CAfile=file, tls_append_default_CA="yes"), first)
        self.assertNotEqual(self.scope(smtp_tls_CAfile=str(self.folder / "none")), self.scope(smtp_tls_CAfile=file))

    def test_directory(self) -> None:
        """Of a directory those files count that OpenSSL looks for: their names, and what they hold."""
        root, other = shared_pki().root.certificate_pem, shared_pki().other_root.certificate_pem
        directory = str(self.folder)
        seen = [self.scope(smtp_tls_CApath=directory)]
        self.write("README", b"text")
        self.assertEqual(self.scope(smtp_tls_CApath=directory), seen[0])
        for name, content in (("01234567.0", root), ("01234567.1", root), ("01234567.1", other), ("fedcba98.0", root)):
            self.write(name, content)
            seen.append(self.scope(smtp_tls_CApath=directory))
        (self.folder / "01234567.0").rename(self.folder / "01234567.2")
        seen.append(self.scope(smtp_tls_CApath=directory))
        self.assertEqual(len(set(seen)), len(seen))

    def test_directories(self) -> None:
        """There can be several of them, between colons."""
        for name in ("one", "two"):
            (self.folder / name).mkdir()
        directories = f"{self.folder}/one:{self.folder}/two"
        seen = [self.scope(smtp_tls_CApath=directories)]
        for name in ("one", "two"):
            self.write(f"{name}/01234567.0", shared_pki().root.certificate_pem)
            seen.append(self.scope(smtp_tls_CApath=directories))
        self.assertEqual(len(set(seen)), 3)

    def test_system(self) -> None:
        """The system's authorities count where they are trusted; here a file that the environment names."""
        file = self.write("system.pem", shared_pki().root.certificate_pem)
        os.environ["SSL_CERT_FILE"] = file
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        found = []
        for content in (shared_pki().root.certificate_pem, shared_pki().other_root.certificate_pem):
            self.write("system.pem", content)
            found.append((self.scope(), self.scope(tls_append_default_CA="yes")))
        (without, one), (again, other) = found
        self.assertEqual(without, again)
        self.assertNotEqual(one, other)

    def test_client_certificates(self) -> None:
        """Who we are counts; nothing of a private key is in it."""
        digests = set()
        for name in ("client", "client_rsa"):
            identity = shared_pki()[name]
            file = self.write("client.pem", Path(identity.write(self.folder, name).both).read_bytes())
            digests.add(self.scope(smtp_tls_chain_files=file))
        self.assertEqual(len(digests), 2)

    def test_openssl_configuration(self) -> None:
        """What OpenSSL itself was told counts."""
        former = os.environ.get("OPENSSL_CONF")
        self.addCleanup(
            lambda: os.environ.pop("OPENSSL_CONF") if former is None else os.environ.update(OPENSSL_CONF=former)
        )
        digests = set()
        for content in (b"", b"x = y\n"):
            os.environ["OPENSSL_CONF"] = self.write("openssl.cnf", content)
            digests.add(self.scope())
        self.assertEqual(len(digests), 2)

    def test_changed_meanwhile(self) -> None:
        """Authorities that were replaced while they were loaded are nobody's: there is no digest."""
        file = self.write("roots.pem", shared_pki().root.certificate_pem)
        loaded = load_settings(None, overrides=[("smtp_tls_CAfile", file)])
        before = authorities_digest(loaded)
        self.write("roots.pem", shared_pki().other_root.certificate_pem)
        assert before is not None
        self.assertEqual(scope_of(loaded, ClientCertificates(), before), "")

    def test_too_much(self) -> None:
        """More than anybody has is not read: sessions stay in the process, and nothing else comes of it."""
        with (self.folder / "01234567.0").open("wb") as file:
            file.truncate(MOST_OCTETS + 1)
        store, server = MemoryStore(), TlsServer(IDENTITY)
        bench = EngineBench(store=store, smtp_tls_CApath=str(self.folder), **CACHE)
        self.assertEqual([bench.shake(server, policy())[1].resumed for _ in range(2)], [False, True])
        self.assertEqual((store.kept, store.asked), ({}, []))

    def test_other_process(self) -> None:
        """Another process, in which sets have another order, finds the same id for a session."""
        file = self.write("roots.pem", shared_pki().root.certificate_pem)
        program = (
            "import sys\n"
            "from tests.tls.engines import EngineBench, MemoryStore, policy\n"
            "from twisted_mta.tls.levels import Level\n"
            "from twisted_mta.tls.policy import Association\n"
            "store = MemoryStore()\n"
            "settings = {'smtp_tls_session_cache_database': 'btree:x', 'smtp_tls_CAfile': sys.argv[1]}\n"
            "bench = EngineBench(store=store, **settings)\n"
            "records = tuple(Association(3, 1, kind, bytes(32 * kind)) for kind in (1, 2))\n"
            "bench.begin(policy(Level.SECURE, matches=('nexthop', '.example')))\n"
            "bench.begin(policy(Level.DANE, associations=records, dane_names=('a', 'b')))\n"
            "bench.begin(policy(Level.FINGERPRINT, matches=('ab' * 32, 'cd' * 32)))\n"
            "print(*store.asked)\n"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", program, file],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        self.assertEqual(len(found), 1)
        ids = found.pop().split()
        self.assertEqual((len(ids), len(set(ids))), (3, 3))
