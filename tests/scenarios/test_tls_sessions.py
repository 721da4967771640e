"""TLS sessions that outlive an engine, and servers that use the time in which they are looked up."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IDelayedCall, IOpenSSLContextFactory
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.kit.pki import HOST, shared_pki
from tests.kit.script import Close, Raw, Script, Unasked
from tests.kit.server_tls import server_context
from tests.scenarios.world import SETTINGS, WorldTestCase, reactor
from twisted_mta.assembly import build_agent, build_resolver, open_tables
from twisted_mta.config.settings import load_settings
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.model.result import Fate

KEYWORDS = ("PIPELINING", "STARTTLS")
ZONE = {"dest.example": {"MX": [f"10 {HOST}"]}, HOST: {"A": ["127.0.0.1"]}}


class SlowStore:
    """Has what is stored only after some time."""

    def __init__(self, seconds: float) -> None:
        self.kept: dict[str, bytes] = {}
        self._seconds = seconds

    async def lookup(self, key: str) -> bytes | None:
        """What is stored under a key."""
        await deferLater(reactor, self._seconds)
        return self.kept.get(key)

    def update(self, key: str, value: bytes) -> None:
        """Store something."""
        self.kept[key] = value

    def delete(self, key: str) -> None:
        """Store it no longer."""
        self.kept.pop(key, None)


@implementer(IOpenSSLContextFactory)
class Injector(LineReceiver):
    """A server with TLS before which somebody says something in the clear; all replies inside are the same."""

    def __init__(self, *, wrapper: bool) -> None:
        self._wrapper = wrapper
        self._later: list[IDelayedCall] = []

    def connectionMade(self) -> None:
        """Greet."""
        if self._wrapper:
            self._inject()
        else:
            self.sendLine(b"220 mx1.dest.example")

    def lineReceived(self, line: bytes) -> None:
        """Reply."""
        self.sendLine(b"354 go on" if line == b"DATA" else b"250-mx1.dest.example\r\n250 STARTTLS")
        if line == b"STARTTLS":
            self._inject()

    def _inject(self) -> None:
        self._later += (reactor.callLater(0.1, self._say), reactor.callLater(0.2, self._begin_tls))

    def _say(self) -> None:
        assert self.transport is not None
        self.transport.write(b"220 injected\r\n250 injected\r\n")

    def _begin_tls(self) -> None:
        transport: Any = self.transport
        transport.startTLS(self)

    def getContext(self) -> SSL.Context:
        """Shapes TLS."""
        return server_context(shared_pki()["valid"])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Do nothing more."""
        for call in self._later:
            if call.active():
                call.cancel()


class StoredSessionTests(WorldTestCase):
    """A store that takes its time."""

    async def start(self, *rules: Any, tls: bool = True, **options: Any) -> None:
        """Start a server and a name server."""
        context = server_context(shared_pki()["valid"]) if tls else None
        self.server, self.port = await self.mail_server(
            Script(*rules, hostname=HOST, keywords=KEYWORDS, tls=context, **options)
        )
        self.names = await self.name_server(ZONE)
        self.store = SlowStore(0.3)

    def engine(self, settings: Mapping[str, str] | None = None) -> DeliveryAgent:
        """An engine with the store."""
        overrides = {
            **SETTINGS,
            "smtp_tcp_port": str(self.port),
            "smtp_tls_security_level": "encrypt",
            "smtp_tls_loglevel": "1",
            "smtp_tls_session_cache_database": "btree:sessions",
            "smtp_starttls_timeout": "5s",
            **(settings or {}),
        }
        loaded = load_settings(None, overrides=list(overrides.items()))
        tables = open_tables(loaded, reactor, self.emit)
        resolver = build_resolver(reactor, self.emit, [self.names])
        return build_agent(loaded, tables, reactor, resolver, self.emit, tls_sessions=self.store)

    async def send(self, **settings: str) -> tuple[Fate, str]:
        """Deliver with a new engine; what becomes of the mail."""
        await self.deliver("dest.example", ["a@dest.example"], agent=self.engine(settings))
        result = self.reports.results[-1]
        return result.fate, result.dsn.reason

    async def test_next_engine(self) -> None:
        """Another engine takes the session up, once it has been looked up; STARTTLS and wrapper mode alike."""
        for wrapper in (False, True):
            await self.start(wrapper=wrapper)
            mode = {"smtp_tls_wrappermode": "yes"} if wrapper else {}
            for _ in range(2):
                self.assertEqual((await self.send(**mode))[0], Fate.SENT)
            handshakes = [session.handshake for session in self.server.sessions]
            self.assertEqual([each is not None and each.reused for each in handshakes], [False, True])

    async def test_words_in_the_clear(self) -> None:
        """What comes in the clear while a session is looked up never counts inside TLS, which fails of it."""
        for wrapper in (False, True):
            self.store, self.names = SlowStore(0.3), await self.name_server(ZONE)
            server = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
                Factory.forProtocol(partial(Injector, wrapper=wrapper))
            )
            self.addCleanup(server.stopListening)
            self.port = server.getHost().port
            fate, reason = await self.send(**({"smtp_tls_wrappermode": "yes"} if wrapper else {}))
            self.assertEqual((fate, reason), (Fate.DEFERRED, "Cannot start TLS: handshake failure"), self.log)
            self.assertTrue(any("wrong version number" in line for line in self.log), self.log)

    async def test_closed_meanwhile(self) -> None:
        """A server that hangs up while a session is looked up has broken off the handshake."""
        await self.start(("STARTTLS", Unasked(0.1, Close(), Raw(b"220 2.0.0 go\r\n"))), tls=False)
        self.assertEqual((await self.send())[0], Fate.DEFERRED)
        self.assertTrue(any(f"SSL_connect error to {HOST}[127.0.0.1]" in line for line in self.log), self.log)
