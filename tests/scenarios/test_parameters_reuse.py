"""What each parameter of the connection cache does: over how many connections messages go out.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
All run once more with LMTP, whose parameters have names of their own. The clock of the engine is moved by hand.
"""

from typing import Any

from tests.scenarios.parameters import ParameterTestCase
from twisted_mta.model.request import RequestFlags

ALWAYS = {"smtp_connection_cache_destinations": "static:all"}
LONG = {**ALWAYS, "smtp_connection_cache_time_limit": "1000s", "connection_cache_ttl_limit": "1000s"}
ON_DEMAND = {"flags": RequestFlags.CONN_LOAD | RequestFlags.CONN_STORE}


class EffectTests(ParameterTestCase):
    """One test a parameter."""

    async def sessions(self, messages: int, seconds: Any = 0, request: Any = None, **settings: str) -> list[int]:
        """Send messages with a pause between them; how many went out over each connection."""
        clock = self.stop_the_clock()
        await self.start()
        agent = self.engine(**settings)
        for _ in range(messages):
            self.assertEqual(await self.send(agent=agent, request=request), "sent")
            clock.advance(seconds)
        if agent.parts.reuse is not None:
            agent.parts.reuse.cache.close()
        clock.advance(1)
        await self.server.until(lambda: not any(session.open for session in self.server.sessions))
        return [len(session.messages) for session in self.server.sessions]

    async def test_smtp_connection_cache_destinations(self) -> None:
        """Sessions with these are kept."""
        self.assertEqual(await self.sessions(2, **ALWAYS), [2])

    async def test_smtp_connection_cache_on_demand(self) -> None:
        """With no, the queue manager asks in vain."""
        self.assertEqual(await self.sessions(2, request=ON_DEMAND, smtp_connection_cache_on_demand="no"), [1, 1])

    async def test_smtp_connection_cache_time_limit(self) -> None:
        """So long they are kept."""
        self.assertEqual(await self.sessions(2, seconds=50, **LONG), [2])

    async def test_smtp_connection_reuse_time_limit(self) -> None:
        """So long they are used."""
        settings = {**LONG, "smtp_connection_reuse_time_limit": "40s"}
        self.assertEqual(await self.sessions(3, seconds=50, **settings), [2, 1])

    async def test_smtp_connection_reuse_count_limit(self) -> None:
        """So often they are used again."""
        settings = {**LONG, "smtp_connection_reuse_count_limit": "1"}
        self.assertEqual(await self.sessions(3, **settings), [2, 1])


class LmtpEffectTests(EffectTests):
    """The same by LMTP."""

    protocol = "lmtp"
