"""The ledger: exactly one result for each recipient, and the final status."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.any_server import SCRIPTS, Case, cases
from tests.kit.dialog import PEER, ScriptedServer, play
from tests.kit.messages import ARRIVAL, make_request
from tests.kit.reporter import MemoryReporter
from twisted_mta.delivery.recipients import RecipientLedger, ReportingRules
from twisted_mta.interfaces import IStatusReporter
from twisted_mta.model import events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Event
from twisted_mta.model.request import Notify, Recipient
from twisted_mta.model.result import Fate, FinalStatus, RecipientResult
from twisted_mta.smtp.actions import (
    ConnectionBrokenError,
    LineBroken,
    MessageFailed,
    MessageTaken,
    Milestone,
    RecipientFailed,
    RecipientTaken,
    Scope,
)
from twisted_mta.smtp.reply import Reply

SOFT = DsnStatus("4.4.2", "lost connection")
HARD = DsnStatus("5.1.1", "no such user")
TAKEN = MessageTaken(Reply(250, "2.0.0", "250-2.0.0 thank\n250 2.0.0 you"), "2.0.0")
NAMES = ("a@d.example", "b@d.example", "c@d.example")
SESSION = ("mx.example[192.0.2.1]:25", "mx.example")


@implementer(IStatusReporter)
class BrokenReporter:
    """A reporter that does not keep its promises: it raises, or its Deferred fails."""

    def __init__(self, how: str) -> None:
        self._how = how

    def report(self, result: RecipientResult) -> Deferred[bool]:
        """Fail."""
        if self._how == "raises":
            raise ZeroDivisionError
        return fail(ZeroDivisionError())


class LedgerTestCase(SynchronousTestCase):
    """A ledger with its surroundings."""

    def open(
        self,
        recipients: Sequence[str | Recipient] = NAMES,
        reporter: Any = None,
        *,
        last_host: bool = True,
        **rules: bool,
    ) -> RecipientLedger:
        """Open the books of a request, in a session."""
        self.events: list[Event] = []
        self.seconds = 1
        self.reporter = reporter or MemoryReporter()
        self.ledger = RecipientLedger(
            make_request(*recipients), self.reporter, ReportingRules(**rules), self.events.append, self.now
        )
        self.ledger.last_host = last_host
        self.ledger.begin_session(*SESSION)
        return self.ledger

    def now(self) -> int:
        """The time."""
        return ARRIVAL + self.seconds * 1_000_000

    def final(self) -> FinalStatus:
        """The final status."""
        return self.successResultOf(Deferred.fromCoroutine(self.ledger.final_status()))

    @property
    def fates(self) -> str:
        """Who has which fate: ``a sent, b deferred 4.4.2``."""
        return ", ".join(
            f"{result.recipient.address[0]} {result.fate.value}"
            + (f" {result.dsn.status}" if result.fate is not Fate.SENT else "")
            for result in self.reporter.results
        )

    @property
    def left(self) -> str:
        """Who is open."""
        return "".join(recipient.address[0] for recipient in self.ledger.remaining)


class ReporterTests(SynchronousTestCase):
    """The reporter of these tests."""

    def test_interface(self) -> None:
        """It is an IStatusReporter, and so are the broken ones."""
        verifyObject(IStatusReporter, MemoryReporter())
        verifyObject(IStatusReporter, BrokenReporter("raises"))


class TakenTests(LedgerTestCase):
    """Delivered mail."""

    def test_message_taken(self) -> None:
        """All who are open are sent, with what the server said."""
        ledger = self.open()
        ledger.take(TAKEN)
        ledger.end_session(completed=True)
        self.assertEqual((self.fates, self.left), ("a sent, b sent, c sent", ""))
        result = self.reporter.results[0]
        self.assertEqual(
            result.dsn,
            DsnStatus(
                "2.0.0", "250-2.0.0 thank 250 2.0.0 you", "relayed",
                "smtp", "250-2.0.0 thank 250 2.0.0 you", "dns", "mx.example",
            ),
        )  # fmt: skip
        self.assertEqual(result.relay, "mx.example[192.0.2.1]:25")
        self.assertEqual(self.final(), FinalStatus(True))

    def test_recipient_taken(self) -> None:
        """One recipient, by its place in this session."""
        ledger = self.open()
        ledger.take(RecipientTaken(1, Reply(250, "2.1.5", "250 2.1.5 x")))
        ledger.end_session()
        self.assertEqual((self.fates, self.left), ("b sent", "ac"))
        ledger.begin_session(*SESSION)
        ledger.take(RecipientTaken(1, Reply(250, "2.1.5", "250 2.1.5 x")))
        ledger.end_session()
        self.assertEqual((self.fates, self.left), ("b sent, c sent", "a"))

    def test_who_reports_success(self) -> None:
        """A server with DSN does; otherwise it is ours to report, as relayed or as delivered (RFC 3461 section 5.2)."""
        wanted = Recipient("a@d.example", notify=Notify.SUCCESS | Notify.DELAY)
        for has_dsn, final, action, notify in (
            (True, False, "relayed", Notify.DELAY),
            (True, True, "relayed", Notify.DELAY),
            (False, False, "relayed", Notify.SUCCESS | Notify.DELAY),
            (False, True, "delivered", Notify.SUCCESS | Notify.DELAY),
        ):
            ledger = self.open([wanted], final_delivery=final)
            ledger.server_has_dsn(has_dsn)
            ledger.take(TAKEN)
            result = self.reporter.results[0]
            self.assertEqual((result.dsn.action, result.recipient.notify), (action, notify))

    def test_notify_survives_a_failure(self) -> None:
        """Whom a server with DSN did not take keeps what it wants to be told."""
        ledger = self.open([Recipient("a@d.example", notify=Notify.SUCCESS)])
        ledger.server_has_dsn(True)
        ledger.fail(HARD, Scope.MESSAGE)
        self.assertEqual(self.reporter.results[0].recipient.notify, Notify.SUCCESS)

    def test_broken_line(self) -> None:
        """That a line was broken is logged once per request, however many hosts see it."""
        ledger = self.open()
        for _ in range(2):
            ledger.take(LineBroken(998))
        self.assertEqual(self.events, [events.LongLineBroken("4Abc12", 998)])


class FailedTests(LedgerTestCase):
    """Refused mail."""

    def test_last_host(self) -> None:
        """At the last host soft failures defer and hard ones bounce."""
        ledger = self.open()
        ledger.take(RecipientFailed(0, HARD))
        ledger.take(RecipientFailed(1, SOFT))
        ledger.take(MessageFailed(DsnStatus("5.7.1", "no")))
        ledger.end_session(completed=True)
        self.assertEqual((self.fates, self.left), ("a bounced 5.1.1, b deferred 4.4.2, c bounced 5.7.1", ""))
        self.assertEqual(self.events, [])

    def test_another_host(self) -> None:
        """Before the last host soft failures only keep the recipient, and are logged; hard ones bounce."""
        ledger = self.open(last_host=False)
        ledger.take(RecipientFailed(0, SOFT))
        ledger.take(RecipientFailed(1, HARD))
        ledger.take(TAKEN)
        ledger.end_session(completed=True)
        self.assertEqual((self.fates, self.left), ("b bounced 5.1.1, c sent", "a"))
        self.assertEqual(self.events, [events.HostSkipped("4Abc12", "lost connection")])

    def test_soft_bounce(self) -> None:
        """With soft_bounce hard failures keep, too; at the last host they are bounces that the reporter softens."""
        ledger = self.open(last_host=False, soft_bounce=True)
        ledger.take(RecipientFailed(0, HARD))
        ledger.fail(HARD, Scope.SITE)
        ledger.end_session()
        self.assertEqual((self.fates, self.left), ("", "abc"))
        ledger.last_host = True
        ledger.begin_session(*SESSION)
        ledger.take(RecipientFailed(0, HARD))
        self.assertEqual(self.fates, "a bounced 5.1.1")

    def test_kept_is_kept(self) -> None:
        """What follows in a session no longer concerns who is kept or reported."""
        ledger = self.open(last_host=False)
        ledger.take(RecipientFailed(0, SOFT))
        ledger.take(RecipientFailed(0, HARD))
        ledger.take(RecipientTaken(0, TAKEN.reply))
        ledger.take(RecipientTaken(1, TAKEN.reply))
        ledger.take(RecipientFailed(1, HARD))
        ledger.take(MessageFailed(HARD))
        ledger.take(TAKEN)
        ledger.end_session()
        self.assertEqual((self.fates, self.left), ("b sent, c bounced 5.1.1", "a"))

    def test_one_log_line_for_all(self) -> None:
        """A failure of all is logged once."""
        ledger = self.open(last_host=False)
        ledger.fail(SOFT, Scope.SITE)
        self.assertEqual(self.events, [events.HostSkipped("4Abc12", "lost connection")])


class StampTests(LedgerTestCase):
    """The times of a delivery."""

    def stamps(self) -> tuple[int, int]:
        """Set-up and completion of the last result, in seconds since the message arrived; -1: never."""
        stats = self.reporter.results[-1].stats
        times = [
            (stamp - ARRIVAL) // 1_000_000 if stamp else -1
            for stamp in (stats.connection_setup_done, stats.deliver_done)
        ]
        return times[0], times[1]

    def test_sent(self) -> None:
        """MAIL was about to be sent, and the reply to the dot came."""
        ledger = self.open()
        ledger.take(Milestone.SET_UP)
        self.seconds = 5
        ledger.take(Milestone.DONE)
        self.seconds = 9
        ledger.take(TAKEN)
        self.assertEqual(self.stamps(), (1, 5))

    def test_refused_recipient(self) -> None:
        """A refused recipient has no completion: the log takes the time of writing."""
        ledger = self.open()
        ledger.take(Milestone.SET_UP)
        ledger.take(RecipientFailed(0, HARD))
        self.assertEqual(self.stamps(), (1, -1))

    def test_failure_before_mail(self) -> None:
        """A failure before MAIL ends the set-up."""
        ledger = self.open()
        self.seconds = 7
        ledger.fail(SOFT, Scope.SITE)
        self.assertEqual(self.stamps(), (7, 7))

    def test_failure_after_mail(self) -> None:
        """A later one ends the delivery."""
        ledger = self.open()
        ledger.take(Milestone.SET_UP)
        self.seconds = 7
        ledger.fail(SOFT, Scope.SITE)
        self.assertEqual(self.stamps(), (1, 7))

    def test_each_host_anew(self) -> None:
        """The next host has its own times, and its own relay; reuse shows."""
        ledger = self.open(last_host=False)
        ledger.take(Milestone.SET_UP)
        ledger.fail(SOFT, Scope.SITE)
        ledger.end_session()
        self.seconds = 20
        ledger.begin_session("mx2.example[192.0.2.2]:25", "mx2.example", reuse_count=3)
        ledger.take(Milestone.SET_UP)
        ledger.take(Milestone.DONE)
        ledger.take(TAKEN)
        self.assertEqual(self.stamps(), (20, 20))
        result = self.reporter.results[-1]
        self.assertEqual((result.relay, result.stats.reuse_count), ("mx2.example[192.0.2.2]:25", 3))

    def test_arrival(self) -> None:
        """The stamps of the request go along."""
        ledger = self.open()
        ledger.take(TAKEN)
        stats = self.reporter.results[0].stats
        self.assertEqual(
            (stats.incoming_arrival, stats.active_arrival, stats.agent_handoff),
            (ARRIVAL, ARRIVAL + 10_000, ARRIVAL + 20_000),
        )


class HopStatusTests(LedgerTestCase):
    """When the destination itself is held back (qmgr(8))."""

    def test_site_failure(self) -> None:
        """A failure of the site, recorded against somebody who must be tried again."""
        self.open().fail(SOFT, Scope.SITE)
        self.assertEqual(self.final(), FinalStatus(False, SOFT))

    def test_action_is_empty(self) -> None:
        """The status goes along without action."""
        self.open().fail(DsnStatus("4.4.2", "x", "delayed"), Scope.SITE)
        self.assertEqual(self.final().hop_status, DsnStatus("4.4.2", "x"))

    def test_other_failures(self) -> None:
        """A failure of the message or of a recipient does not hold anything back."""
        ledger = self.open()
        ledger.take(RecipientFailed(0, SOFT))
        ledger.take(MessageFailed(SOFT))
        self.assertEqual(self.final(), FinalStatus(False, None))

    def test_kept(self) -> None:
        """Nor does one that is left to the next host."""
        ledger = self.open(last_host=False)
        ledger.fail(SOFT, Scope.SITE)
        ledger.end_session()
        self.assertEqual(self.final(), FinalStatus(False, None))

    def test_all_final(self) -> None:
        """Nor one after which nobody has to be tried again."""
        self.open().fail(HARD, Scope.SITE)
        self.ledger.end_session()
        self.assertEqual(self.final(), FinalStatus(True, None))

    def test_bounce_that_fails(self) -> None:
        """A bounce that could not be recorded is to be tried again, so it counts."""
        self.open(reporter=MemoryReporter(failing=frozenset({"b@d.example"}))).fail(HARD, Scope.SITE)
        self.assertEqual(self.final(), FinalStatus(False, HARD))

    def test_bounce_softened(self) -> None:
        """With soft_bounce the status that is handed over stays a hard one."""
        self.open(reporter=MemoryReporter(soft_bounce=True), soft_bounce=True).fail(HARD, Scope.SITE)
        self.assertEqual(self.final(), FinalStatus(False, HARD))

    def test_session_that_worked(self) -> None:
        """Not after a session that came to its normal end, whatever became of the mail."""
        ledger = self.open(last_host=False)
        ledger.take(MessageFailed(SOFT))
        ledger.end_session(completed=True)
        ledger.last_host = True
        ledger.begin_session()
        ledger.fail(SOFT, Scope.SITE)
        self.assertEqual(self.final(), FinalStatus(False, None))

    def test_nobody_left(self) -> None:
        """Not if everybody was settled before."""
        ledger = self.open()
        ledger.take(RecipientFailed(0, SOFT))
        ledger.take(RecipientFailed(1, SOFT))
        ledger.take(RecipientFailed(2, SOFT))
        ledger.fail(DsnStatus("4.4.2", "later"), Scope.SITE)
        self.assertEqual(self.final(), FinalStatus(False, None))


class RecordTests(LedgerTestCase):
    """Waiting for records, and records that fail."""

    def test_waits(self) -> None:
        """The final status waits for every record."""
        ledger = self.open(reporter=MemoryReporter(later=True))
        ledger.take(TAKEN)
        ledger.end_session()
        done = Deferred.fromCoroutine(ledger.final_status())
        self.assertNoResult(done)
        self.reporter.finish()
        self.assertEqual(self.successResultOf(done), FinalStatus(True))

    def test_not_recorded(self) -> None:
        """Who was sent, but could not be recorded so, must be tried again; the request is not complete."""
        self.open(reporter=MemoryReporter(failing=frozenset({"c@d.example"}))).take(TAKEN)
        self.assertEqual(self.final(), FinalStatus(False))

    def test_broken_reporter(self) -> None:
        """A reporter that fails, in whatever way, leaves recipients to be tried again, and a traceback."""
        for how in ("raises", "fails"):
            ledger = self.open(reporter=BrokenReporter(how))
            ledger.take(TAKEN)
            ledger.end_session()
            self.assertEqual(self.left, "")
            self.assertEqual(self.final(), FinalStatus(False))
            self.assertEqual([type(event) for event in self.events], [events.DeliveryFailedUnexpectedly] * 3)
            self.assertIn("ZeroDivisionError", str(self.events[0]))

    def test_nobody_waits_any_longer(self) -> None:
        """A final status that is cancelled does not fail: what is not recorded is to be tried again."""
        ledger = self.open(["a@d.example"], reporter=MemoryReporter(later=True))
        ledger.take(TAKEN)
        done = Deferred.fromCoroutine(ledger.final_status())
        done.cancel()
        self.assertEqual(self.successResultOf(done), FinalStatus(False))
        self.assertEqual(self.events, [])

    def test_open_recipients(self) -> None:
        """A request with open recipients is never complete."""
        self.open(last_host=False).fail(SOFT, Scope.SITE)
        self.ledger.end_session()
        self.assertEqual(self.final(), FinalStatus(False))


class AnySessionTests(LedgerTestCase):
    """Whatever servers do: exactly one result, or open and kept."""

    @settings(max_examples=200, deadline=None)
    @given(cases(), st.lists(SCRIPTS, min_size=1, max_size=3), st.booleans(), st.booleans())
    def test_exactly_one_result(self, case: Case, scripts: list[str], soft_bounce: bool, last_is_last: bool) -> None:
        """Over any number of sessions each recipient has one result, or is still open; with a last host nobody is."""
        names = [f"{number}{name}" for number, name in enumerate(r.address for r in case.request.recipients)]
        ledger = self.open(names, soft_bounce=soft_bounce)
        everybody = list(ledger.remaining)
        for number, script in enumerate(scripts):
            if not ledger.remaining:
                break
            ledger.begin_session(*SESSION)
            ledger.last_host = last_is_last and number == len(scripts) - 1
            request = make_request(*ledger.remaining, flags=case.request.flags)
            played = play(
                Case(request, case.welcome, case.settings, case.keep_open).transaction().run(), ScriptedServer(script)
            )
            for finding in played.findings:
                ledger.take(finding)
            if isinstance(played.error, ConnectionBrokenError):
                if not played.error.phase.silent:
                    ledger.fail(played.error.why(PEER), Scope.SITE)
            elif played.error is not None:
                ledger.fail(DsnStatus("5.3.0", "unreadable"), Scope.MESSAGE)
            ledger.end_session(completed=played.error is None)
        reported = [result.recipient for result in self.reporter.results]
        self.assertCountEqual([*reported, *ledger.remaining], everybody)
        if last_is_last:
            self.assertEqual(ledger.remaining, ())
        status = self.final()
        self.assertIs(
            status.complete, not ledger.remaining and all(r.fate is not Fate.DEFERRED for r in self.reporter.results)
        )
