"""Whole deliveries in memory: what was observed of smtp(8), and what goes wrong."""

from errno import ENOENT

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.engine import Engine
from tests.kit.network import NEVER, MemoryDialer, Unreachable
from tests.kit.script import Late, Reset, Script
from tests.session.shell import PiecewiseContent
from twisted_mta.interfaces import IDeliveryAgent, IStatusReporter
from twisted_mta.model import events
from twisted_mta.model.answers import LookupResult
from twisted_mta.model.result import Fate, FinalStatus, RecipientResult
from twisted_mta.routing.candidates import Family

REFUSED = "Connection refused"
UNKNOWN = "Host or domain name not found. Name service error for name=nx.test type={}: Host not found"


def hosts(*names: str) -> dict[tuple[str, str], list[str]]:
    """Address records: h2.test has 10.0.0.2, and so on."""
    return {("A", f"{name}.test"): [f"10.0.0.{name[1:]}"] for name in names}


def mx(domain: str, *names: str) -> dict[tuple[str, str], list[str]]:
    """A domain whose exchangers are these hosts, the best one first."""
    exchangers = [f"{number * 10} {name}.test" for number, name in enumerate(names, 1)]
    return {("MX", domain): exchangers, **hosts(*names)}


def script(*rules: object, name: str = "h", **how: object) -> Script:
    """A server."""
    return Script(*rules, hostname=f"{name}.test", **how)  # type: ignore[arg-type] # rules are plain tuples


ONE = mx("d.test", "h2")
TWO = mx("d.test", "h2", "h1")
OK = "250 2.0.0 Ok: queued"
FIRST, SECOND = "10.0.0.2", "10.0.0.1"


class DeliverTestCase(SynchronousTestCase):
    """Deliveries to d.test."""

    def hop(self, engine: Engine) -> str:
        """The hop status that the queue manager gets, as ``STATUS reason``; empty: none."""
        assert engine.status is not None
        hop = engine.status.hop_status
        return f"{hop.status} {hop.reason}" if hop else ""

    def deliver(
        self, engine: Engine, *log: str, to: tuple[str, ...] = ("a@d.test",), nexthop: str = "d.test"
    ) -> Engine:
        """Deliver, and compare what was logged and reported."""
        engine.deliver(*to, nexthop=nexthop)
        self.assertEqual(engine.log, list(log))
        self.assertEqual(engine.clock.getDelayedCalls(), [], "nothing is left over")
        return engine


class AgentTests(DeliverTestCase):
    """The interface, and the simplest delivery."""

    def test_interface(self) -> None:
        """The agent is an IDeliveryAgent."""
        self.assertTrue(verifyObject(IDeliveryAgent, Engine({}).agent))

    def test_sent(self) -> None:
        """One host, one message."""
        engine = self.deliver(Engine({FIRST: script()}, ONE), f"a@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})")
        self.assertEqual(engine.status, FinalStatus(True))
        server = engine.dialer.servers[FIRST]
        self.assertEqual(server.messages[0].content, b"Subject: x\r\n\r\nHello.\r\n")
        self.assertEqual(
            engine.commands(FIRST),
            [
                [
                    "EHLO client.test",
                    "MAIL FROM:<sender@client.example> SIZE=49 BODY=7BIT",
                    "RCPT TO:<a@d.test>",
                    "DATA",
                    ".",
                    "QUIT",
                ]
            ],
        )

    def test_several_at_a_time(self) -> None:
        """One agent delivers any number of requests at once."""
        engine = Engine({FIRST: script((".", Late(5)))}, ONE)
        done = [engine.start(f"{name}@d.test", nexthop="d.test") for name in "abc"]
        engine.turn()
        self.assertEqual(engine.dialer.servers[FIRST].most_at_once, 3)
        engine.wait(5)
        for one in done:
            self.assertEqual(self.successResultOf(one), FinalStatus(True))


class LookupTests(DeliverTestCase):
    """Destinations without hosts."""

    def test_unknown_host(self) -> None:
        """A host that does not exist: returned, and the destination is not held back."""
        engine = self.deliver(Engine({}), f"a@d.test none 5.4.4 bounced ({UNKNOWN.format('AAAA')})", nexthop="nx.test")
        self.assertEqual(engine.status, FinalStatus(True))

    def test_servfail(self) -> None:
        """A name server in trouble: tried again, the destination is held back."""
        reason = "Host or domain name not found. Name service error for name=d.test type=MX: Host not found, try again"
        engine = self.deliver(
            Engine({}, {("MX", "d.test"): LookupResult.RETRY}), f"a@d.test none 4.4.3 deferred ({reason})"
        )
        self.assertEqual(self.hop(engine), f"4.4.3 {reason}")

    def test_null_mx(self) -> None:
        """A domain that takes no mail (RFC 7505)."""
        self.deliver(
            Engine({}, {("MX", "d.test"): LookupResult.NULL_MX}),
            "a@d.test none 5.1.0 bounced (Domain d.test does not accept mail (nullMX))",
        )

    def test_malformed(self) -> None:
        """A destination without sense is for the administrator, and held back."""
        engine = self.deliver(
            Engine({}),
            "a@d.test none 4.3.5 deferred (unknown service: nosuch/tcp)",
            nexthop="d.test:nosuch",
        )
        self.assertEqual(self.hop(engine), "4.3.5 unknown service: nosuch/tcp")

    def test_events_of_a_destination_are_told_once(self) -> None:
        """What there is to say about a destination is said once."""
        self.deliver(
            Engine({FIRST: script()}, hosts("h2")),
            'SMTPS wrappermode (TCP port 465) requires setting "smtp_tls_wrappermode = yes",'
            ' and "smtp_tls_security_level = encrypt" (or stronger)',
            f"a@d.test h2.test[10.0.0.2]:465 2.0.0 sent ({OK})",
            nexthop="[h2.test]:465",
        )


class LeftOverTests(DeliverTestCase):
    """Recipients whom no host took."""

    def test_kept_and_then_unreachable(self) -> None:
        """The last reason counts: that of the host that could not be reached. A session came about, so nothing is held back."""
        reason = f"connect to h1.test[10.0.0.1]:25: {REFUSED}"
        engine = self.deliver(
            Engine({FIRST: script(("RCPT", "450 4.2.0 grey"))}, TWO),
            "4Abc12: host h2.test[10.0.0.2] said: 450 4.2.0 grey (in reply to RCPT TO command)",
            reason,
            f"a@d.test none 4.4.1 deferred ({reason})",
        )
        self.assertEqual(self.hop(engine), "")

    def test_unreachable_after_a_lost_connection(self) -> None:
        """A session that broke off is none that worked: the destination is held back."""
        engine = Engine({FIRST: script(("MAIL", Reset()))}, TWO)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(self.hop(engine), f"4.4.1 connect to h1.test[10.0.0.1]:25: {REFUSED}")

    def test_fallback_problem(self) -> None:
        """A fallback relay that does not exist is for the administrator."""
        engine = self.deliver(
            Engine({}, ONE, fallback_relay="[nx.test]"),
            f"connect to h2.test[10.0.0.2]:25: {REFUSED}",
            "warning: smtp_fallback_relay configuration problem",
            f"a@d.test none 4.3.5 deferred ({UNKNOWN.format('AAAA')})",
        )
        self.assertEqual(self.hop(engine)[:5], "4.3.5")

    def test_relayhost_problem(self) -> None:
        """So is a relayhost."""
        self.deliver(
            Engine({}, relayhost=["[nx.test]"]),
            "warning: relayhost configuration problem",
            f"a@d.test none 4.3.5 deferred ({UNKNOWN.format('AAAA')})",
            nexthop="[nx.test]",
        )

    def test_relayhost_of_several(self) -> None:
        """A list of them never is: the mail goes back."""
        self.deliver(
            Engine({}, relayhost=["[nx.test]", "[nx.test]"]),
            f"a@d.test none 5.4.4 bounced ({UNKNOWN.format('AAAA')})",
            nexthop="[nx.test], [nx.test]",
        )

    def test_backup_mx(self) -> None:
        """We are one of the exchangers, and the better one is down: the fallback relay is not asked."""
        reason = f"connect to h2.test[10.0.0.2]:25: {REFUSED}"
        engine = self.deliver(
            Engine({"10.0.0.9": script()}, {**TWO, **hosts("h9")}, own=[SECOND], fallback_relay="[h9.test]"),
            reason,
            f"a@d.test none 4.4.1 deferred ({reason})",
        )
        self.assertEqual(engine.dialer.dialled, [FIRST])

    def test_next_destination(self) -> None:
        """The destinations of a list are tried in turn; the last one's reason counts."""
        engine = self.deliver(
            Engine({SECOND: script()}, hosts("h1")),
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
            nexthop="[nx.test], [h1.test]",
        )
        self.assertEqual(engine.status, FinalStatus(True))

    def test_loop_at_the_best_host(self) -> None:
        """Meeting ourselves at the best host is the end."""
        engine = self.deliver(
            Engine({FIRST: script(name="client"), SECOND: script()}, TWO),
            "warning: host h2.test[10.0.0.2]:25 greeted me with my own hostname client.test",
            "warning: host h2.test[10.0.0.2]:25 replied to HELO/EHLO with my own hostname client.test",
            "a@d.test h2.test[10.0.0.2]:25 5.4.6 bounced (mail for d.test loops back to myself)",
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", "QUIT"]])

    def test_loop_at_another_host(self) -> None:
        """At another one it is a soft failure."""
        engine = Engine({SECOND: script(name="client")}, TWO)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(
            engine.log[-1], "a@d.test h1.test[10.0.0.1]:25 4.4.6 deferred (mail for d.test loops back to myself)"
        )


class LmtpTests(DeliverTestCase):
    """LMTP deliveries."""

    def lmtp(self, *rules: object, **how: object) -> Engine:
        """A service that speaks LMTP to h2.test."""
        settings = {"lmtp": True, "await_quit_reply": True, "default_service": "24", **how}
        return Engine({FIRST: script(*rules, lmtp=True)}, hosts("h2"), **settings)  # type: ignore[arg-type]

    def test_a_reply_for_each(self) -> None:
        """Each recipient has its own reply to the end of data."""
        full = "452 4.2.2 full"
        self.deliver(
            self.lmtp((". <b@", full)),
            f"a@d.test h2.test[10.0.0.2]:24 2.0.0 sent ({OK})",
            "b@d.test h2.test[10.0.0.2]:24 4.2.2 deferred"
            f" (host h2.test[10.0.0.2] said: {full} (in reply to end of DATA command))",
            to=("a@d.test", "b@d.test"),
            nexthop="h2.test",
        )

    def test_delivered(self) -> None:
        """With flag X, success without DSN is final."""
        engine = self.lmtp(final_delivery=True)
        engine.dialer.servers[FIRST].script = script(lmtp=True, keywords=["PIPELINING"])
        engine.deliver("a@d.test", nexthop="h2.test")
        self.assertEqual(engine.reporter.results[0].dsn.action, "delivered")

    def test_socket(self) -> None:
        """A UNIX-domain socket goes by our own name, and has no port."""
        engine = Engine({"private/foo": script(lmtp=True)}, lmtp=True, default_service="24")
        self.deliver(engine, f"a@d.test client.test[private/foo] 2.0.0 sent ({OK})", nexthop="unix:private/foo")

    def test_no_socket(self) -> None:
        """One that is not there is told once, in the result."""
        engine = Engine({"private/foo": Unreachable(ENOENT)}, lmtp=True, default_service="24")
        reason = "connect to client.test[private/foo]: No such file or directory"
        self.deliver(engine, f"a@d.test none 4.4.1 deferred ({reason})", nexthop="unix:private/foo")
        self.assertEqual(self.hop(engine), f"4.4.1 {reason}")


@implementer(IStatusReporter)
class NoReporter:
    """A reporter that is nothing but a defect."""

    def report(self, result: RecipientResult) -> Deferred[bool]:
        """Fail."""
        raise ZeroDivisionError("no reporter")


class TroubleTests(DeliverTestCase):
    """Defects, and deliveries that are no longer wanted."""

    def test_defect(self) -> None:
        """Anything unforeseen defers the mail, holds nothing back, and leaves a traceback; the connection is closed."""
        engine = Engine({FIRST: script(), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", content=PiecewiseContent([ZeroDivisionError("defect")]))
        self.assertEqual(engine.log, ["a@d.test none 4.3.0 deferred (mail system error in delivery)"])
        traceback = next(event for event in engine.events if isinstance(event, events.DeliveryFailedUnexpectedly))
        self.assertEqual(traceback.queue_id, "4Abc12")
        self.assertIn("ZeroDivisionError: defect", traceback.traceback)
        self.assertEqual(engine.status, FinalStatus(False))
        self.assertEqual(engine.commands(FIRST)[0][-1], "DATA")
        self.assertFalse(engine.dialer.servers[FIRST].sessions[0].open)

    def test_defect_of_the_dialer(self) -> None:
        """The same where a connection is made."""

        class BrokenDialer(MemoryDialer):
            def bind_address(self, family: Family) -> str | None:
                raise ZeroDivisionError

        engine = Engine({FIRST: script()}, ONE)
        engine.dialer.__class__ = BrokenDialer
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.log, ["a@d.test none 4.3.0 deferred (mail system error in delivery)"])

    def test_no_reporter(self) -> None:
        """Without any reporter the request must be tried again: the agent itself never fails."""
        engine = Engine({FIRST: script()}, ONE)
        engine.reporter = NoReporter()  # type: ignore[assignment] # the defect
        engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        self.assertEqual(engine.status, FinalStatus(False))

    def test_cancelled_while_connecting(self) -> None:
        """A cancelled delivery defers, and lets go."""
        engine = Engine({FIRST: NEVER}, ONE)
        done = engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        done.cancel()
        self.assertEqual(self.successResultOf(done), FinalStatus(False))
        self.assertEqual(engine.log, ["a@d.test none 4.3.0 deferred (delivery was ended before it was complete)"])
        self.assertEqual(engine.clock.getDelayedCalls(), [])

    def test_cancelled_in_a_session(self) -> None:
        """The connection is dropped, and who was settled before stays so."""
        engine = Engine({FIRST: script(("RCPT TO:<no", "550 5.1.1 no"), (".", Late(1000)))}, ONE)
        done = engine.start("a@d.test", "no@d.test", nexthop="d.test")
        engine.turn()
        self.assertIsNone(engine.status)
        done.cancel()
        engine.turn()
        self.assertEqual(self.successResultOf(done), FinalStatus(False))
        self.assertEqual([result.fate for result in engine.reporter.results], [Fate.BOUNCED, Fate.DEFERRED])
        self.assertFalse(engine.dialer.servers[FIRST].sessions[0].open)

    def test_cancelled_while_records_are_made(self) -> None:
        """A delivery that only waits for records ends, too; it does not fail."""
        engine = Engine({FIRST: script()}, ONE)
        engine.reporter.later = True
        done = engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        self.assertNoResult(done)
        done.cancel()
        self.assertEqual(self.successResultOf(done), FinalStatus(False))

    def test_records_take_time(self) -> None:
        """The status comes when all is recorded."""
        engine = Engine({FIRST: script()}, ONE)
        engine.reporter.later = True
        done = engine.start("a@d.test", "b@d.test", nexthop="d.test")
        engine.turn()
        self.assertEqual(len(engine.reporter.results), 2)
        self.assertNoResult(done)
        engine.reporter.finish()
        self.assertEqual(self.successResultOf(done), FinalStatus(True))
