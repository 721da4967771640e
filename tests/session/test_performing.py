"""A dialog, performed: octets in, actions out."""

from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from tests.kit.dialog import PEER
from tests.session.shell import CONTENT, GROUP, LOST, OCCASION, PiecewiseContent, ShellTestCase
from twisted_mta.smtp.actions import AwaitReply, Dialog, Milestone, Write
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.greeting import Welcome, greet
from twisted_mta.smtp.phases import QUIT
from twisted_mta.smtp.reply import Reply
from twisted_mta.smtp.transaction import Ending, TransactionEnd


class DialogTests(ShellTestCase):
    """Dialogs that go well."""

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
