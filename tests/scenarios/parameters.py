"""What the tests of single parameters share: one server, one message, both protocols, and a clock that is moved by hand.

Flow: tests/scenarios/test_parameters_*.py; tests/config/effects.py says which test is that of which parameter.
"""

from collections.abc import Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from tests.kit.script import KEYWORDS, Script
from tests.scenarios.world import WorldTestCase, reactor
from twisted_mta.config.settings import ROWS_BY_NAME
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.model.result import Fate

HOST = "mx.dest.example"


def named(settings: Mapping[str, str], protocol: str) -> dict[str, str]:
    """Parameters under the names of a protocol; what it does not read is left as it is.

    Args:
        settings: by SMTP names.
        protocol: smtp or lmtp.
    """
    names = {name: row.name_in(protocol) or name for name, row in ROWS_BY_NAME.items()}
    return {names.get(name, name): value for name, value in settings.items()}


class ClockedReactor:
    """The reactor of the test, but for the time, which is moved by hand."""

    def __init__(self, clock: Clock) -> None:
        self.seconds = clock.seconds
        self.callLater = clock.callLater
        self.getDelayedCalls = clock.getDelayedCalls

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class ParameterTestCase(WorldTestCase):
    """Deliveries to one server, by SMTP or LMTP.

    Attributes:
        protocol: smtp or lmtp; parameters have their SMTP names in tests, and the names of the protocol in main.cf.
    """

    protocol = "smtp"

    async def start(self, *rules: Any, keywords: Any = KEYWORDS, **script: Any) -> None:
        """Start a server."""
        script = {"hostname": HOST, "lmtp": self.protocol == "lmtp", **script}
        self.server, self.port = await self.mail_server(Script(*rules, keywords=keywords, **script))

    def parameters(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The same under the names of the protocol."""
        return named(settings, self.protocol)

    def name(self, parameter: str) -> str:
        """The name that the protocol has for a parameter."""
        (name,) = named({parameter: ""}, self.protocol)
        return name

    @property
    def prefix(self) -> str:
        """What stands in front of a host in a destination."""
        return "inet:" if self.protocol == "lmtp" else ""

    def engine(self, **settings: str) -> DeliveryAgent:
        """An engine with these parameters."""
        return self.agent(self.parameters(settings), protocol=self.protocol)

    async def send(
        self,
        *recipients: str,
        nexthop: str = "",
        request: Any = None,
        agent: Any = None,
        **settings: str,
    ) -> str:
        """Deliver a message; ``sent``, or status and reason of the last recipient.

        Args:
            recipients: by default one.
            nexthop: by default the server.
            request: a dictionary of fields of the request, and the message; None: the usual ones.
            agent: an engine; None: a new one with `settings`.
            settings: parameters by their SMTP names.
        """
        nexthop = nexthop or f"{self.prefix}[127.0.0.1]:{self.port}"
        await self.deliver(
            nexthop,
            recipients or ["a@dest.example"],
            protocol=self.protocol,
            agent=agent or self.engine(**settings),
            **(request or {}),
        )
        return self.outcome

    @property
    def outcome(self) -> str:
        """``sent``, or status and reason of the last recipient."""
        result = self.reports.results[-1]
        return "sent" if result.fate is Fate.SENT else f"{result.dsn.status} {result.dsn.reason}"

    @property
    def said(self) -> list[str]:
        """The commands of the last session."""
        return self.server.sessions[-1].commands

    def command(self, verb: str) -> str:
        """The first command of the last session that begins so; empty: there is none."""
        return next((line for line in self.said if line.startswith(verb)), "")

    @property
    def content(self) -> bytes:
        """The last message."""
        return self.server.messages[-1].content

    def logged(self, text: str) -> bool:
        """Whether a line of the log has a text."""
        return any(text in line for line in self.log)

    def stop_the_clock(self) -> Clock:
        """Let no time pass for engines that are made from now on, but by the clock that is given back."""
        clock = Clock()
        self.reactor = ClockedReactor(clock)
        return clock

    def defer(self, sent: Coroutine[Any, Any, str]) -> Deferred[str]:
        """Begin a delivery."""
        return Deferred.fromCoroutine(sent)

    async def soon(self, delivered: Deferred[str]) -> str:
        """The outcome of a delivery that has all it needs; it is given up if that does not come soon."""
        for _ in range(40):
            if delivered.called:
                return await delivered
            await self.pause(0.01)
        delivered.addErrback(lambda _: None)
        delivered.cancel()
        await self.pause()
        raise self.failureException("it is not over")

    async def pause(self, seconds: float = 0.05) -> None:
        """Let real time pass."""
        await deferLater(reactor, seconds)
