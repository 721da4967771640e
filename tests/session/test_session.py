"""Sessions: greeting, one message, farewell."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from tests.kit.dialog import PEER
from tests.kit.messages import make_request
from tests.session.shell import PiecewiseContent, ShellTestCase
from tests.tls.engines import EngineBench, MemoryStore, policy
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.interfaces import CorruptContentError, IMessageContent
from twisted_mta.session.session import NO_HANDSHAKE, Session, TlsFailedError, TlsTerms
from twisted_mta.smtp.actions import ConnectionBrokenError
from twisted_mta.smtp.capabilities import Feature
from twisted_mta.smtp.greeting import Occasion, Rebuff
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.tls.levels import Level

T = TypeVar("T")

OCCASION = Occasion("4Abc12")
GROUP = "MAIL FROM:<s@c.example>\r\nRCPT TO:<r@d.example>\r\nDATA\r\n"


class SessionTestCase(ShellTestCase):
    """A session on a connection in memory."""

    def connect(self, settings: DialogSettings | None = None, *args: Any, **named: Any) -> None:
        """Connect anew, and make a session of it."""
        super().connect(settings, *args, **named)
        self.session = Session(self.protocol, self.settings)

    def start(self, steps: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Begin a step of the session."""
        return Deferred.fromCoroutine(steps)

    def greeted(self) -> None:
        """Get the greeting over."""
        done = self.start(self.session.greet(OCCASION))
        self.server("220 mx.example ESMTP")
        self.client()
        self.server("250-mx.example", "250-DSN", "250 PIPELINING")
        self.assertIsNone(self.successResultOf(done))

    def send(self, content: IMessageContent | None = None, **changes: Any) -> Deferred[bool]:
        """Send a message."""
        request = make_request("r@d.example", **{"sender": "s@c.example", **changes})
        content = content or BytesContent(b"Hello.\n")
        return self.start(self.session.transact(request, request.recipients, content, self.findings.append))

    def end(self) -> str:
        """Let everything leave; how our end was closed."""
        self.client()
        self.clock.advance(0)
        self.idle()
        return self.transport.ended


class GreetTests(SessionTestCase):
    """The greeting."""

    def test_welcome(self) -> None:
        """The session knows what the server offers."""
        self.greeted()
        self.assertTrue(self.session.welcome.capabilities.offers(Feature.DSN))
        self.assertTrue(self.protocol.incoming.pipelining)
        self.assertIs(self.session.peer, PEER)

    def test_rebuff(self) -> None:
        """A server that wants no mail is told goodbye; why comes before that, whatever it makes of it."""
        for settings in (self.SETTINGS, replace(self.SETTINGS, await_quit_reply=True)):
            self.connect(settings)
            done = self.start(self.session.greet(OCCASION))
            self.server("554 5.7.1 no")
            self.assertIsInstance(self.successResultOf(done), Rebuff)
            self.start(self.session.quit())
            self.assertEqual(self.client(), "QUIT\r\n")
            if settings.await_quit_reply:
                self.server("221 bye")
            self.assertEqual(self.end(), "closed")

    def test_lost(self) -> None:
        """A broken connection is dropped without a word."""
        done = self.start(self.session.greet(OCCASION))
        self.server("220 mx.example")
        self.client()
        self.transport.receive_end()
        self.failureResultOf(done, ConnectionBrokenError)
        self.assertEqual(self.client(), "")
        self.assertEqual(self.end(), "dropped")

    def test_cancelled(self) -> None:
        """A session that nobody wants any more is dropped, too."""
        done = self.start(self.session.greet(OCCASION))
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.end(), "dropped")

    def test_defect(self) -> None:
        """So is one that a defect of ours ends."""
        done = self.start(self.session.greet(None))  # type: ignore[arg-type] # the defect
        self.failureResultOf(done, AttributeError)
        self.assertEqual(self.end(), "dropped")


class TransactTests(SessionTestCase):
    """One message."""

    def setUp(self) -> None:
        """Get the greeting over."""
        super().setUp()
        self.greeted()

    def test_sent(self) -> None:
        """After the reply to the dot the connection is closed; QUIT has been said."""
        done = self.send()
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.assertEqual(self.client(), "Hello.\r\n.\r\nQUIT\r\n")
        self.server("250 d")
        self.assertIs(self.successResultOf(done), True)
        self.assertEqual(self.end(), "closed")

    def test_nothing_said(self) -> None:
        """A message that the server need not be asked about ends with QUIT; that counts as normal."""
        done = self.send(sender="a\nb@c.example")
        self.assertIs(self.successResultOf(done), True)
        self.assertEqual(self.client(), "QUIT\r\n")
        self.assertEqual(self.end(), "closed")

    def test_lost(self) -> None:
        """A connection that breaks before the fate is settled is told."""
        done = self.send()
        self.client()
        self.server("250 a", "250 b")
        self.transport.receive_end()
        self.failureResultOf(done, ConnectionBrokenError)
        self.assertEqual(self.client(), "")
        self.assertEqual(self.end(), "dropped")

    def test_lost_when_all_is_settled(self) -> None:
        """One that breaks later is a normal end."""
        done = self.send()
        self.client()
        self.server("250 a", "550 b", "503 c")
        self.client()
        self.transport.lose()
        self.assertIs(self.successResultOf(done), True)
        self.idle()

    def test_unreadable_content(self) -> None:
        """Content that cannot be read: the connection ends without a dot, and without QUIT."""
        done = self.send(PiecewiseContent([b"a\n" * 100_000, CorruptContentError("x")]))
        self.client()
        self.server("250 a", "250 b", "354 c")
        left = self.client()
        self.failureResultOf(done, CorruptContentError)
        self.assertNotIn("\r\n.\r\n", left + self.client())
        self.assertEqual(self.end(), "closed")

    def test_cancelled(self) -> None:
        """A delivery that is no longer wanted: nothing more leaves."""
        done = self.send()
        self.client()
        self.server("250 a", "250 b", "354 c")
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.client(), "")
        self.assertEqual(self.end(), "dropped")


class SlowStore(MemoryStore):
    """Answers when it is told to.

    Attributes:
        answer: the answer, to whatever is asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answer: Deferred[bytes | None] = Deferred()

    async def lookup(self, key: str) -> bytes | None:
        """What is stored under a key."""
        return await self.answer


class LookUpTests(SessionTestCase):
    """What may happen while a TLS session is looked up, between the reply to STARTTLS and the handshake."""

    def begin(self) -> Deferred[Rebuff | None]:
        """Get as far as the look-up."""
        self.connect()
        self.store = SlowStore()
        self.bench = EngineBench(store=self.store, smtp_tls_session_cache_database="btree:x")
        session = Session(self.protocol, self.settings, TlsTerms(policy(Level.ENCRYPT), self.bench.engine))
        done = self.start(session.greet(OCCASION))
        for lines in (("220 mx.example ESMTP",), ("250-mx.example", "250 STARTTLS"), ("220 go on",)):
            self.assertEqual(self.client().endswith("STARTTLS\r\n"), lines == ("220 go on",))
            self.server(*lines)
        self.assertNoResult(done)
        self.assertFalse(self.transport.reading)
        return done

    def test_found_nothing(self) -> None:
        """Then the handshake begins, and the server is heard again."""
        done = self.begin()
        self.assertEqual(self.client(), "")
        self.store.answer.callback(None)
        self.assertTrue(self.transport.reading)
        self.assertEqual(bytes(self.transport.unsent[:2]), b"\x16\x03")
        self.assertNoResult(done)

    def test_cancelled(self) -> None:
        """The delivery is no longer wanted: the connection goes, and nothing else is said."""
        done = self.begin()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.clock.advance(0)
        self.assertEqual((self.client(), self.transport.ended, self.bench.log), ("", "dropped", []))
        self.idle()

    def test_connection_lost(self) -> None:
        """The server goes: that fails the handshake that never was, and no mail goes out in the clear."""
        for lose in ("lose", "receive_end"):
            done = self.begin()
            getattr(self.transport, lose)()
            self.assertNoResult(done)
            self.store.answer.callback(None)
            self.assertEqual(self.failureResultOf(done, TlsFailedError).value.why, NO_HANDSHAKE)
            self.assertEqual(self.bench.log, ["SSL_connect error to mx.example[192.0.2.1]:25: lost connection"], lose)
            self.assertEqual(self.client(), "")
            self.idle()
