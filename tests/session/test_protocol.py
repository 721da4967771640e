"""A connection: how it ends, by either side."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface.verify import verifyObject

from tests.kit.dialog import PEER
from tests.session.shell import LOST, OCCASION, PiecewiseContent, ShellTestCase
from twisted_mta.smtp.actions import ConnectionBrokenError
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.greeting import greet


class ProtocolTests(ShellTestCase):
    """What Twisted knows of it."""

    def test_interface(self) -> None:
        """The protocol hears of half-closed connections."""
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.protocol))


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


class MemoryTests(ShellTestCase):
    """Connections that are over."""

    ENDS: tuple[Callable[[ShellTestCase], None], ...] = (
        lambda case: case.protocol.close(),
        lambda case: case.protocol.abort(),
        lambda case: case.transport.lose(),
        lambda case: case.transport.receive_end(),
    )

    def freed(self) -> bool:
        """Whether the connection is free, without a search for garbage."""
        self.transport.drain_all()
        self.clock.advance(0)
        self.assertNotEqual(self.transport.ended, "")
        protocol = weakref.ref(self.protocol)
        del self.transport.protocol  # as Twisted's transports do
        del self.protocol, self.transport
        return protocol() is None

    def test_not_kept_alive(self) -> None:
        """One that was closed, after a message large or small, is free at once, not when garbage is collected."""
        gc.disable()
        self.addCleanup(gc.enable)
        for content in (b"x\n", b"x\n" * 500_000):
            for end in self.ENDS:
                self.connect()
                done = self.transact(content)
                self.client()
                self.server("250 a", "250 b", "354 c")
                self.client()
                self.server("250 d")
                self.successResultOf(done)
                end(self)
                self.assertTrue(self.freed())
