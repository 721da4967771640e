"""Who may listen to a dialog hears it in order."""

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.dialog import PEER
from tests.session.shell import GROUP, ShellTestCase
from twisted_mta.model.events import DialogHeard, DialogSaid, Event
from twisted_mta.session.overhearing import DetailedLog, Ear
from twisted_mta.smtp.actions import ErrorClass
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.greeting import Occasion, greet


class Written:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def said(self, command: str) -> None:
        """Ours."""
        self.lines.append(f"C {command}")

    def heard(self, line: str) -> None:
        """The server's."""
        self.lines.append(f"S {line}")

    def replaced(self, line: str) -> None:
        """Instead of the last one."""
        self.lines.append(f"= {line}")

    def dropped(self, line: str) -> None:
        """There was no room for it."""
        self.lines.append(f"- {line}")


class EarTests(SynchronousTestCase):
    """An ear on its own."""

    def setUp(self) -> None:
        """An ear with one listener."""
        self.written = Written()
        self.ear = Ear([self.written], 2048)

    def reply(self, *lines: str) -> None:
        """A reply comes, and is read."""
        for line in lines:
            self.ear.came(line)
        self.ear.completed()
        self.ear.read()

    def test_order_of_reading(self) -> None:
        """Replies that come early are heard when the dialog reads them."""
        self.ear.came("220 hi")
        self.ear.completed()
        self.ear.came("250 what?")
        self.ear.completed()
        self.ear.read()
        self.ear.said("EHLO c\r\n")
        self.ear.read()
        self.assertEqual(self.written.lines, ["S 220 hi", "C EHLO c", "S 250 what?"])

    def test_group(self) -> None:
        """Commands that go out together are told one by one."""
        self.ear.said("MAIL FROM:<>\r\nRCPT TO:<a@d>\r\nDATA\r\n")
        self.assertEqual(self.written.lines, ["C MAIL FROM:<>", "C RCPT TO:<a@d>", "C DATA"])

    def test_unfinished_reply(self) -> None:
        """What has come of a reply is heard when there will be no more; once."""
        self.ear.came("250-mx")
        self.ear.read()
        self.ear.read()
        self.assertEqual(self.written.lines, ["S 250-mx"])

    def test_replaced(self) -> None:
        """Both the line and what a filter made of it are told."""
        self.ear.came("550 no", "250 yes")
        self.ear.completed()
        self.ear.read()
        self.assertEqual(self.written.lines, ["S 550 no", "= 250 yes"])

    def test_unprintable_commands(self) -> None:
        """Whatever is in an address harms nobody."""
        self.ear.said("MAIL FROM:<\x1b[1mä\udcff@c>\r\n")
        self.assertEqual(self.written.lines, ["C MAIL FROM:<?[1mä?@c>"])

    def test_long_replies(self) -> None:
        """Lines that nobody will see, as the reply is too long already, are told as such, and cut."""
        ear = Ear([self.written], 10)
        for line in ("250-12345", "250-6", "250-" + "x" * 1000, "250 ok"):
            ear.came(line)
        ear.completed()
        ear.read()
        self.assertEqual(self.written.lines, ["S 250-12345", "S 250-6", "- 250-" + "x" * 96, "- 250 ok"])


class DialogTests(ShellTestCase):
    """An ear at a connection."""

    def setUp(self) -> None:
        """Somebody listens."""
        super().setUp()
        self.written = Written()
        self.protocol.incoming.ear = Ear([self.written], 2048)

    def test_session(self) -> None:
        """Greeting, transaction and farewell, but neither the content nor replies that are not read."""
        self.perform(greet(PEER, self.settings, Occasion("4Abc12")))
        self.server("220 mx", "250-early", "250 PIPELINING")
        self.transact()
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.client()
        self.server("250 taken", "221 bye")
        self.assertEqual(
            self.written.lines,
            [
                "S 220 mx",
                "C EHLO client.example",
                "S 250-early",
                "S 250 PIPELINING",
                *(f"C {line}" for line in GROUP.split("\r\n")[:-1]),
                "S 250 a",
                "S 250 b",
                "S 354 c",
                "C .",
                "C QUIT",
                "S 250 taken",
            ],
        )

    def test_garbage_and_the_end(self) -> None:
        """A connection that is lost within a reply: its beginning counts."""
        done = self.transact(keywords=())
        self.server("garbage")
        self.transport.lose()
        self.broken(done)
        self.assertEqual(self.written.lines, ["C MAIL FROM:<s@c.example>", "S garbage"])
        self.assertEqual(self.protocol.incoming.troubles, ErrorClass.PROTOCOL)

    def test_garbage_that_nobody_reads(self) -> None:
        """What comes after the last reply that is read is neither heard nor a trouble."""
        self.perform(quit_dialog(self.settings))
        self.server("garbage", "221 bye", "more garbage")
        self.assertEqual(self.written.lines, ["C QUIT"])
        self.assertEqual(self.protocol.incoming.troubles, ErrorClass.NONE)

    def test_garbage_before_a_time_limit(self) -> None:
        """So it is with a server that says something, but no reply."""
        done = self.transact(keywords=())
        self.server("garbage")
        self.clock.advance(302)
        self.broken(done)
        self.assertEqual(self.written.lines[1:], ["S garbage"])
        self.assertEqual(self.protocol.incoming.troubles, ErrorClass.PROTOCOL)


class DetailedLogTests(SynchronousTestCase):
    """The log of servers that are watched."""

    def test_lines(self) -> None:
        """Commands, and the beginnings of reply lines."""
        logged: list[Event] = []
        log = DetailedLog("mx[192.0.2.1]:25", logged.append)
        ear = Ear([log], 10)
        ear.said("EHLO c\r\n")
        for line in ("250-" + "x" * 200, "250 ok"):
            ear.came(line)
        ear.came("250 ok", "550 no")
        ear.read()
        relay = "mx[192.0.2.1]:25"
        self.assertEqual(
            logged,
            [
                DialogSaid(relay, "EHLO c"),
                DialogHeard(relay, "250-" + "x" * 96),
                DialogHeard(relay, "250 ok"),
                DialogHeard(relay, "250 ok"),
            ],
        )
