"""Messages over sessions that others have left: in which order they are used, and what goes wrong with them."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.delivery.test_any_world import NAMES, AnyWorldTestCase
from tests.delivery.test_deliver import hosts, script
from tests.delivery.test_reuse import (
    FIRST,
    ONE,
    SECOND,
    TWO,
    ReuseTestCase,
)
from tests.kit.engine import Engine
from tests.kit.network import Unreachable
from tests.kit.script import Answer, Close, Late, Raw, Reset, Script, Silence, Unasked
from twisted_mta.model.request import SmtpUtf8
from twisted_mta.model.result import Fate


class WalkTests(ReuseTestCase):
    """In which order sessions are used, and what that leaves for new connections."""

    def test_two_hosts(self) -> None:
        """What one host does not take goes to the next one's session."""
        rules = (("RCPT TO:<b", "450 4.2.0 not here"),)
        engine = self.engine({FIRST: script(*rules), SECOND: script()}, TWO)
        self.send(engine, "a@d.test", "b@d.test")
        log = self.send(engine, "a@d.test", "b@d.test")
        self.assertEqual(self.conn_uses(engine), [1, 1, 2, 2])
        self.assertEqual(
            log,
            [
                "4Abc12: host h2.test[10.0.0.2] said: 450 4.2.0 not here (in reply to RCPT TO command)",
                self.sent(engine, "a@d.test"),
                self.sent(engine, "b@d.test", "h1.test[10.0.0.1]:25"),
            ],
        )

    def test_dead_host_is_not_tried_again(self) -> None:
        """The first good session is saved for the destination, so that hosts that are down are not tried each time."""
        engine = self.engine({FIRST: Unreachable(), SECOND: script()}, TWO)
        self.assertEqual(len(self.send(engine)), 2)
        self.assertEqual(self.send(engine), [self.sent(engine, relay="h1.test[10.0.0.1]:25")])
        self.assertEqual(engine.dialer.dialled, [FIRST, SECOND])

    def test_fallback_relay(self) -> None:
        """That is so for a fallback relay, too."""
        engine = self.engine({SECOND: script()}, {**ONE, **hosts("h1")}, fallback_relay="[h1.test]")
        self.send(engine)
        self.assertEqual(self.send(engine), [self.sent(engine, relay="h1.test[10.0.0.1]:25")])

    def test_last_host(self) -> None:
        """A soft refusal over the only host's kept session defers at once, with its words."""
        engine = self.engine({FIRST: script(("RCPT", None, "450 4.2.0 later"))})
        self.send(engine)
        said = "host h2.test[10.0.0.2] said: 450 4.2.0 later (in reply to RCPT TO command)"
        self.assertEqual(self.send(engine), [f"a@d.test h2.test[10.0.0.2]:25 4.2.0 deferred ({said})"])
        self.assertEqual(len(engine.commands(FIRST)), 1)

    def test_sessions_count(self) -> None:
        """A kept session counts for smtp_mx_session_limit and smtp_mx_address_limit."""
        rules = (("RCPT", None, "450 4.2.0 later"),)
        for limits in ({"session_limit": 1}, {"address_limit": 1}):
            engine = self.engine({FIRST: script(*rules), SECOND: script()}, TWO, **limits)
            self.send(engine)
            log = self.send(engine)
            self.assertIn("deferred", log[0])
            self.assertEqual(engine.commands(SECOND), [])

    def test_equal_hosts(self) -> None:
        """Sessions with hosts of equal preference are used before anybody is dialled."""
        zone = {**TWO, ("MX", "d.test"): ["10 h2.test", "10 h1.test"]}
        engine = self.engine({FIRST: Unreachable(), SECOND: script()}, zone)
        self.send(engine)
        engine.dialer.dialled.clear()
        self.send(engine, smtputf8=SmtpUtf8.NONE)
        self.assertEqual(engine.dialer.dialled, [])

    def test_worse_hosts_in_their_turn(self) -> None:
        """Sessions with worse hosts are used when it is their turn, after better hosts have been dialled."""
        zone = {**TWO, ("MX", "e.test"): ["10 h1.test"]}
        engine = self.engine({FIRST: Unreachable(), SECOND: script()}, zone)
        self.send(engine, "a@e.test", nexthop="e.test")
        log = self.send(engine)
        self.assertEqual(log[0], "connect to h2.test[10.0.0.2]:25: Connection refused")
        self.assertEqual(log[1], self.sent(engine, relay="h1.test[10.0.0.1]:25"))
        self.assertEqual(self.conn_uses(engine), [1, 2])


class BadServerTests(ReuseTestCase):
    """Servers that do not play along: the mail goes out over a new connection, in the same attempt."""

    def goes_out_anew(self, *rules: Any, log: tuple[str, ...] = (), wait: float = 1.0) -> Engine:
        """The second of two messages goes out over a session of its own; how many connections there were."""
        engine = self.engine({FIRST: script(*rules)})
        self.assertEqual(self.send(engine), [self.sent(engine)])
        engine.wait(wait)
        self.assertEqual(self.send(engine), [*log, self.sent(engine)])
        self.assertEqual(self.conn_uses(engine), [1, 1])
        self.assertEqual(len(engine.commands(FIRST)), 2)
        self.assertEqual([message.content for message in engine.dialer.servers[FIRST].messages].count(b""), 0)
        self.assertEqual(len(engine.dialer.servers[FIRST].messages), 2)
        return engine

    def test_closes(self) -> None:
        """It closes the connection meanwhile, in order or not; nothing is said on it any more."""
        for ends in (Close(), Reset(), Close("421 4.4.2 idle for too long")):
            engine = self.goes_out_anew((".", Unasked(0.5, ends), None))
            self.assertEqual(engine.commands(FIRST)[0][-1], ".")

    def test_says_too_much(self) -> None:
        """It says something that nobody has asked, behind its last reply or later."""
        for words in (b"250 2.0.0 Ok\r\n", b"421 4.4.2 bye\r\n", b"2", b"\0\xff"):
            engine = self.goes_out_anew((".", Unasked(0.5, Raw(words)), None))
            self.assertEqual(engine.commands(FIRST)[0][-1], ".")
            self.assertFalse(engine.dialer.servers[FIRST].sessions[0].open)
        engine = self.goes_out_anew((".", Unasked(0, Raw(b"250 2.0.0 Ok\r\n")), None), wait=0)

    def test_refuses_rset(self) -> None:
        """It refuses RSET, or does not answer, or answers twice: not a word about it."""
        for answer in ("502 5.5.1 no", "421 4.4.2 bye", Close(), Reset(), Close("421 bye"), Raw(b"250 a\r\n250 b\r\n")):
            engine = self.goes_out_anew(("RSET", answer))
            self.assertEqual(engine.commands(FIRST)[0][-1], "RSET")

    def test_silent(self) -> None:
        """It takes longer for RSET than smtp_rset_timeout."""
        engine = self.engine({FIRST: script(("RSET", Silence()))})
        self.send(engine)
        engine.log.clear()
        engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        self.assertEqual(engine.log, [])
        engine.wait(20)
        self.assertEqual(engine.log, [self.sent(engine)])
        self.assertEqual(self.conn_uses(engine), [1, 1])

    def test_breaks_in_use(self) -> None:
        """It takes RSET, and then the connection breaks, before the fate of the mail is in its hands."""
        lost = "4Abc12: lost connection with h2.test[10.0.0.2] while "
        for verb, doing in (
            ("MAIL", "sending MAIL FROM"),
            ("RCPT", "sending RCPT TO"),
            ("DATA", "sending DATA command"),
        ):
            for ends in (Close(), Reset()):
                self.goes_out_anew((verb, None, ends, None), log=(lost + doing,))

    def test_breaks_within_the_content(self) -> None:
        """Or in the middle of the content."""
        engine = self.engine({FIRST: script(("BODY", None, Reset(), None))})
        for _ in range(2):
            log = self.send(engine, content=b"x\n" * 200_000)
        lost = "4Abc12: lost connection with h2.test[10.0.0.2] while sending message body"
        self.assertEqual(log, [lost, self.sent(engine)])

    def test_breaks_after_refusals(self) -> None:
        """Who was refused before it broke stays refused; the others go out anew."""
        rules = (("RCPT TO:<b", "550 5.1.1 no"), ("DATA", None, Close(), None))
        engine = self.engine({FIRST: script(*rules)})
        self.send(engine)
        log = self.send(engine, "b@d.test", "a@d.test")
        self.assertIn("5.1.1 bounced", log[0])
        self.assertEqual(
            log[1:], ["4Abc12: lost connection with h2.test[10.0.0.2] while sending DATA command", self.sent(engine)]
        )
        self.assertEqual(engine.commands(FIRST)[1][2], "RCPT TO:<a@d.test>")

    def test_breaks_at_the_dot(self) -> None:
        """Where it may have the message, nothing is sent again but by the queue."""
        engine = self.engine({FIRST: script((".", None, Close(), None))})
        self.send(engine)
        log = self.send(engine)
        self.assertEqual(len(engine.commands(FIRST)), 1)
        self.assertIn("deferred (lost connection with h2.test[10.0.0.2] while sending end of data", log[0])

    def test_breaks_again(self) -> None:
        """A host that breaks connections gets no third chance."""
        engine = self.engine({FIRST: script(("MAIL", None, Close()))})
        self.send(engine)
        log = self.send(engine)
        self.assertEqual(len(engine.commands(FIRST)), 2)
        self.assertIn("lost connection", log[0])
        self.assertIn("deferred (lost connection", log[1])

    def test_many_kept_that_break(self) -> None:
        """After one that broke, no other that was kept is tried."""
        engine = self.engine({FIRST: script(("RSET", None))}, TWO)
        done = [engine.start("a@d.test", nexthop="d.test") for _ in range(4)]
        engine.turn()
        for one in done:
            self.successResultOf(one)
        self.assertEqual(len(engine.pool), 4)
        engine.dialer.servers[FIRST].script = script(("RSET", None), ("MAIL", Close(), None))
        for session in engine.dialer.servers[FIRST]._live.values():
            session._script = engine.dialer.servers[FIRST].script
        self.assertEqual(len(self.send(engine)), 2)
        self.assertEqual(len(engine.commands(FIRST)), 5)

    def test_misplaced_replies(self) -> None:
        """A reply too many, that came with RSET's own, is not taken for an answer to MAIL: nobody is refused by mistake."""
        engine = self.goes_out_anew(("RSET", Raw(b"250 reset\r\n550 5.1.1 nobody\r\n")))
        self.assertEqual(engine.reporter.results[-1].fate, Fate.SENT)

    def test_out_of_step(self) -> None:
        """A stray reply that crosses our RSET cannot be seen; where it shows, it is no reason to return mail."""
        late = Raw(b"250 2.0.0 reset\r\n250 2.1.0 sender\r\n")
        engine = self.engine({FIRST: script(("RSET", Raw(b"250 stray\r\n")), ("MAIL", None, late, None))})
        self.send(engine)
        lost = "4Abc12: lost connection with h2.test[10.0.0.2] while sending DATA command"
        self.assertEqual(self.send(engine), [lost, self.sent(engine)])

    def test_cancelled(self) -> None:
        """A delivery that is cancelled while it asks leaves no session behind."""
        engine = self.engine({FIRST: script(("RSET", Silence()))})
        self.send(engine)
        done = engine.start("a@d.test", nexthop="d.test")
        engine.turn()
        done.cancel()
        engine.turn()
        self.assertFalse(engine.dialer.servers[FIRST].sessions[0].open)
        self.assertEqual(len(engine.pool), 0)


_ANSWERS: st.SearchStrategy[Answer] = st.sampled_from(
    [
        None,
        None,
        None,
        "250 2.0.0 ok",
        "450 4.2.0 later",
        "421 4.3.2 bye",
        "550 5.1.1 no",
        "502 5.5.1 what",
        Close(),
        Close("421 bye"),
        Reset(),
        Silence(),
        Late(5.0),
        Raw(b"250 a\r\n250 b\r\n"),
        Raw(b"junk\r\n250 ok\r\n"),
        Unasked(0.0, Close()),
        Unasked(0.5, Close("421 bye")),
        Unasked(0.5, Raw(b"250 stray\r\n")),
        Unasked(0.5, Reset()),
    ]
)
_RULES = st.lists(
    st.builds(
        lambda start, answers: (start, *answers),
        st.sampled_from(["CONNECT", "EHLO", "MAIL", "RCPT", "RCPT TO:<a@", "DATA", "BODY", ".", ".", "RSET", "RSET"]),
        st.lists(_ANSWERS, min_size=1, max_size=4),
    ),
    max_size=4,
)


class AnyServerTests(AnyWorldTestCase):
    """What holds whatever servers do with sessions that are kept."""

    @settings(max_examples=150, deadline=None)
    @given(_RULES, st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=2, max_size=5), st.booleans(), st.booleans())
    def test_message_after_message(self, rules: Any, waits: list[float], lmtp: bool, pipelining: bool) -> None:
        """Each recipient of each message has one result, mail that is sent was taken, and in the end nothing is left."""
        keywords = ("PIPELINING",) if pipelining else ()
        world = {"10.0.0.1": Script(*rules, lmtp=lmtp, keywords=keywords), "10.0.0.2": Script(lmtp=lmtp)}
        zone = {
            ("MX", "d.test"): ["10 h1.test", "20 h2.test"],
            ("A", "h1.test"): ["10.0.0.1"],
            ("A", "h2.test"): ["10.0.0.2"],
            ("A", "d.test"): ["10.0.0.1"],
        }
        engine = Engine(world, zone, lmtp=lmtp, reuse={"listed": lambda name: True})
        sent: Counter[str] = Counter()
        for wait in waits:
            engine.reporter.results.clear()
            engine.wait(wait)
            done = engine.start(*NAMES[:2], nexthop="d.test")
            engine.turn()
            while not done.called:
                calls = engine.clock.getDelayedCalls()
                self.assertTrue(calls, "the delivery waits for nothing")
                engine.wait(max(0.0, min(call.getTime() for call in calls) - engine.clock.seconds()))
            self.check(engine, NAMES[:2], self.successResultOf(done).complete)
            sent.update({result.relay for result in engine.reporter.results if result.fate is Fate.SENT})
            for relay, count in sent.items():
                server = engine.dialer.servers[relay.partition("[")[2].partition("]")[0]]
                dots = sum(session.commands.count(".") for session in server.sessions)
                self.assertGreaterEqual(dots, count, "what counts as sent has left in full")
        engine.wait(2000)
        self.assertEqual(len(engine.pool), 0)
        self.assertEqual(engine.clock.getDelayedCalls(), [])
