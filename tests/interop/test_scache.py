"""Idle sessions shared with Postfix's own smtp(8), through the real scache(8)."""

from tests.interop.case import InteropCase, needs_own_service
from tests.kit.script import END_OF_DATA, Answer, Close, Raw, Rule, Unasked
from tests.kit.smtp_server import ScriptedServer

SERVER = "192.0.2.1"
POSTFIX = "shared"
"""The name of the service of smtp(8): it belongs to the names of what is kept."""


class SharedSessionsTests(InteropCase):
    """Two transports to one server: smtp(8) as ``shared``, and our service, which shares its sessions."""

    async def shared(self, *rules: Rule, **settings: str) -> ScriptedServer:
        """Start it all; mail for ours.example goes through our service, that for theirs.example through smtp(8)."""
        needs_own_service()
        server = await self.server(SERVER, *rules)
        rows = f"{{ours.example=agent:[{SERVER}]}} {{theirs.example={POSTFIX}:[{SERVER}]}}"
        await self.begin(
            {
                "transport_maps": f"inline:{{ {rows} }}",
                "smtp_connection_cache_destinations": SERVER,
                "smtp_connection_cache_time_limit": "20s",
                "connection_cache_ttl_limit": "20s",
                **settings,
            },
            services=f"{POSTFIX} unix - - n - - smtp\n",
            options=[f"--connection-cache=scache:{POSTFIX}"],
        )
        return server

    async def send(self, *recipients: str) -> list[str]:
        """Send a message to each, which must be taken; the log lines about the recipients."""
        lines = await self.send_each(*recipients)
        for line in lines:
            self.assertIn("status=sent", line)
        return lines

    def uses(self, lines: list[str]) -> list[str]:
        """What the log says of the use of connections."""
        return [line.partition("conn_use=")[2].partition(",")[0] for line in lines]

    async def test_back_and_forth(self) -> None:
        """Each uses what the other has left: one connection serves them all."""
        server = await self.shared()
        lines = await self.send(
            "a@ours.example", "a@theirs.example", "b@ours.example", "c@ours.example", "b@theirs.example"
        )
        self.assertEqual(self.uses(lines), ["", "2", "3", "4", "5"])
        (session,) = server.sessions
        self.assertEqual([verb for verb in session.commands if verb in ("RSET", "QUIT")], ["RSET"] * 4)
        self.assertEqual(len(server.messages), 5)
        self.assertEqual(self.postfix.log("warning"), [])

    async def test_left_by_smtp(self) -> None:
        """What smtp(8) knows of the server counts for us: commands are pipelined, and have the same parameters."""
        server = await self.shared()
        lines = await self.send("a@theirs.example", "b@ours.example")
        self.assertEqual(self.uses(lines), ["", "2"])
        first, second = server.messages
        self.assertEqual(first.sender.replace("<a@theirs", "<b@ours"), second.sender)
        self.assertIn("ORCPT=rfc822;b@ours.example", second.recipients[0])
        self.assertEqual(self.postfix.log("warning"), [])

    async def test_by_address(self) -> None:
        """A session is found by the address of its server, too, whatever name led there."""
        names = ("one.example", "two.example")
        self.name_server({name: {"MX": [f"10 {name}"], "A": [SERVER]} for name in names})
        server = await self.shared(
            smtp_connection_cache_destinations=",".join(names),
            transport_maps=f"inline:{{ {{one.example=agent:one.example}} {{two.example={POSTFIX}:two.example}} }}",
        )
        lines = await self.send("a@one.example", "b@two.example", "c@one.example")
        self.assertEqual(self.uses(lines), ["", "2", "3"])
        self.assertEqual(len(server.sessions), 1)

    async def disturbed(self, fault: Answer) -> None:
        """A server that does something unasked while scache(8) has the session is no obstacle."""
        server = await self.shared((END_OF_DATA, Unasked(0.2, fault), None))
        await self.send("a@theirs.example")
        await self.postfix.pause(0.4)
        lines = await self.send("b@ours.example")
        self.assertEqual(self.uses(lines), [""])
        self.assertEqual((len(server.sessions), len(server.messages)), (2, 2))

    async def test_closed(self) -> None:
        """It closes the connection."""
        await self.disturbed(Close())

    async def test_goodbye(self) -> None:
        """It says goodbye."""
        await self.disturbed(Raw(b"421 4.4.2 idle for too long\r\n"))

    async def test_stray_reply(self) -> None:
        """It says that something is well."""
        await self.disturbed(Raw(b"250 2.0.0 Ok\r\n"))

    async def test_gone(self) -> None:
        """Without scache(8) mail goes out all the same: after the second failure it is not asked any more."""
        server = await self.shared(connection_cache_service_name="nosuch")
        await self.send("a@ours.example", "b@ours.example")
        await self.postfix.pause(1.1)
        await self.send("c@ours.example", "d@ours.example")
        self.assertEqual(len(server.messages), 4)
        self.assertEqual(len(self.postfix.log("disabling connection caching")), 1)
        self.assertEqual([session.commands[-1] for session in server.sessions][-1], "QUIT")
