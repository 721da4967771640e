"""Dialogs without a connection: played against a script, both written down as one transcript.

    S: 250-mx.example | 250 PIPELINING
    C: MAIL FROM:<a@client.example> | RCPT TO:<b@dest.example> | DATA
    S: 250 2.1.0 ok | 550 5.1.1 no | 354 go
    C: . | QUIT

A row is what one side says at once, its lines parted by `` | ``. The S rows are played; what the dialog does is written down in
C rows, one for each Write, and the whole must come out as it stands in the test. Beside lines a row may hold:

    C: (content)            S: (lost)                   S: (lost in content)        S: (early) 250 ok
    C: (pauses 10 s)        S: (timeout)                S: (timeout in content)     S: (damaged content)
    C: (asks TABLES for KEY)

Flow: tests of twisted_mta.smtp call DialogTestCase.play, or `play` itself with replies from elsewhere.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from inspect import cleandoc
from typing import Any, Generic, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.interfaces import CorruptContentError
from twisted_mta.model.events import Event
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import (
    AwaitReply,
    Breakage,
    ConnectionBrokenError,
    Dialog,
    ErrorClass,
    Finding,
    IsQuiet,
    LineBroken,
    LookUp,
    MessageFailed,
    MessageTaken,
    Milestone,
    Note,
    Pause,
    RecipientFailed,
    RecipientTaken,
    SendContent,
    Trouble,
    Write,
)
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.phases import Phase
from twisted_mta.smtp.reply import Reply, ReplyAssembler

T = TypeVar("T")

PEER = Peer("mx.example", "192.0.2.1", "mx.example[192.0.2.1]", "mx.example[192.0.2.1]:25", "dest.example")
"""The server of most tests."""

_BREAKAGES = {"lost": Breakage.LOST, "timeout": Breakage.TIMED_OUT}
_ACTIONS_LIMIT = 100_000


@dataclass(slots=True)
class Played(Generic[T]):
    """What a dialog did.

    Attributes:
        rows: the transcript.
        findings: in their order.
        events: what it wanted logged.
        troubles: the errors that the postmaster may want to hear of.
        result: what it returned; None if it was broken off.
        error: the exception that ended it.
    """

    rows: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    troubles: ErrorClass = ErrorClass.NONE
    result: T | None = None
    error: Exception | None = None

    @property
    def transcript(self) -> str:
        """The rows as one text."""
        return "\n".join(self.rows)

    @property
    def outcomes(self) -> list[str]:
        """The findings that settle somebody's fate, as texts."""
        return [outcome(finding) for finding in self.findings if not isinstance(finding, Milestone | LineBroken)]


def outcome(finding: Finding) -> str:
    """A finding as a text: ``1 failed: 5.1.1 host ... said: ...``, ``all taken: 2.0.0 250 ok``."""
    if isinstance(finding, RecipientFailed):
        return f"{finding.index} failed: {finding.why.status} {finding.why.reason}"
    if isinstance(finding, MessageFailed):
        return f"all failed: {finding.why.status} {finding.why.reason}"
    if isinstance(finding, RecipientTaken):
        return f"{finding.index} taken: {finding.reply.status} {finding.reply.one_line}"
    if isinstance(finding, MessageTaken):
        return f"all taken: {finding.status} {finding.reply.one_line}"
    return str(finding)


class ScriptedServer:
    """The S rows of a script, given line by line."""

    def __init__(self, script: str) -> None:
        self._rows = deque(row[2:].strip() for row in script.splitlines() if row.startswith("S:"))
        self._lines: deque[str] = deque()
        self._assembler = ReplyAssembler()

    def reply(self, phase: Phase, played: Played[Any]) -> Reply:
        """The next reply; raises ConnectionBrokenError where the script breaks the connection."""
        while True:
            if not self._lines:
                while self._rows and self._rows[0].endswith("content)"):
                    self._rows.popleft()  # meant for content that was not to be sent
                if not self._rows:
                    raise AssertionError(
                        f"the script ends, but a reply is awaited while {phase.doing}\n{played.transcript}"
                    )
                self._lines.extend(self._rows.popleft().split(" | "))
                played.rows.append("S:")
            line = self._lines.popleft()
            played.rows[-1] += f" {line}" if played.rows[-1] == "S:" else f" | {line}"
            breakage = _BREAKAGES.get(line.strip("()")) if line.startswith("(") else None
            if breakage is not None:
                raise ConnectionBrokenError(breakage, phase)
            early = line.startswith("(early) ")
            taken = self._assembler.add(line.removeprefix("(early) "))
            if taken and isinstance(reply := taken[-1], Reply):
                return replace(reply, early=early)

    @property
    def has_said_more(self) -> bool:
        """Whether lines of the last row have not been read."""
        return bool(self._lines)

    def fault_in_content(self, played: Played[Any]) -> Exception | None:
        """What the next row says of the content that is to be sent now."""
        if self._lines or not self._rows:
            return None
        row = self._rows[0]
        if row == "(damaged content)":
            fault: Exception = CorruptContentError("damaged")
        elif row.endswith(" in content)"):
            fault = ConnectionBrokenError(_BREAKAGES[row[1:].removesuffix(" in content)")], phases.CONTENT)
        else:
            return None
        self._rows.popleft()
        played.rows.append("S: " + row)
        return fault


def play(dialog: Dialog[T], server: ScriptedServer) -> Played[T]:
    """Drive a dialog to its end."""
    played: Played[T] = Played()
    reply: Reply | None = None
    error: Exception | None = None
    try:
        for _ in range(_ACTIONS_LIMIT):
            action = dialog.send(reply) if error is None else dialog.throw(error)
            reply = error = None
            if isinstance(action, AwaitReply):
                try:
                    reply = server.reply(action.phase, played)
                except ConnectionBrokenError as broken:
                    error = broken
            elif isinstance(action, Write):
                played.rows.append("C: " + _shown(action.data))
            elif isinstance(action, SendContent):
                played.rows.append("C: (content)")
                error = server.fault_in_content(played)
            elif isinstance(action, IsQuiet):
                action.answer = not server.has_said_more
            elif isinstance(action, Pause):
                played.rows.append(f"C: (pauses {action.seconds:g} s)")
            elif isinstance(action, LookUp):
                # There are no tables here: nothing is found.
                played.rows.append(f"C: (asks {action.table.value} for {action.key})")
            elif isinstance(action, Note):
                played.events.append(action.event)
            elif isinstance(action, Trouble):
                played.troubles |= action.error_class
            else:
                played.findings.append(action)
    except StopIteration as stop:
        played.result = stop.value
        return played
    except (ConnectionBrokenError, CorruptContentError) as ended:
        played.error = ended
        return played
    raise AssertionError("the dialog does not end")


def _shown(data: bytes) -> str:
    assert data.endswith(b"\r\n"), data
    return data[:-2].decode("utf-8", "surrogateescape").replace("\r\n", " | ")


class DialogTestCase(SynchronousTestCase):
    """A test case that plays transcripts."""

    def play(self, dialog: Dialog[T], script: str) -> Played[T]:
        """Play a script; the dialog must do what its C rows say, and use up all S rows."""
        script = cleandoc(script)
        played = play(dialog, ScriptedServer(script))
        self.assertEqual(played.transcript, script)
        return played
