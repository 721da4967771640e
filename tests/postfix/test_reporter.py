"""Tests of twisted_mta.postfix.reporter."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.attributes import MemoryService
from twisted_mta.interfaces import IStatusReporter
from twisted_mta.ipc.attributes import AttributeList, Decoder, encode
from twisted_mta.ipc.client import PersistentClient, Service, ServiceClient
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import (
    DeliveryFailedUnexpectedly,
    Event,
    QueueFileUnusable,
    RecipientLogged,
    ServiceFailed,
    ServiceUnreachable,
    StatusFilterRefused,
    WrongStatusClass,
)
from twisted_mta.model.request import DeliveryRequest, MessageStats, Notify, Recipient, RequestFlags
from twisted_mta.model.result import Fate, RecipientResult
from twisted_mta.postfix.flush import FlushService
from twisted_mta.postfix.queue_file import QueueFileError
from twisted_mta.postfix.reporter import (
    PostfixReporter,
    RecordService,
    ReporterServices,
    StatusFilter,
    encode_append,
)
from twisted_mta.postfix.verify import VerifyService

VERSION = PostfixVersion(3, 9)
MX = "mx1.dest.example[192.0.2.1]:25"
NORMAL = RequestFlags.SUCCESS | RequestFlags.BOUNCE
RECORD = NORMAL | RequestFlags.RECORD
STATS = MessageStats(1, 2, 3, 4, 5)
REFUSED = DsnStatus("5.1.1", "no such user", "", "smtp", "550 5.1.1 no", "dns", "mx1.dest.example")
LATER = DsnStatus("4.2.0", "try later", "", "smtp", "450 4.2.0 later", "dns", "mx1.dest.example")
TAKEN = DsnStatus("2.0.0", "250 Ok", "relayed", "smtp", "250 Ok", "dns", "mx1.dest.example")
DSNS = {Fate.SENT: TAKEN, Fate.DEFERRED: LATER, Fate.BOUNCED: REFUSED}


class FakeQueueFile:
    """Marks that can fail."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen
        self.failures = 0

    def mark_done(self, offset: int) -> None:
        """Mark, or fail as often as it was told."""
        if self.failures:
            self.failures -= 1
            raise QueueFileError("disk is full")
        self._seen.append(f"mark {offset}")


class ReporterTestCase(SynchronousTestCase):
    """A reporter whose effects are written down in their order.

    Attributes:
        seen: what happened: ``bounce failed 5.1.1 REASON``, ``log bounced 5.1.1``, ``mark 100``, a failed event, ...
        down: the services that nobody listens for.
        refusing: the services that give another status than 0.
    """

    def setUp(self) -> None:
        """All services are there and take everything."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.events: list[Event] = []
        self.seen: list[str] = []
        self.queue_file = FakeQueueFile(self.seen)
        self.endpoints: dict[str, MemoryService] = {}
        self.refusing: set[str] = set()

    def down(self, *names: str) -> None:
        """Nobody listens for these services."""
        for name in names:
            self.endpoints[name].refusal = ConnectError(2)

    def emit(self, event: Event) -> None:
        """Write an event down."""
        self.events.append(event)
        if isinstance(event, RecipientLogged):
            self.seen.append(f"log {event.word} {event.result.dsn.status} {event.result.dsn.reason}")
        elif isinstance(event, ServiceUnreachable):
            self.seen.append(f"{event.service} is not there")
        elif isinstance(event, ServiceFailed):
            self.seen.append(f"{event.service} failed")
        else:
            self.seen.append(type(event).__name__)

    def endpoint(self, name: str, greeting: Greeting) -> MemoryService:
        """A service that writes down what it is told."""

        def answer(request: AttributeList) -> bytes:
            values = {key.decode(): value.decode() for key, value in request.pairs()}
            if "nrequest" in values:
                self.seen.append(f"{name} {values['action']} {values['status']} {values['reason']}")
            else:
                self.seen.append(" ".join([name, *values.values()]))
            return encode([("status", 1 if name in self.refusing else 0)])

        self.endpoints[name] = MemoryService(VERSION.greeting(greeting), answer)
        return self.endpoints[name]

    def record_service(self, name: str) -> RecordService:
        """bounce, defer or trace."""
        service = Service(f"private/{name}", Greeting.DELIVERY_STATUS)
        endpoint = self.endpoint(name, Greeting.DELIVERY_STATUS)
        return RecordService(name, ServiceClient(service, endpoint, VERSION, self.clock))

    def reporter(
        self,
        flags: RequestFlags = NORMAL,
        *,
        soft_bounce: bool = False,
        negative_cache: bool = True,
        status_filter: StatusFilter | None = None,
    ) -> PostfixReporter:
        """The reporter of one request."""
        verify = PersistentClient(
            Service("private/verify", Greeting.ADDRESS_VERIFICATION),
            self.endpoint("verify", Greeting.ADDRESS_VERIFICATION),
            VERSION,
            self.clock,
        )
        flush = ServiceClient(
            Service("public/flush", Greeting.QUEUE_FLUSH),
            self.endpoint("flush", Greeting.QUEUE_FLUSH),
            VERSION,
            self.clock,
        )
        services = ReporterServices(
            self.record_service("bounce"),
            self.record_service("defer"),
            self.record_service("trace"),
            VerifyService("verify", verify, self.clock, self.emit),
            FlushService("flush", flush, lambda domain: domain == "etrn.example", self.emit),
            self.clock,
            self.emit,
            soft_bounce,
            negative_cache,
            status_filter,
        )
        request = DeliveryRequest(
            "Q1", "dest.example", "s@a.example", (Recipient("r@dest.example"),), STATS, flags=flags
        )
        return PostfixReporter(services, request, self.queue_file.mark_done)

    def result(
        self,
        fate: Fate,
        dsn: DsnStatus | None = None,
        *,
        relay: str = MX,
        notify: Notify = Notify.NONE,
        address: str = "r@dest.example",
        offset: int = 100,
        stats: MessageStats = STATS,
    ) -> RecipientResult:
        """What became of a recipient."""
        return RecipientResult(Recipient(address, "", offset, "", notify), fate, dsn or DSNS[fate], relay, stats)

    def settle(self, recorded: Deferred[bool], seconds: float = 60) -> bool:
        """Let time pass, and take the answer."""
        self.clock.pump([0.25] * int(seconds * 4))
        return self.successResultOf(recorded)


class SentTests(ReporterTestCase):
    """Delivered mail."""

    def test_interface(self) -> None:
        """It is a status reporter."""
        self.assertTrue(verifyObject(IStatusReporter, self.reporter()))

    def test_plain(self) -> None:
        """A log line, then the mark, at once."""
        self.assertTrue(self.successResultOf(self.reporter().report(self.result(Fate.SENT))))
        self.assertEqual(self.seen, ["log sent 2.0.0 250 Ok", "mark 100"])

    def test_not_marked(self) -> None:
        """Without the flag SUCCESS delivered recipients are not marked."""
        self.assertTrue(self.successResultOf(self.reporter(RequestFlags.BOUNCE).report(self.result(Fate.SENT))))
        self.assertEqual(self.seen, ["log sent 2.0.0 250 Ok"])

    def test_time_of_delivery(self) -> None:
        """A missing time of delivery is the present."""
        self.reporter().report(self.result(Fate.SENT, stats=MessageStats(1, 2, 3)))
        self.reporter().report(self.result(Fate.SENT))
        times = [event.result.stats.deliver_done for event in self.events if isinstance(event, RecipientLogged)]
        self.assertEqual(times, [1_000_000_000, 5])

    def test_notify_success(self) -> None:
        """The sender is told of success if that was asked for; the log line has the plain reason."""
        recorded = self.reporter().report(self.result(Fate.SENT, notify=Notify.SUCCESS | Notify.DELAY))
        self.assertTrue(self.successResultOf(recorded))
        self.assertEqual(
            self.seen, [f"trace relayed 2.0.0 delivery via {MX}: 250 Ok", "log sent 2.0.0 250 Ok", "mark 100"]
        )

    def test_action(self) -> None:
        """An action that nobody set is `delivered`; without a relay the reason stays plain."""
        dsn = DsnStatus("2.0.0", "local")
        self.reporter(RECORD).report(self.result(Fate.SENT, dsn, relay="none"))
        self.assertEqual(self.seen[0], "trace delivered 2.0.0 local")

    def test_traces(self) -> None:
        """How many records each combination of flags makes."""
        cleared = NORMAL | RequestFlags.REC_DLY_SENT
        for flags, notify, count in (
            (RECORD, Notify.NONE, 1),
            (RECORD, Notify.SUCCESS, 2),
            (RECORD | RequestFlags.REC_DLY_SENT, Notify.DELAY, 1),
            (cleared, Notify.NONE, 1),
            (cleared, Notify.DELAY, 1),
            (cleared, Notify.FAILURE, 0),
            (cleared, Notify.SUCCESS, 1),
            (cleared, Notify.SUCCESS | Notify.DELAY, 2),
            (NORMAL, Notify.NEVER, 0),
        ):
            self.seen.clear()
            recorded = self.reporter(flags).report(self.result(Fate.SENT, notify=notify))
            self.assertTrue(self.successResultOf(recorded))
            self.assertEqual(len([line for line in self.seen if line.startswith("trace")]), count, (flags, notify))

    def test_trace_comes_back(self) -> None:
        """A trace record is tried again, so that delivered mail is not delivered twice."""
        reporter = self.reporter(RECORD)
        self.down("trace")
        recorded = reporter.report(self.result(Fate.SENT))
        self.assertNoResult(recorded)
        self.endpoints["trace"].refusal = None
        self.assertTrue(self.settle(recorded, 1))
        self.assertEqual(
            self.seen,
            [
                "private/trace is not there",
                f"trace relayed 2.0.0 delivery via {MX}: 250 Ok",
                "log sent 2.0.0 250 Ok",
                "mark 100",
            ],
        )

    def test_trace_stays_away(self) -> None:
        """Without the record the recipient is deferred, though the mail was delivered; the reply is kept."""
        reporter = self.reporter(RECORD)
        self.down("trace")
        self.assertFalse(self.settle(reporter.report(self.result(Fate.SENT))))
        self.assertEqual(
            self.seen,
            [
                *["private/trace is not there"] * 4,
                "trace failed",
                "defer delayed 4.3.0 Q1: trace service failed",
                "log deferred 4.3.0 Q1: trace service failed",
                "private/trace is not there",
                "trace failed",
                "trace failed",
            ],
        )
        (request,) = self.endpoints["defer"].requests
        self.assertIn((b"diag_text", b"250 Ok"), list(request.pairs()))

    def test_wrong_class(self) -> None:
        """A status that is none of success is told and replaced."""
        for status in ("5.0.0", ""):
            self.seen.clear()
            self.events.clear()
            recorded = self.reporter().report(self.result(Fate.SENT, DsnStatus(status, "?")))
            self.assertTrue(self.successResultOf(recorded))
            self.assertEqual(self.events[0], WrongStatusClass("sent", status))
            self.assertEqual(self.seen[1:], ["log sent 2.0.0 ?", "mark 100"])


class DeferredTests(ReporterTestCase):
    """Mail that is tried again."""

    def test_deferred(self) -> None:
        """A record, a log line, no mark."""
        self.assertFalse(self.successResultOf(self.reporter().report(self.result(Fate.DEFERRED))))
        self.assertEqual(self.seen, ["defer delayed 4.2.0 try later", "log deferred 4.2.0 try later"])

    def test_recorded(self) -> None:
        """With the flag RECORD it is traced too, after the log line."""
        self.assertFalse(self.successResultOf(self.reporter(RECORD).report(self.result(Fate.DEFERRED))))
        self.assertEqual(
            self.seen[1:], ["log deferred 4.2.0 try later", f"trace delayed 4.2.0 delivery via {MX}: try later"]
        )

    def test_flush(self) -> None:
        """Domains of fast_flush_domains are told to flush(8)."""
        self.reporter().report(self.result(Fate.DEFERRED, address="r@etrn.example"))
        self.assertEqual(self.seen[2:], ["flush add etrn.example Q1"])

    def test_services_down(self) -> None:
        """Missing services are told; the recipient is deferred all the same, without delay."""
        reporter = self.reporter(RECORD)
        self.down("defer", "trace", "flush")
        self.assertFalse(self.successResultOf(reporter.report(self.result(Fate.DEFERRED, address="r@etrn.example"))))
        self.assertEqual(
            self.seen,
            [
                "private/defer is not there",
                "defer failed",
                "log deferred 4.2.0 try later",
                "private/trace is not there",
                "trace failed",
                "trace failed",
                "public/flush is not there",
                "flush failed",
            ],
        )

    def test_wrong_class(self) -> None:
        """A status of another class is told and replaced."""
        self.reporter().report(self.result(Fate.DEFERRED, DsnStatus("5.7.1", "why")))
        self.assertEqual(self.events[0], WrongStatusClass("defer_append", "5.7.1"))
        self.assertEqual(self.seen[1], "defer delayed 4.0.0 why")


class BouncedTests(ReporterTestCase):
    """Mail that goes back."""

    def test_bounced(self) -> None:
        """A record, a log line, and always a mark."""
        self.assertTrue(self.successResultOf(self.reporter(RequestFlags.BOUNCE).report(self.result(Fate.BOUNCED))))
        self.assertEqual(self.seen, ["bounce failed 5.1.1 no such user", "log bounced 5.1.1 no such user", "mark 100"])

    def test_recorded(self) -> None:
        """With the flag RECORD it is traced too, before the log line."""
        self.assertTrue(self.successResultOf(self.reporter(RECORD).report(self.result(Fate.BOUNCED))))
        self.assertEqual(
            self.seen[:2], ["bounce failed 5.1.1 no such user", f"trace failed 5.1.1 delivery via {MX}: no such user"]
        )

    def test_soft_bounce(self) -> None:
        """soft_bounce keeps it in the queue, without a word to flush(8)."""
        reporter = self.reporter(soft_bounce=True)
        self.assertFalse(self.successResultOf(reporter.report(self.result(Fate.BOUNCED, address="r@etrn.example"))))
        self.assertEqual(self.seen, ["defer delayed 4.1.1 no such user", "log SOFTBOUNCE 4.1.1 no such user"])

    def test_soft_bounce_recorded(self) -> None:
        """It is traced as delayed."""
        self.reporter(RECORD, soft_bounce=True).report(self.result(Fate.BOUNCED))
        self.assertEqual(self.seen[1], f"trace delayed 4.1.1 delivery via {MX}: no such user")

    def test_bounce_down(self) -> None:
        """Without bounce(8) it is deferred, with what the server said."""
        reporter = self.reporter()
        self.down("bounce")
        self.assertFalse(self.successResultOf(reporter.report(self.result(Fate.BOUNCED))))
        self.assertEqual(
            self.seen,
            [
                "private/bounce is not there",
                "defer delayed 4.3.0 bounce or trace service failure",
                "log deferred 4.3.0 bounce or trace service failure",
            ],
        )
        (request,) = self.endpoints["defer"].requests
        self.assertIn((b"diag_text", b"550 5.1.1 no"), list(request.pairs()))

    def test_bounce_refuses(self) -> None:
        """So it is if bounce(8) refuses."""
        self.refusing = {"bounce"}
        self.assertFalse(self.successResultOf(self.reporter().report(self.result(Fate.BOUNCED))))
        self.assertEqual(self.seen[-1], "log deferred 4.3.0 bounce or trace service failure")

    def test_trace_down(self) -> None:
        """So it is without trace(8), if that is needed."""
        reporter = self.reporter(RECORD)
        self.down("trace")
        self.assertFalse(self.settle(reporter.report(self.result(Fate.BOUNCED))))
        self.assertIn("log deferred 4.3.0 bounce or trace service failure", self.seen)
        self.assertNotIn("mark 100", self.seen)

    def test_soft_bounce_without_defer(self) -> None:
        """With soft_bounce and no defer(8) it is told as a failure of the bounce service."""
        reporter = self.reporter(soft_bounce=True)
        self.down("defer")
        self.assertFalse(self.successResultOf(reporter.report(self.result(Fate.BOUNCED))))
        self.assertEqual(
            self.seen,
            [
                *["private/defer is not there"] * 2,
                "defer failed",
                "log deferred 4.3.0 bounce or trace service failure",
            ],
        )

    def test_wrong_class(self) -> None:
        """A status of another class is told and replaced."""
        self.reporter().report(self.result(Fate.BOUNCED, DsnStatus("2.1.1", "why")))
        self.assertEqual(self.events[0], WrongStatusClass("bounce_append", "2.1.1"))
        self.assertEqual(self.seen[1], "bounce failed 5.0.0 why")


class ProbeTests(ReporterTestCase):
    """Requests that deliver nothing."""

    def test_verify(self) -> None:
        """verify(8) learns each outcome; the recipient is final."""
        for fate, update, line in (
            (Fate.SENT, "verify update r@dest.example 0 250 Ok", "log deliverable 2.0.0 250 Ok"),
            (Fate.DEFERRED, "verify update r@dest.example 1 try later", "log undeliverable 4.2.0 try later"),
            (Fate.BOUNCED, "verify update r@dest.example 2 no such user", "log undeliverable 5.1.1 no such user"),
        ):
            self.seen.clear()
            reporter = self.reporter(NORMAL | RequestFlags.MTA_VRFY | RequestFlags.USR_VRFY)
            self.assertTrue(self.successResultOf(reporter.report(self.result(fate))))
            self.assertEqual(self.seen, [update, line, "mark 100"])

    def test_no_negative_cache(self) -> None:
        """Without address_verify_negative_cache only success is told."""
        reporter = self.reporter(NORMAL | RequestFlags.MTA_VRFY, negative_cache=False)
        self.assertTrue(self.successResultOf(reporter.report(self.result(Fate.BOUNCED))))
        self.assertEqual(self.seen, ["log undeliverable-but-not-cached 5.1.1 no such user", "mark 100"])
        self.assertTrue(self.successResultOf(reporter.report(self.result(Fate.SENT))))
        self.assertEqual(self.seen[2], "verify update r@dest.example 0 250 Ok")

    def test_verify_down(self) -> None:
        """Without verify(8) the probe stays in the queue."""
        reporter = self.reporter(NORMAL | RequestFlags.MTA_VRFY)
        self.down("verify")
        self.assertFalse(self.settle(reporter.report(self.result(Fate.SENT))))
        self.assertEqual(self.seen, [*["private/verify is not there"] * 5, "verify failed"])

    def test_user(self) -> None:
        """A probe by ``sendmail -bv`` gets a trace record; success is marked only with the flag SUCCESS."""
        for fate, status, word, marks in (
            (Fate.SENT, "2.0.0", "deliverable", 0),
            (Fate.DEFERRED, "4.2.0", "undeliverable", 1),
            (Fate.BOUNCED, "5.1.1", "undeliverable", 1),
        ):
            self.seen.clear()
            reporter = self.reporter(RequestFlags.BOUNCE | RequestFlags.USR_VRFY, soft_bounce=True)
            self.assertTrue(self.successResultOf(reporter.report(self.result(fate))))
            reason = DSNS[fate].reason
            self.assertEqual(
                self.seen,
                [
                    f"trace {word} {status} delivery via {MX}: {reason}",
                    f"log {word} {status} {reason}",
                    *["mark 100"] * marks,
                ],
            )

    def test_user_without_trace(self) -> None:
        """Without trace(8) the probe stays in the queue, and nothing is logged of it."""
        reporter = self.reporter(NORMAL | RequestFlags.USR_VRFY)
        self.down("trace")
        self.assertFalse(self.settle(reporter.report(self.result(Fate.DEFERRED))))
        self.assertEqual(self.seen, [*["private/trace is not there"] * 4, "trace failed"])


class StatusFilterTests(ReporterTestCase):
    """smtp_delivery_status_filter."""

    def report(
        self, fate: Fate, found: str | None, flags: RequestFlags = NORMAL, *, soft_bounce: bool = False
    ) -> list[str]:
        """What happens if the filter gives this text."""
        keys: list[str] = []

        async def look_up(key: str) -> str | None:
            keys.append(key)
            return found

        self.seen.clear()
        self.reporter(flags, status_filter=look_up, soft_bounce=soft_bounce).report(self.result(fate))
        self.assertEqual(keys, [f"{DSNS[fate].status} {DSNS[fate].reason}"])
        return self.seen

    def test_changes(self) -> None:
        """Failures change among each other, success keeps its class; without a text the reason stays."""
        self.assertEqual(self.report(Fate.SENT, "2.9.9 delivered"), ["log sent 2.9.9 delivered", "mark 100"])
        self.assertEqual(
            self.report(Fate.BOUNCED, "4.7.1   foo  bar "),
            ["defer delayed 4.7.1 foo  bar", "log deferred 4.7.1 foo  bar"],
        )
        self.assertEqual(self.report(Fate.BOUNCED, "4.7.1")[1], "log deferred 4.7.1 no such user")
        self.assertEqual(
            self.report(Fate.DEFERRED, "5.2.2 full"), ["bounce failed 5.2.2 full", "log bounced 5.2.2 full", "mark 100"]
        )

    def test_before_all_else(self) -> None:
        """It comes before soft_bounce and before probes."""
        self.assertEqual(self.report(Fate.DEFERRED, "5.7.1 foo", soft_bounce=True)[1], "log SOFTBOUNCE 4.7.1 foo")
        self.assertEqual(
            self.report(Fate.BOUNCED, "4.7.1 foo", NORMAL | RequestFlags.MTA_VRFY)[0],
            "verify update r@dest.example 1 foo",
        )

    def test_refused(self) -> None:
        """What is no status, or turns success into failure, is told and changes nothing."""
        for fate, found in (
            (Fate.SENT, "4.7.1 foo"),
            (Fate.SENT, "5.7.1 foo"),
            (Fate.BOUNCED, "2.7.1 foo"),
            (Fate.BOUNCED, "hello world"),
            (Fate.BOUNCED, "4.7.1foo bar"),
            (Fate.BOUNCED, "4.7.1.2 foo"),
            (Fate.BOUNCED, "3.7.1 foo"),
            (Fate.BOUNCED, ""),
        ):
            self.events.clear()
            lines = self.report(fate, found)
            self.assertEqual(self.events[0], StatusFilterRefused("smtp_delivery_status_filter", found))
            self.assertIn(f"{DSNS[fate].status} {DSNS[fate].reason}", lines[-2])

    def test_nothing_found(self) -> None:
        """Most statuses are in no table."""
        self.assertEqual(self.report(Fate.SENT, None), ["log sent 2.0.0 250 Ok", "mark 100"])

    def test_slow_table(self) -> None:
        """A table may take its time."""
        answer: Deferred[str | None] = Deferred()
        recorded = self.reporter(status_filter=lambda key: answer).report(self.result(Fate.SENT))
        self.assertEqual(self.seen, [])
        answer.callback("2.1.1 fine")
        self.assertTrue(self.successResultOf(recorded))
        self.assertEqual(self.seen, ["log sent 2.1.1 fine", "mark 100"])


class OrderTests(ReporterTestCase):
    """Reports of one request."""

    def silent(self, name: str) -> Iterator[None]:
        """A service that answers only when it is asked to go on."""
        endpoint = self.endpoints[name]
        answer = endpoint.answer
        endpoint.answer = lambda request: None
        yield
        for connection in endpoint.connections:
            for request in connection.requests:
                reply = answer(request)
                assert reply is not None
                connection.say(reply)
        yield

    def test_in_order(self) -> None:
        """A recipient that was refused first is logged first, though bounce(8) takes its time."""
        reporter = self.reporter()
        bounce = self.silent("bounce")
        next(bounce)
        reports = [
            reporter.report(self.result(fate, offset=offset))
            for offset, fate in enumerate((Fate.SENT, Fate.BOUNCED, Fate.SENT, Fate.DEFERRED, Fate.SENT), 1)
        ]
        self.assertEqual(self.seen, ["log sent 2.0.0 250 Ok", "mark 1"])
        self.assertEqual([report.called for report in reports], [True, False, False, False, False])
        next(bounce)
        self.assertEqual([self.successResultOf(report) for report in reports], [True, True, True, False, True])
        self.assertEqual(
            self.seen[3:],
            [
                "log bounced 5.1.1 no such user",
                "mark 2",
                "log sent 2.0.0 250 Ok",
                "mark 3",
                "defer delayed 4.2.0 try later",
                "log deferred 4.2.0 try later",
                "log sent 2.0.0 250 Ok",
                "mark 5",
            ],
        )

    def test_report_within_answer(self) -> None:
        """Who is told of one recipient may report the next at once."""
        reporter = self.reporter()
        bounce = self.silent("bounce")
        next(bounce)
        later: list[Deferred[bool]] = []

        def report_more(final: bool) -> bool:
            later.append(reporter.report(self.result(Fate.DEFERRED, offset=2)))
            later.append(reporter.report(self.result(Fate.SENT, offset=3)))
            return final

        first = reporter.report(self.result(Fate.BOUNCED, offset=1)).addCallback(report_more)
        next(bounce)
        self.assertEqual([self.successResultOf(report) for report in (first, *later)], [True, False, True])
        self.assertEqual(self.seen[-3:], ["log deferred 4.2.0 try later", "log sent 2.0.0 250 Ok", "mark 3"])

    def test_cancel(self) -> None:
        """What is not recorded when all must end is tried again, and nothing waits any more."""
        reporter = self.reporter()
        next(self.silent("bounce"))
        reports = [reporter.report(self.result(fate)) for fate in (Fate.BOUNCED, Fate.SENT)]
        reporter.cancel()
        reports.append(reporter.report(self.result(Fate.DEFERRED)))
        self.assertEqual([self.successResultOf(report) for report in reports], [False, False, False])
        self.assertEqual(self.seen, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.successResultOf(reporter.report(self.result(Fate.SENT))))

    def test_defect(self) -> None:
        """A defect defers the recipient, and those behind it are recorded all the same."""

        async def broken(key: str) -> str | None:
            raise ZeroDivisionError(key)

        reporter = self.reporter(status_filter=broken)
        self.assertFalse(self.successResultOf(reporter.report(self.result(Fate.BOUNCED))))
        (event,) = self.events
        assert isinstance(event, DeliveryFailedUnexpectedly)
        self.assertIn("ZeroDivisionError", event.traceback)
        self.assertFalse(self.successResultOf(reporter.report(self.result(Fate.SENT))))


class MarkTests(ReporterTestCase):
    """Marks that fail."""

    def test_again(self) -> None:
        """A mark is tried again; reports behind it wait."""
        self.queue_file.failures = 2
        reporter = self.reporter()
        reports = [reporter.report(self.result(Fate.SENT, offset=offset)) for offset in (1, 2)]
        self.assertEqual([report.called for report in reports], [False, False])
        self.clock.pump([0.25] * 10)
        self.assertEqual([self.successResultOf(report) for report in reports], [True, True])
        self.assertEqual(
            self.seen,
            [
                "log sent 2.0.0 250 Ok",
                "QueueFileUnusable",
                "QueueFileUnusable",
                "mark 1",
                "log sent 2.0.0 250 Ok",
                "mark 2",
            ],
        )
        self.assertEqual(self.events[1], QueueFileUnusable("Q1", "disk is full"))

    def test_never(self) -> None:
        """A recipient that cannot be marked is not final."""
        self.queue_file.failures = 99
        self.assertFalse(self.settle(self.reporter().report(self.result(Fate.BOUNCED))))
        self.assertIn("log bounced 5.1.1 no such user", self.seen)


class EncodeAppendTests(SynchronousTestCase):
    """The list for bounce(8), defer(8) and trace(8)."""

    def test_bytes(self) -> None:
        """As Postfix's own clients send it."""
        recipient = Recipient(
            "b@example.net", "b@example.net", 597, "rfc822;b@example.net", Notify.SUCCESS | Notify.FAILURE
        )
        dsn = DsnStatus(
            "5.1.1",
            "host mx[192.0.2.1] said: 550 5.1.1 no (in reply to RCPT TO command)",
            "failed",
            "smtp",
            "550 5.1.1 no",
            "dns",
            "mx",
        )
        expected = (
            "nrequest·0·flags·0·queue_id·1E2404A2B3·original_recipient·b@example.net·recipient·b@example.net·offset·597"
            "·dsn_orig_rcpt·rfc822;b@example.net·notify_flags·6·status·5.1.1·diag_type·smtp·diag_text·550 5.1.1 no"
            "·mta_type·dns·mta_mname·mx·action·failed·reason·host mx[192.0.2.1] said: 550 5.1.1 no"
            " (in reply to RCPT TO command)··"
        )
        octets = encode_append(0, "1E2404A2B3", recipient, dsn)
        self.assertEqual(octets, expected.replace("·", "\0").encode())
        self.assertEqual(len(octets), 324)

    def test_not_in_file(self) -> None:
        """An offset of -1 is a number of 64 bits."""
        self.assertIn(
            b"offset\x0018446744073709551615\0", encode_append(9984, "Q1", Recipient("a@b"), DsnStatus("4.0.0", "x"))
        )

    @given(*[st.text(max_size=20)] * 5)
    @settings(deadline=None, max_examples=60)
    def test_any_text(self, reason: str, diag_type: str, diag_text: str, mta_type: str, mta_name: str) -> None:
        """Whatever a server says, it is one list; half a pair is no pair."""
        dsn = DsnStatus(
            "4.0.0", reason, "", diag_type.replace("\0", ""), diag_text, mta_type.replace("\0", ""), mta_name
        )
        (found,) = Decoder().feed(encode_append(0, "Q1", Recipient("a@b"), dsn))
        values = dict(found.pairs())
        self.assertEqual(bool(values[b"diag_type"]), bool(values[b"diag_text"]))
        self.assertEqual(bool(values[b"mta_type"]), bool(values[b"mta_mname"]))
        self.assertEqual(values[b"reason"].decode(), reason.replace("\0", "?"))
