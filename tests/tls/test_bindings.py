"""Channel bindings: both ends have the same, or none."""

import hashlib

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import Identity, shared_pki
from tests.kit.tls_server import TlsServer, shake_hands
from twisted_mta.tls.bindings import channel_binding
from twisted_mta.tls.library import Connection, dump_session, load_session, was_resumed

_NO_EXTENDED_MASTER_SECRET = 0x1  # SSL_OP_NO_EXTENDED_MASTER_SECRET of OpenSSL 3

TLS12 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)


class BindingTests(SynchronousTestCase):
    """`channel_binding`."""

    def ends(
        self, versions: tuple[int, int] = (0, 0), identity: Identity | None = None
    ) -> tuple[Connection, SSL.Connection]:
        """Both ends of a connection."""
        client, end = Connection(SSL.Context(SSL.TLS_CLIENT_METHOD)), None
        end = TlsServer(identity or shared_pki()["valid"], versions=versions).accept()
        shake_hands(client, end)
        return client, end

    def test_exporter(self) -> None:
        """tls-exporter: with TLS 1.3, and with TLS 1.2 where the master secret is bound (RFC 9266 section 4.2)."""
        for versions in ((0, 0), TLS12):
            client, end = self.ends(versions)
            theirs = end.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
            self.assertEqual(channel_binding(client, "tls-exporter", resumed=False), theirs)

    def test_unique(self) -> None:
        """tls-unique: the first Finished message, ours; there is none with TLS 1.3 (RFC 5929 section 3)."""
        client, end = self.ends(TLS12)
        unique = channel_binding(client, "tls-unique", resumed=False)
        self.assertEqual(unique, end.get_peer_finished())
        self.assertTrue(unique)
        self.assertIsNone(channel_binding(self.ends()[0], "tls-unique", resumed=False))

    def test_unique_of_resumed_session(self) -> None:
        """Where a session is taken up the server's Finished message is the first."""
        client, end = self.resumed(SSL.Context(SSL.TLS_CLIENT_METHOD))
        self.assertEqual(channel_binding(client, "tls-unique", resumed=True), end.get_finished())

    def test_unique_without_bound_master_secret(self) -> None:
        """Without an extended master secret somebody in the middle could make both ends' the same (RFC 7627 section 5.4)."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_options(_NO_EXTENDED_MASTER_SECRET)
        client, _ = self.resumed(context)
        self.assertIsNone(channel_binding(client, "tls-unique", resumed=True))

    def resumed(self, context: SSL.Context) -> tuple[Connection, SSL.Connection]:
        """Both ends of a connection with TLS 1.2 that has taken up the session of an earlier one."""
        server = TlsServer(shared_pki()["valid"], versions=TLS12)
        first = Connection(context)
        shake_hands(first, server.accept())
        session = dump_session(first)
        second, end = Connection(context), server.accept()
        self.assertTrue(load_session(second, session or b""))
        shake_hands(second, end)
        self.assertTrue(was_resumed(second))
        return second, end

    def test_server_end_point(self) -> None:
        """tls-server-end-point: the certificate by the digest of its signature; SHA-256 where that has none of its own."""
        for name, versions in (("valid", (0, 0)), ("rsa", TLS12)):
            client, _ = self.ends(versions, shared_pki()[name])
            expected = hashlib.sha256(shared_pki()[name].der).digest()
            self.assertEqual(channel_binding(client, "tls-server-end-point", resumed=False), expected)
        edwards = shared_pki().issue("mx", issuer=None, key="ed25519")
        client, _ = self.ends(identity=edwards)
        self.assertEqual(
            channel_binding(client, "tls-server-end-point", resumed=False), hashlib.sha256(edwards.der).digest()
        )

    def test_nothing_to_bind(self) -> None:
        """A server without a certificate has no end point; a kind that is not known has no data."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(b"aNULL:@SECLEVEL=0")
        client = Connection(context)
        shake_hands(client, TlsServer().accept())
        self.assertIsNone(channel_binding(client, "tls-server-end-point", resumed=False))
        self.assertIsNone(channel_binding(client, "tls-unknown", resumed=False))
