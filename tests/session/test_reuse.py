"""Sessions that serve one message after the other: rest, and wake with RSET."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

from tests.kit.dialog import PEER
from tests.kit.messages import make_request
from tests.session.test_secure_transport import PlainHandshake, ServerSide
from tests.session.test_session import GROUP, OCCASION, SessionTestCase
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.model.events import StartTlsOfferNoted
from twisted_mta.model.request import SmtpUtf8
from twisted_mta.session.overhearing import Ear
from twisted_mta.session.session import Session, TlsTerms
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp.actions import ConnectionBrokenError, ErrorClass
from twisted_mta.smtp.capabilities import Feature
from twisted_mta.smtp.probing import NotServingError
from twisted_mta.smtp.transaction import never
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import TlsPolicy

OTHER_PEER = replace(PEER, host="other.example", relay="other.example[192.0.2.1]:25")


def always() -> bool:
    """The session shall serve again."""
    return True


class ReuseTestCase(SessionTestCase):
    """A session that has been greeted."""

    def setUp(self) -> None:
        """Get the greeting over."""
        super().setUp()
        self.disturbances = 0
        self.greeted()

    def deliver(self, keep: Callable[[], bool] = always, *replies: str, **changes: Any) -> Deferred[bool]:
        """Send a message; the server says `replies`, or takes it."""
        request = make_request("r@d.example", **{"sender": "s@c.example", **changes})
        done = Deferred.fromCoroutine(
            self.session.transact(request, request.recipients, BytesContent(b"Hello.\n"), self.findings.append, keep)
        )
        self.said = self.client()
        for reply in replies or ("250 a | 250 b | 354 c", "250 d"):
            self.server(*reply.split(" | "))
            self.said += self.client()
        return done

    def disturbed(self) -> None:
        """The server has not waited."""
        self.disturbances += 1

    def rested(self) -> None:
        """Have a message behind us, and wait for the next one."""
        self.assertIs(self.successResultOf(self.deliver()), True)
        self.assertTrue(self.session.is_open)
        self.assertTrue(self.session.rest(self.disturbed))

    def next_message(self, keep: Callable[[], bool] = always, ear: Ear | None = None) -> Deferred[bool]:
        """Begin with the next message."""
        self.assertTrue(self.session.wake(OTHER_PEER, ear))
        return self.send_kept(keep)

    def send_kept(self, keep: Callable[[], bool] = always) -> Deferred[bool]:
        """Send a message."""
        request = make_request("r@d.example", sender="s@c.example")
        return Deferred.fromCoroutine(
            self.session.transact(request, request.recipients, BytesContent(b"Hello.\n"), self.findings.append, keep)
        )


class RestTests(ReuseTestCase):
    """What becomes of a session after a message."""

    def test_again(self) -> None:
        """A kept session takes message after message, each after a RSET of its own, under the name it is known by then."""
        self.rested()
        for count in range(1, 4):
            self.assertEqual(self.clock.getDelayedCalls()[1:], [], "nothing but the timer, which stays for later")
            done = self.next_message(never if count == 3 else always)
            self.assertEqual(self.client(), "RSET\r\n")
            self.server("250 2.0.0 ok")
            self.assertEqual(self.client(), GROUP)
            self.assertEqual((self.session.reuse_count, self.session.peer), (count, OTHER_PEER))
            self.server("250 a", "250 b", "354 c")
            self.assertEqual(self.client(), "Hello.\r\n.\r\n" + ("QUIT\r\n" if count == 3 else ""))
            self.server("250 d")
            self.assertIs(self.successResultOf(done), True)
            self.assertIs(self.session.is_open, count < 3)
            if self.session.is_open:
                self.assertTrue(self.session.rest(self.disturbed))
        self.assertTrue(self.session.welcome.capabilities.offers(Feature.DSN))
        self.assertEqual(self.end(), "closed")
        self.assertEqual(self.disturbances, 0)

    def test_refused(self) -> None:
        """So does one on which everybody was refused, or the content."""
        for replies in (("250 a | 550 b | 554 c", "250 d"), ("250 a | 250 b | 354 c", "554 5.7.1 spam")):
            self.connect()
            self.greeted()
            self.assertIs(self.successResultOf(self.deliver(always, *replies)), True)
            self.assertTrue(self.session.is_open)
            self.assertNotIn("QUIT", self.said)

    def test_misunderstood_in_time(self) -> None:
        """A reply that smells of a misunderstanding ends it: with QUIT, where that can still be said with the last command."""
        done = self.deliver(always, "250 a | 501 b | 554 c", "250 d")
        self.assertIs(self.successResultOf(done), True)
        self.assertTrue(self.said.endswith("RSET\r\nQUIT\r\n"))
        self.assertEqual(self.end(), "closed")

    def test_misunderstood_too_late(self) -> None:
        """Without a word, where the dot has been said already."""
        done = self.deliver(always, "250 a | 250 b | 354 c", "501 5.5.2 what")
        self.assertIs(self.successResultOf(done), True)
        self.assertTrue(self.said.endswith("Hello.\r\n.\r\n"))
        self.assertFalse(self.session.is_open)
        self.assertEqual(self.end(), "closed")

    def test_expired_meanwhile(self) -> None:
        """One whose time is over when the reply to the dot comes gets a QUIT of its own."""
        answers = [False, True]
        done = self.deliver(answers.pop)
        self.assertIs(self.successResultOf(done), True)
        self.assertTrue(self.said.endswith(".\r\nQUIT\r\n"))
        self.assertEqual(self.end(), "closed")

    def test_no_smtputf8(self) -> None:
        """One whose server cannot take the message at all is not kept."""
        done = self.deliver(always, "", smtputf8=SmtpUtf8.REQUESTED | SmtpUtf8.SENDER)
        self.assertIs(self.successResultOf(done), False)
        self.assertEqual(self.said, "QUIT\r\n")
        self.assertEqual(self.end(), "closed")

    def test_limit_is_forgotten(self) -> None:
        """The size that a server takes is known to the first message alone, as in smtp(8)."""
        self.connect()
        done = self.start(self.session.greet(OCCASION))
        self.server("220 mx.example ESMTP", "250-mx.example", "250-PIPELINING", "250 SIZE 1000")
        self.successResultOf(done)
        self.client()
        self.rested()
        self.assertEqual(self.session.welcome.capabilities.size_limit, 0)
        self.assertTrue(self.session.welcome.capabilities.offers(Feature.SIZE))

    def test_said_too_much(self) -> None:
        """A server that says more than it was asked cannot be used again."""
        for stray in ("250 stray", "25", "421 4.4.2 bye"):
            self.connect()
            self.greeted()
            done = self.deliver(always, "250 a | 250 b | 354 c")
            self.transport.receive(f"250 d\r\n{stray}\r\n".encode().removesuffix(b"\r\n" if stray == "25" else b""))
            self.assertIs(self.successResultOf(done), True)
            self.assertFalse(self.session.rest(self.disturbed))
            self.session.close()
            self.assertEqual(self.end(), "closed")

    def test_hung_up_with_its_reply(self) -> None:
        """Nor one that hangs up behind its reply."""
        done = self.deliver(always, "250 a | 250 b | 354 c")
        self.server("250 d")
        self.transport.receive_end()
        self.assertIs(self.successResultOf(done), True)
        self.assertFalse(self.session.rest(self.disturbed))
        self.session.close()
        self.assertEqual(self.end(), "closed")


class WatchTests(ReuseTestCase):
    """A session that rests is watched."""

    def test_stray_bytes(self) -> None:
        """Whatever the server says is a disturbance, be it a goodbye or half a line; it is told once, and never read."""
        for stray in (b"421 4.4.2 idle for too long\r\n", b"250 ok\r\n", b"\0", b"2"):
            self.connect()
            self.greeted()
            self.disturbances = 0
            self.rested()
            self.transport.receive(stray)
            self.transport.receive(stray)
            self.transport.receive_end()
            self.assertEqual(self.disturbances, 1)
            self.session.close()
            self.assertEqual(self.end(), "closed")

    def test_end(self) -> None:
        """So is the end of the connection, in order or not."""
        for ends in ("receive_end", "lose"):
            self.disturbances = 0
            self.rested()
            getattr(self.transport, ends)()
            self.assertEqual(self.disturbances, 1)
            self.session.close()
            self.client()
            self.clock.advance(0)
            self.idle()
            self.connect()
            self.greeted()

    def test_close(self) -> None:
        """A session that nobody needs any more is closed in order, without a word, and disturbs nobody."""
        self.rested()
        self.session.close()
        self.assertEqual(self.client(), "")
        self.assertEqual(self.end(), "closed")


class WakeTests(ReuseTestCase):
    """RSET before the next message."""

    def setUp(self) -> None:
        """Have a session that rests."""
        super().setUp()
        self.rested()
        self.findings.clear()

    def anew(self) -> None:
        """The same once more."""
        self.connect()
        self.greeted()
        self.rested()
        self.findings.clear()

    def gone(self, done: Deferred[bool]) -> None:
        """The session does not serve again; nobody hears of it, the server neither, and nothing has happened to the mail."""
        self.failureResultOf(done, NotServingError)
        self.assertFalse(self.session.is_open)
        self.assertEqual(self.client(), "")
        self.clock.advance(0)
        self.idle()
        self.assertTrue(self.transport.ended)
        self.assertEqual((self.events, self.findings), ([], []))

    def test_refused(self) -> None:
        """RSET is refused."""
        for reply in ("502 5.5.1 no", "421 4.4.2 bye", "354 go"):
            done = self.next_message()
            self.client()
            self.server(reply)
            self.gone(done)
            self.anew()

    def test_silence(self) -> None:
        """The server says nothing within smtp_rset_timeout."""
        done = self.next_message()
        self.client()
        self.clock.advance(19.9)
        self.assertNoResult(done)
        self.clock.advance(0.1)
        self.gone(done)

    def test_lost(self) -> None:
        """The connection ends, or is reset."""
        for ends in ("receive_end", "lose"):
            done = self.next_message()
            self.client()
            getattr(self.transport, ends)()
            self.gone(done)
            self.anew()

    def test_two_replies(self) -> None:
        """Two replies to one RSET, or more than one reply: nobody knows which one answers what comes next."""
        for more in ("250 reset", "25"):
            done = self.next_message()
            self.client()
            self.transport.receive(f"250 stray\r\n{more}".encode())
            self.gone(done)
            self.anew()

    def test_hung_up_unseen(self) -> None:
        """The end has come, and the reactor has not told of it: RSET is not even said."""
        self.transport.hasInput = lambda: True  # type: ignore[method-assign] # as the system would say
        self.assertFalse(self.session.wake(OTHER_PEER, None))
        self.assertEqual(self.client(), "")
        self.assertEqual(self.end(), "closed")

    def test_cancelled(self) -> None:
        """A delivery that is no longer wanted drops the session."""
        done = self.next_message()
        self.client()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.end(), "dropped")

    def test_lost_later(self) -> None:
        """A connection that breaks after RSET is told, as any other."""
        done = self.next_message()
        self.server("250 ok")
        self.server("250 a")
        self.transport.receive_end()
        self.failureResultOf(done, ConnectionBrokenError)

    def test_told(self) -> None:
        """What there is to say of the session is said once the server has answered."""
        told = StartTlsOfferNoted("any")
        self.assertTrue(self.session.wake(OTHER_PEER, None, told))
        self.send_kept()
        self.assertEqual(self.events, [])
        self.server("250 ok")
        self.assertEqual(self.events, [told])

    def test_ear(self) -> None:
        """Each delivery has listeners of its own."""
        transcript = Transcript()
        done = self.next_message(ear=Ear([transcript], 2048))
        for replies in (("250 ok",), ("250 a", "250 b", "354 c"), ("250 d",)):
            self.client()
            self.server(*replies)
        self.successResultOf(done)
        self.assertTrue(self.session.rest(self.disturbed))
        self.server("421 bye")
        self.assertEqual(list(transcript.lines())[:3], [" Out: RSET", " In:  250 ok", " Out: MAIL FROM:<s@c.example>"])
        self.assertNotIn("421", "".join(transcript.lines()))

    def test_troubles(self) -> None:
        """Errors of one delivery are not those of the next."""
        self.protocol.incoming.troubles = ErrorClass.DATA
        self.next_message()
        self.assertEqual(self.session.troubles, ErrorClass.NONE)


class TlsTests(ReuseTestCase):
    """Sessions in TLS."""

    def secured(self, *, connection_reuse: bool) -> None:
        """Have the session inside TLS."""
        policy = TlsPolicy(Level.ENCRYPT, connection_reuse=connection_reuse)
        welcome = self.session.welcome
        self.session = Session(self.protocol, self.settings, TlsTerms(policy))
        self.session.resume(welcome, 0, 0.0)
        handshake: Any = PlainHandshake()
        self.far = ServerSide()
        secured = self.protocol.secure(handshake, fast_shutdown=True)
        while answer := self.far.take(self.transport.drain_all()):
            self.transport.receive(answer)
        self.session.tls = self.successResultOf(secured)

    def server(self, *lines: str) -> None:
        """The server says lines, inside TLS if there is any."""
        if not self.protocol.transport or not hasattr(self, "far"):
            super().server(*lines)
        else:
            self.transport.receive(self.far.say("".join(f"{line}\r\n" for line in lines).encode()))

    def client(self) -> str:
        """What the server has heard since the last call."""
        if not hasattr(self, "far"):
            return super().client()
        self.far.take(self.transport.drain_all())
        heard, self.far.heard = self.far.heard, b""
        return heard.decode()

    def test_kept(self) -> None:
        """With smtp_tls_connection_reuse it is kept, with TLS as it is, and ends with a farewell."""
        self.secured(connection_reuse=True)
        self.rested()
        done = self.next_message()
        self.assertEqual(self.client(), "RSET\r\n")
        self.server("250 ok")
        self.assertEqual(self.client(), GROUP)
        self.server("250 a", "250 b", "354 c")
        self.client()
        self.server("250 d")
        self.assertIs(self.successResultOf(done), True)
        self.assertTrue(self.session.rest(self.disturbed))
        self.session.close()
        self.client()
        self.assertTrue(self.far.ended)
        self.assertEqual(self.end(), "closed")

    def test_not_kept(self) -> None:
        """Without it, it is not."""
        self.secured(connection_reuse=False)
        self.assertIs(self.successResultOf(self.deliver()), True)
        self.assertTrue(self.said.endswith("QUIT\r\n"))
        self.assertFalse(self.session.is_open)

    def test_watched(self) -> None:
        """Stray words disturb it, as without TLS."""
        self.secured(connection_reuse=True)
        self.rested()
        self.server("250 stray")
        self.assertEqual(self.disturbances, 1)

    def test_farewell(self) -> None:
        """The server's farewell is its end."""
        self.secured(connection_reuse=True)
        self.rested()
        self.far.connection.shutdown()
        self.transport.receive(self.far.out())
        self.assertEqual(self.disturbances, 1)


class AnyOrderTests(ReuseTestCase):
    """Whatever a server does between two messages, and however its octets are cut."""

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"250 ok\r\n",
                    b"421 bye\r\n",
                    b"25",
                    b"0 x\r\n",
                    b"\xff",
                    b"502 no\r\n",
                    b"(end)",
                    b"(reset)",
                    b"(wake)",
                ]
            ),
            max_size=6,
        )
    )
    def test_sound_or_gone(self, happenings: list[bytes]) -> None:
        """A session is ready only if the server answered RSET with one reply and nothing else; else it is gone."""
        self.connect()
        self.greeted()
        self.disturbances = 0
        self.rested()
        done: Deferred[bool] | None = None
        heard, said = b"", ""
        for happening in happenings:
            if self.disturbances:
                break
            if happening == b"(wake)":
                done = done or self.next_message(never)
            elif happening == b"(end)":
                self.transport.receive_end()
            elif happening == b"(reset)":
                self.transport.lose()
            else:
                if done is not None and GROUP not in said:
                    heard += happening
                self.transport.receive(happening)
            said += self.client()
        if done is None:
            self.assertLessEqual(self.disturbances, 1)
            self.session.close()
        elif GROUP in said:
            self.assertIn(heard, (b"250 ok\r\n", b"250 x\r\n"), "one reply, and no more")
            done.addErrback(lambda _: None)
            done.cancel()
        else:
            self.clock.advance(20)
            self.failureResultOf(done, NotServingError)
        self.client()
        self.clock.advance(0)
        self.idle()
