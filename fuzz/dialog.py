"""The fuzz target of the dialog: a whole session against a server that is nothing but fuzzed octets.

The first octet chooses how we talk and what the message is (`_OPTIONS`). The others are what the server says; 0xFF, which no
reply needs, begins an order of one octet: let what we wrote leave (``d``; ``p``: only some of it), close one side (``e``), reset
(``r``), let time pass (``t``). At last the server closes its side, and time passes.

What must hold, whatever comes: nothing raises; the session ends, and leaves no timer; no recipient gets two results, and
each gets one if the transaction ran to its end; nobody is told "delivered" before the final dot has left; every log line is
printable; and the outcome does not depend on how the octets are cut into segments.

Flow: fuzz/run.py calls `check` for as long as it is told; tests/session/test_fuzz.py with a few inputs.
Sources: RFC 5321 sections 4.2 and 4.5.3; RFC 2920.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.kit.dialog import PEER
from tests.kit.limits import SECONDS
from tests.kit.lookup_tables import AtOnce
from tests.kit.memory import MemoryTransport
from tests.kit.messages import make_request
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.model.events import Event, MultilineReplyTooLong, ReplyEndless, ReplyTooLong
from twisted_mta.model.request import DeliveryRequest, RequestFlags
from twisted_mta.observe.maillog import LONGEST_TEXT, LogStyle, line_of
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.overhearing import Ear
from twisted_mta.session.protocol import DialogProtocol
from twisted_mta.session.session import Session
from twisted_mta.session.tables import SessionTables
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp.actions import (
    ConnectionBrokenError,
    Finding,
    MessageFailed,
    MessageTaken,
    RecipientFailed,
    RecipientTaken,
)
from twisted_mta.smtp.greeting import Occasion
from twisted_mta.smtp.settings import DialogSettings

ORDER = b"\xff"
"""Begins an order."""

_OPTIONS = ("lmtp", "await_quit_reply", "probe", "filtered", "slow_filter", "overheard", "large", "many")
"""What the bits of the first octet choose, the lowest one first."""

_FILTER = {"250 ok": "250 2.0.0 fine", "550 no": "450 4.2.0 later", "250-x": "250 x", "354 go": "junk"}
_CONTENT = b"Subject: fuzz\n\n.dot\ntext\n"
_LARGE_CONTENT = b"Subject: fuzz\n\n" + b"." * 70 + b"\n" + (b"x" * 70 + b"\n") * 2000
_TOLD_ON_ARRIVAL = (ReplyTooLong, MultilineReplyTooLong, ReplyEndless)
"""Told even of what is never read, if it came in one segment with a reply that ended the session."""

_PARTIAL_OCTETS = 7
_LONG_SECONDS = 1000
_END_OF_CONTENT = b"\r\n.\r\n"


class PropertyBrokenError(AssertionError):
    """The engine did what it must never do."""


@dataclass(slots=True)
class Outcome:
    """What became of a session.

    Attributes:
        ended: how it ended, in words.
        findings: the findings, in words.
        log: the log lines that belong to what was read.
        said: what has left.
    """

    ended: str = ""
    findings: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    said: bytes = b""


def check(data: bytes) -> None:
    """Play a session as the octets say, twice; raises PropertyBrokenError, or whatever escapes the engine."""
    whole, split = Play(data, one_by_one=False).run(), Play(data, one_by_one=True).run()
    if whole != split:
        raise PropertyBrokenError(f"segments matter: {whole} != {split}")


class Play:
    """One session."""

    def __init__(self, data: bytes, *, one_by_one: bool) -> None:
        """Set up.

        Args:
            data: of the fuzzer.
            one_by_one: whether each octet is a segment of its own.
        """
        bits = data[0] if data else 0
        self._options = {name for number, name in enumerate(_OPTIONS) if bits >> number & 1}
        self._orders = data[1:].split(ORDER)
        self._one_by_one = one_by_one
        self._outcome = Outcome()
        self._open: set[int] = set()
        self._failure: Failure | None = None
        self._clock = Clock()
        settings = DialogSettings(
            lmtp="lmtp" in self._options,
            hello_name="client.example",
            await_quit_reply="await_quit_reply" in self._options,
        )
        self._protocol = DialogProtocol(PEER, settings, TimeLimits(SECONDS), 998, self._clock, self._log)
        self._transport = MemoryTransport(self._protocol, self._clock)
        if "filtered" in self._options:
            self._protocol.ask(SessionTables(AtOnce(_FILTER, deferred="slow_filter" in self._options)))
        if "overheard" in self._options:
            self._protocol.incoming.ear = Ear([Transcript()], settings.line_length_limit)
        self._protocol.makeConnection(self._transport)  # type: ignore[no-untyped-call]  # Twisted's
        self._session = Session(self._protocol, settings)

    def run(self) -> Outcome:
        """Play it to its end."""
        done = Deferred.fromCoroutine(self._deliver())
        done.addErrback(self._escaped)
        first, *orders = self._orders
        self._server(first)
        for order in orders:
            self._obey(order[:1])
            self._server(order[1:])
        self._transport.receive_end()
        for _ in range(2 * len(SECONDS)):
            self._drain()
            self._clock.advance(_LONG_SECONDS)
        self._drain()
        if self._failure is not None:
            self._failure.raiseException()
        self._expect(bool(self._outcome.ended), "the session does not end")
        self._expect(not self._transport.is_open, "the connection stays open")
        self._expect(not self._clock.getDelayedCalls(), "a timer is left")
        return self._outcome

    # ---- our side ----

    async def _deliver(self) -> None:
        outcome = self._outcome
        try:
            rebuff = await self._session.greet(Occasion("4Abc12"))
            if rebuff is not None:
                await self._session.quit()
                outcome.ended = f"rebuff: {rebuff.why}"
                return
            request, content = self._mail()
            self._open = set(range(len(request.recipients)))
            completed = await self._session.transact(request, request.recipients, content, self._found)
            self._expect(not self._open, f"no result for {sorted(self._open)}")
            outcome.ended = f"completed: {completed}"
        except ConnectionBrokenError as broken:
            outcome.ended = f"broken: {broken.why(PEER)}"

    def _mail(self) -> tuple[DeliveryRequest, BytesContent]:
        names = [f"r{number}@dest.example" for number in range(130 if "many" in self._options else 2)]
        flags = RequestFlags.MTA_VRFY if "probe" in self._options else RequestFlags(0)
        return make_request(*names, flags=flags), BytesContent(_LARGE_CONTENT if "large" in self._options else _CONTENT)

    def _found(self, finding: Finding) -> None:
        self._outcome.findings.append(str(finding))
        if isinstance(finding, RecipientTaken | RecipientFailed):
            self._expect(finding.index in self._open, f"a second result for {finding.index}")
            self._open.discard(finding.index)
        elif isinstance(finding, MessageTaken | MessageFailed):
            self._open.clear()
        if isinstance(finding, RecipientTaken | MessageTaken) and "probe" not in self._options:
            self._expect(_END_OF_CONTENT in self._sent(), "delivered before the final dot has left")

    def _log(self, event: Event) -> None:
        _, line = line_of(event, LogStyle())
        self._expect(line.isprintable() and len(line.encode()) <= LONGEST_TEXT, f"bad log line: {line!r}")
        if not isinstance(event, _TOLD_ON_ARRIVAL):
            self._outcome.log.append(line)

    def _escaped(self, failure: Failure) -> None:
        """What came out of our side is raised where the fuzzer sees it, not where Twisted would only log it."""
        self._failure = failure
        self._outcome.ended = "escaped"

    # ---- the server's side ----

    def _server(self, said: bytes) -> None:
        for segment in self._segments(said):
            self._transport.receive(segment)

    def _segments(self, said: bytes) -> Iterator[bytes]:
        if self._one_by_one:
            yield from (said[at : at + 1] for at in range(len(said)))
        elif said:
            yield said

    def _obey(self, order: bytes) -> None:
        orders: dict[bytes, Callable[[], Any]] = {
            b"d": self._drain,
            b"p": lambda: self._transport.drain(_PARTIAL_OCTETS),
            b"e": self._transport.receive_end,
            b"r": self._transport.lose,
            b"t": lambda: self._clock.advance(_LONG_SECONDS),
        }
        orders.get(order, self._drain)()

    def _drain(self) -> None:
        self._outcome.said += self._transport.drain_all()

    def _sent(self) -> bytes:
        return self._outcome.said + bytes(self._transport.sent)

    def _expect(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise PropertyBrokenError(complaint)
