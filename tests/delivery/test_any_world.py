"""What holds of a delivery whatever its servers do: each recipient has exactly one result.

The servers play scripts that were thrown together; hosts are down, or never answer; settings differ. Then the clock runs until
the delivery ends.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.engine import Engine
from tests.kit.network import NEVER, Host, Unreachable
from tests.kit.script import Answer, Close, Late, Raw, Reset, Rule, Script, Silence
from tests.session.shell import PiecewiseContent
from twisted_mta.delivery.hand_over import HandOverError
from twisted_mta.interfaces import ContentError, CorruptContentError
from twisted_mta.model.answers import LookupResult
from twisted_mta.model.events import DeliveryFailedUnexpectedly
from twisted_mta.model.request import DeliveryRequest, Recipient, RequestFlags
from twisted_mta.model.result import Fate
from twisted_mta.observe.maillog import LogStyle, line_of

LONGEST_SECONDS = 100_000
"""Every delivery ends within this: ten hosts, each with all of its time limits."""

NAMES = ("a@d.test", "b@d.test", "c@d.test")

_REPLIES: st.SearchStrategy[Answer] = st.sampled_from(
    [
        None,
        "250 2.0.0 ok",
        "250",
        "354 go",
        "450 4.2.0 later",
        "421 4.3.2 bye",
        "550 5.1.1 no",
        "554-5.7.1 no\n554 5.7.1 never",
        "500 what",
        "150 hm",
        "650 hm",
        "junk\n250 2.0.0 ok",
        Close(),
        Close("421 bye"),
        Reset(),
        Silence(),
        Late(5.0, "250 ok"),
        Raw(b"junk"),
        Raw(b"250 ok\r\n250 ok\r\n"),
        Raw(b"\x00\xff\x1b[2J\r\n"),
    ]
)
_PHASES = st.sampled_from(
    ["CONNECT", "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "RCPT TO:<a@", "DATA", "BODY", ".", "RSET", "QUIT"]
)
_RULES = st.lists(
    st.builds(lambda start, answers: (start, *answers), _PHASES, st.lists(_REPLIES, min_size=1, max_size=3)), max_size=4
)
_KEYWORDS = st.sampled_from([("PIPELINING", "DSN"), ("PIPELINING",), ("8BITMIME", "SIZE 40"), ("SMTPUTF8",), ()])


def _script(rules: Sequence[Rule], keywords: Sequence[str], lmtp: bool) -> Script:
    return Script(*rules, keywords=keywords, lmtp=lmtp)


@dataclass
class Passed:
    """A transport that takes what loops."""

    name: str = "other"
    outcomes: list[bool | None] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    async def hand_over(self, request: DeliveryRequest, recipient: Recipient) -> bool:
        """Take a recipient, or not."""
        outcome = self.outcomes.pop(0) if self.outcomes else True
        if outcome is None:
            raise HandOverError("mail transport unavailable")
        self.passed.append(recipient.address)
        return outcome


@st.composite
def hosts(draw: st.DrawFn, lmtp: bool) -> Host:
    """A host: it plays a script, or cannot be reached."""
    kind = draw(st.sampled_from(["script", "script", "script", "down", "never"]))
    if kind == "script":
        return _script(draw(_RULES), draw(_KEYWORDS), lmtp)
    return NEVER if kind == "never" else Unreachable()


class AnyWorldTestCase(SynchronousTestCase):
    """What holds of every delivery."""

    def run_to_its_end(self, engine: Engine, names: Sequence[str], **request: Any) -> bool:
        """Deliver, and let time pass until that ends; whether all is final."""
        done = engine.start(*names, nexthop="d.test", **request)
        engine.turn()
        while engine.status is None:
            calls = engine.clock.getDelayedCalls()
            self.assertTrue(calls, "the delivery waits for nothing")
            self.assertLess(engine.clock.seconds(), LONGEST_SECONDS)
            engine.wait(max(0.0, min(call.getTime() for call in calls) - engine.clock.seconds()))
        self.successResultOf(done)
        engine.wait(1000)
        self.assertEqual(engine.clock.getDelayedCalls(), [], "nothing is left over")
        return engine.status.complete

    def check(self, engine: Engine, names: Sequence[str], complete: bool, passed: Sequence[str] = ()) -> None:
        """One result for each recipient; success only where a server said so; a clean log; no defect."""
        defects = [event for event in engine.events if isinstance(event, DeliveryFailedUnexpectedly)]
        self.assertEqual(defects, [])
        results = engine.reporter.results
        self.assertEqual(Counter([result.recipient.address for result in results] + [*passed]), Counter(names))
        for result in results:
            self.assertEqual(result.dsn.status[0], {Fate.SENT: "2", Fate.DEFERRED: "4", Fate.BOUNCED: "5"}[result.fate])
            self.assertTrue(result.dsn.reason)
        if any(result.fate is Fate.DEFERRED for result in results):
            self.assertFalse(complete)
        for event in engine.events:
            _, line = line_of(event, LogStyle())
            self.assertTrue(line.isprintable(), line)


class AnyWorldTests(AnyWorldTestCase):
    """Properties of single deliveries."""

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_one_result_each(self, data: st.DataObject) -> None:
        """Whatever the servers do, in SMTP and LMTP, for mail and for probes."""
        lmtp = data.draw(st.booleans())
        names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
        world: dict[str, Host] = {f"10.0.0.{number}": data.draw(hosts(lmtp)) for number in (1, 2, 3)}
        zone: dict[tuple[str, str], Any] = {("A", f"h{number}.test"): [f"10.0.0.{number}"] for number in (1, 2, 3)}
        zone["MX", "d.test"] = data.draw(
            st.sampled_from(
                [
                    ["10 h1.test", "20 h2.test"],
                    ["10 h1.test"],
                    ["10 h1.test", "10 h2.test", "30 h3.test"],
                    ["10 gone.test", "20 h2.test"],
                    LookupResult.RETRY,
                    LookupResult.NOT_FOUND,
                    LookupResult.NULL_MX,
                    LookupResult.FAIL,
                ]
            )
        )
        zone["A", "d.test"] = ["10.0.0.1"]
        other = Passed(outcomes=data.draw(st.lists(st.sampled_from([True, False, None]), max_size=3)))
        engine = Engine(
            world,
            zone,
            own=data.draw(st.sampled_from([(), ("10.0.0.1",), ("10.0.0.2",)])),
            best_mx_transport=data.draw(st.sampled_from([None, other])),
            lmtp=lmtp,
            soft_bounce=data.draw(st.booleans()),
            final_delivery=data.draw(st.booleans()),
            skip_5xx_greeting=data.draw(st.booleans()),
            probe_to_data=data.draw(st.booleans()),
            await_quit_reply=data.draw(st.booleans()),
            fallback_relay=data.draw(st.sampled_from(["", "[h3.test]", "gone.test"])),
            session_limit=data.draw(st.sampled_from([0, 1, 2])),
            address_limit=data.draw(st.sampled_from([0, 1, 5])),
            per_request_deadline=data.draw(st.booleans()),
        )
        flags = data.draw(
            st.sampled_from([RequestFlags.SUCCESS, RequestFlags.SUCCESS, RequestFlags.MTA_VRFY, RequestFlags.USR_VRFY])
        )
        content = data.draw(
            st.sampled_from(
                [
                    b"Subject: x\n\n.Hello.\n",
                    b"",
                    PiecewiseContent([b"a\n", CorruptContentError("x")]),
                    PiecewiseContent([ContentError("x")]),
                ]
            )
        )
        complete = self.run_to_its_end(engine, names, flags=flags, content=content)
        self.check(engine, names, complete, other.passed)

    @settings(max_examples=60, deadline=None)
    @given(st.data(), st.integers(0, 12))
    def test_cancelled_at_any_time(self, data: st.DataObject, turns: int) -> None:
        """So it is if the delivery is cancelled in the middle, and nothing is left over."""
        world = {"10.0.0.1": data.draw(hosts(False)), "10.0.0.2": data.draw(hosts(False))}
        zone = {
            ("MX", "d.test"): ["10 h1.test", "20 h2.test"],
            ("A", "h1.test"): ["10.0.0.1"],
            ("A", "h2.test"): ["10.0.0.2"],
        }
        engine = Engine(world, zone)
        done: Deferred[Any] = engine.start(*NAMES, nexthop="d.test")
        for _ in range(turns):
            engine.clock.advance(0)
        done.cancel()
        engine.turn()
        self.assertIsNotNone(engine.status)
        self.check(engine, NAMES, bool(engine.status and engine.status.complete))
        engine.wait(1000)
        self.assertEqual(engine.clock.getDelayedCalls(), [])

    @settings(max_examples=60, deadline=None)
    @given(_RULES, _KEYWORDS)
    @example([(".", "250 ok")], ("PIPELINING",))
    def test_sent_means_taken(self, rules: Sequence[Rule], keywords: Sequence[str]) -> None:
        """Mail counts as sent only if the server has got the whole message, up to the dot."""
        engine = Engine({"10.0.0.1": _script(rules, keywords, False)}, {("A", "d.test"): ["10.0.0.1"]})
        self.run_to_its_end(engine, NAMES[:1])
        if any(result.fate is Fate.SENT for result in engine.reporter.results):
            server = engine.dialer.servers["10.0.0.1"]
            self.assertTrue(any("." in session.commands for session in server.sessions))
            # What the script lets it answer by hand, the server does not keep.
            self.assertLessEqual({message.content for message in server.messages}, {b"Subject: x\r\n\r\nHello.\r\n"})
