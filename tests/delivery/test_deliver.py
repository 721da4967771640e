"""Whole deliveries in memory: what was observed of smtp(8), and what goes wrong."""

from dataclasses import replace
from errno import ECONNRESET, ENOENT
from types import MappingProxyType

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.engine import Engine
from tests.kit.network import NEVER, MemoryDialer, Unreachable
from tests.kit.script import Close, Late, Raw, Reset, Script, Silence
from tests.session.shell import PiecewiseContent
from twisted_mta.interfaces import ContentError, CorruptContentError, IDeliveryAgent, IStatusReporter
from twisted_mta.model import events
from twisted_mta.model.answers import LookupResult
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import Recipient, RequestFlags, SmtpUtf8
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


class WalkTests(DeliverTestCase):
    """From host to host."""

    def test_connection_refused(self) -> None:
        """The only host refuses: a bare log line, and everybody is deferred without relay."""
        reason = f"connect to h2.test[10.0.0.2]:25: {REFUSED}"
        engine = self.deliver(Engine({}, ONE), reason, f"a@d.test none 4.4.1 deferred ({reason})")
        self.assertEqual(self.hop(engine), f"4.4.1 {reason}")

    def test_time_limit_of_connect(self) -> None:
        """A host that does not answer is given up after smtp_connect_timeout."""
        engine = Engine({FIRST: NEVER, SECOND: script()}, TWO)
        engine.start("a@d.test", nexthop="d.test")
        engine.wait(29)
        self.assertEqual(engine.log, [])
        engine.wait(1)
        self.assertEqual(engine.log[0], "connect to h2.test[10.0.0.2]:25: Connection timed out")
        self.assertEqual(engine.status, FinalStatus(True))

    def test_rebuff_and_next_host(self) -> None:
        """A greeting with 5xx is followed by QUIT, and the next host gets the message."""
        engine = self.deliver(
            Engine({FIRST: script(("CONNECT", "554 5.7.1 go away")), SECOND: script()}, TWO),
            "4Abc12: host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 go away",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )
        self.assertEqual(engine.commands(FIRST), [["QUIT"]])
        self.assertEqual(engine.status, FinalStatus(True))

    def test_rebuff_by_the_only_host(self) -> None:
        """At the only host it defers, with the server's words, and holds the destination back."""
        reason = "host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 go away"
        engine = self.deliver(
            Engine({FIRST: script(("CONNECT", "554 5.7.1 go away"))}, ONE),
            f"a@d.test h2.test[10.0.0.2]:25 4.7.1 deferred ({reason})",
        )
        wanted = DsnStatus("4.7.1", reason, "", "smtp", "554 5.7.1 go away", "dns", "h2.test")
        self.assertEqual(engine.reporter.results[0].dsn, wanted)
        self.assertEqual(engine.status, FinalStatus(False, wanted))

    def test_rebuff_for_good(self) -> None:
        """Without smtp_skip_5xx_greeting it bounces at once, and no fallback relay is asked."""
        engine = self.deliver(
            Engine(
                {FIRST: script(("CONNECT", "554 5.7.1 go away")), "10.0.0.9": script()},
                {**ONE, **hosts("h9")},
                skip_5xx_greeting=False,
                fallback_relay="[h9.test]",
            ),
            "a@d.test h2.test[10.0.0.2]:25 5.7.1 bounced (host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 go away)",
        )
        self.assertEqual(engine.dialer.dialled, [FIRST])
        self.assertEqual(self.hop(engine), "")

    def test_rebuff_is_told_before_goodbye(self) -> None:
        """Who is refused hears of it even if the server never says goodbye."""
        engine = Engine({FIRST: script(("CONNECT", "421 4.3.2 no"), ("QUIT", Silence()), lmtp=True)}, ONE, lmtp=True,
                        await_quit_reply=True, default_service="24")  # fmt: skip
        engine.start("a@d.test", nexthop="h2.test")
        engine.turn()
        self.assertEqual(len(engine.log), 1)
        self.assertIsNone(engine.status)
        engine.wait(304)
        self.assertEqual(engine.status, replace(engine.status or FinalStatus(True), complete=False))
        self.assertEqual(
            engine.reporter.results[0].stats.deliver_done, engine.reporter.results[0].stats.connection_setup_done
        )

    def test_rebuff_and_close(self) -> None:
        """A server that closes behind its refusal has refused all the same."""
        self.deliver(
            Engine({FIRST: script(("CONNECT", Close("554 5.7.1 no"))), SECOND: script()}, TWO),
            "4Abc12: host h2.test[10.0.0.2] refused to talk to me: 554 5.7.1 no",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_reply_too_many_in_front(self) -> None:
        """A server that is a reply ahead gets nowhere: what it says to DATA is what it meant for RCPT."""
        engine = self.deliver(
            Engine({FIRST: script(("CONNECT", Raw(b"220 h2.test\r\n250 pushed\r\n")))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 5.5.0 bounced"
            " (Protocol error: host h2.test[10.0.0.2] said: 250 2.1.5 Ok (in reply to DATA command))",
        )
        self.assertEqual(engine.dialer.servers[FIRST].messages, [])

    def test_too_many_recipients(self) -> None:
        """A server that takes only so many at a time: the rest waits for the next host, or for another time."""
        enough = "452 4.5.3 too many recipients"
        engine = self.deliver(
            Engine({FIRST: script(("RCPT", None, None, enough))}, ONE),
            "c@d.test h2.test[10.0.0.2]:25 4.5.3 deferred"
            f" (host h2.test[10.0.0.2] said: {enough} (in reply to RCPT TO command))",
            f"a@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
            f"b@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
            to=("a@d.test", "b@d.test", "c@d.test"),
        )
        self.assertEqual(engine.status, FinalStatus(False))

    def test_mailbox_full_in_the_old_way(self) -> None:
        """552 to RCPT is taken at its word."""
        engine = Engine({FIRST: script(("RCPT", "552 too much")), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertIn("5.0.0 bounced", engine.log[0])

    def test_leaving_in_the_middle(self) -> None:
        """421 at any point is soft, for those whom it concerns."""
        for command in ("EHLO", "MAIL", "RCPT", "DATA", "."):
            engine = Engine({FIRST: script((command, "421 4.3.2 leaving")), SECOND: script()}, TWO)
            self.assertEqual(engine.deliver("a@d.test", nexthop="d.test"), FinalStatus(True), command)
            self.assertIn("421 4.3.2 leaving", engine.log[0])

    def test_each_recipient_its_fate(self) -> None:
        """Bounced, kept for the next host, and sent, in one transaction."""
        no = "550 5.1.1 bad"
        engine = self.deliver(
            Engine({FIRST: script(("RCPT TO:<bad", no), ("RCPT TO:<grey", "450 4.2.0 grey")), SECOND: script()}, TWO),
            f"bad@d.test h2.test[10.0.0.2]:25 5.1.1 bounced (host h2.test[10.0.0.2] said: {no} (in reply to RCPT TO command))",
            "4Abc12: host h2.test[10.0.0.2] said: 450 4.2.0 grey (in reply to RCPT TO command)",
            f"ok@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
            f"grey@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
            to=("bad@d.test", "grey@d.test", "ok@d.test"),
        )
        self.assertEqual(engine.status, FinalStatus(True))
        self.assertNotIn("ok@", str(engine.commands(SECOND)))

    def test_content_refused_for_now(self) -> None:
        """A soft refusal of the content holds nothing back."""
        engine = self.deliver(
            Engine({FIRST: script((".", "452 4.3.1 full"))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 4.3.1 deferred"
            " (host h2.test[10.0.0.2] said: 452 4.3.1 full (in reply to end of DATA command))",
        )
        self.assertEqual(engine.status, FinalStatus(False))

    def test_closed_at_the_greeting(self) -> None:
        """A server that closes at once: the connection is lost in the greeting."""
        reason = "lost connection with h2.test[10.0.0.2] while receiving the initial server greeting"
        for fault in (Close(), Reset()):
            engine = self.deliver(
                Engine({FIRST: script(("CONNECT", fault))}, ONE),
                f"a@d.test h2.test[10.0.0.2]:25 4.4.2 deferred ({reason})",
            )
            self.assertEqual(self.hop(engine), f"4.4.2 {reason}")

    def test_reset_while_connecting(self) -> None:
        """A reset that the system reports as a failed connect is such a session, too."""
        reason = "lost connection with h2.test[10.0.0.2] while receiving the initial server greeting"
        engine = self.deliver(
            Engine({FIRST: Unreachable(ECONNRESET), SECOND: script()}, TWO),
            f"4Abc12: {reason}",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )
        self.assertEqual(engine.status, FinalStatus(True))
        self.deliver(
            Engine({FIRST: Unreachable(ECONNRESET)}, ONE), f"a@d.test h2.test[10.0.0.2]:25 4.4.2 deferred ({reason})"
        )

    def test_lost_in_the_middle(self) -> None:
        """A connection that breaks after some were refused: those stay refused, the rest goes to the next host."""
        no = "550 5.1.1 bad"
        self.deliver(
            Engine({FIRST: script(("RCPT TO:<bad", no), ("RCPT TO:<a", Reset())), SECOND: script()}, TWO),
            f"bad@d.test h2.test[10.0.0.2]:25 5.1.1 bounced (host h2.test[10.0.0.2] said: {no} (in reply to RCPT TO command))",
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending RCPT TO",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
            to=("bad@d.test", "a@d.test"),
        )

    def test_lost_after_the_dot(self) -> None:
        """The next host gets the message though the first one may have it."""
        self.deliver(
            Engine({FIRST: script((".", Reset())), SECOND: script()}, TWO),
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending end of data -- message may be sent more than once",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_mail_354(self) -> None:
        """354 to MAIL bounces."""
        self.deliver(
            Engine({FIRST: script(("MAIL", "354 eh"))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 5.5.0 bounced"
            " (host h2.test[10.0.0.2] said: 354 eh (in reply to MAIL FROM command))",
        )

    def test_data_250(self) -> None:
        """250 to DATA bounces as a protocol error; then RSET and QUIT."""
        engine = self.deliver(
            Engine({FIRST: script(("DATA", "250 eh"))}, ONE),
            "a@d.test h2.test[10.0.0.2]:25 5.5.0 bounced"
            " (Protocol error: host h2.test[10.0.0.2] said: 250 eh (in reply to DATA command))",
        )
        self.assertEqual(engine.commands(FIRST)[0][-3:], ["DATA", "RSET", "QUIT"])

    def test_soft_bounce(self) -> None:
        """With soft_bounce a refusal leads to the next host, and at the last one to a bounce that the reporter softens."""
        no = "550 5.1.1 no"
        engine = self.deliver(
            Engine({FIRST: script(("RCPT", no)), SECOND: script(("RCPT", no))}, TWO, soft_bounce=True),
            f"4Abc12: host h2.test[10.0.0.2] said: {no} (in reply to RCPT TO command)",
            f"a@d.test h1.test[10.0.0.1]:25 5.1.1 bounced (host h1.test[10.0.0.1] said: {no} (in reply to RCPT TO command))",
        )
        self.assertEqual(engine.status, FinalStatus(False))

    def test_session_limit(self) -> None:
        """smtp_mx_session_limit hosts are asked; the last of these defers, and others are never contacted."""
        four = mx("d.test", "h2", "h1", "h3", "h4")
        grey = "450 4.2.0 grey"
        servers = {f"10.0.0.{number}": script(("RCPT", grey)) for number in range(1, 5)}
        engine = self.deliver(
            Engine(servers, four),
            f"4Abc12: host h2.test[10.0.0.2] said: {grey} (in reply to RCPT TO command)",
            f"a@d.test h1.test[10.0.0.1]:25 4.2.0 deferred (host h1.test[10.0.0.1] said: {grey} (in reply to RCPT TO command))",
        )
        self.assertEqual(engine.dialer.dialled, [FIRST, SECOND])
        self.assertEqual(self.hop(engine), "")

    def test_session_limit_with_fallback(self) -> None:
        """With a fallback relay both keep, and the fallback is asked, with a count of its own."""
        four = {**mx("d.test", "h2", "h1", "h3"), **hosts("h9")}
        servers = {f"10.0.0.{number}": script(("RCPT", "450 4.2.0 grey")) for number in range(1, 4)}
        engine = self.deliver(
            Engine({**servers, "10.0.0.9": script()}, four, fallback_relay="[h9.test]"),
            "4Abc12: host h2.test[10.0.0.2] said: 450 4.2.0 grey (in reply to RCPT TO command)",
            "4Abc12: host h1.test[10.0.0.1] said: 450 4.2.0 grey (in reply to RCPT TO command)",
            f"a@d.test h9.test[10.0.0.9]:25 2.0.0 sent ({OK})",
        )
        self.assertEqual(engine.dialer.dialled, [FIRST, SECOND, "10.0.0.9"])

    def test_rebuffs_do_not_count_as_sessions(self) -> None:
        """A server that refuses to talk takes no other one's place."""
        three = mx("d.test", "h2", "h1", "h3")
        engine = Engine(
            {FIRST: script(("CONNECT", "421 no")), SECOND: script(("CONNECT", "421 no")), "10.0.0.3": script()}, three
        )
        self.assertEqual(engine.deliver("a@d.test", nexthop="d.test"), FinalStatus(True))

    def test_address_limit(self) -> None:
        """smtp_mx_address_limit addresses are tried; those that refuse count."""
        names = [f"h{number}" for number in range(1, 9)]
        engine = Engine({"10.0.0.8": script()}, mx("d.test", *names), address_limit=3)
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.dialer.dialled, ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        self.assertIn("none 4.4.1 deferred (connect to h3.test[10.0.0.3]:25", engine.log[-1])


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


class ProbeTests(DeliverTestCase):
    """Address probes."""

    def test_probe(self) -> None:
        """Who is accepted is deliverable; nothing is sent."""
        engine = Engine({FIRST: script(("RCPT TO:<no", "550 5.1.1 no"))}, ONE)
        engine.deliver("a@d.test", "no@d.test", nexthop="d.test", flags=RequestFlags.BOUNCE | RequestFlags.MTA_VRFY)
        self.assertEqual(
            engine.log,
            [
                "a@d.test h2.test[10.0.0.2]:25 2.1.5 sent (250 2.1.5 Ok)",
                "no@d.test h2.test[10.0.0.2]:25 5.1.1 bounced"
                " (host h2.test[10.0.0.2] said: 550 5.1.1 no (in reply to RCPT TO command))",
            ],
        )
        self.assertEqual(engine.commands(FIRST)[0][-2:], ["RSET", "QUIT"])


class LocalTests(DeliverTestCase):
    """What no server is asked."""

    def test_size(self) -> None:
        """A message beyond SIZE bounces; no other host is asked, and this one hears no QUIT."""
        engine = Engine({FIRST: script(keywords=["SIZE 100"]), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", size=101)
        self.assertEqual(
            engine.log,
            [
                "a@d.test h2.test[10.0.0.2]:25 5.3.4 bounced"
                " (message size 101 exceeds size limit 100 of server h2.test[10.0.0.2])"
            ],
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test"]])
        self.assertEqual(engine.reporter.results[0].dsn.mta_name, "")

    def test_smtputf8(self) -> None:
        """A message that needs SMTPUTF8 bounces after QUIT."""
        engine = Engine({FIRST: script(keywords=["PIPELINING"]), SECOND: script()}, TWO)
        engine.deliver("\u00fc@d.test", nexthop="d.test", smtputf8=SmtpUtf8.REQUESTED | SmtpUtf8.RECIPIENT)
        self.assertIn(
            "5.6.7 bounced (SMTPUTF8 is required, but was not offered by host h2.test[10.0.0.2])", engine.log[0]
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", "QUIT"]])

    def test_line_break_in_an_address(self) -> None:
        """Such a recipient is refused here; the others get their mail."""
        engine = Engine({FIRST: script()}, ONE)
        engine.deliver("a@d.test\r\nRSET", "b@d.test", nexthop="d.test")
        self.assertEqual([result.fate for result in engine.reporter.results], [Fate.BOUNCED, Fate.SENT])
        self.assertEqual(engine.commands(FIRST)[0][2], "RCPT TO:<b@d.test>")

    def test_line_break_in_the_sender(self) -> None:
        """A sender with one is refused for all."""
        engine = Engine({FIRST: script()}, ONE)
        engine.deliver("a@d.test", nexthop="d.test", sender="x\n@y")
        self.assertEqual(
            engine.log,
            ["a@d.test h2.test[10.0.0.2]:25 5.1.7 bounced (sender address contains a line break or null character)"],
        )
        self.assertEqual(engine.commands(FIRST), [["EHLO client.test", "QUIT"]])


class ContentTests(DeliverTestCase):
    """Content that cannot be read."""

    def test_corrupt(self) -> None:
        """Damaged content bounces: no other host would get it either. The server sees no final dot."""
        content = PiecewiseContent([b"a\n", CorruptContentError("x")])
        engine = Engine({FIRST: script(), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", content=content)
        self.assertEqual(engine.log, ["a@d.test h2.test[10.0.0.2]:25 5.3.0 bounced (unreadable mail queue entry)"])
        self.assertEqual(engine.commands(FIRST)[0][-1], "DATA")
        self.assertEqual(engine.status, FinalStatus(True))

    def test_unreadable_for_now(self) -> None:
        """A read error defers, without asking anybody else."""
        engine = Engine({FIRST: script(), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", content=PiecewiseContent([ContentError("Input/output error")]))
        self.assertIn("4.3.0 deferred (cannot read message content: Input/output error)", engine.log[0])
        self.assertEqual(engine.dialer.dialled, [FIRST])
        self.assertEqual(engine.status, FinalStatus(False))

    def test_refused_recipients_are_settled_first(self) -> None:
        """Only those are concerned who were accepted."""
        engine = Engine({FIRST: script(("RCPT TO:<no", "450 4.1.1 no"))}, ONE)
        content = PiecewiseContent([CorruptContentError("x")])
        engine.deliver("a@d.test", "no@d.test", nexthop="d.test", content=content)
        self.assertEqual([result.fate for result in engine.reporter.results], [Fate.DEFERRED, Fate.BOUNCED])
        self.assertEqual(engine.status, FinalStatus(False))

    def test_long_lines_are_told_once(self) -> None:
        """Though two hosts see them."""
        engine = Engine({FIRST: script((".", "451 4.3.0 x")), SECOND: script()}, TWO)
        engine.deliver("a@d.test", nexthop="d.test", content=b"x" * 2000)
        self.assertEqual(engine.log.count("4Abc12: breaking line > 998 bytes with <CR><LF>SPACE"), 1)


class BindTests(DeliverTestCase):
    """The local address (postconf(5) smtp_bind_address)."""

    BIND = MappingProxyType({Family.IPV4: "10.0.0.77"})

    def test_bound(self) -> None:
        """An address of this machine is used."""
        engine = Engine({FIRST: script()}, ONE, bind=self.BIND)
        engine.dialer.local_addresses.add("10.0.0.77")
        engine.deliver("a@d.test", nexthop="d.test")
        self.assertEqual(engine.dialer.dialled, ["10.0.0.77 to 10.0.0.2"])

    def test_not_there(self) -> None:
        """One that is not is told, and done without."""
        self.deliver(
            Engine({FIRST: script()}, ONE, bind=self.BIND),
            "warning: smtp_connect_addr: bind 10.0.0.77: Cannot assign requested address",
            f"a@d.test h2.test[10.0.0.2]:25 2.0.0 sent ({OK})",
        )

    def test_enforced(self) -> None:
        """With smtp_bind_address_enforce the next host is tried, in vain, too."""
        warning = "warning: smtp_connect_addr: bind 10.0.0.77: Cannot assign requested address"
        self.deliver(
            Engine({FIRST: script(), SECOND: script()}, TWO, bind=self.BIND, bind_enforced=frozenset(self.BIND)),
            warning,
            "server configuration error",
            warning,
            "server configuration error",
            "a@d.test none 4.4.0 deferred (server configuration error)",
        )

    def test_malformed(self) -> None:
        """A malformed one defers everything, without a try."""
        problem = "smtp_connect_addr: bad smtp_bind_address parameter: x: Name or service not known"
        engine = self.deliver(
            Engine({FIRST: script(), SECOND: script()}, TWO, bind_problem={Family.IPV4: problem}),
            f"a@d.test none 4.3.5 deferred ({problem})",
        )
        self.assertEqual(self.hop(engine), f"4.3.5 {problem}")
        self.assertEqual(engine.dialer.dialled, [])


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

    def test_silent_server(self) -> None:
        """A server that falls silent costs its time limit, then the next host is asked."""
        engine = Engine({FIRST: script(("MAIL", Silence()), keywords=[]), SECOND: script()}, TWO)
        engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        engine.wait(302)
        self.assertEqual(engine.log[0], "4Abc12: conversation with h2.test[10.0.0.2] timed out while sending MAIL FROM")
        self.assertEqual(engine.status, FinalStatus(True))

    def test_early_success_is_none(self) -> None:
        """A server that is too quick with its 250 has delivered nothing: the next host gets the message."""
        early = Raw(b"354 go\r\n250 2.0.0 fine\r\n")
        self.deliver(
            Engine({FIRST: script(("DATA", early)), SECOND: script()}, TWO),
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending message body",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_goodbye_is_no_success(self) -> None:
        """Nor has a server that leaves the dot without reply: its 221 is the answer to QUIT."""
        self.deliver(
            Engine({FIRST: script((".", Silence())), SECOND: script()}, TWO),
            "4Abc12: lost connection with h2.test[10.0.0.2] while sending message body",
            f"a@d.test h1.test[10.0.0.1]:25 2.0.0 sent ({OK})",
        )

    def test_same_recipient_twice(self) -> None:
        """Each entry of the request has its result, equal or not."""
        twin = Recipient("a@d.test", offset=5)
        engine = Engine({FIRST: script()}, ONE)
        engine.deliver(twin, twin, nexthop="d.test")
        self.assertEqual([result.recipient for result in engine.reporter.results], [twin, twin])
