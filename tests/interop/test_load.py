"""Many messages at once."""

from collections import Counter

from tests.interop.case import LONG, InteropCase, needs_own_service
from tests.kit.script import END_OF_DATA, Late


class LoadTests(InteropCase):
    """One server, 192.0.2.1, for all mail."""

    async def test_thousand_messages(self) -> None:
        """1,000 messages at once all arrive, each exactly once."""
        total = 1000 * LONG
        server = await self.server("192.0.2.1")
        await self.begin()
        await self.postfix.inject(total)
        await server.until(lambda: len(server.messages) >= total)
        await self.postfix.settle()
        recipients = Counter(name for message in server.messages for name in message.recipients)
        self.assertEqual(len(recipients), total)
        self.assertEqual(set(recipients.values()), {1})
        self.assertEqual(self.postfix.log("status=deferred"), [])
        self.assertEqual(await self.postfix.queue(), [])

    async def test_back_pressure(self) -> None:
        """A service at its limit of deliveries lets the queue manager wait; nothing is deferred for it."""
        needs_own_service()
        server = await self.server("192.0.2.1", (END_OF_DATA, Late(0.1)))
        await self.begin(options=["--max-deliveries=2"])
        await self.postfix.inject(50)
        await server.until(lambda: len(server.messages) >= 50)
        await self.postfix.settle()
        self.assertEqual(len(server.messages), 50)
        self.assertLessEqual(server.most_at_once, 2)
        self.assertEqual(self.postfix.log("status=deferred"), [])
        self.assertEqual(await self.postfix.queue(), [])
