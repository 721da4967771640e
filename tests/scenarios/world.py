"""A small world on loopback: a name server, mail servers and the engine, in the reactor of the test.

Flow: a scenario builds one, delivers, and looks at what arrived and what was reported.
Sources: the parts are real but for the scripts that the servers play.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.kit.dns_server import DNSServer
from tests.kit.messages import make_request
from tests.kit.script import Script
from tests.kit.short_path import socket_path
from tests.kit.smtp_server import ScriptedServer
from twisted_mta.assembly import build_agent, build_resolver, now_microseconds, open_tables
from twisted_mta.config.settings import load_settings
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.interfaces import IStatusReporter
from twisted_mta.model.events import Event
from twisted_mta.model.request import MessageStats
from twisted_mta.model.result import Fate, FinalStatus, RecipientResult
from twisted_mta.observe.maillog import LogStyle, line_of

reactor: Any = _reactor

MESSAGE = b"From: sender@client.example\nTo: a@dest.example\nSubject: test\n\nHello.\n.dot\n"
ON_THE_WIRE = MESSAGE.replace(b"\n", b"\r\n")

SETTINGS = {
    "inet_protocols": "ipv4",
    "inet_interfaces": "127.0.0.1",
    "smtp_randomize_addresses": "no",
    "lmtp_randomize_addresses": "no",
    "myhostname": "client.example",
}


@implementer(IStatusReporter)
@dataclass
class Reports:
    """Keeps the results in the order in which they were reported."""

    results: list[RecipientResult] = field(default_factory=list)

    def report(self, result: RecipientResult) -> Deferred[bool]:
        """Keep a result; what is deferred is not final."""
        self.results.append(result)
        return succeed(result.fate is not Fate.DEFERRED)

    @property
    def fates(self) -> dict[str, tuple[Fate, str]]:
        """The fate and the status of each recipient."""
        return {result.recipient.address: (result.fate, result.dsn.status) for result in self.results}


class WorldTestCase(TestCase):
    """A test with servers of its own.

    Attributes:
        log: the lines that were logged.
        reports: what became of recipients.
        reactor: of the engines that are made; the servers have that of the test.
    """

    timeout = 20

    def setUp(self) -> None:
        """Start with nothing."""
        self.log: list[str] = []
        self.reports = Reports()
        self.reactor: Any = reactor

    async def name_server(self, zone: Mapping[str, Mapping[str, Any]]) -> tuple[str, int]:
        """Start a name server; returns its address and port."""
        server = DNSServer(reactor, zone)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        return server.start()

    async def mail_server(
        self, script: Script, address: str = "127.0.0.1", port: int = 0
    ) -> tuple[ScriptedServer, int]:
        """Start a mail server; returns it and its port."""
        server = ScriptedServer(script, reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        listening: Any = await server.listen(TCP4ServerEndpoint(reactor, port, interface=address))
        return server, listening.getHost().port

    async def local_server(self, script: Script) -> tuple[ScriptedServer, str]:
        """Start a mail server at a UNIX-domain socket; returns it and the path."""
        path = socket_path(self)
        server = ScriptedServer(script, reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        await server.listen(UNIXServerEndpoint(reactor, path))
        return server, path

    def agent(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        servers: Sequence[tuple[str, int]] = (("127.0.0.1", 9),),
        protocol: str = "smtp",
        flags: str = "",
    ) -> DeliveryAgent:
        """A new engine.

        Args:
            settings: parameters over SETTINGS.
            servers: name servers.
            protocol: smtp or lmtp.
            flags: letters of ``flags=``.
        """
        loaded = load_settings(None, protocol=protocol, overrides=[*SETTINGS.items(), *(settings or {}).items()])
        return build_agent(
            loaded,
            open_tables(loaded, self.reactor, self.emit),
            self.reactor,
            build_resolver(self.reactor, self.emit, servers),
            self.emit,
            flags=flags,
        )

    async def deliver(
        self,
        nexthop: str,
        recipients: Sequence[str],
        *,
        servers: Sequence[tuple[str, int]] = (("127.0.0.1", 9),),
        protocol: str = "smtp",
        settings: Mapping[str, str] | None = None,
        message: bytes = MESSAGE,
        agent: DeliveryAgent | None = None,
        **changes: Any,
    ) -> FinalStatus:
        """Deliver a message.

        Args:
            nexthop: where to.
            recipients: whom to.
            servers: name servers.
            protocol: smtp or lmtp.
            settings: parameters over SETTINGS.
            message: the content.
            agent: the engine; None: a new one, from the arguments above.
            changes: fields of the request.
        """
        agent = agent or self.agent(settings, servers=servers, protocol=protocol)
        now = now_microseconds()
        fields = {"stats": MessageStats(now, now, now), **changes}
        request = make_request(*recipients, nexthop=nexthop, size=len(message), **fields)
        return await agent.deliver(request, BytesContent(message), self.reports)

    def emit(self, event: Event) -> None:
        """Keep a log line."""
        severity, text = line_of(event, LogStyle())
        self.log.append(f"{severity.value}: {text}" if severity.value else text)
