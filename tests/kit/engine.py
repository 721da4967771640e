"""A delivery engine in a world of its own: name service, hosts, clock and reporter, all in memory.

engine = Engine({"192.0.2.1": Script(("RCPT", "450 4.2.0 later"))}, {("A", "mx.example"): ["192.0.2.1"]})
engine.deliver("a@dest.example", nexthop="[mx.example]")
engine.log == [...]
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kit.limits import SECONDS
from tests.kit.messages import ARRIVAL, make_request
from tests.kit.network import Host, MemoryDialer
from tests.kit.reporter import MemoryReporter, line_of_result
from tests.routing.fakes import FakeDNS, FakeNative, Zone
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.delivery.cache import PoolLimits, SessionPool
from twisted_mta.delivery.cache_keys import KeyRules
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.delivery.dial import DialSettings
from twisted_mta.delivery.errand import AgentParts
from twisted_mta.delivery.factory import SessionParts
from twisted_mta.delivery.hand_over import OtherTransport
from twisted_mta.delivery.outgoing import OutgoingRules
from twisted_mta.delivery.recipients import ReportingRules
from twisted_mta.delivery.reuse import ReuseRules
from twisted_mta.delivery.witness import Notices, Watched, Witnesses
from twisted_mta.interfaces import IMessageContent
from twisted_mta.model.events import DeliveryFailedUnexpectedly, Event, Severity
from twisted_mta.model.request import Recipient
from twisted_mta.model.result import FinalStatus, RecipientResult
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.routing.own_addresses import OwnAddresses
from twisted_mta.routing.router import Router
from twisted_mta.routing.settings import RoutingSettings
from twisted_mta.session.content_rules import PLAIN, ContentRules
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.session import NO_TERMS, TlsTerms
from twisted_mta.smtp.settings import DialogSettings

_TURNS_LIMIT = 10_000


class LoggingReporter(MemoryReporter):
    """Writes each result into the log, too."""

    def __init__(self, log: list[str], **options: Any) -> None:
        super().__init__(**options)
        self._log = log

    def report(self, result: RecipientResult) -> Deferred[bool]:
        """Keep a result."""
        self._log.append(line_of_result(result))
        return super().report(result)


class Engine:
    """A DeliveryAgent with everything around it.

    With `reuse`, further arguments of ReuseRules, sessions are kept for two seconds. Other keyword arguments go to the settings
    that have a field of that name: RoutingSettings, DialogSettings, DialSettings or ReportingRules.

    Attributes:
        log: the lines of the log, and the results as `line_of_result` has them, in order; not the tracebacks of defects.
        events: the events behind these lines, tracebacks included.
        dialer: has the servers and what they were told.
        reporter: of the last request.
        pool: the sessions that rest.
        status: of the last request; None while it is under way.
    """

    def __init__(
        self,
        hosts: Mapping[str, Host],
        zone: Zone | None = None,
        *,
        own: Sequence[str] = (),
        relayhost: Sequence[str] = (),
        per_request_deadline: bool = False,
        notices: Notices | None = None,
        watched: Watched | None = None,
        best_mx_transport: OtherTransport | None = None,
        content: ContentRules = PLAIN,
        flags: str = "",
        reuse: Mapping[str, Any] | None = None,
        tls: TlsTerms = NO_TERMS,
        **settings: Any,
    ) -> None:
        settings = {"randomize": False, "myhostname": "client.test", "hello_name": "client.test", **settings}
        settings.setdefault("own_name", settings["myhostname"])
        self.clock = Clock()
        self.log: list[str] = []
        self.events: list[Event] = []
        self.status: FinalStatus | None = None
        self.dns = FakeDNS(zone or {})
        self.dialer = MemoryDialer(self.clock, hosts, _pick(DialSettings, settings))
        routing = _pick(RoutingSettings, settings)
        self.pool = SessionPool(self.clock, PoolLimits(2.0))
        keys = KeyRules("agent", settings["hello_name"], fields=self.pool.key_fields)
        sessions = SessionParts(
            _pick(DialogSettings, settings),
            TimeLimits(SECONDS, per_request_deadline),
            998,
            self.dialer,
            self.clock,
            self.emit,
            content=content,
            tls=tls,
            make_room=self.pool.shed,
        )
        router = Router(routing, self.dns, FakeNative(), OwnAddresses(own), self.emit, Random(1))
        rules = _pick(ReportingRules, settings)
        self.reporter = LoggingReporter(self.log, soft_bounce=rules.soft_bounce)
        witnesses = Witnesses(notices, watched, 2048, True, self.emit) if notices or watched else None
        outgoing = OutgoingRules(self.emit, "agent", frozenset(flags), content)
        self.agent = DeliveryAgent(
            AgentParts(
                sessions,
                routing,
                router,
                rules,
                tuple(relayhost),
                self.now,
                witnesses,
                best_mx_transport,
                outgoing,
                reuse=None if reuse is None else ReuseRules(self.pool, keys, self.clock, **reuse),
            )
        )

    def now(self) -> int:
        """The time in microseconds: the message of `make_request` arrived a second ago when the clock stands at 0."""
        return ARRIVAL + 1_000_000 + int(self.clock.seconds() * 1_000_000)

    def emit(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)
        if not isinstance(event, DeliveryFailedUnexpectedly):
            severity, text = line_of(event, LogStyle())
            self.log.append(text if severity is Severity.INFO else f"{severity.value}: {text}")

    def start(
        self, *recipients: str | Recipient, content: bytes | IMessageContent = b"Subject: x\n\nHello.\n", **changes: Any
    ) -> Deferred[FinalStatus]:
        """Begin a delivery."""
        if isinstance(content, bytes):
            content = BytesContent(content)
        done = self.agent.deliver(make_request(*recipients, **changes), content, self.reporter)

        def finished(status: FinalStatus) -> FinalStatus:
            self.status = status
            return status

        return done.addCallback(finished)

    def turn(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(_TURNS_LIMIT):
            if not any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
                return
            self.clock.advance(0)
        raise AssertionError("there is no end to it")

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        self.turn()

    def deliver(self, *recipients: str | Recipient, **changes: Any) -> FinalStatus:
        """Deliver at once; a delivery that waits for something is a failure of the test."""
        self.start(*recipients, **changes)
        self.turn()
        assert self.status is not None, "the delivery waits for something"
        return self.status

    def commands(self, address: str) -> list[list[str]]:
        """What a server was told, a list for each connection."""
        return [session.commands for session in self.dialer.servers[address].sessions]


def _pick(kind: Any, settings: Mapping[str, Any]) -> Any:
    """An instance of a dataclass, with those of the settings that are its own."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in settings.items() if name in names})
