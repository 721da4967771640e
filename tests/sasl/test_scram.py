"""SCRAM in all its forms."""

import base64
import hashlib
import hmac
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramException, ScramMechanism

from tests.sasl.logins import MechanismTestCase, login, mechanism
from twisted_mta.interfaces import SaslError
from twisted_mta.model.login import ChannelBinding, Login
from twisted_mta.sasl.conversation import Conversation
from twisted_mta.sasl.scram import MOST_ITERATIONS, scram

SHA1_NONCE = "fyko+d2lbbFgONRv9qkxdawL"
SHA1_FIRST = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
SHA1_FINAL = b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="
BINDING = ChannelBinding("tls-exporter", b"\x01\x02" * 16)


def conversation(of: Login, hash_name: str = "sha1", nonce: str = SHA1_NONCE, *, plus: bool = False) -> Conversation:
    """A login with a nonce that is known."""
    return Conversation("SCRAM", scram(of, hash_name, plus=plus, new_nonce=lambda: nonce), proven_after=2)


class ExampleTests(MechanismTestCase):
    """Known answers."""

    def test_sha_1(self) -> None:
        """The example of RFC 5802 section 5."""
        made = conversation(login())
        self.assertEqual(
            self.said(made, SHA1_FIRST, SHA1_FINAL),
            [
                b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                b"",
            ],
        )
        made.succeeded()

    def test_sha_256(self) -> None:
        """The example of RFC 7677 section 3."""
        made = conversation(login(), "sha256", "rOprNGfwEbeRWgbNEkqO")
        first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        self.assertEqual(
            self.said(made, first, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            [
                b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                b"",
            ],
        )
        made.succeeded()


class ServerTests(MechanismTestCase):
    """Logins at another implementation's server."""

    def log_in(self, name: str, of: Login, password: str = "pencil", binding: Any = None) -> None:
        """Log in at a server that knows the user by this password."""
        server_mechanism = ScramMechanism(name)
        known = server_mechanism.make_auth_info(password)
        server = server_mechanism.make_server(lambda _: known, channel_binding=binding)
        made = mechanism(name, of)
        first = made.start()
        assert first is not None
        server.set_client_first(first.decode())
        server.set_client_final(made.step(server.get_server_first().encode()).decode())
        self.assertEqual(made.step(server.get_server_final().encode()), b"")
        made.succeeded()

    def test_hashes(self) -> None:
        """Each hash that the other side has, too."""
        for name in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            self.log_in(name, login())

    def test_characters(self) -> None:
        """Names and passwords of all kinds are prepared alike on both sides."""
        self.log_in("SCRAM-SHA-256", login("a=b,c", "p\u00a0\u2168 \u00ad"), "p IX ")

    def test_bindings(self) -> None:
        """With -PLUS the proof covers the TLS connection; another connection's is worth nothing."""
        for kind in ("tls-server-end-point", "tls-unique"):
            bound = login(binding=ChannelBinding(kind, b"\x00channel"))
            self.log_in("SCRAM-SHA-256-PLUS", bound, binding=(kind, b"\x00channel"))
            error = self.assertRaises(
                ScramException, self.log_in, "SCRAM-SHA-1-PLUS", bound, binding=(kind, b"\x00another channel")
            )
            self.assertIn("channel bindings don't match", str(error))

    def test_wrong_password(self) -> None:
        """A server that knows another password refuses the proof."""
        self.assertRaises(ScramException, self.log_in, "SCRAM-SHA-256", login(), "another")

    def test_downgrade(self) -> None:
        """A server that binds hears that we saw no such offer, and refuses: somebody has taken it away."""
        bound = login(binding=ChannelBinding("tls-unique", b"channel"))
        error = self.assertRaises(
            ScramException, self.log_in, "SCRAM-SHA-256", bound, binding=("tls-unique", b"channel")
        )
        self.assertIn("server-does-support-channel-binding", str(error))


class HeaderTests(MechanismTestCase):
    """What is said of channel binding, and on whose behalf (RFC 5802 section 7)."""

    def first(self, of: Login, *, plus: bool = False) -> bytes:
        """The first message."""
        first = conversation(of, plus=plus).start()
        assert first is not None
        return first

    def test_flags(self) -> None:
        """``n``: we cannot; ``y``: we could, but nobody asks; ``p``: we do."""
        self.assertTrue(self.first(login()).startswith(b"n,,n=user,"))
        self.assertTrue(self.first(login(server_binds=True)).startswith(b"n,,n=user,"))
        self.assertTrue(self.first(login(binding=BINDING)).startswith(b"y,,n=user,"))
        self.assertTrue(self.first(login(binding=BINDING, server_binds=True)).startswith(b"n,,n=user,"))
        self.assertTrue(self.first(login(binding=BINDING), plus=True).startswith(b"p=tls-exporter,,n=user,"))

    def test_names(self) -> None:
        """Commas and equals signs in names are written otherwise."""
        self.assertEqual(
            self.first(login("u,=x", authorization_id="u,=x")), b"n,a=u=2C=3Dx,n=u=2C=3Dx,r=" + SHA1_NONCE.encode()
        )

    def test_header_is_part_of_the_proof(self) -> None:
        """The header comes again with the binding, in base64."""
        made = conversation(login(binding=BINDING, authorization_id="boss"), plus=True)
        _, final = self.said(made, SHA1_FIRST)
        assert final is not None
        header, _, rest = final.partition(b",")
        self.assertEqual(base64.b64decode(header.removeprefix(b"c=")), b"p=tls-exporter,a=boss," + BINDING.data)
        self.assertTrue(rest.startswith(b"r=fyko"))

    def test_unusable_names(self) -> None:
        """What SASLprep forbids cannot be sent; the log says which of the two it is, but not what."""
        error = self.refusal(conversation(login("\u05d0b")))
        self.assertEqual(error.problem, "generic failure")
        self.assertIn("SCRAM cannot use the user name", error.warning)
        error = self.refusal(conversation(login(password="secret\x07")), SHA1_FIRST)
        self.assertIn("SCRAM cannot use the password", error.warning)
        self.assertNotIn("secret", error.warning)


class HostileTests(MechanismTestCase):
    """Servers that do not know the password, or the protocol, or that want to keep us busy."""

    def test_first_messages(self) -> None:
        """What cannot be answered says why."""
        n = SHA1_NONCE
        for message, text in {
            "": "Invalid SCRAM-SHA-1 input",
            "garbage": "Invalid SCRAM-SHA-1 input",
            f"m=x,r={n}y,s=c2FsdA==,i=4096": "Unsupported mandatory extension to SCRAM-SHA-1",
            f"r={n}y,s=,i=4096": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=!!,i=4096": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=c2F,i=4096": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=c2FsdA==": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=c2FsdA==,i=x": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=c2FsdA==,i=-1": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=c2FsdA==,i=\u0664096": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=c2FsdA==,i=99999999999": "Invalid SCRAM-SHA-1 input",
            f"r={n}y,s=c2FsdA==,i=999999999": "iteration-count is too big, refusing to compute (999999999)",
            f"r={n}y,s=c2FsdA==,i=65537": "iteration-count is too big, refusing to compute (65537)",
            f"r={n}y,s=c2FsdA==,i=4095": "iteration-count is too small, refusing to compute (4095)",
            f"r={n}y,s=c2FsdA==,i=0": "iteration-count is too small, refusing to compute (0)",
        }.items():
            error = self.refusal(conversation(login()), message.encode())
            self.assertEqual(error.problem, "bad protocol / cancel", message)
            self.assertEqual(error.warning, f"SASL authentication failure: {text}")

    def test_nonces(self) -> None:
        """The server's nonce begins with ours and goes on: one that is old, or only ours, could be from another login."""
        for nonce in (SHA1_NONCE, "x" + SHA1_NONCE, SHA1_NONCE[:-1], "3rfcNHYJY1ZVvWVs7j"):
            error = self.refusal(conversation(login()), f"r={nonce},s=c2FsdA==,i=4096".encode())
            self.assertIn("doesn't start from the nonce sent by the client", error.warning)

    def test_our_nonces(self) -> None:
        """Our own is another one each time, and has nothing in it that it must not have."""
        said = [mechanism("SCRAM-SHA-1", login()).start() for _ in range(20)]
        self.assertEqual(len(set(said)), 20)
        for first in said:
            self.assertRegex(first or b"", rb"^n,,n=user,r=[A-Za-z0-9_-]{32}$")

    def test_wrong_signatures(self) -> None:
        """A server whose signature is wrong is not the one that knows the password."""
        wrong = base64.b64encode(bytes(20)).decode()
        for message, problem in {
            f"v={wrong}": "server failed mutual authentication step",
            "v=AAAA": "server failed mutual authentication step",
            "e=invalid-proof": "authentication failure",
            "v=": "bad protocol / cancel",
            "": "bad protocol / cancel",
            "e=\x1b[31m": "bad protocol / cancel",
        }.items():
            made = conversation(login())
            error = self.refusal(made, SHA1_FIRST, message.encode())
            self.assertEqual(error.problem, problem, message)

    def test_errors_of_the_server(self) -> None:
        """What the server says of an error goes into the log, if it is one of its words."""
        error = self.refusal(conversation(login()), b"e=unknown-user")
        self.assertEqual(error.warning, "SASL authentication failure: SCRAM-SHA-1: the server says unknown-user")

    def test_signature_that_is_left_out(self) -> None:
        """A server that says yes without a signature is not believed."""
        made = conversation(login())
        self.said(made, SHA1_FIRST)
        self.assertEqual(
            self.assertRaises(SaslError, made.succeeded).problem, "server failed mutual authentication step"
        )

    def test_extensions(self) -> None:
        """Optional extensions are passed over, and are part of the proof, whatever octets they have."""
        made = conversation(login())
        made.start()
        first = SHA1_FIRST + b",x=\xff\xfe"
        final = made.step(first)
        salted = hashlib.pbkdf2_hmac("sha1", b"pencil", base64.b64decode("QSXCR+Q6sek8bf92"), 4096)
        everything = b"n=user,r=" + SHA1_NONCE.encode() + b"," + first + b"," + final.rpartition(b",p=")[0]
        signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha1"), everything, "sha1")
        self.assertEqual(made.step(b"v=" + base64.b64encode(signature) + b",x=y"), b"")

    def test_most_work(self) -> None:
        """The most that a server can ask for is still done."""
        made = conversation(login())
        self.said(made, f"r={SHA1_NONCE}y,s=c2FsdA==,i={MOST_ITERATIONS}".encode())

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=40) | st.text("r=,sivem0123456789+/=fyko ", max_size=60).map(str.encode))
    def test_junk(self, junk: bytes) -> None:
        """Whatever comes, there is an answer or a SaslError, and the password is in neither."""
        made = conversation(login(password="a secret"))
        made.start()
        for message in (junk, f"r={SHA1_NONCE}".encode() + junk):
            try:
                said = made.step(message)
            except SaslError as error:
                said = str((error, error.warning)).encode()
            self.assertNotIn(b"a secret", said)
