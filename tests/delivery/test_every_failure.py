"""Every failure in every state of a session: a table of what a server does when, and what becomes of the mail.

Each cell is a delivery to a host that fails, once with another host behind it, once without; with PIPELINING and in lock step; by
SMTP and by LMTP.
Sources: RFC 5321 section 4.2.1; postconf(5) for the time limits; the log lines of a running smtp(8).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.engine import Engine
from tests.kit.script import BODY, CONNECT, Answer, Close, Deaf, HalfClose, Late, Raw, Reset, Rule, Script
from twisted_mta.model.request import LogClient, RequestFlags

HOST = "d.test[10.0.0.1]"
FIRST, SECOND = "10.0.0.1", "10.0.0.2"
RELAY = HOST + ":25"
ZONE = {("A", "d.test"): [FIRST, SECOND]}
CLIENT = LogClient("c.test", "192.0.2.9", "1234", "ESMTP", "helo.test", "X1")
LARGE = b"Subject: x\n\n" + (b"x" * 70 + b"\n") * 30_000

LOST = f"lost connection with {HOST} while "
LATE = f"conversation with {HOST} timed out while "
SILENCE = Late(100_000)
PARTIAL = Raw(b"250-mo\r\n25")
BREAKS: tuple[tuple[Answer, str], ...] = (
    (Close(), LOST),
    (HalfClose(), LOST),
    (Reset(), LOST),
    (SILENCE, LATE),
    (PARTIAL, LATE),
)
"""What breaks a conversation, and how that is told: an end, that of one side, a reset, silence, and silence within a reply."""

SITE, MESSAGE = True, False
"""Whether the destination is held back if its mail must wait for this."""

GOES_ON = "goes on"


@dataclass(frozen=True, slots=True)
class State:
    """A row of the table.

    Attributes:
        name: of the state.
        seconds: its time limit, as in tests/kit/limits.py.
        at: the event at which the server fails.
        doing: what was being done, where the conversation breaks.
        said: what a refusal makes of the mail, with ``{}`` for the reply; GOES_ON: nothing; empty: it is never read.
        scope: SITE or MESSAGE, of a refusal.
        wanted: the first digit of the reply that is wanted.
        only: the protocols in which there is such a state.
        before: how the server gets there.
        keywords: what else it offers.
    """

    name: str
    seconds: int
    at: str
    doing: str
    said: str
    scope: bool = MESSAGE
    wanted: str = "2"
    only: tuple[str, ...] = ("smtp", "lmtp")
    before: tuple[Rule, ...] = ()
    keywords: tuple[str, ...] = ()


REBUFF = f"host {HOST} refused to talk to me: {{}}"
SAID = f"host {HOST} said: {{}} (in reply to "

STATES = (
    State("greeting", 300, CONNECT, "receiving the initial server greeting", REBUFF, SITE),
    State("EHLO", 300, "EHLO", "performing the EHLO handshake", GOES_ON, SITE, only=("smtp",)),
    State(
        "HELO", 300, "HELO", "performing the HELO handshake", REBUFF, SITE, only=("smtp",), before=(("EHLO", "502 no"),)
    ),
    State("LHLO", 300, "LHLO", "performing the LHLO handshake", REBUFF, SITE, only=("lmtp",)),
    State(
        "XFORWARD 1", 301, "XFORWARD NAME", "sending XFORWARD name/address", GOES_ON, keywords=("XFORWARD NAME PROTO",)
    ),
    State(
        "XFORWARD 2",
        301,
        "XFORWARD PROTO",
        "sending XFORWARD protocol/helo_name",
        GOES_ON,
        keywords=("XFORWARD NAME PROTO",),
    ),
    State("MAIL", 302, "MAIL", "sending MAIL FROM", SAID + "MAIL FROM command)"),
    State("RCPT", 303, "RCPT", "sending RCPT TO", SAID + "RCPT TO command)"),
    State("DATA", 120, "DATA", "sending DATA command", SAID + "DATA command)", wanted="3"),
    State("end", 600, ".", "sending end of data -- message may be sent more than once", SAID + "end of DATA command)"),
)

REPLIES = {
    "450 4.2.0 later": ("4.2.0", ""),
    "450-4.2.1 a\n450 4.2.2 b": ("4.2.2", ""),
    "421 4.3.2 bye": ("4.3.2", ""),
    "450 5.1.1 of another class": ("4.0.0", ""),
    "550 5.7.1 no": ("5.7.1", ""),
    "550 2.0.0 of another class": ("5.0.0", ""),
    "500 what": ("5.0.0", ""),
    "150 5.1.1 hm": ("5.5.0", ""),
    "354 go": ("5.5.0", ""),
    "650 hm": ("5.5.0", ""),
    "250 2.1.5 yes": ("5.5.0", "Protocol error: "),
}
"""Replies, the status that each gives to mail where another one is wanted, and what else is said of it."""


class FailureTests(SynchronousTestCase):
    """The cells."""

    def engine(
        self, state: State, answer: Answer, protocol: str, keywords: tuple[str, ...], last: bool, **how: Any
    ) -> Engine:
        """Two hosts, the first of which fails; with `last` it is the only one."""
        lmtp = protocol == "lmtp"
        fails = Script(*state.before, (state.at, answer), lmtp=lmtp, keywords=(*keywords, *state.keywords, "DSN"))
        zone = {("A", "d.test"): [FIRST]} if last else ZONE
        hosts = {FIRST: fails, SECOND: Script(lmtp=lmtp)}
        return Engine(hosts, zone, lmtp=lmtp, default_service="25", send_xforward=True, await_quit_reply=lmtp, **how)

    def run_cell(self, engine: Engine, patience: float = 200_000, **request: Any) -> float:
        """Deliver to its end, and wait; how many seconds the delivery took."""
        done = engine.start("a@d.test", nexthop="[d.test]", client=CLIENT, **request)
        engine.turn()
        while not done.called:
            engine.wait(min(call.getTime() for call in engine.clock.getDelayedCalls()) - engine.clock.seconds())
        took = engine.clock.seconds()
        # Servers that are late have their say at last.
        engine.wait(patience)
        if patience:
            self.assertEqual(engine.clock.getDelayedCalls(), [], "nothing is left over")
        return took

    def check(self, cell: str, engine: Engine, last: bool, status: str, reason: str, throttles: bool) -> None:
        """What became of the mail: hard failures end it, soft ones make it wait for the next host."""
        (result,) = engine.reporter.results
        found = (result.fate.value, result.dsn.status, result.dsn.reason)
        asked_next = SECOND in engine.dialer.dialled
        assert engine.status is not None
        hop = engine.status.hop_status
        if status[0] == "5":
            self.assertEqual(found, ("bounced", status, reason), cell)
            self.assertEqual((asked_next, hop, result.relay), (False, None, RELAY), cell)
        elif last:
            self.assertEqual(found, ("deferred", status, reason), cell)
            self.assertEqual((result.relay, hop is not None), (RELAY, throttles), cell)
        else:
            self.assertEqual((result.fate.value, result.relay, asked_next), ("sent", "d.test[10.0.0.2]:25", True), cell)
            self.assertIn(f"4Abc12: {reason}", engine.log, cell)
            self.assertIsNone(hop, cell)

    def cells(self, answer: Answer = None) -> Iterator[tuple[str, tuple[str, ...], bool]]:
        """The ways in which each cell is tried: protocol, keywords, and whether there is no other host."""
        for protocol in ("smtp", "lmtp"):
            for keywords in (("PIPELINING",), ()):
                # In a pipeline the next reply would follow at once.
                if answer is PARTIAL and keywords:
                    continue
                for last in (False, True):
                    yield protocol, keywords, last

    def test_replies(self) -> None:
        """A reply that is not the one that is wanted, by its class and its enhanced status."""
        for state in STATES:
            for reply, (status, prefix) in REPLIES.items():
                for protocol, keywords, last in self.cells():
                    if protocol not in state.only or reply[0] == state.wanted:
                        continue
                    cell = f"{state.name}: {reply!r} by {protocol} {keywords} {last}"
                    engine = self.engine(state, reply, protocol, keywords, last)
                    self.run_cell(engine)
                    if state.said == GOES_ON and not (state.name == "EHLO" and reply.startswith("421")):
                        (result,) = engine.reporter.results
                        self.assertEqual((result.fate.value, result.relay), ("sent", RELAY), cell)
                        continue
                    told = prefix + (REBUFF if state.said == GOES_ON else state.said).format(reply.replace("\n", " "))
                    # What is said is all softened where smtp_skip_5xx_greeting is on, as it is by default.
                    skipped = state.name == "greeting" and reply.startswith("5")
                    self.check(cell, engine, last, "4" + status[1:] if skipped else status, told, state.scope)

    def test_breaks(self) -> None:
        """A conversation that breaks, in whatever way, in each state."""
        for state in STATES:
            for answer, told in BREAKS:
                for protocol, keywords, last in self.cells(answer):
                    if protocol not in state.only:
                        continue
                    cell = f"{state.name}: {answer} by {protocol} {keywords} {last}"
                    engine = self.engine(state, answer, protocol, keywords, last)
                    took = self.run_cell(engine)
                    self.assertEqual(took, state.seconds if told is LATE else 0, cell)
                    self.check(cell, engine, last, "4.4.2", told + state.doing, SITE)

    def test_breaks_within_the_content(self) -> None:
        """The same where the content is under way; a server that takes no more of it has a zero window."""
        content = State("content", 180, BODY, "sending message body", "")
        breaks: tuple[tuple[Answer, str], ...] = (
            (Close(), LOST + content.doing),
            (Reset(), LOST + content.doing),
            (Deaf(100_000, SILENCE), LATE + content.doing),
            # It may take all of it, though it will never say so.
            (HalfClose(), LOST + STATES[-1].doing),
        )
        for answer, told in breaks:
            for protocol, keywords, last in self.cells():
                cell = f"content: {answer} by {protocol} {keywords} {last}"
                engine = self.engine(content, answer, protocol, keywords, last)
                took = self.run_cell(engine, content=LARGE)
                self.assertEqual(took, content.seconds if told.startswith(LATE) else 0, cell)
                self.check(cell, engine, last, "4.4.2", told, SITE)

    def test_last_words_within_the_content(self) -> None:
        """A refusal in place of the rest of the content counts; a success does not."""
        content = State("content", 180, BODY, "sending message body", SAID + "end of DATA command)")
        for reply, status in (("452 4.3.1 full", "4.3.1"), ("552 5.3.4 too much", "5.3.4")):
            for protocol, keywords, last in self.cells():
                cell = f"content: {reply} by {protocol} {keywords} {last}"
                for answer in (Close(reply), HalfClose(reply)):
                    engine = self.engine(content, answer, protocol, keywords, last)
                    self.run_cell(engine, content=LARGE)
                    self.check(cell, engine, last, status, content.said.format(reply), MESSAGE)
        for protocol, keywords, last in self.cells():
            engine = self.engine(content, Close("250 2.0.0 taken"), protocol, keywords, last)
            self.run_cell(engine, content=LARGE)
            self.check("success", engine, last, "4.4.2", LOST + content.doing, SITE)

    def test_what_nobody_cares_for(self) -> None:
        """What happens when all is settled changes nothing: at RSET after a refusal, and at QUIT."""
        answers: tuple[Answer, ...] = (*REPLIES, *(answer for answer, _ in BREAKS))
        for answer in answers:
            for protocol, keywords, last in self.cells():
                cell = f"{answer} by {protocol} {keywords} {last}"
                quitting = self.engine(State("QUIT", 304, "QUIT", "", ""), answer, protocol, keywords, last)
                self.run_cell(quitting)
                (result,) = quitting.reporter.results
                self.assertEqual((result.fate.value, result.relay), ("sent", RELAY), cell)
                refusal: Rule = ("RCPT", "550 5.1.1 unknown")
                resetting = self.engine(
                    State("RSET", 20, "RSET", "", "", before=(refusal,)), answer, protocol, keywords, last
                )
                took = self.run_cell(resetting)
                if answer is SILENCE:
                    self.assertEqual(took, 20, cell)
                told = SAID.format("550 5.1.1 unknown") + "RCPT TO command)"
                self.check(cell, resetting, last, "5.1.1", told, MESSAGE)

    def test_probes(self) -> None:
        """A probe fails as mail does, as far as it goes: to RCPT, or to DATA."""
        for to_data in (False, True):
            known = [state for state in STATES if state.name != "end" and (to_data or state.name != "DATA")]
            for state in known:
                answers: list[tuple[Answer, str, str, bool]] = [
                    (answer, "4.4.2", told + state.doing, SITE) for answer, told in BREAKS
                ]
                if state.said != GOES_ON:
                    answers.append(("450 4.2.0 later", "4.2.0", state.said.format("450 4.2.0 later"), state.scope))
                    soft = state.name == "greeting"
                    status = "4.7.1" if soft else "5.7.1"
                    answers.append(("550 5.7.1 no", status, state.said.format("550 5.7.1 no"), state.scope))
                for answer, status, reason, throttles in answers:
                    for protocol, keywords, last in self.cells(answer):
                        if protocol not in state.only:
                            continue
                        cell = f"probe to {'DATA' if to_data else 'RCPT'}, {state.name}: {answer} by {protocol}"
                        engine = self.engine(state, answer, protocol, keywords, last, probe_to_data=to_data)
                        self.run_cell(engine, flags=RequestFlags.MTA_VRFY)
                        self.check(cell, engine, last, status, reason, throttles)
                        sessions = [session for host in engine.dialer.servers.values() for session in host.sessions]
                        contents = {message.content for session in sessions for message in session.messages}
                        self.assertLessEqual(contents, {b""}, cell)

    def test_kept_afterwards(self) -> None:
        """A connection serves the next message only after an honest refusal; never if anything was out of order."""
        honest = {"450 4.2.0 later", "450-4.2.1 a\n450 4.2.2 b", "421 4.3.2 bye", "450 5.1.1 of another class"}
        honest |= {"550 5.7.1 no", "550 2.0.0 of another class"}
        garbage: tuple[Answer, ...] = (Raw(b"\xff\r\n250 2.0.0 ok\r\n"), Raw(b"hm\r\n450 4.2.0 later\r\n"))
        answers: tuple[Answer, ...] = (*REPLIES, *(answer for answer, _ in BREAKS), *garbage)
        for state in STATES:
            for answer in answers:
                for protocol, keywords, last in self.cells(answer):
                    wanted = isinstance(answer, str) and answer[0] == state.wanted
                    if not last or protocol not in state.only or wanted:
                        continue
                    # Who fails before the mail has not shown that it takes any; XFORWARD is no matter of trust.
                    kept = answer in honest and state.scope is MESSAGE
                    if state.said == GOES_ON and isinstance(answer, str):
                        kept = not (state.name == "EHLO" and answer.startswith("421"))
                    engine = self.engine(state, answer, protocol, keywords, last, reuse={"listed": lambda name: True})
                    server = engine.dialer.servers[FIRST]
                    self.run_cell(engine, patience=0)
                    self.assertEqual(len(server.sessions), 1)
                    self.run_cell(engine)
                    cell = f"{state.name}: {answer} by {protocol} {keywords}"
                    self.assertEqual(len(server.sessions), 1 if kept else 2, cell)

    def test_recipients_of_lmtp(self) -> None:
        """After the dot each recipient has a fate of its own, also if the conversation breaks between two of them."""
        table: dict[Answer, dict[str, str]] = {
            "250 2.0.0 ok": {"a@d.test": "sent", "b@d.test": "sent"},
            "450 4.2.0 later": {"a@d.test": "deferred", "b@d.test": "sent"},
            "550 5.7.1 no": {"a@d.test": "bounced", "b@d.test": "sent"},
            Close("250 2.0.0 ok"): {"a@d.test": "sent", "b@d.test": "deferred"},
            Close("550 5.7.1 no"): {"a@d.test": "bounced", "b@d.test": "deferred"},
            Reset(): {"a@d.test": "deferred", "b@d.test": "deferred"},
        }
        for first, fates in table.items():
            for keywords in (("PIPELINING",), ()):
                engine = Engine(
                    {FIRST: Script((". <a@", first), lmtp=True, keywords=keywords)},
                    {("A", "d.test"): [FIRST]},
                    lmtp=True,
                    default_service="25",
                )
                engine.deliver("a@d.test", "b@d.test", nexthop="[d.test]")
                found = {result.recipient.address: result.fate.value for result in engine.reporter.results}
                self.assertEqual(found, fates, first)
