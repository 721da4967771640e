"""Servers that misuse TLS: whatever they send, in whatever pieces, there is a verdict, in bounded time and memory."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.kit.tls_records import (
    ALERT,
    APPLICATION,
    CHANGE_CIPHER_SPEC,
    CLOSE_NOTIFY,
    FATAL,
    HANDSHAKE,
    HELLO_REQUEST,
    INTERNAL_ERROR,
    KEY_UPDATE,
    KEY_UPDATE_REQUESTED,
    NO_RENEGOTIATION,
    TLS1_2,
    TLS1_3,
    UNRECOGNIZED_NAME,
    USER_CANCELED,
    WARNING,
    RecordServer,
    message,
    new_session_ticket,
    plain_record,
)
from tests.session.shell import ShellTestCase
from tests.session.test_secure_transport import PlainHandshake, ServerSide
from tests.tls.engines import EngineBench, policy
from twisted_mta.session.secure_transport import PATIENCE_OCTETS, HandshakeFailedError
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import ConnectionBrokenError
from twisted_mta.smtp.greeting import Welcome, introduce
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import Connection
from twisted_mta.tls.state import TlsState

REFUSES_RENEGOTIATION = 0x40000080
"""SSL_OP_NO_RENEGOTIATION and SSL_OP_IGNORE_UNEXPECTED_EOF, which are always on."""

_AT_ONCE = 65536  # octets that a reactor reads

Said = tuple[int, bytes]


class StrictHandshake(PlainHandshake):
    """With the options that every context of ours has."""

    def __init__(self) -> None:
        super().__init__()
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_options(REFUSES_RENEGOTIATION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        self.connection = Connection(context)


class HostileTestCase(ShellTestCase):
    """A connection on which TLS is begun with a server of records."""

    def begin(self) -> Deferred[TlsState]:
        """Start the handshake, up to our first words."""
        self.handshake = StrictHandshake()
        handshake: Any = self.handshake
        return self.protocol.secure(handshake, fast_shutdown=True)

    def secured(self, version: int = TLS1_3) -> None:
        """Have an honest handshake behind us."""
        self.connect()
        self.peer = RecordServer(version)
        done = self.begin()
        self.exchange()
        self.assertEqual(self.failed(done), "")

    def failed(self, done: Deferred[TlsState]) -> str:
        """What the handshake was told of its failure; empty: it did not fail."""
        outcome: list[object] = []
        done.addBoth(outcome.append)
        self.assertEqual(len(outcome), 1, "the handshake has not come to an end")
        if isinstance(outcome[0], TlsState):
            return ""
        self.assertIsInstance(getattr(outcome[0], "value", None), HandshakeFailedError)
        return next(told for told in self.handshake.told if told != "closed")

    def exchange(self) -> None:
        """Let everything that is under way arrive."""
        while answer := self.peer.take(self.transport.drain_all()):
            self.transport.receive(answer)

    def asking(self) -> Deferred[Any]:
        """Say EHLO, and wait."""
        done = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
        self.exchange()
        return done

    def lost(self, done: Deferred[Any]) -> None:
        """The dialog ended for a lost connection, and nothing is left of it."""
        self.clock.advance(0)
        self.assertIn("lost connection with", self.broken(done))
        self.idle()


class FloodTests(HostileTestCase):
    """What has no end."""

    def flood(self, said: Said, done: Deferred[Any], *, reads: bool) -> None:
        """Say it until nobody listens any more, which must not take much."""
        octets = 0
        while not self.transport.ended:
            data = self.peer.records([said] * (100 if len(said[1]) < 1000 else 5))
            for at in range(0, len(data), _AT_ONCE):
                octets += len(data[at : at + _AT_ONCE])
                self.transport.receive(data[at : at + _AT_ONCE])
                if reads:
                    self.transport.drain_all()
                self.clock.advance(0)
                self.assertLess(octets, 2 * PATIENCE_OCTETS)
        self.lost(done)

    def test_cut_off(self) -> None:
        """Whoever never comes to the point is cut off, and never makes much wait to be sent, even without reading."""
        for version, said in (
            (TLS1_3, (HANDSHAKE, KEY_UPDATE)),
            (TLS1_3, (HANDSHAKE, KEY_UPDATE_REQUESTED)),
            (TLS1_3, (HANDSHAKE, new_session_ticket(1))),
            (TLS1_2, (HANDSHAKE, HELLO_REQUEST)),
            (TLS1_2, (HANDSHAKE, HELLO_REQUEST * 2000)),
            (TLS1_3, (APPLICATION, b"")),
            (TLS1_2, (APPLICATION, b"")),
            (TLS1_3, (ALERT, bytes([WARNING, USER_CANCELED]))),
            (TLS1_2, (ALERT, bytes([WARNING, NO_RENEGOTIATION]))),
        ):
            for reads in (True, False):
                self.secured(version)
                self.flood(said, self.asking(), reads=reads)
                self.assertLess(self.transport.peak_unsent, 3_000_000)
                self.assertEqual(self.handshake.told[-2:], ["broken", "closed"])

    def test_a_word_in_between(self) -> None:
        """A word now and then changes nothing, as long as it does not outweigh the rest."""
        self.secured()
        done, octets = self.asking(), 0
        while not self.transport.ended:
            data = self.peer.records([(HANDSHAKE, KEY_UPDATE_REQUESTED)] * 100 + [(APPLICATION, b"2")])
            octets += len(data)
            self.transport.receive(data)
            self.clock.advance(0)
            self.assertLess(octets, 2 * PATIENCE_OCTETS)
        self.lost(done)
        self.assertLess(self.transport.peak_unsent, 1_000_000)

    def test_buys_no_time(self) -> None:
        """Neither what TLS says among itself nor our answers to it put off the time limit."""
        for version, said in (
            (TLS1_2, (HANDSHAKE, HELLO_REQUEST)),
            (TLS1_3, (HANDSHAKE, KEY_UPDATE_REQUESTED)),
            (TLS1_3, (HANDSHAKE, new_session_ticket(1))),
            (TLS1_3, (ALERT, bytes([WARNING, USER_CANCELED]))),
        ):
            self.secured(version)
            done = self.asking()
            for _ in range(4):
                self.clock.advance(self.LIMITS.seconds["smtp_helo_timeout"] / 4)
                self.transport.receive(self.peer.records([said]))
                self.transport.drain_all()
            self.clock.advance(0)
            self.assertIn("timed out", self.broken(done))
            self.protocol.abort()
            self.clock.advance(0)
            self.idle()

    def test_honest(self) -> None:
        """A few of all that is fine: keys change, tickets come, renegotiation is refused, and the dialog goes on."""
        for version, said in (
            (
                TLS1_3,
                [(HANDSHAKE, KEY_UPDATE_REQUESTED), (HANDSHAKE, new_session_ticket(7)), (HANDSHAKE, KEY_UPDATE)] * 20,
            ),
            (TLS1_3, [(APPLICATION, b"")] * 20),
            (TLS1_2, [(HANDSHAKE, HELLO_REQUEST)] * 20),
            (TLS1_2, [(ALERT, bytes([WARNING, USER_CANCELED]))] * 3),
        ):
            self.secured(version)
            done = self.asking()
            self.transport.receive(self.peer.records(said) + self.peer.say("250-mx.example\r\n250 DSN\r\n"))
            self.assertIsInstance(self.successResultOf(done), Welcome)
            self.protocol.close()
            self.transport.drain_all()
            self.clock.advance(0)
            self.idle()

    def test_wrong_messages(self) -> None:
        """What has no place behind a handshake ends the connection at once."""
        huge = message(4, bytes(16))[:1] + b"\xff\xff\xff" + bytes(1000)
        for version, said in (
            (TLS1_3, (HANDSHAKE, HELLO_REQUEST)),
            (TLS1_3, (HANDSHAKE, huge)),
            (TLS1_3, (HANDSHAKE, message(11, bytes(100)))),
            (TLS1_3, (CHANGE_CIPHER_SPEC, b"\1")),
            (TLS1_3, (ALERT, bytes([FATAL, INTERNAL_ERROR]))),
            (TLS1_3, (99, b"?")),
            (TLS1_2, (HANDSHAKE, KEY_UPDATE)),
            (TLS1_2, (HANDSHAKE, message(2, bytes(100)))),
            (TLS1_2, (ALERT, bytes([FATAL, INTERNAL_ERROR]))),
        ):
            self.secured(version)
            done = self.asking()
            self.transport.receive(self.peer.records([said]))
            self.lost(done)
            self.assertIn("broken", self.handshake.told)


class ShakingTests(HostileTestCase):
    """What goes wrong before hands are shaken."""

    def server_hello(self) -> bytes:
        """The first message of a TLS 1.2 server, which anything can be put behind."""
        body = b"\x03\x03" + bytes(range(32)) + b"\0" + b"\xc0\x2c" + b"\0" + b"\0\x05\xff\x01\0\x01\0"
        return plain_record(HANDSHAKE, message(2, body))

    def test_floods(self) -> None:
        """A handshake without an end is given up: by OpenSSL, or by our patience."""
        for said in (
            plain_record(HANDSHAKE, HELLO_REQUEST),
            plain_record(CHANGE_CIPHER_SPEC, b"\1"),
            plain_record(HANDSHAKE, b""),
            plain_record(ALERT, bytes([WARNING, USER_CANCELED])),
            plain_record(HANDSHAKE, bytes(16384)),
        ):
            for before in (b"", self.server_hello()):
                self.connect()
                done = self.begin()
                self.transport.drain_all()
                if before:
                    self.transport.receive(before)
                octets = 0
                while not done.called:
                    octets += 50 * len(said)
                    self.transport.receive(said * 50)
                    self.assertLess(octets, 5 * PATIENCE_OCTETS)
                self.assertIn(self.failed(done), ("error", "handshake without an end"))
                self.clock.advance(0)
                self.idle()

    def test_messages_without_an_end(self) -> None:
        """A message that claims to be long is not waited for."""
        self.connect()
        done = self.begin()
        self.transport.drain_all()
        endless = b"\x0b\xff\xff\xff" + bytes(16380)
        self.transport.receive(self.server_hello() + plain_record(HANDSHAKE, endless))
        self.assertEqual(self.failed(done), "error")

    def test_oversize_chain(self) -> None:
        """A chain of megabytes fails the handshake long before it is all there."""
        issuer = crypto.X509.from_cryptography(shared_pki()["valid"].issuers[0])

        def repeat_issuer(context: SSL.Context) -> None:
            for _ in range(5000):
                context.add_extra_chain_cert(issuer)

        for version in (TLS1_2, TLS1_3):
            self.connect()
            self.peer = RecordServer(version, prepare=repeat_issuer)
            done = self.begin()
            said = self.peer.take(self.transport.drain_all())
            self.assertGreater(len(said), 1_900_000)
            heard = 0
            for at in range(0, len(said), 16384):
                if done.called:
                    break
                heard += 16384
                self.transport.receive(said[at : at + 16384])
            self.assertEqual(self.failed(done), "error")
            self.assertLess(heard, PATIENCE_OCTETS)
            self.clock.advance(0)
            self.idle()

    def test_other_ends(self) -> None:
        """An alert, a protocol of another kind, or nothing at all."""
        for said in (
            plain_record(ALERT, bytes([FATAL, 40])),
            plain_record(ALERT, bytes([FATAL, 112])),
            plain_record(ALERT, bytes([WARNING, CLOSE_NOTIFY])),
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"220 mx.example ESMTP\r\n",
            bytes(100),
            b"\x80\x2e\x01\0\x02" + bytes(50),
        ):
            self.connect()
            done = self.begin()
            self.transport.drain_all()
            self.transport.receive(said)
            self.assertEqual(self.failed(done), "error", said)
            self.clock.advance(0)
            self.idle()
        self.connect()
        done = self.begin()
        self.clock.advance(self.LIMITS.seconds[phases.STARTTLS.limit])
        self.assertEqual(self.failed(done), "Connection timed out")

    def test_unknown_name(self) -> None:
        """A warning that the server does not know the name that was asked for is no failure; a fatal alert is."""
        self.peer = RecordServer(TLS1_2)
        done = self.begin()
        answer = self.peer.take(self.transport.drain_all())
        self.transport.receive(plain_record(ALERT, bytes([WARNING, UNRECOGNIZED_NAME])) + answer)
        self.exchange()
        self.assertEqual(self.failed(done), "")
        self.connect()
        done = self.begin()
        self.transport.receive(plain_record(ALERT, bytes([FATAL, UNRECOGNIZED_NAME])))
        self.assertEqual(self.failed(done), "error")

    def test_many_authorities(self) -> None:
        """A server that asks for a certificate of one of hundreds of authorities gets none, and may go on without."""
        names = []
        for number in range(600):
            name = crypto.X509().get_subject()
            name.CN = f"Authority {number:04} of so many, with a name of some length"
            names.append(name)

        def ask_for_certificate(context: SSL.Context) -> None:
            context.set_client_ca_list(names)
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)

        for version in (TLS1_2, TLS1_3):
            self.connect()
            self.peer = RecordServer(version, prepare=ask_for_certificate)
            done = self.begin()
            self.exchange()
            self.assertEqual(self.failed(done), "")

    def test_text_behind_a_record(self) -> None:
        """A part of a record, and text behind it: that is no TLS, in whatever pieces."""
        said = plain_record(HANDSHAKE, bytes(10))[:7] + b"250 mx.example\r\n" * 20
        for size in (1, 7, 1000):
            self.connect()
            done = self.begin()
            for at in range(0, len(said), size):
                self.transport.receive(said[at : at + size])
            self.assertEqual(self.failed(done), "error")
            self.clock.advance(0)
            self.idle()

    def test_judgement_fails(self) -> None:
        """A defect of ours when the server is judged is told to whoever waits, and the connection dropped."""

        class Defective(StrictHandshake):
            """It cannot judge."""

            def completed(self) -> TlsState:
                """The defect."""
                raise ZeroDivisionError

        self.peer = RecordServer()
        handshake: Any = Defective()
        done = self.protocol.secure(handshake, fast_shutdown=True)
        self.exchange()
        self.failureResultOf(done, ZeroDivisionError)
        self.clock.advance(0)
        self.assertEqual(self.transport.ended, "dropped")
        self.idle()


class PieceTests(SynchronousTestCase):
    """The same octets in any pieces come to the same end."""

    def outcome(self, version: int, damage: Callable[[bytes], bytes], pieces: Iterator[int]) -> tuple[str, ...]:
        """Shake hands and say EHLO with a server whose octets are damaged, and come in pieces of these sizes."""
        bench = HostileTestCase()
        bench.setUp()
        bench.peer = RecordServer(version)
        bench.handshake = StrictHandshake()
        handshake: Any = bench.handshake
        done = bench.protocol.secure(handshake, fast_shutdown=True)
        ends: list[object] = []
        done.addBoth(ends.append)

        def come(data: bytes) -> None:
            data = damage(data)
            while data:
                size = next(pieces)
                bench.transport.receive(data[:size])
                data = data[size:]

        try:
            while answer := bench.peer.take(bench.transport.drain_all()):
                come(answer)
            if ends and isinstance(ends[0], TlsState):
                dialog = bench.perform(introduce(bench.protocol.incoming.peer, bench.settings, extended=True))
                dialog.addBoth(ends.append)
                bench.peer.take(bench.transport.drain_all())
                come(bench.peer.say("250-mx.example\r\n250 DSN\r\n") + bench.peer.records([(HANDSHAKE, HELLO_REQUEST)]))
        except SSL.Error:
            pass  # the server has had enough of us
        bench.transport.receive_end()
        bench.clock.advance(10_000)
        assert bench.transport.ended, "a connection is left over"
        assert not bench.clock.getDelayedCalls(), "a timer is left over"
        return tuple(_named(end) for end in ends)

    @settings(deadline=None, max_examples=25)
    @given(
        st.sampled_from([TLS1_2, TLS1_3]),
        st.none() | st.tuples(st.integers(0, 1500), st.integers(1, 255)),
        st.lists(st.integers(1, 1400), min_size=1, max_size=20),
    )
    def test_any_pieces(self, version: int, flip: tuple[int, int] | None, sizes: Sequence[int]) -> None:
        """Honest or damaged, whole or in pieces: one outcome, and never an exception."""

        def damage(data: bytes) -> bytes:
            if flip is None or flip[0] >= len(data):
                return data
            at, bits = flip
            return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]

        whole = self.outcome(version, damage, itertools.repeat(1 << 20))
        self.assertEqual(len(whole) > 0, True)
        if flip is None:
            self.assertEqual(whole, ("TlsState", "Welcome"))
        self.assertEqual(self.outcome(version, damage, itertools.cycle(sizes)), whole)

    def test_octet_by_octet(self) -> None:
        """The smallest pieces there are."""
        for version in (TLS1_2, TLS1_3):
            self.assertEqual(self.outcome(version, bytes, itertools.repeat(1)), ("TlsState", "Welcome"))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(min_size=1, max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=9))
    def test_any_octets(self, octets: bytes, sizes: Sequence[int]) -> None:
        """Whatever comes instead of a handshake, it fails, or is waited for."""

        def replaced(pieces: Iterator[int]) -> tuple[str, ...]:
            return self.outcome(TLS1_3, lambda _: octets, pieces)

        whole = replaced(itertools.repeat(1 << 20))
        self.assertEqual(whole, ("HandshakeFailedError",))
        self.assertEqual(replaced(itertools.cycle(sizes)), whole)


def _named(end: object) -> str:
    return type(getattr(end, "value", end)).__name__


class TruncationTests(ShellTestCase):
    """The connection ends in some phase, with a farewell or without one: what counts is what counts in the clear, too."""

    STEPS = (
        ("EHLO", ()),
        ("MAIL", ()),
        ("RCPT", ("250 ok",)),
        ("DATA", ("250 ok", "250 ok")),
        ("content", ("250 ok", "250 ok", "354 go")),
        ("part of the last reply", ("250 ok", "250 ok", "354 go")),
        ("last reply", ("250 ok", "250 ok", "354 go")),
    )

    def end(self, phase: str, replies: Sequence[str], how: str) -> tuple[str, list[str]]:
        """How a delivery ends that is cut short: the reason, and what was found before."""
        self.connect()
        peer = None
        if how != "in the clear":
            peer = ServerSide()
            handshake: Any = StrictHandshake()
            done: Deferred[Any] = self.protocol.secure(handshake, fast_shutdown=True)
            while answer := peer.take(self.transport.drain_all()):
                self.transport.receive(answer)
            self.successResultOf(done)

        def say(text: str) -> None:
            self.transport.receive(peer.say(text.encode()) if peer else text.encode())

        if phase == "EHLO":
            ended: Deferred[Any] = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
            self.transport.drain_all()
            say("250-mx.example\r\n250 DS")
        else:
            ended = self.transact(b"x" * 300_000 + b"\n" if phase == "content" else b"Hello.\n")
            self.transport.drain_all()
            if replies:
                say("".join(f"{reply}\r\n" for reply in replies))
            if phase != "content":
                self.transport.drain_all()
            if "last reply" in phase:
                say("250 2.0.0 tak" if phase.startswith("part") else "250 2.0.0 taken\r\n")
        if how == "farewell":
            assert peer is not None
            peer.connection.shutdown()
            self.transport.receive(peer.out())
        self.transport.receive_end()
        if phase == "content":
            self.transport.lose()
        outcome: list[Any] = []
        ended.addBoth(outcome.append)
        error = getattr(outcome[0], "value", None)
        reason = error.why(self.protocol.incoming.peer).reason if isinstance(error, ConnectionBrokenError) else "an end"
        return reason, self.outcomes

    def test_phases(self) -> None:
        """A part of a reply never counts, a whole one does; the rest is a lost connection."""
        for phase, replies in self.STEPS:
            in_the_clear = self.end(phase, replies, "in the clear")
            self.assertEqual(self.end(phase, replies, "truncated"), in_the_clear, phase)
            self.assertEqual(self.end(phase, replies, "farewell"), in_the_clear, phase)
            if phase == "last reply":
                self.assertEqual(in_the_clear, ("an end", ["all taken: 2.0.0 250 2.0.0 taken"]))
            else:
                self.assertIn("lost connection with mx.example[192.0.2.1] while", in_the_clear[0], phase)
                self.assertEqual([found for found in in_the_clear[1] if "taken: 2" in found], [])

    def test_reset_behind_the_dot(self) -> None:
        """Mail whose last reply is lost may be there twice, and the reason says so."""
        reason, _ = self.end("part of the last reply", ("250 ok", "250 ok", "354 go"), "truncated")
        self.assertIn("end of data -- message may be sent more than once", reason)


class EngineTests(ShellTestCase):
    """A real handshake, and what becomes of its session."""

    def setUp(self) -> None:
        """An engine with a cache."""
        super().setUp()
        self.bench = EngineBench(smtp_tls_session_cache_database="btree:x", smtp_tls_loglevel="summary, cache")

    def shake(self, peer: RecordServer) -> Deferred[Any]:
        """Shake hands, and say EHLO."""
        self.connect()
        self.peer = peer
        self.handshake = self.bench.begin(policy(Level.ENCRYPT))
        done = self.protocol.secure(self.handshake, fast_shutdown=True)
        self.exchange()
        if done.called:
            self.successResultOf(done)
            asking = self.perform(introduce(self.protocol.incoming.peer, self.settings, extended=True))
            self.exchange()
            return asking
        return done

    def exchange(self) -> None:
        """Let everything that is under way arrive."""
        while answer := self.peer.take(self.transport.drain_all()):
            self.transport.receive(answer)

    def test_fatal_alert_forgets_the_session(self) -> None:
        """A session whose connection ended by an error is not taken up again (RFC 5246 section 7.2.2)."""
        for version in (TLS1_2, TLS1_3):
            for spoils, kept in ((True, False), (False, True)):
                self.bench = EngineBench(smtp_tls_session_cache_database="btree:x", smtp_tls_loglevel="summary, cache")
                done = self.shake(RecordServer(version))
                self.transport.receive(self.peer.say("250 mx.example\r\n"))
                self.successResultOf(done)
                if spoils:
                    self.transport.receive(self.peer.record(ALERT, bytes([FATAL, INTERNAL_ERROR])))
                else:
                    self.transport.receive_end()
                self.clock.advance(0)
                again = self.bench.begin(policy(Level.ENCRYPT))
                self.assertEqual(again.connection.get_session() is not None, kept)

    def test_failed_handshake_is_told(self) -> None:
        """A handshake without an end is one line in the log."""
        self.handshake = self.bench.begin(policy(Level.ENCRYPT))
        done = self.protocol.secure(self.handshake, fast_shutdown=True)
        while not done.called:
            self.transport.receive(plain_record(HANDSHAKE, HELLO_REQUEST) * 1000)
        self.failureResultOf(done, HandshakeFailedError)
        self.assertIn("SSL_connect error to mx1.dest.example[192.0.2.1]:25: handshake without an end", self.bench.log)
