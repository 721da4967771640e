"""Content on its way to the server: pieces, back-pressure and memory."""

import tracemalloc
from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.session.shell import PiecewiseContent, ShellTestCase
from twisted_mta.interfaces import CorruptContentError, IMessageContent
from twisted_mta.session.alarm import Alarm
from twisted_mta.session.body import PIECE_OCTETS, Body
from twisted_mta.session.sending import Sending
from twisted_mta.smtp.actions import LineBroken
from twisted_mta.smtp.transaction import TransactionEnd

CHUNK = (b"x" * 69 + b"\n") * 900
"""A chunk as queue files give it, 63,000 octets."""


@implementer(IMessageContent)
class GeneratedContent:
    """So many chunks, none of which is kept."""

    def __init__(self, count: int) -> None:
        self._count = count

    def chunks(self) -> Iterator[bytes]:
        """Make each chunk anew."""
        for _ in range(self._count):
            yield CHUNK[:-1] + b"\n"


class PiecesTests(ShellTestCase):
    """Content that is larger than a piece."""

    def ask_for(self, content: IMessageContent | bytes) -> Deferred[TransactionEnd]:
        """Get as far as the content."""
        done = self.transact(content)
        self.client()
        self.server("250 a", "250 b", "354 c")
        return done

    def test_next_piece_when_the_last_has_left(self) -> None:
        """No more than two pieces are ever read ahead, each of one such chunk; the rest waits until they have left."""
        content = PiecewiseContent([CHUNK] * 100)
        self.ask_for(content)
        self.assertEqual(content.given, 2)
        self.assertLess(len(self.transport.unsent), 2 * PIECE_OCTETS)
        self.transport.drain(len(self.transport.unsent) - 1)
        self.assertEqual(content.given, 2)
        self.transport.drain()
        self.assertEqual(content.given, 3)

    def test_whole_content(self) -> None:
        """All of it arrives, in order, with the dot and QUIT behind it."""
        numbered = b"".join(b"%07d\n" % number for number in range(100_000))
        done = self.ask_for(numbered)
        left = self.client()
        self.assertEqual(left, numbered.decode().replace("\n", "\r\n") + ".\r\nQUIT\r\n")
        self.server("250 d")
        self.successResultOf(done)

    def test_small_chunks_make_one_piece(self) -> None:
        """Small chunks are put together."""
        content = PiecewiseContent([b"a\n"] * 1000)
        self.ask_for(content)
        self.assertEqual(content.given, 1000)

    def test_empty(self) -> None:
        """An empty message is a lone dot, and taken like any other."""
        self.ask_for(b"")
        self.assertEqual(self.client(), ".\r\nQUIT\r\n")
        self.server("250 d")
        self.assertEqual(self.outcomes, ["all taken: 2.0.0 250 d"])

    def test_last_line_without_end(self) -> None:
        """The dot stands on a line of its own."""
        self.ask_for(b"x" * 100_000)
        self.assertTrue(self.client().endswith("x\r\n.\r\nQUIT\r\n"))

    def test_broken_lines_are_told(self) -> None:
        """A line beyond the limit is a finding, once."""
        self.ask_for(b"x" * 3000 + b"\n" + b"y" * 3000 + b"\n")
        self.assertEqual(self.findings[1:], [LineBroken(998)])

    def test_broken_lines_are_told_at_once(self) -> None:
        """It is told when the line is broken: what becomes of the rest of the message does not matter."""
        done = self.ask_for(PiecewiseContent([b"x" * 999 + b"\n", *[CHUNK] * 100]))
        self.assertEqual(self.findings[1:], [LineBroken(998)])
        self.transport.lose()
        self.broken(done)
        self.assertEqual(self.findings[1:], [LineBroken(998)])

    def test_lost_between_pieces(self) -> None:
        """A connection that breaks ends the reading of the content."""
        content = PiecewiseContent([CHUNK] * 100)
        done = self.ask_for(content)
        given = content.given
        self.transport.lose()
        self.assertIn("while sending message body", self.broken(done))
        self.assertEqual(content.given, given)
        self.idle()

    def test_last_words(self) -> None:
        """A refusal that came before the connection broke is the reply."""
        done = self.ask_for(PiecewiseContent([CHUNK] * 100))
        self.server("552 5.3.4 too much")
        self.transport.receive_end()
        self.client()
        self.successResultOf(done)
        self.assertEqual(len(self.outcomes), 1)
        self.assertIn("552 5.3.4 too much", self.outcomes[0])

    def test_lost_after_last_words(self) -> None:
        """The same if the server did not listen to the end."""
        done = self.ask_for(PiecewiseContent([CHUNK] * 100))
        self.server("552 5.3.4 too much")
        self.transport.lose()
        self.successResultOf(done)
        self.assertIn("552 5.3.4 too much", self.outcomes[0])

    def test_unreadable(self) -> None:
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

    def test_interface(self) -> None:
        """The transport asks it for the pieces."""
        body, alarm = Body(iter(()), 998), Alarm(self.LIMITS, self.clock)
        nobody = self.fail
        self.assertTrue(verifyObject(IPullProducer, Sending(body, self.transport, alarm, nobody, nobody)))


class MemoryTests(ShellTestCase):
    """A large message takes no more room than a small one."""

    def peak(self, count: int) -> int:
        """The most memory in use while so many chunks are sent, in octets."""
        self.connect()
        self.transact(GeneratedContent(count))
        self.client()
        tracemalloc.start()
        try:
            self.server("250 a", "250 b", "354 c")
            while self.transport.unsent:
                self.transport.drain()
                self.transport.take_sent()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_fifty_megabytes(self) -> None:
        """Fifty megabytes need the room of a few pieces more than one chunk does; a piece is less than two chunks."""
        small, large = self.peak(1), self.peak(800)
        self.assertLess(large - small, 10 * PIECE_OCTETS)
        self.assertLess(self.transport.peak_unsent, 4 * PIECE_OCTETS)
