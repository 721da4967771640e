"""What servers say, too early or without measure."""

from dataclasses import replace

from tests.kit.dialog import PEER
from tests.session.shell import LOST, OCCASION, ShellTestCase
from twisted_mta.model import events
from twisted_mta.smtp.actions import AwaitReply, ConnectionBrokenError, Dialog, ErrorClass
from twisted_mta.smtp.greeting import Rebuff, greet
from twisted_mta.smtp.phases import QUIT
from twisted_mta.smtp.reply import Reply


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
        self.assertEqual(self.protocol.incoming.troubles, ErrorClass.PROTOCOL)

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
        self.assertEqual(self.protocol.incoming.troubles, ErrorClass.PROTOCOL)

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


class EndOfPatienceTests(ShellTestCase):
    """Servers that never come to an end."""

    def unread(self, *segments: bytes) -> int:
        """How many replies wait after these segments, while nobody reads."""
        self.connect()
        self.protocol.incoming.pipelining = True
        for segment in segments:
            self.transport.receive(segment)
        return len(self.protocol.incoming._replies)

    def test_rest_of_a_segment(self) -> None:
        """Once there are too many lines that are no replies, nothing counts any more, whether it comes with them or later."""
        flood = (b"hm\r\n" * 95 + b"250 ok\r\n") * 11
        late = b"250 never seen\r\n"
        self.assertEqual(self.unread(flood + late), self.unread(flood, late))
