"""Sessions that the service keeps, under a real queue manager: on demand, and how they end."""

from tests.interop.case import InteropCase, needs_own_service
from tests.kit.smtp_server import ScriptedServer

SERVER = "192.0.2.1"
LONG_REST = {
    "smtp_connection_cache_destinations": SERVER,
    "smtp_connection_cache_time_limit": "60s",
    "connection_cache_ttl_limit": "60s",
}


class KeptSessionTests(InteropCase):
    """One server for all mail."""

    async def closed(self, server: ScriptedServer) -> None:
        """The last connection has ended, in order and without QUIT."""
        session = server.sessions[-1]
        await self.postfix.wait_for(lambda: not session.open, "the session is still there")
        self.assertEqual(session.commands[-1], ".")

    async def test_reload_and_stop(self) -> None:
        """Sessions that wait are closed when the configuration is loaded again, and when the service stops."""
        needs_own_service()
        server = await self.server(SERVER)
        await self.begin(LONG_REST)
        lines = await self.send_each("a@dest.example", "b@dest.example")
        self.assertIn("conn_use=2", lines[1])
        self.service.reload()
        await self.closed(server)
        lines = await self.send_each("c@dest.example", "d@dest.example")
        self.assertNotIn("conn_use", lines[0])
        self.assertIn("conn_use=2", lines[1])
        await self.service.stop()
        await self.closed(server)
        self.assertEqual(len(server.sessions), 2)

    async def test_on_demand(self) -> None:
        """With many messages at once the queue manager asks for kept sessions: there are fewer connections than messages."""
        server = await self.server(SERVER)
        await self.begin({"agent_destination_concurrency_limit": "5", "agent_initial_destination_concurrency": "5"})
        await self.postfix.inject(100)
        await self.postfix.settle()
        self.assertEqual(len(server.messages), 100)
        self.assertLess(len(server.sessions), 60)
        self.assertEqual(self.postfix.log("status=deferred") + self.postfix.log("status=bounced"), [])
