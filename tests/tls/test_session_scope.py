"""No TLS session crosses a border: whatever a verdict depends on, another value of it means a full handshake."""

from dataclasses import fields, replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import HOST, shared_pki
from tests.kit.tls_server import TlsServer
from tests.tls.engines import PEER, EngineBench, policy
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association, TlsPolicy

IDENTITY = shared_pki()["valid"]
CACHE = {"smtp_tls_session_cache_database": "btree:sessions"}

LEAF = Association(3, 1, 0, IDENTITY.public_key_der)
OTHER_LEAF = Association(3, 1, 0, shared_pki()["p384"].public_key_der)
ANCHOR = Association(2, 0, 0, shared_pki().intermediate.der)

SECURE = policy(Level.SECURE, matches=("nexthop",), trust_anchors=(ANCHOR,), servername="a.example")
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
        (SECURE, {"matches": ("nexthop", "hostname")}),
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
    """Who may take a session up."""

    def resumed(
        self, bench: EngineBench, server: TlsServer, wanted: TlsPolicy, ehlo: str = HOST, peer: Peer = PEER
    ) -> bool:
        """Shake hands; whether an earlier session was taken up."""
        handshake, end = bench.begin(wanted, ehlo, peer), server.accept()
        state = bench.finish(handshake, end)
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
                bench, server = EngineBench(**CACHE), TlsServer(IDENTITY)
                self.assertFalse(self.resumed(bench, server, wanted))
                self.assertFalse(self.resumed(bench, server, replace(wanted, **changes)), (name, changes))
                self.assertTrue(self.resumed(bench, server, wanted), (name, changes))

    def test_all_fields(self) -> None:
        """No field of a policy is left out here."""
        self.assertEqual({field.name for field in fields(TlsPolicy)}, {*OTHER_POLICIES} | HARMLESS)

    def test_harmless(self) -> None:
        """Whether a connection may be kept makes no difference to its session."""
        bench, server = EngineBench(**CACHE), TlsServer(IDENTITY)
        self.resumed(bench, server, policy())
        self.assertTrue(self.resumed(bench, server, policy(connection_reuse=True)))

    def test_peers(self) -> None:
        """Another host, address, port or destination, or another name in the reply to EHLO, is another session."""
        for changes in OTHER_PEERS:
            bench, server = EngineBench(**CACHE), TlsServer(IDENTITY)
            self.resumed(bench, server, policy())
            self.assertFalse(self.resumed(bench, server, policy(), peer=replace(PEER, **changes)), changes)
        bench, server = EngineBench(**CACHE), TlsServer(IDENTITY)
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
        bench, server = EngineBench(**CACHE), TlsServer(shared_pki()["self_signed"])
        for level in (Level.MAY, Level.ENCRYPT):
            self.resumed(bench, server, policy(level))
        for wanted in (policy(Level.VERIFY, matches=("hostname",)), SECURE, DANE, FINGERPRINT):
            handshake, end = bench.begin(wanted), server.accept()
            state = bench.finish(handshake, end)
            self.assertEqual((state.resumed, state.serves, state.secured), (False, False, False))
