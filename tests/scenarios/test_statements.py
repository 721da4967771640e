"""What the manual page says beside its parameters: which destinations there are, which hosts are tried, and what flags do.

Sources: smtp(8), DESCRIPTION, SMTP DESTINATION SYNTAX, LMTP DESTINATION SYNTAX, COMMAND ATTRIBUTE SYNTAX; lmtp(8).
"""

from typing import Any

from tests.kit.script import CONNECT, Close, Script
from tests.kit.smtp_server import ScriptedServer
from tests.scenarios.parameters import ParameterTestCase
from tests.scenarios.world import MESSAGE, ON_THE_WIRE
from twisted_mta.model.request import Recipient
from twisted_mta.model.result import Fate

ZONE = {
    "dest.example": {"MX": ["20 second.example", "10 first.example"]},
    "first.example": {"A": ["127.0.0.1"]},
    "second.example": {"A": ["127.0.0.2"]},
}


class DestinationTestCase(ParameterTestCase):
    """Two servers at one port: first.example and second.example, the mail exchangers of dest.example."""

    async def start_both(self, *rules: Any) -> None:
        """Start them; the rules are those of the first one."""
        lmtp = self.protocol == "lmtp"
        self.first, self.port = await self.mail_server(Script(*rules, lmtp=lmtp))
        self.second, _ = await self.mail_server(Script(lmtp=lmtp), "127.0.0.2", self.port)
        self.names = await self.name_server(ZONE)

    async def arrives(self, nexthop: str, server: ScriptedServer, **settings: str) -> None:
        """Mail for a destination arrives at a server; {port} stands for the port of both."""
        agent = self.agent(self.parameters(settings), protocol=self.protocol, servers=[self.names])
        count = len(server.messages)
        self.assertEqual(await self.send(nexthop=nexthop.format(port=self.port), agent=agent), "sent", nexthop)
        self.assertEqual(len(server.messages), count + 1, nexthop)


class SmtpDestinationTests(DestinationTestCase):
    """Destinations of smtp(8)."""

    async def test_forms(self) -> None:
        """A domain, a host, an address; each with a port or without."""
        await self.start_both()
        port = {"smtp_tcp_port": str(self.port)}
        for nexthop, server in (
            ("dest.example", self.first),
            ("[second.example]", self.second),
            ("[127.0.0.2]", self.second),
        ):
            await self.arrives(nexthop, server, **port)
            await self.arrives(f"{nexthop}:{{port}}", server)

    async def test_several(self) -> None:
        """Several destinations, parted by commas or blanks: the first one that can be reached."""
        await self.start_both()
        await self.arrives("[127.0.0.3]:{port}, [127.0.0.2]:{port}", self.second)
        await self.arrives("[127.0.0.3]:{port} dest.example:{port}", self.first)

    async def test_next_host(self) -> None:
        """Where a server cannot be reached, or has trouble that may end, the next one gets the mail."""
        for trouble in (
            (CONNECT, Close()),
            (CONNECT, "421 4.3.2 no"),
            ("MAIL", "451 4.3.0 no"),
            ("RCPT", "450 4.2.0 no"),
        ):
            await self.start_both(trouble)
            await self.arrives("dest.example:{port}", self.second)
            self.assertEqual(len(self.first.sessions), 1)
            await self.first.stop()
            await self.second.stop()

    async def test_refusal_is_final(self) -> None:
        """A recipient that one server refuses for good is not offered to the next."""
        await self.start_both(("RCPT", "550 5.1.1 no"))
        agent = self.agent(servers=[self.names])
        outcome = await self.send(nexthop=f"dest.example:{self.port}", agent=agent)
        self.assertTrue(outcome.startswith("5.1.1 "), outcome)
        self.assertIs(self.reports.results[-1].fate, Fate.BOUNCED)
        self.assertEqual(self.second.sessions, [])


class LmtpDestinationTests(DestinationTestCase):
    """Destinations of lmtp(8)."""

    protocol = "lmtp"

    async def test_forms(self) -> None:
        """A host or an address, with a port or with that of lmtp_tcp_port; mail exchangers are not asked for."""
        await self.start_both()
        port = {"smtp_tcp_port": str(self.port)}
        for nexthop in ("inet:second.example", "inet:[second.example]", "inet:[127.0.0.2]", "inet:127.0.0.2"):
            await self.arrives(nexthop, self.second, **port)
            await self.arrives(f"{nexthop}:{{port}}", self.second)
        await self.arrives("second.example:{port}", self.second)

    async def test_several(self) -> None:
        """Several destinations behind one word: the first one that can be reached."""
        await self.start_both()
        await self.arrives("inet:[127.0.0.3]:{port}, [127.0.0.2]:{port}", self.second)
        await self.arrives("inet:[127.0.0.3]:{port} first.example:{port}", self.first)

    async def test_socket(self) -> None:
        """A local server; all that follows is its path."""
        await self.start_both()
        local, path = await self.local_server(Script(lmtp=True))
        await self.arrives(f"unix:{path}", local)
        agent = self.agent(protocol=self.protocol)
        outcome = await self.send(nexthop=f"unix:{path}, unix:{path}", agent=agent)
        self.assertIn(f"connect to client.example[{path}, unix:{path}]: No such file or directory", outcome)


class FlagTests(ParameterTestCase):
    """flags=DORX."""

    async def flagged(
        self, flags: str, *recipients: str | Recipient, message: bytes = MESSAGE, keywords: Any = ()
    ) -> str:
        """The outcome of a message, by an engine with these flags."""
        await self.start(keywords=keywords)
        agent = self.agent(protocol=self.protocol, flags=flags)
        request = {"message": message, "sender": "Sender@client.example"}
        return await self.send(*recipients, request=request, agent=agent)  # type: ignore[arg-type]

    async def test_delivered_to(self) -> None:
        """D tells the recipient."""
        self.assertEqual(await self.flagged("D", "a@dest.example"), "sent")
        self.assertEqual(self.content, b"Delivered-To: a@dest.example\r\n" + ON_THE_WIRE)

    async def test_loop(self) -> None:
        """D returns what has been delivered to the same recipient before, in whatever case; what was to another one goes on."""
        loop = b"X-First: 1\nDelivered-To: A@Dest.Example\n" + MESSAGE
        self.assertIn("5.4.6 mail forwarding loop for ", await self.flagged("D", "a@dest.example", message=loop))
        self.assertIs(self.reports.results[-1].fate, Fate.BOUNCED)
        self.assertEqual(self.server.messages, [])
        self.assertEqual(await self.flagged("D", "b@dest.example", message=loop), "sent")

    async def test_original_recipient(self) -> None:
        """O tells the recipient as Postfix got it."""
        self.assertEqual(await self.flagged("O", Recipient("a@dest.example", "Other@dest.example")), "sent")
        self.assertEqual(self.content, b"X-Original-To: Other@dest.example\r\n" + ON_THE_WIRE)

    async def test_return_path(self) -> None:
        """R tells the sender."""
        self.assertEqual(await self.flagged("R", "a@dest.example"), "sent")
        self.assertEqual(self.content, b"Return-Path: <Sender@client.example>\r\n" + ON_THE_WIRE)

    async def test_all(self) -> None:
        """All of them, in the order of a mailbox."""
        self.assertEqual(await self.flagged("XROD", Recipient("a@dest.example", "o@dest.example")), "sent")
        headers = (
            b"Return-Path: <Sender@client.example>",
            b"X-Original-To: o@dest.example",
            b"Delivered-To: a@dest.example",
        )
        self.assertEqual(self.content, b"".join(line + b"\r\n" for line in headers) + ON_THE_WIRE)

    async def test_several_recipients(self) -> None:
        """What names one recipient cannot be done for several: the mail waits for the configuration."""
        for flags in ("D", "O"):
            outcome = await self.flagged(flags, "a@dest.example", "b@dest.example")
            self.assertTrue(outcome.startswith("4.3.5 "), outcome)
            self.assertEqual(self.server.sessions, [])
        self.assertEqual(await self.flagged("R", "a@dest.example", "b@dest.example"), "sent")

    async def test_final(self) -> None:
        """X is about LMTP: mail that a server without DSN has is delivered, not relayed."""
        self.assertEqual(await self.flagged("X", "a@dest.example"), "sent")
        action = "delivered" if self.protocol == "lmtp" else "relayed"
        self.assertEqual(self.reports.results[-1].dsn.action, action)
        self.assertEqual(await self.flagged("X", "a@dest.example", keywords=("DSN",)), "sent")
        self.assertEqual(self.reports.results[-1].dsn.action, "relayed")


class LmtpFlagTests(FlagTests):
    """The same by LMTP."""

    protocol = "lmtp"
