"""State diagrams of the dialogs, found by playing them: every answer in every state, and what the dialog awaits then.

The dialogs are played without PIPELINING, where each command waits for its reply, with each setting that changes their course,
and with up to two replies in a run that are not the usual ones. A diagram shows what was seen, so it cannot be out of date.

Flow: docs/generate.py puts them into docs/explanation/dialog.md.
Sources: the dialogs of twisted_mta.smtp; RFC 5321 section 4.3.2; RFC 2033 section 4.2.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

from zope.interface import implementer

from twisted_mta.interfaces import ISASLMechanism
from twisted_mta.model.login import Confidential
from twisted_mta.model.request import DeliveryRequest, LogClient, MessageStats, Recipient, RequestFlags
from twisted_mta.smtp import phases, starttls
from twisted_mta.smtp.actions import AwaitReply, Dialog, SendContent
from twisted_mta.smtp.authentication import AuthTerms, authenticate
from twisted_mta.smtp.capabilities import Feature
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.greeting import Occasion, Rebuff, Welcome, greet, introduce
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.phases import Phase
from twisted_mta.smtp.reply import Reply
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.transaction import Ending, Transaction

NAMES = {phase: name for name, phase in vars(phases).items() if isinstance(phase, Phase)}
"""The states, in the order of a dialog."""

START = END = "[*]"
_ANSWERS = {"2xx": 250, "3xx": 354, "4xx": 450, "421": 421, "5xx": 550}
_OFFER = "250-mx.example\n250-STARTTLS\n250 XFORWARD NAME ADDR PROTO HELO"
_UNUSUAL_REPLIES = 2
_LONGEST_RUN = 14

Edge = tuple[str, str, str]
"""A state, an answer, and the state that follows."""


@dataclass(frozen=True, slots=True)
class Course:
    """What changes the course of a session.

    Attributes:
        settings: of the dialogs.
        probe: whether the request is one.
        tls: whether TLS is used where it is offered, and goes well.
        login: whether we log in.
    """

    settings: DialogSettings
    probe: bool = False
    tls: bool = False
    login: bool = False


@implementer(ISASLMechanism)
class _Mechanism:
    """A login in which the server speaks first."""

    name = "CRAM-MD5"
    remark = ""

    def start(self) -> bytes | None:
        return None

    def step(self, challenge: bytes) -> bytes:
        return b"response"

    def succeeded(self) -> None:
        pass


def transitions(*, lmtp: bool) -> set[Edge]:
    """All that was seen."""
    seen: set[Edge] = set()
    places = [places for count in range(_UNUSUAL_REPLIES + 1) for places in combinations(range(_LONGEST_RUN), count)]
    for course in _courses(lmtp=lmtp):
        for where in places:
            for answers in product(_ANSWERS, repeat=len(where)):
                seen |= _run(_session(course), dict(zip(where, answers, strict=True)))
    return seen


def _courses(*, lmtp: bool) -> Iterator[Course]:
    for probe, await_quit, xforward in product((False, True), repeat=3):
        yield Course(DialogSettings(lmtp=lmtp, await_quit_reply=await_quit, send_xforward=xforward), probe)
    # What happens before MAIL does not change what happens after it.
    for tls, login in ((True, False), (False, True), (True, True)):
        yield Course(DialogSettings(lmtp=lmtp), tls=tls, login=login)


def _session(course: Course) -> Dialog[None]:
    """A whole session, as session/session.py puts it together."""
    settings, probe = course.settings, course.probe
    peer = Peer("mx.example", "192.0.2.1", "mx.example[192.0.2.1]", "mx.example[192.0.2.1]:25", "dest.example")
    welcome = yield from greet(peer, settings, Occasion("4Abc12"))
    if course.tls and isinstance(welcome, Welcome) and welcome.capabilities.offers(Feature.STARTTLS):
        answer = yield from starttls.ask(peer, required=True)
        if isinstance(answer, Rebuff):
            welcome = answer
        else:
            welcome = yield from introduce(peer, settings, extended=True)
    if course.login and isinstance(welcome, Welcome):
        login = yield from authenticate(peer, _Mechanism(), AuthTerms(lmtp=settings.lmtp), Confidential())
        welcome = login.rebuff or welcome
    if not isinstance(welcome, Rebuff):
        recipients = (Recipient("a@dest.example"), Recipient("b@dest.example"))
        request = DeliveryRequest(
            queue_id="4Abc12",
            nexthop="dest.example",
            sender="sender@client.example",
            recipients=recipients,
            stats=MessageStats(0, 0, 0),
            flags=RequestFlags.MTA_VRFY if probe else RequestFlags(0),
            client=LogClient(name="client.example", helo="client.example"),
        )
        end = yield from Transaction(request, recipients, peer, welcome, settings).run()
        if end.ending is not Ending.OPEN:
            return
    yield from quit_dialog(settings)


def _run(dialog: Dialog[None], unusual: dict[int, str]) -> set[Edge]:
    """Play once; `unusual`: the answers that are not the usual ones, by their place."""
    edges: set[Edge] = set()
    state, answer, reply, place = START, "", None, 0
    while True:
        try:
            action = dialog.send(reply)
        except StopIteration:
            edges.add((state, answer, END))
            return edges
        reply = None
        if isinstance(action, SendContent):
            edges.add((state, answer, NAMES[phases.CONTENT]))
            state, answer = NAMES[phases.CONTENT], ""
        elif isinstance(action, AwaitReply):
            name = NAMES[action.phase]
            edges.add((state, answer, name))
            state, answer = name, unusual.get(place, "3xx" if action.phase is phases.DATA else "2xx")
            reply, place = _reply(answer, action.phase), place + 1


def _reply(answer: str, phase: Phase) -> Reply:
    code = _ANSWERS[answer]
    text = _OFFER if answer == "2xx" and phase in (phases.EHLO, phases.LHLO) else f"{code} x"
    return Reply(code, f"{str(code)[0] if answer != '3xx' else 5}.0.0", text)


def diagram(edges: set[Edge]) -> Iterator[str]:
    """A diagram in the language of Mermaid, which forges draw."""
    order = [START, *NAMES.values()]
    answers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for answer in ("", *_ANSWERS):
        for before, _, after in sorted(edge for edge in edges if edge[1] == answer):
            answers[before, after].append(answer)
    yield "```mermaid"
    yield "stateDiagram-v2"
    for before, after in sorted(answers, key=lambda pair: (order.index(pair[0]), pair[1] == END, order.index(pair[1]))):
        label = _label(answers[before, after])
        yield f"    {before} --> {after}{': ' + label if label else ''}"
    yield "```"


def _label(answers: list[str]) -> str:
    if len(answers) == len(_ANSWERS):
        return "any reply"
    return ", ".join(answer for answer in answers if answer != "421" or "4xx" not in answers)


def phase_table() -> Iterator[str]:
    """A table of the states with their time limits and their words."""
    yield "| state | time limit | in the log | a failure matters |"
    yield "| --- | --- | --- | --- |"
    for phase, name in NAMES.items():
        command = f", `in reply to {phase.command}`" if phase.command else ""
        yield f"| {name} | `{phase.limit}` | `while {phase.doing}`{command} | {'no' if phase.silent else 'yes'} |"


def page() -> Iterator[str]:
    """The generated part of the page."""
    yield "## SMTP"
    yield ""
    yield from diagram(transitions(lmtp=False))
    yield ""
    yield "## LMTP"
    yield ""
    yield from diagram(transitions(lmtp=True))
    yield ""
    yield "## The states"
    yield ""
    yield from phase_table()
