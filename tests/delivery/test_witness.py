"""Sessions that are overheard: for the postmaster, and for the log."""

from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.engine import Engine
from tests.kit.network import Unreachable
from tests.kit.script import Close, Raw, Reset, Script
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import DialogHeard, DialogSaid
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp.actions import ErrorClass

ZONE = {
    ("MX", "d.test"): ["10 h2.test", "20 h1.test"],
    ("A", "h1.test"): ["10.0.0.1"],
    ("A", "h2.test"): ["10.0.0.2"],
}
FIRST, SECOND = "10.0.0.2", "10.0.0.1"
RELAY_1, RELAY_2 = "h2.test[10.0.0.2]:25", "h1.test[10.0.0.1]:25"


@dataclass
class KeptNotices:
    """Keeps notices.

    Attributes:
        classes: of errors that are wanted.
        sent: relay and transcript of each notice.
        pause: what a notice waits for.
    """

    classes: ErrorClass = ErrorClass.PROTOCOL | ErrorClass.DATA
    sent: list[tuple[str, list[str]]] = field(default_factory=list)
    pause: Deferred[None] | None = None

    def wanted(self, sender: str) -> ErrorClass:
        """As told, if there is a sender."""
        return self.classes if sender else ErrorClass.NONE

    async def send(self, relay: str, transcript: Transcript) -> None:
        """Keep a notice."""
        self.sent.append((relay, list(transcript.lines())))
        if self.pause is not None:
            await self.pause


class NoticeTests(SynchronousTestCase):
    """Notices to the postmaster."""

    def deliver(self, first: Script | Unreachable, second: Script | Unreachable | None = None, **how: object) -> Engine:
        """Deliver to two hosts."""
        self.notices = KeptNotices(**how)  # type: ignore[arg-type] # fields of it
        hosts = {FIRST: first, SECOND: second or Script(hostname="h1.test")}
        self.engine = Engine(hosts, ZONE, notices=self.notices)
        self.engine.start("a@d.test", nexthop="d.test")
        self.engine.turn()
        return self.engine

    def test_transcript(self) -> None:
        """A refusal that smells of a misunderstanding makes a notice with all that was said, as in Postfix."""
        self.deliver(Script(("RCPT", "501 5.1.3 bad syntax"), hostname="h2.test", keywords=("PIPELINING",)))
        self.assertEqual(
            self.notices.sent,
            [
                (
                    RELAY_1,
                    [
                        " In:  220 h2.test ESMTP",
                        " Out: EHLO client.test",
                        " In:  250-h2.test",
                        " In:  250 PIPELINING",
                        " Out: MAIL FROM:<sender@client.example>",
                        " Out: RCPT TO:<a@d.test>",
                        " Out: DATA",
                        " In:  250 2.1.0 Ok",
                        " In:  501 5.1.3 bad syntax",
                        " In:  554 5.5.1 Error: no valid recipients",
                        " Out: RSET",
                        " Out: QUIT",
                        " In:  250 2.0.0 Ok",
                    ],
                )
            ],
        )

    def test_one_for_each_session(self) -> None:
        """Each session has its own transcript and its own notice."""
        self.deliver(Script(("MAIL", Raw(b"junk\r\n450 later\r\n"))), Script(("EHLO", "250 h1"), ("MAIL", "555 no")))
        self.assertEqual([relay for relay, _ in self.notices.sent], [RELAY_1, RELAY_2])
        self.assertIn(" In:  junk", self.notices.sent[0][1])
        self.assertNotIn(" In:  junk", self.notices.sent[1][1])

    def test_rebuff(self) -> None:
        """A server that does not want to talk, in words of a misunderstanding; QUIT belongs to the transcript."""
        self.deliver(Script(("CONNECT", "500 5.5.1 no")))
        self.assertEqual(self.notices.sent, [(RELAY_1, [" In:  500 5.5.1 no", " Out: QUIT"])])

    def test_lost_within_garbage(self) -> None:
        """What came before the connection was lost counts."""
        self.deliver(Script(("EHLO", Close("nonsense"))))
        ((relay, lines),) = self.notices.sent
        self.assertEqual((relay, lines[-1]), (RELAY_1, " In:  nonsense"))

    def test_not_for_honest_refusals(self) -> None:
        """Mail that is refused for a reason, hosts that are down, connections that break: every day."""
        for script in (
            Script(("RCPT", "550 5.1.1 unknown")),
            Script(("CONNECT", "554 5.7.1 go away")),
            Script(("EHLO", "500 what?")),
            Script(("MAIL", Reset())),
            Script(("MAIL", "451 4.3.0 later")),
            Unreachable(),
        ):
            self.deliver(script)
            self.assertEqual(self.notices.sent, [])

    def test_only_wanted_classes(self) -> None:
        """notify_classes decides."""
        self.deliver(Script(("RCPT", "501 no")), classes=ErrorClass.DATA)
        self.assertEqual(self.notices.sent, [])

    def test_not_for_mail_without_sender(self) -> None:
        """Reports make no notices."""
        notices = KeptNotices()
        engine = Engine({FIRST: Script(("RCPT", "501 no"))}, ZONE, notices=notices)
        engine.deliver("a@d.test", nexthop="d.test", sender="")
        self.assertEqual(notices.sent, [])

    def test_delivery_waits(self) -> None:
        """The next host comes when the notice is sent, so that notices cannot pile up."""
        pause: Deferred[None] = Deferred()
        engine = self.deliver(Script(("MAIL", "junk\n450 later")), pause=pause)
        self.assertIsNone(engine.status)
        self.assertEqual(engine.dialer.dialled, [FIRST])
        pause.callback(None)
        engine.turn()
        self.assertIsNotNone(engine.status)
        self.assertEqual(engine.dialer.dialled, [FIRST, SECOND])

    def test_cancelled_while_waiting(self) -> None:
        """A delivery that is ended in between defers what is left."""
        notices = KeptNotices(pause=Deferred())
        engine = Engine({FIRST: Script(("MAIL", "junk\n450 later"))}, ZONE, notices=notices)
        done = engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        done.cancel()
        self.assertFalse(self.successResultOf(done).complete)
        self.assertEqual(len(engine.reporter.results), 1)


class WatchTests(SynchronousTestCase):
    """debug_peer_list."""

    def deliver(self, *watched: str) -> list[str]:
        """Deliver to two hosts of which the first one says "later"; the lines of the dialogs that were logged."""
        self.asked: list[tuple[str, str]] = []

        def is_watched(name: str, address: str) -> bool:
            self.asked.append((name, address))
            return name in watched or address in watched

        hosts = {FIRST: Script(("MAIL", "450 later")), SECOND: Script()}
        engine = Engine(hosts, ZONE, watched=is_watched)
        engine.deliver("a@d.test", nexthop="d.test")
        return [event.relay for event in engine.events if isinstance(event, DialogSaid | DialogHeard)]

    def test_destination(self) -> None:
        """A destination that is watched: all its hosts are, and are not asked about."""
        self.assertEqual(set(self.deliver("d.test")), {RELAY_1, RELAY_2})
        self.assertEqual(self.asked, [("d.test", "noaddr")])

    def test_host(self) -> None:
        """Otherwise each host is looked at by its name and address."""
        self.assertEqual(set(self.deliver("h2.test")), {RELAY_1})
        self.assertEqual(set(self.deliver("10.0.0.1")), {RELAY_2})
        self.assertEqual(self.asked, [("d.test", "noaddr"), ("h2.test", FIRST), ("h1.test", SECOND)])

    def test_nobody(self) -> None:
        """Dialogs with all others are not logged."""
        self.assertEqual(self.deliver("example.com"), [])

    def test_lines(self) -> None:
        """What is logged."""
        engine = Engine({FIRST: Script(("CONNECT", "421 no"))}, {("A", "d.test"): [FIRST]}, watched=lambda *_: True)
        engine.deliver("a@d.test", nexthop="[d.test]")
        relay = "d.test[10.0.0.2]:25"
        self.assertEqual(engine.log[0], f"< {relay}: 421 no")
        self.assertIn(f"> {relay}: QUIT", engine.log)

    def test_slow_list(self) -> None:
        """A table may take its time."""
        engine = Engine({FIRST: Script()}, ZONE, watched=lambda *_: succeed(True))
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertIn(f"< {RELAY_1}: 250 2.0.0 Ok: queued", engine.log)

    def test_broken_list(self) -> None:
        """A table that fails watches nobody, and holds no mail up."""

        def broken(name: str, address: str) -> bool:
            raise TableError("fail:x", "lookups always fail", name)

        engine = Engine({FIRST: Script()}, ZONE, watched=broken)
        self.assertTrue(engine.deliver("a@d.test", nexthop="d.test").complete)
        self.assertFalse(any(isinstance(event, DialogSaid) for event in engine.events))
