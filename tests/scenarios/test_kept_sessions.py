"""Sessions that are kept from message to message, over real connections, with and without TLS and logins."""

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater

from tests.kit.pki import HOST, shared_pki
from tests.kit.script import END_OF_DATA, Close, Raw, Reset, Rule, Script, Unasked
from tests.kit.server_tls import server_context
from tests.kit.table_server import SocketmapServer, netstring
from tests.scenarios.world import ON_THE_WIRE, WorldTestCase, reactor
from twisted_mta.interfaces import IConnectionCache
from twisted_mta.model.result import Fate

ZONE = {
    "dest.example": {"MX": [f"10 {HOST}"]},
    "two.example": {"MX": [f"10 {HOST}"]},
    HOST: {"A": ["127.0.0.1"]},
}


class KeptTestCase(WorldTestCase):
    """Messages through one engine."""

    async def start(self, *rules: Rule, settings: Mapping[str, str] | None = None, **options: Any) -> None:
        """Start a server and an engine that keeps sessions with all destinations."""
        self.server, port = await self.mail_server(Script(*rules, hostname=HOST, **options))
        self.engine = self.agent(
            {
                "smtp_tcp_port": str(port),
                "smtp_connection_cache_destinations": "static:all",
                "smtp_connection_cache_time_limit": "20s",
                "connection_cache_ttl_limit": "20s",
                "smtp_tls_loglevel": "1",
                **(settings or {}),
            },
            servers=[await self.name_server(ZONE)],
        )
        reuse = self.engine.parts.reuse
        assert reuse is not None
        self.cache: IConnectionCache = reuse.cache
        self.addCleanup(self.finish)

    async def finish(self) -> None:
        """Close what is kept, and let it go."""
        self.cache.close()
        await self.pause(0.05)

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        await deferLater(reactor, seconds)

    async def send(self, nexthop: str = "dest.example", **changes: Any) -> int:
        """Deliver a message, which must be taken; as what number of its session."""
        await self.deliver(nexthop, [f"a@{nexthop}"], agent=self.engine, **changes)
        result = self.reports.results[-1]
        self.assertEqual((result.fate, result.dsn.status), (Fate.SENT, "2.0.0"), result)
        return result.stats.reuse_count + 1


class PlainTests(KeptTestCase):
    """In the clear."""

    async def test_message_after_message(self) -> None:
        """One connection for several messages; each arrives whole; in the end it is closed in order."""
        await self.start()
        self.assertEqual([await self.send() for _ in range(3)], [1, 2, 3])
        self.assertEqual([message.content for message in self.server.messages], [ON_THE_WIRE] * 3)
        self.assertEqual(len(self.server.sessions), 1)
        self.cache.close()
        await self.server.until(lambda: not self.server.sessions[0].open)
        self.assertEqual(self.server.sessions[0].commands[-1], ".")
        self.assertEqual(self.log, [])

    async def test_servers_that_do_not_play_along(self) -> None:
        """A server that hangs up, or speaks, while nobody asks: the next message goes out over another connection."""
        for fault in (Close(), Reset(), Close("421 4.4.2 idle"), Raw(b"250 2.0.0 Ok\r\n"), Raw(b"\0")):
            await self.start((END_OF_DATA, Unasked(0.05, fault), None))
            self.assertEqual(await self.send(), 1)
            await self.pause(0.15)
            self.assertEqual(await self.send(), 1)
            self.assertEqual(await self.send(), 2)
            self.assertEqual([len(session.messages) for session in self.server.sessions], [1, 2])
            self.assertEqual(self.log, [])
            await self.finish()

    async def test_servers_that_refuse_rset(self) -> None:
        """A server that refuses RSET, hangs up upon it, or answers twice."""
        for answer in ("502 5.5.1 no", "421 4.4.2 bye", Close(), Reset(), Raw(b"250 a\r\n250 b\r\n")):
            await self.start(("RSET", answer))
            self.assertEqual([await self.send(), await self.send()], [1, 1])
            self.assertEqual([len(session.messages) for session in self.server.sessions], [1, 1])
            self.assertEqual(self.log, [])
            await self.finish()

    async def test_reset_in_use(self) -> None:
        """A connection that is reset within the next message: the same attempt goes on over a new one."""
        for verb, doing in (("MAIL", "sending MAIL FROM"), ("DATA", "sending DATA command")):
            self.log.clear()
            await self.start((verb, None, Reset(), None), keywords=())
            self.assertEqual([await self.send(), await self.send()], [1, 1])
            self.assertEqual(self.log, [f"4Abc12: lost connection with {HOST}[127.0.0.1] while {doing}"])
            await self.finish()

    async def test_by_address(self) -> None:
        """Another destination with the same host uses the session."""
        await self.start()
        self.assertEqual([await self.send(), await self.send("two.example")], [1, 2])


class TlsTests(KeptTestCase):
    """In TLS."""

    async def secure(self, *rules: Rule, **settings: str) -> None:
        """Start with TLS."""
        tls = server_context(shared_pki()["valid"])
        settings = {"smtp_tls_security_level": "encrypt", "smtp_tls_connection_reuse": "yes", **settings}
        await self.start(*rules, settings=settings, keywords=("PIPELINING", "STARTTLS"), tls=tls)

    def handshakes(self) -> list[bool]:
        """Of each connection, whether TLS was begun on it."""
        return [session.handshake is not None for session in self.server.sessions]

    async def test_kept(self) -> None:
        """TLS stays as it is, and each message after the first one tells of it."""
        await self.secure()
        self.assertEqual([await self.send() for _ in range(3)], [1, 2, 3])
        self.assertEqual(self.handshakes(), [True])
        first, *others = self.log
        self.assertIn("TLS connection established to", first)
        self.assertEqual(others, [first.replace("established", "reused")] * 2)

    async def test_not_kept(self) -> None:
        """Without smtp_tls_connection_reuse each message has a connection of its own; one in the clear is kept."""
        await self.secure(smtp_tls_connection_reuse="no", smtp_tls_loglevel="0")
        self.assertEqual([await self.send(), await self.send()], [1, 1])
        await self.finish()
        await self.start(settings={"smtp_tls_security_level": "may"})
        self.assertEqual([await self.send(), await self.send()], [1, 2])

    async def test_policy_by_policy(self) -> None:
        """connection_reuse=yes of a policy keeps sessions with its destination alone; policies do not share sessions."""
        maps = "inline:{ {dest.example=encrypt connection_reuse=yes} {two.example=encrypt servername=two.example} }"
        await self.secure(smtp_tls_connection_reuse="no", smtp_tls_policy_maps=maps)
        uses = [await self.send(name) for name in ("dest.example", "dest.example", "two.example", "two.example")]
        self.assertEqual(uses, [1, 2, 1, 1])
        names = [session.handshake.servername for session in self.server.sessions if session.handshake]
        self.assertEqual(names, ["", "two.example", "two.example"])

    async def test_server_names_do_not_share(self) -> None:
        """A session that was opened under one server name is not used for another one, though address and level are the same."""
        maps = "inline:{ {dest.example=encrypt servername=dest.example} {two.example=encrypt servername=two.example} }"
        await self.secure(smtp_tls_policy_maps=maps)
        uses = [await self.send(name) for name in ("dest.example", "two.example", "dest.example", "two.example")]
        self.assertEqual(uses, [1, 1, 2, 2])
        self.assertEqual(len(self.server.sessions), 2)

    async def test_disturbed(self) -> None:
        """What a server does while nobody asks has the same effect inside TLS."""
        for fault in (Close(), Reset(), Raw(b"421 bye\r\n")):
            await self.secure((END_OF_DATA, Unasked(0.05, fault), None))
            self.assertEqual(await self.send(), 1)
            await self.pause(0.15)
            self.assertEqual(await self.send(), 1)
            self.assertEqual(self.handshakes(), [True, True])
            await self.finish()


class LoginTests(KeptTestCase):
    """With logins."""

    async def test_logged_in_once(self) -> None:
        """A kept session is logged in already; one of another sender's is not used, though the server is the same."""
        await self.start(
            ("AUTH", "235 2.7.0 ok"),
            keywords=("PIPELINING", "AUTH PLAIN"),
            settings={
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "",
                "smtp_sender_dependent_authentication": "yes",
                "smtp_sasl_password_maps": "inline:{ {alice@client.example=alice:x} {bob@client.example=bob:y} }",
            },
        )
        senders = ["alice@client.example", "bob@client.example", "alice@client.example", "carol@client.example"]
        self.assertEqual([await self.send(sender=sender) for sender in senders], [1, 1, 2, 1])
        logins = [[line for line in session.commands if line.startswith("AUTH")] for session in self.server.sessions]
        self.assertEqual([len(lines) for lines in logins], [1, 1, 0])
        self.assertNotEqual(logins[0], logins[1])

    async def test_changed_password(self) -> None:
        """A session that was logged in by another name or password than the table has now is not used again."""
        passwords = SocketmapServer({})
        self.addCleanup(lambda: Deferred.fromCoroutine(passwords.stop()))
        listening: Any = await passwords.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        await self.start(
            ("AUTH", "235 2.7.0 ok"),
            keywords=("PIPELINING", "AUTH PLAIN"),
            settings={
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "",
                "smtp_sasl_password_maps": f"socketmap:inet:127.0.0.1:{listening.getHost().port}:passwords",
            },
        )
        found = []
        for password in (b"alice:x", b"alice:x", b"alice:y", b"bob:y", b"bob:y"):
            passwords.answers[f"passwords {HOST}".encode()] = netstring(b"OK " + password)
            found.append(await self.send())
        self.assertEqual(found, [1, 2, 1, 1, 2])
