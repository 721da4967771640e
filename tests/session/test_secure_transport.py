"""TLS between a connection and its dialog."""

import gc
import weakref
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.defer import CancelledError, Deferred

from tests.kit.pki import shared_pki
from tests.session.shell import GROUP, ShellTestCase
from twisted_mta.session.secure_transport import HandshakeFailedError
from twisted_mta.smtp import phases
from twisted_mta.smtp.greeting import Welcome, introduce
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import Connection
from twisted_mta.tls.state import TlsState

STATE = TlsState(Level.ENCRYPT, "TLSv1.3", "any", 256, 256, True, False, False, False)


class PlainHandshake:
    """A client's side without any demands; keeps what it is told."""

    def __init__(self) -> None:
        self.connection = Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        self.told: list[str] = []
        self.error: SSL.Error | None = None

    def completed(self) -> TlsState:
        """Nothing is judged."""
        self.told.append("completed")
        return STATE

    def failed(self, problem: SSL.Error | str) -> None:
        """Keep why."""
        self.told.append(problem if isinstance(problem, str) else "error")

    def application_data_came(self) -> None:
        """Told once."""
        self.told.append("data")

    def broken(self, error: SSL.Error | None = None) -> None:
        """Keep it."""
        self.told.append("broken")
        self.error = error

    def closed(self) -> None:
        """Told in the end."""
        self.told.append("closed")


class ServerSide:
    """A server's end of TLS over memory."""

    def __init__(self) -> None:
        identity = shared_pki()["valid"]
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(crypto.X509.from_cryptography(identity.certificate))
        context.use_privatekey(crypto.PKey.from_cryptography_key(identity.key))
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()
        self.heard = b""
        self.ended = False

    def take(self, data: bytes) -> bytes:
        """Octets come; returns what goes back."""
        if data:
            self.connection.bio_write(data)
        try:
            while True:
                self.heard += self.connection.recv(65536)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        return self.out()

    def say(self, data: bytes) -> bytes:
        """The octets that say it."""
        self.connection.sendall(data)
        return self.out()

    def out(self) -> bytes:
        """What OpenSSL has to send."""
        pieces = []
        while True:
            try:
                pieces.append(self.connection.bio_read(65536))
            except SSL.WantReadError:
                return b"".join(pieces)


class SecureTestCase(ShellTestCase):
    """A connection on which TLS is to begin."""

    def begin(self, *, fast_shutdown: bool = True) -> Deferred[TlsState]:
        """Start the handshake, up to our first words."""
        self.handshake = PlainHandshake()
        self.peer = ServerSide()
        handshake: Any = self.handshake
        return self.protocol.secure(handshake, fast_shutdown=fast_shutdown)

    def exchange(self) -> None:
        """Let everything that is under way arrive."""
        while True:
            answer = self.peer.take(self.transport.drain_all())
            if not answer:
                return
            self.transport.receive(answer)

    def secured(self, *, fast_shutdown: bool = True) -> None:
        """Have the handshake behind us."""
        done = self.begin(fast_shutdown=fast_shutdown)
        self.exchange()
        self.assertIs(self.successResultOf(done), STATE)

    def reply(self, *lines: str) -> None:
        """The server says lines inside TLS, in one record."""
        self.transport.receive(self.peer.say("".join(f"{line}\r\n" for line in lines).encode()))


class HandshakeTests(SecureTestCase):
    """The beginning."""

    def test_shaken(self) -> None:
        """What came of the handshake is told, and no time limit is left over."""
        self.secured()
        self.assertEqual(self.handshake.told, ["completed"])
        self.clock.advance(1000)
        self.assertEqual(self.transport.ended, "")

    def test_dialog(self) -> None:
        """What dialogs say is heard by nobody else, and so are the answers."""
        self.secured()
        done = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
        self.assertNotIn(b"EHLO", bytes(self.transport.unsent))
        self.exchange()
        self.assertEqual(self.peer.heard, b"EHLO client.example\r\n")
        self.reply("250-mx.example", "250 PIPELINING")
        self.assertIsInstance(self.successResultOf(done), Welcome)
        self.assertEqual(self.handshake.told, ["completed", "data"])

    def test_lost(self) -> None:
        """A server that hangs up, or resets, ends it."""
        for how, told in (("receive_end", "lost connection"), ("lose", "Connection reset by peer")):
            self.connect()
            done = self.begin()
            getattr(self.transport, how)()
            self.failureResultOf(done, HandshakeFailedError)
            self.clock.advance(0)
            self.assertEqual(self.handshake.told[:1], [told])
            self.idle()

    def test_lost_before(self) -> None:
        """A server that hangs up behind its reply to STARTTLS fails the handshake that never was."""
        dialog = introduce(self.protocol.incoming.peer, self.settings, extended=True)
        done = self.perform(dialog)
        self.server("250 mx.example")
        self.successResultOf(done)
        self.transport.receive_end()
        self.failureResultOf(self.begin(), HandshakeFailedError)
        self.assertEqual(self.handshake.told, ["lost connection"])

    def test_garbage(self) -> None:
        """What is not TLS fails it, and the connection is reset: nothing of it is read."""
        done = self.begin()
        self.transport.receive(b"250 I do not speak TLS\r\n")
        self.failureResultOf(done, HandshakeFailedError)
        self.clock.advance(0)
        self.assertEqual((self.handshake.told[0], self.transport.ended), ("error", "aborted"))
        self.idle()

    def test_silence(self) -> None:
        """The time limit of STARTTLS holds for all of it: drops in between do not buy more."""
        done = self.begin()
        self.transport.drain_all()
        hello = self.peer.take(b"")
        self.assertEqual(hello, b"")
        limit = self.LIMITS.seconds[phases.STARTTLS.limit]
        for octet in b"\x16\x03\x03\x10\x00\x02":
            self.clock.advance(limit / 6)
            self.transport.receive(bytes([octet]))
        self.failureResultOf(done, HandshakeFailedError)
        self.assertEqual(self.handshake.told[0], "Connection timed out")
        self.clock.advance(0)
        self.idle()

    def test_cancelled(self) -> None:
        """Who does not want it any more is obeyed."""
        done = self.begin()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.protocol.abort()
        self.clock.advance(0)
        self.idle()
        self.assertEqual(self.transport.ended, "dropped")


class FlowTests(SecureTestCase):
    """What goes through afterwards."""

    def test_message(self) -> None:
        """Content of any size arrives as it is, with no more of it waiting than without TLS."""
        self.secured()
        content = b"".join(b"line %06d of the message\n" % number for number in range(40_000))
        done = self.transact(content)
        self.exchange()
        self.assertEqual(self.peer.heard.decode(), GROUP)
        self.peer.heard = b""
        self.reply("250 ok", "250 ok", "354 go")
        self.exchange()
        self.assertEqual(self.peer.heard, content.replace(b"\n", b"\r\n") + b".\r\nQUIT\r\n")
        self.assertLess(self.transport.peak_unsent, 200_000)
        self.reply("250 2.0.0 taken")
        self.successResultOf(done)
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 2.0.0 taken"])

    def test_early_reply(self) -> None:
        """A 2xx that comes before the dot has left does not count inside TLS either."""
        self.secured()
        done = self.transact(b"x" * 100_000 + b"\n")
        self.exchange()
        self.reply("250 ok", "250 ok", "354 go", "250 2.0.0 taken")
        self.exchange()
        self.assertIn("lost connection", self.broken(done))

    def test_octet_by_octet(self) -> None:
        """Records may come in any pieces."""
        self.secured()
        done = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
        self.exchange()
        for octet in self.peer.say(b"250-mx.example\r\n250 DSN\r\n"):
            self.transport.receive(bytes([octet]))
        self.assertIsInstance(self.successResultOf(done), Welcome)

    def test_broken_record(self) -> None:
        """A damaged record ends the connection: what is in it is never heard."""
        self.secured()
        done = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
        self.exchange()
        record = bytearray(self.peer.say(b"250 mx.example\r\n"))
        record[-1] ^= 1
        self.transport.receive(bytes(record))
        self.clock.advance(0)
        self.assertIn("lost connection", self.broken(done))
        self.assertIsInstance(self.handshake.error, SSL.Error)
        self.idle()


class EndTests(SecureTestCase):
    """The end."""

    def test_fast(self) -> None:
        """Our farewell leaves, and the connection is closed without the server's."""
        self.secured()
        self.protocol.close()
        self.peer.take(self.transport.drain_all())
        self.clock.advance(0)
        self.assertTrue(self.peer.ended)
        self.assertEqual(self.transport.ended, "closed")
        self.assertEqual(self.handshake.told[-1], "closed")
        self.idle()

    def test_slow(self) -> None:
        """On request the server's farewell is waited for, but not for ever."""
        for answers in (True, False):
            self.connect()
            self.secured(fast_shutdown=False)
            self.protocol.close()
            self.peer.take(self.transport.drain_all())
            self.clock.advance(1)
            self.assertEqual(self.transport.ended, "")
            if answers:
                self.peer.connection.shutdown()
                self.transport.receive(self.peer.out())
                self.clock.advance(0)
                self.assertEqual(self.transport.ended, "closed")
            else:
                self.clock.advance(self.LIMITS.seconds[phases.STARTTLS.limit])
                self.clock.advance(0)
                self.assertEqual(self.transport.ended, "dropped")
            self.idle()

    def test_patience_ends(self) -> None:
        """A server that says nothing hears our farewell; not where other octets still wait for it to read."""
        for reads in (True, False):
            self.connect()
            self.secured()
            done = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
            if reads:
                self.exchange()
            self.clock.advance(self.LIMITS.seconds["smtp_helo_timeout"])
            self.assertIn("timed out", self.broken(done))
            self.protocol.abort()
            self.peer.take(bytes(self.transport.unsent))  # real connections send at once
            self.clock.advance(0)
            self.assertEqual((self.peer.ended, self.transport.ended), (reads, "dropped"))
            self.idle()

    def test_not_kept_alive(self) -> None:
        """A connection that was closed is free at once, not when garbage is collected."""
        gc.disable()
        self.addCleanup(gc.enable)
        self.secured()
        self.protocol.close()
        self.transport.drain_all()
        self.clock.advance(0)
        self.assertEqual(self.handshake.told[-1], "closed")
        protocol = weakref.ref(self.protocol)
        del self.protocol, self.transport
        self.assertIsNone(protocol())

    def test_server_ends(self) -> None:
        """With or without a farewell, the server's end is an end."""
        for polite in (True, False):
            self.connect()
            self.secured()
            done = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
            self.exchange()
            if polite:
                self.peer.connection.shutdown()
                self.transport.receive(self.peer.out())
            self.transport.receive_end()
            self.assertIn("lost connection", self.broken(done))
