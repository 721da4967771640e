"""What pyOpenSSL does not offer."""

from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.kit.tls_server import TlsServer, pass_on, shake_hands
from twisted_mta.tls import library


class LibraryTests(SynchronousTestCase):
    """`twisted_mta.tls.library`."""

    def client(self) -> library.Connection:
        """A client that has shaken hands, and the context of its kind."""
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        library.note_signatures(self.context)
        client = library.Connection(self.context, "subject")
        self.end = TlsServer(shared_pki()["valid"]).accept()
        shake_hands(client, self.end)
        return client

    def test_all_there(self) -> None:
        """The libraries that are installed can do everything."""
        self.assertEqual(library.missing(), ())

    def test_errors_keep_numbers(self) -> None:
        """An error of the library on a connection has its number, and alerts the names that they always had."""
        client = library.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        client.bio_write(b"220 this is no TLS\r\n")
        error = self.assertRaises(library.NumberedError, client.do_handshake)
        self.assertEqual(library.errors_of(error), [(0x0A00010B, "SSL routines", "wrong version number", "")])
        self.assertEqual(error.args[0], [("SSL routines", "", "wrong version number")])
        client = library.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        client.bio_write(bytes.fromhex("15030300020228"))
        error = self.assertRaises(library.NumberedError, client.do_handshake)
        self.assertEqual(
            error.errors, [(0x0A000410, "SSL routines", "sslv3 alert handshake failure", "SSL alert number 40")]
        )

    def test_errors_of_others(self) -> None:
        """An error that pyOpenSSL raised has no number any more; one without a list has nothing to say."""
        error = self.assertRaises(SSL.Error, SSL.Context(SSL.TLS_CLIENT_METHOD).set_cipher_list, b"nonsense")
        self.assertEqual(library.errors_of(error), [(0, "SSL routines", "no cipher match", "")])
        self.assertEqual(library.errors_of(SSL.SysCallError(-1, "Unexpected EOF")), [])
        self.assertEqual(library.errors_of(SSL.Error()), [])

    def test_waiting_is_no_error(self) -> None:
        """A connection that waits, or that was closed, says so as ever."""
        client = library.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        client = self.client()
        self.end.shutdown()
        pass_on(client, self.end)
        self.assertRaises(SSL.ZeroReturnError, client.recv, 100)

    def test_signatures(self) -> None:
        """The scheme by which the server signed is known; we signed nothing."""
        client = self.client()
        self.assertEqual((client.server_scheme, client.client_scheme), (0x0403, None))
        self.assertEqual(client.subject, "subject")

    def test_certificates(self) -> None:
        """What the server has sent, in DER."""
        client = self.client()
        self.assertEqual(library.leaf_of(client), shared_pki()["valid"].der)
        self.assertEqual(library.chain_of(client), [shared_pki()["valid"].der, shared_pki().intermediate.der])
        unconnected = library.Connection(self.context)
        self.assertIsNone(library.leaf_of(unconnected))
        self.assertEqual(library.chain_of(unconnected), [])

    def test_bits(self) -> None:
        """The bits of a cipher that count may be fewer than it has, or none."""
        self.assertEqual(library.cipher_bits(self.client()), (256, 256))
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.assertEqual(library.set_ciphers(context, "NULL-SHA256:@SECLEVEL=0"), [])
        client = library.Connection(context)
        server = TlsServer(shared_pki()["rsa"], ciphers="NULL-SHA256", versions=(0, SSL.TLS1_2_VERSION))
        shake_hands(client, server.accept())
        self.assertEqual(library.cipher_bits(client), (0, 0))

    def test_groups(self) -> None:
        """A list of groups is taken as a whole or not at all."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.assertTrue(library.set_groups(context, "X25519:ffdhe2048"))
        self.assertFalse(library.set_groups(context, "X25519:nonsense"))
        self.assertFalse(library.set_groups(context, "ä"))
        self.assertTrue(library.is_known_name("prime256v1"))
        self.assertFalse(library.is_known_name("nonsense"))
        self.assertFalse(library.is_known_name("1.2.3"))

    def test_sessions(self) -> None:
        """A session can be taken up by another connection with the same context; nonsense cannot."""
        client = self.client()
        self.assertFalse(library.was_resumed(client))
        self.end.send(b"x")
        pass_on(client, self.end)
        client.recv(1)
        session = library.dump_session(client)
        assert session is not None
        again = library.Connection(self.context)
        self.assertTrue(library.load_session(again, session))
        self.assertFalse(library.load_session(library.Connection(self.context), session[:-1]))
        self.assertFalse(library.load_session(library.Connection(self.context), b""))
        self.assertIsNone(library.dump_session(library.Connection(self.context)))

    def test_own_certificates(self) -> None:
        """A key must fit to the certificate that was used before; what is too weak for the level is refused."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, shared_pki()["client"].der)
        fitting, other = (
            crypto.load_privatekey(crypto.FILETYPE_PEM, shared_pki()[name].key_pem) for name in ("client", "valid")
        )
        self.assertEqual(library.use_certificate(context, certificate), [])
        self.assertEqual([error[2] for error in library.use_private_key(context, other)], ["key values mismatch"])
        self.assertEqual(library.use_private_key(context, fitting), [])
        weak = crypto.load_certificate(crypto.FILETYPE_ASN1, shared_pki()["weak"].der)
        self.assertEqual([error[2] for error in library.use_certificate(context, weak)], ["ee key too small"])
