"""The Twisted shell: octets in, actions out, and connections that break."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from zope.interface.verify import verifyObject

from tests.kit.dialog import PEER
from tests.session.shell import GROUP, PiecewiseContent, ShellTestCase
from twisted_mta.interfaces import CorruptContentError
from twisted_mta.model import events
from twisted_mta.smtp.actions import AwaitReply, ConnectionBrokenError, Dialog, ErrorClass, Milestone, Write
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.greeting import Occasion, Rebuff, Welcome, greet
from twisted_mta.smtp.phases import QUIT
from twisted_mta.smtp.reply import Reply
from twisted_mta.smtp.transaction import Ending, TransactionEnd

LOST = "lost connection with mx.example[192.0.2.1] while "
CONTENT = "Subject: x\r\n\r\nHello.\r\n"
OCCASION = Occasion("4Abc12")


class DialogTests(ShellTestCase):
    """Dialogs that go well."""

    def test_interfaces(self) -> None:
        """The protocol hears of half-closed connections, and produces content when asked."""
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.protocol))
        self.assertTrue(verifyObject(IPullProducer, self.protocol))

    def test_greeting(self) -> None:
        """A dialog gets its replies and writes its commands."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.assertEqual(self.client(), "")
        self.server("220 mx.example ESMTP")
        self.assertEqual(self.client(), "EHLO client.example\r\n")
        self.server("250-mx.example", "250 PIPELINING")
        self.assertIsInstance(self.successResultOf(done), Welcome)

    def test_transaction(self) -> None:
        """Groups leave as one write; content, dot and QUIT together."""
        done = self.transact()
        self.assertEqual(self.client(), GROUP)
        self.server("250 a", "250 b", "354 c")
        self.assertEqual(self.client(), CONTENT + ".\r\nQUIT\r\n")
        self.assertNoResult(done)
        self.server("250 2.0.0 queued")
        self.assertEqual(self.successResultOf(done), TransactionEnd(Ending.CLOSED))
        self.assertEqual(self.findings[:2], [Milestone.SET_UP, Milestone.DONE])
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 2.0.0 queued"])

    def test_octet_by_octet(self) -> None:
        """Replies may come in any pieces."""
        done = self.transact()
        for octet in b"250 a\r\n250-b\r\n250 b\r\n354 c\r\n":
            self.transport.receive(bytes([octet]))
        self.assertEqual(self.client(), GROUP + CONTENT + ".\r\nQUIT\r\n")
        for octet in b"250 2.0.0 queued\r\n":
            self.transport.receive(bytes([octet]))
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 2.0.0 queued"])
        self.successResultOf(done)

    def test_replies_wait_for_their_dialog(self) -> None:
        """A reply that nobody waits for is kept for the next dialog."""
        self.server("220 mx.example", "250 mx.example")
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.assertIsInstance(self.successResultOf(done), Welcome)

    def test_one_dialog_after_the_other(self) -> None:
        """A connection serves any number of dialogs; between them nothing is timed."""
        for _ in range(3):
            done = self.perform(quit_dialog(replace(self.settings, await_quit_reply=True)))
            self.assertEqual(self.client(), "QUIT\r\n")
            self.server("221 bye")
            self.successResultOf(done)
            self.clock.advance(10_000)
        self.assertEqual(self.transport.ended, "")

    def test_a_thousand_replies(self) -> None:
        """A thousand replies in one segment are taken in turn, without as many nested calls."""

        def thousand() -> Dialog[list[str]]:
            texts = []
            for _ in range(1000):
                reply = yield AwaitReply(QUIT)
                assert isinstance(reply, Reply)
                texts.append(reply.text)
            return texts

        done = self.perform(thousand())
        self.server(*(f"250 {number}" for number in range(1000)))
        self.assertEqual(self.successResultOf(done), [f"250 {number}" for number in range(1000)])


class BrokenTests(ShellTestCase):
    """Connections that end, in each phase."""

    STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("sending MAIL FROM", ()),
        ("sending RCPT TO", ("250 a",)),
        ("sending DATA command", ("250 a", "250 b")),
        ("sending end of data -- message may be sent more than once", ("250 a", "250 b", "354 c")),
    )

    def each_phase(self, break_off: Callable[[], None]) -> None:
        """Break the connection in each phase of a transaction."""
        for doing, replies in self.STEPS:
            self.connect()
            done = self.transact()
            self.client()
            self.server(*replies)
            self.client()
            break_off()
            self.assertEqual(self.broken(done), LOST + doing)
            self.assertEqual(self.outcomes, [])

    def test_reset(self) -> None:
        """A reset ends the dialog at once, and leaves no timer behind."""

        def reset() -> None:
            self.transport.lose()
            self.idle()

        self.each_phase(reset)

    def test_end(self) -> None:
        """So does a server that closes, or only its side."""
        self.each_phase(lambda: self.transport.receive_end())

    def test_greeting(self) -> None:
        """The same in the greeting and after EHLO."""
        for lines, doing in {
            (): "receiving the initial server greeting",
            ("220 x",): "performing the EHLO handshake",
        }.items():
            self.connect()
            done = self.perform(greet(PEER, self.settings, OCCASION))
            self.server(*lines)
            self.transport.receive(b"250-unfinis")
            self.transport.lose()
            self.assertEqual(self.broken(done), LOST + doing)

    def test_while_waiting_for_the_reply_to_quit(self) -> None:
        """Everything is settled then; the phase says so."""
        self.connect(replace(self.settings, await_quit_reply=True))
        done = self.transact()
        self.server("250 a", "250 b", "354 c")
        self.client()
        self.server("250 d")
        self.transport.lose()
        error = self.failureResultOf(done, ConnectionBrokenError).value
        assert isinstance(error, ConnectionBrokenError)
        self.assertTrue(error.phase.silent)
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 d"])

    def test_last_words_count(self) -> None:
        """What was said before the end is used, in order; then comes the loss."""
        done = self.transact()
        self.transport.receive(b"250 a\r\n550 5.1.1 b\r\n")
        self.transport.receive_end()
        self.assertEqual(len(self.outcomes), 1)
        self.assertEqual(self.broken(done), LOST + "sending DATA command")

    def test_goodbye_with_everything(self) -> None:
        """A server that answers everything and closes at once has answered."""
        done = self.transact(keywords=())
        for reply in ("250 a", "250 b", "354 c"):
            self.server(reply)
        self.client()
        self.transport.receive(b"250 d\r\n")
        self.transport.receive_end()
        self.successResultOf(done)
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 d"])

    def test_end_between_dialogs(self) -> None:
        """A server that closes while nobody speaks is left."""
        self.transport.receive_end()
        self.clock.advance(0)
        self.assertEqual(self.transport.ended, "closed")
        self.idle()

    def test_dialog_on_a_dead_connection(self) -> None:
        """A dialog that starts too late fails at its first question."""
        self.transport.lose()
        self.assertEqual(self.broken(self.transact()), LOST + "sending MAIL FROM")
        self.assertEqual(self.client(), "")
        done = self.perform(quit_dialog(self.settings))
        self.successResultOf(done)
        self.protocol.close()
        self.protocol.abort()
        self.idle()

    def test_content_for_a_dead_connection(self) -> None:
        """Replies that were there before the end do not make content worth reading."""
        self.server("250 a", "250 b", "354 c")
        self.transport.lose()
        content = PiecewiseContent([b"a\n"])
        self.assertEqual(self.broken(self.transact(content)), LOST + "sending message body")
        self.assertEqual(content.given, 0)

    def test_defect(self) -> None:
        """An exception in a dialog, or in what takes its findings, ends it with that exception."""

        def defect() -> Dialog[None]:
            yield Write(b"X\r\n")
            raise ZeroDivisionError

        self.failureResultOf(self.perform(defect()), ZeroDivisionError)

        def indignant(_: Any) -> None:
            raise ValueError

        def finds() -> Dialog[None]:
            yield Milestone.DONE

        self.failureResultOf(self.protocol.perform(finds(), indignant), ValueError)


class CancelTests(ShellTestCase):
    """Dialogs that are no longer wanted."""

    def cancelled(self, done: Deferred[Any]) -> None:
        """After a cancel the connection is dropped, and nothing of what waits leaves."""
        waiting = bytes(self.transport.unsent)
        self.client() if not waiting else None
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.protocol.close()
        self.assertEqual(self.client(), "")
        self.clock.advance(0)
        self.assertEqual(self.transport.ended, "dropped")
        self.idle()

    def test_waiting(self) -> None:
        """While a reply is awaited."""
        done = self.transact()
        self.client()
        self.cancelled(done)

    def test_unsent_dot(self) -> None:
        """While the dot has not left: it never does."""
        done = self.transact()
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.assertIn(b"\r\n.\r\n", self.transport.unsent)
        self.cancelled(done)

    def test_content(self) -> None:
        """Within the content: no more of it is read."""
        content = PiecewiseContent([b"x" * 69 + b"\n"] * 10_000)
        done = self.transact(content)
        self.client()
        self.server("250 a", "250 b", "354 c")
        given = content.given
        self.assertLess(given, 10_000)
        self.cancelled(done)
        self.assertEqual(content.given, given)

    def test_pause(self) -> None:
        """Within the pause before the dot."""
        done = self.transact(delay_dot=True)
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.assertEqual(self.client(), CONTENT)
        self.cancelled(done)
        self.clock.advance(100)

    def test_replies_to_a_cancelled_dialog(self) -> None:
        """What still comes is nobody's."""
        done = self.transact()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.protocol.dataReceived(b"250 a\r\n")
        self.assertEqual(self.outcomes, [])


class ClosingTests(ShellTestCase):
    """Ending a connection from our side."""

    def test_close(self) -> None:
        """What was written still leaves."""
        self.perform(quit_dialog(self.settings))
        self.protocol.close()
        self.assertEqual(self.transport.ended, "")
        self.assertEqual(self.client(), "QUIT\r\n")
        self.assertEqual(self.transport.ended, "closed")
        self.idle()

    def test_close_takes_too_long(self) -> None:
        """A server that does not even take the QUIT is dropped after the time for that."""
        self.perform(quit_dialog(self.settings))
        self.protocol.close()
        self.clock.advance(303)
        self.assertEqual(self.transport.ended, "")
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual(self.transport.ended, "dropped")
        self.idle()

    def test_abort(self) -> None:
        """Abort does not wait."""
        self.transport.write(b"x")
        self.protocol.abort()
        self.clock.advance(0)
        self.assertEqual((self.transport.ended, self.client()), ("dropped", ""))
        self.idle()


class PauseTests(ShellTestCase):
    """The delay of the dot for a PIX firewall."""

    def test_pause(self) -> None:
        """The content leaves, and ten seconds later the dot."""
        done = self.transact(delay_dot=True)
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.assertEqual(self.client(), CONTENT)
        self.clock.advance(9)
        self.assertEqual(self.client(), "")
        self.clock.advance(1)
        self.assertEqual(self.client(), ".\r\nQUIT\r\n")
        self.server("250 d")
        self.successResultOf(done)

    def test_lost(self) -> None:
        """A connection that breaks meanwhile is noticed afterwards."""
        done = self.transact(delay_dot=True)
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.client()
        self.transport.lose()
        self.clock.advance(10)
        self.assertEqual(self.broken(done), LOST + "sending end of data -- message may be sent more than once")
        self.idle()


class EarlyTests(ShellTestCase):
    """Replies that come before what they seem to answer."""

    BODY = LOST + "sending message body"

    def test_with_the_354(self) -> None:
        """A 250 in the same segment as the 354 is no answer to the dot."""
        done = self.transact()
        self.client()
        self.server("250 a", "250 b", "354 c", "250 d")
        self.assertEqual(self.broken(done), self.BODY)
        self.assertEqual(self.outcomes, [])

    def test_refusal_with_the_354(self) -> None:
        """A refusal is."""
        self.transact()
        self.client()
        self.server("250 a", "250 b", "354 c", "552 5.3.4 d")
        self.assertEqual(len(self.outcomes), 1)

    def test_with_the_354_and_then_lost(self) -> None:
        """Nor is it the last word of a server that breaks off the content."""
        done = self.transact(b"x\n" * 500_000)
        self.client()
        self.server("250 a", "250 b", "354 c", "250 d")
        self.transport.lose()
        self.assertEqual(self.broken(done), self.BODY)

    def test_before_the_dot_has_left(self) -> None:
        """Nor is one that comes while the dot still waits for the system, whether or not QUIT stands behind it."""
        for keywords, tail in {("PIPELINING",): "\r\n.\r\nQUIT\r\n", (): ".\r\n"}.items():
            self.connect()
            done = self.transact(keywords=keywords)
            for reply in ("250 a", "250 b", "354 c"):
                self.server(reply)
            self.transport.drain(len(self.transport.unsent) - len(tail) + 1)
            self.server("250 d")
            self.assertEqual(self.broken(done), self.BODY)

    def test_when_only_quit_waits(self) -> None:
        """But the QUIT behind the dot does not have to have left."""
        self.transact()
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.transport.drain(len(self.transport.unsent) - len("QUIT\r\n"))
        self.server("250 d")
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 d"])

    def test_empty_message(self) -> None:
        """An empty message has nothing but a dot to wait for."""
        done = self.transact(b"", keywords=())
        for reply in ("250 a", "250 b", "354 c"):
            self.client()
            self.server(reply)
        self.assertEqual(self.transport.unsentOctets(), 3)
        self.server("250 d")
        self.assertEqual(self.broken(done), self.BODY)

    def test_in_the_pause(self) -> None:
        """Nor is one that comes within the pause before the dot."""
        done = self.transact(delay_dot=True)
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.client()
        self.server("250 d")
        self.clock.advance(10)
        self.assertEqual(self.broken(done), self.BODY)

    def test_within_the_content(self) -> None:
        """Nor one that comes within the content, whose rest is sent before anybody looks."""
        done = self.transact(b"x" * 69 + b"\n" * 1_000_000)
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.server("250 d")
        self.assertNoResult(done)
        self.client()
        self.assertEqual(self.broken(done), self.BODY)

    def test_lmtp_replies_in_one_segment(self) -> None:
        """Several replies to one dot may come together."""
        self.connect(replace(self.settings, lmtp=True))
        done = self.transact(recipients=("r@d.example", "q@d.example"))
        self.client()
        self.server("250 a", "250 b", "250 c", "354 d")
        self.client()
        self.server("250 e", "250 f")
        self.successResultOf(done)
        self.assertEqual(self.outcomes, ["0 taken: 2.0.0 250 e", "1 taken: 2.0.0 250 f"])


class HostileTests(ShellTestCase):
    """Servers without measure."""

    def test_garbage_while_pipelining(self) -> None:
        """Lines that are no replies are told, cut to a hundred characters, with advice."""
        self.transact()
        self.server("x" * 200, "250 a")
        self.assertEqual(
            self.events,
            [
                events.GarbageReply("4Abc12", "ESMTP", PEER.relay, "x" * 100),
                events.PipeliningAdvice("192.0.2.1", "smtp_discard_ehlo_keyword_address_maps"),
            ],
        )
        self.assertEqual(self.protocol.troubles, ErrorClass.PROTOCOL)

    def test_garbage_without_advice(self) -> None:
        """With helpful_warnings = no there is none."""
        self.connect(replace(self.settings, helpful=False, lmtp=True))
        self.transact()
        self.server("hm", "250 a")
        self.assertEqual(self.events, [events.GarbageReply("4Abc12", "LMTP", PEER.relay, "hm")])

    def test_garbage_in_lock_step(self) -> None:
        """Without pipelining nobody is bothered."""
        self.transact(keywords=())
        self.server("hm", "250 a")
        self.assertEqual(self.events, [])
        self.assertEqual(self.protocol.troubles, ErrorClass.PROTOCOL)

    def test_long_line(self) -> None:
        """A long line is cut, and told."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        self.server("554 5.7.1 " + "x" * 3000)
        rebuff = self.successResultOf(done)
        assert isinstance(rebuff, Rebuff)
        self.assertEqual(len(rebuff.why.diag_text), 2048)
        self.assertEqual(self.events, [events.ReplyTooLong(PEER.relay, 2048, "554 5.7.1 " + "x" * 20)])

    def test_long_reply(self) -> None:
        """So is a reply of too many lines."""
        self.perform(greet(PEER, self.settings, OCCASION))
        self.server(*["220-" + "x" * 96] * 50, "220 x")
        self.assertEqual(self.events, [events.MultilineReplyTooLong(PEER.relay, 2048, "220-" + "x" * 26)])

    def test_endless_line(self) -> None:
        """A line without end: it is used as far as it came, and then the server is as good as gone."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        for _ in range(100):
            self.transport.receive(b"2" * 1000)
        self.assertEqual(self.broken(done), LOST + "receiving the initial server greeting")
        self.assertEqual(self.events[0], events.ReplyEndless(PEER.relay))
        self.assertEqual(len(self.events), 2)

    def test_endless_reply(self) -> None:
        """A reply without end."""
        done = self.perform(greet(PEER, self.settings, OCCASION))
        for _ in range(200):
            self.transport.receive(b"220-more\r\n" * 1000)
        self.assertEqual(self.broken(done), LOST + "receiving the initial server greeting")
        self.assertEqual(self.events[-1], events.ReplyEndless(PEER.relay))
        self.assertEqual(len(self.events), 2)

    def test_endless_garbage(self) -> None:
        """Garbage without end does not fill the log."""
        done = self.transact()
        self.transport.receive(b"x\r\n" * 10_000)
        self.assertEqual(self.broken(done), LOST + "sending MAIL FROM")
        self.assertEqual(len(self.events), 2 * 100 + 1)

    def test_endless_replies(self) -> None:
        """Replies without end: a thousand are kept, then the server is as good as gone."""
        self.transport.receive(b"220 x\r\n" * 1000 + b"250 never seen\r\n" * 5000)
        self.assertEqual(self.events, [events.ReplyEndless(PEER.relay)])
        self.transport.receive(b"250 never seen\r\n")

        def every_reply() -> Dialog[set[str]]:
            texts: set[str] = set()
            while True:
                try:
                    reply = yield AwaitReply(QUIT)
                except ConnectionBrokenError:
                    return texts
                assert isinstance(reply, Reply)
                texts.add(reply.text)

        self.assertEqual(self.successResultOf(self.perform(every_reply())), {"220 x"})

    def test_nothing_is_read_after_the_end_of_patience(self) -> None:
        """The transport is told not to read on."""
        self.transport.receive(b"2" * 5000)
        self.assertFalse(self.transport.reading)

    def test_unreadable_content(self) -> None:
        """Content that cannot be read ends the dialog with its error; there is no dot."""
        for octets in (b"a\n", b"a\n" * 100_000):
            chunks = (octets, CorruptContentError("x"))
            self.connect()
            done = self.transact(PiecewiseContent(chunks))
            self.client()
            self.server("250 a", "250 b", "354 c")
            self.assertNotIn("\r\n.\r\n", self.client())
            self.failureResultOf(done, CorruptContentError)
            self.assertEqual(self.outcomes, [])
            self.protocol.close()
            self.client()
            self.clock.advance(0)
            self.assertEqual(self.transport.ended, "closed")
            self.idle()


class EndOfPatienceTests(ShellTestCase):
    """Servers that never come to an end."""

    def unread(self, *segments: bytes) -> int:
        """How many replies wait after these segments, while nobody reads."""
        self.connect()
        self.protocol.pipelining = True
        for segment in segments:
            self.transport.receive(segment)
        return len(self.protocol._replies)

    def test_rest_of_a_segment(self) -> None:
        """Once there are too many lines that are no replies, nothing counts any more, whether it comes with them or later."""
        flood = (b"hm\r\n" * 95 + b"250 ok\r\n") * 11
        late = b"250 never seen\r\n"
        self.assertEqual(self.unread(flood + late), self.unread(flood, late))
