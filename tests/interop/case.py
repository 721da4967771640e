"""What the interop tests share: a Postfix instance, an agent, scripted servers and a name server for each test.

Flow: a test method describes servers and zone, calls `begin`, submits mail, waits, and looks at what came of it.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest, TestResult

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.trial.unittest import TestCase

from tests.interop import agents
from tests.interop.agents import SERVICE, Agent, PostfixAgent, ServiceAgent
from tests.kit import namespace
from tests.kit.dns_server import DNSServer
from tests.kit.postfix import Postfix, QueuedMessage, installation
from tests.kit.script import Rule, Script
from tests.kit.smtp_server import ScriptedServer

LONG = int(os.environ.get("TWISTED_MTA_LONG", "1"))
"""Multiplies how many messages, or how often, where a test is also a soak test."""

DEFAULT_ROUTES = {"dest.example": "[192.0.2.1]"}
"""Where mail goes unless a test says otherwise."""

_numbers = count(1)
_package: list[Path] = []


def why_not() -> str:
    """Why the interop tests cannot run here; empty: they can."""
    if reason := namespace.why_not():
        return reason
    if not installation():
        return "needs Postfix (Debian package postfix)"
    return agents.interpreter_problem() if agents.own_service() else ""


def needs_own_service() -> None:
    """Skip a test that is about our service alone."""
    if not agents.own_service():
        raise SkipTest("is about our own service")


class InteropCase(TestCase):
    """A test with a Postfix of its own.

    Attributes:
        protocol: smtp or lmtp.
    """

    timeout = 60 * LONG
    protocol: ClassVar[str] = "smtp"
    service_class: ClassVar[type[ServiceAgent]] = ServiceAgent

    postfix: Postfix
    agent: Agent
    skip = why_not() or None

    def run(self, result: TestResult) -> TestResult | None:  # type: ignore[override]  # trial's own is untyped
        """Run the test; if it fails, show what Postfix and the agent said."""
        self._story: list[str] = []
        before = len(result.errors) + len(result.failures)
        done: TestResult | None = super().run(result)
        if len(result.errors) + len(result.failures) > before:
            sys.stdout.write("\n".join([f"---- {self.id()}", *self._story[-400:], ""]))
        return done

    def setUp(self) -> None:
        """Make an empty place for this test's Postfix."""
        self.directory = namespace.WORK / f"test{next(_numbers)}"
        self.directory.mkdir()
        self.addCleanup(shutil.rmtree, self.directory)
        self.postfix = Postfix(self.directory, reactor)
        self.addCleanup(self._keep_story)

    def _keep_story(self) -> None:
        self._story += [*self.postfix.log(), *self.agent.printed.splitlines()] if hasattr(self, "agent") else []

    def create(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        options: Sequence[str] = (),
        services: str = "",
        routes: Mapping[str, str] = DEFAULT_ROUTES,
        transport: str = SERVICE,
    ) -> None:
        """Configure a Postfix that sends all mail to the agent.

        Args:
            settings: of main.cf.
            options: more command-line options of our service; of Postfix's own agent, those with ``-o``.
            services: more lines of master.cf.
            routes: the nexthop of each domain that has no MX records.
            transport: where all mail goes, if not straight to the agent.
        """
        rows = " ".join(f"{{{domain}={transport}:{nexthop}}}" for domain, nexthop in routes.items())
        if agents.own_service():
            self.agent = self.service_class(self.postfix, installed_package(), self.protocol, options)
        else:
            self.agent = PostfixAgent(self.protocol, options)
        self.postfix.create(
            {
                "default_transport": SERVICE,
                "transport_maps": f"inline:{{ {rows} }}" if rows else "",
                **(settings or {}),
            },
            self.agent.master_cf + services,
        )

    async def start(self) -> None:
        """Start Postfix and the agent; they end with the test, the agent first."""
        await self.start_postfix()
        await self.start_agent()

    async def start_postfix(self) -> None:
        """Start Postfix."""
        self.addCleanup(self.postfix.stop)
        await self.postfix.start()

    async def start_agent(self) -> None:
        """Start the agent."""
        self.addCleanup(self.agent.stop)
        await self.agent.start()

    async def begin(self, settings: Mapping[str, str] | None = None, **arguments: Any) -> None:
        """Create, with the arguments of `create`, and start."""
        self.create(settings, **arguments)
        await self.start()

    @property
    def service(self) -> ServiceAgent:
        """Our service; only where `needs_own_service` was called."""
        assert isinstance(self.agent, ServiceAgent)
        return self.agent

    async def server(self, address: str | Path, *rules: Rule, port: int = 25, **options: Any) -> ScriptedServer:
        """Start a scripted server at an IP address, or at the path of a local socket."""
        server = ScriptedServer(Script(*rules, lmtp=self.protocol == "lmtp", **options), reactor)
        if isinstance(address, Path):
            endpoint: Any = UNIXServerEndpoint(reactor, str(address), mode=0o666)
        elif ":" in address:
            endpoint = TCP6ServerEndpoint(reactor, port, interface=address, backlog=1000)
        else:
            endpoint = TCP4ServerEndpoint(reactor, port, interface=address, backlog=1000)
        await server.listen(endpoint)
        self.addCleanup(server.stop)
        return server

    def name_server(self, zone: Mapping[str, Mapping[str, Any]]) -> DNSServer:
        """Start a name server that knows the names of `zone`; the system's resolver asks it."""
        server = DNSServer(reactor, zone)
        server.start(namespace.NAME_SERVER, 53)
        self.addCleanup(server.stop)
        return server

    async def send_each(self, *recipients: str) -> list[str]:
        """Send a message to each, one after the other; the last log line about each."""
        lines = []
        for recipient in recipients:
            await self.postfix.submit("s@sender.example", [recipient], message())
            await self.postfix.settle()
            lines += self.postfix.log(f"to=<{recipient}>")[-1:]
        return lines

    async def only_queued(self) -> QueuedMessage:
        """The one message that is in the queue."""
        queue = await self.postfix.queue()
        self.assertEqual(len(queue), 1, queue)
        return queue[0]


def installed_package() -> Path:
    """The folder with the package under test, made once a run."""
    if not _package:
        directory = namespace.WORK / "package"
        agents.install(directory)
        _package.append(directory)
    return _package[0]


def message(subject: str = "hello", body: str = "text\n", sender: str = "sender@sender.example") -> bytes:
    """A small message."""
    return f"From: {sender}\nTo: recipient@dest.example\nSubject: {subject}\n\n{body}".encode()
