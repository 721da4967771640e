"""Each recipient has a fate of its own."""

from tests.kit.script import Script
from tests.scenarios.world import WorldTestCase
from twisted_mta.model.result import Fate


class FateTests(WorldTestCase):
    async def test_refused_deferred_and_delivered(self) -> None:
        """550 bounces, 450 is kept for the next host and deferred there, 250 delivers; no host gets what another took."""
        script = Script(("RCPT TO:<bad@", "550 5.1.1 no such user"), ("RCPT TO:<later@", "450 4.2.0 greylisted"))
        server, port = await self.mail_server(script)
        other, _ = await self.mail_server(Script(("RCPT TO:<later@", "451 4.7.1 not here")), "127.0.0.2", port)
        status = await self.deliver(
            f"[127.0.0.1]:{port}, [127.0.0.2]:{port}", ["bad@dest.example", "good@dest.example", "later@dest.example"]
        )
        self.assertFalse(status.complete)
        self.assertIsNone(status.hop_status)
        self.assertEqual(
            self.reports.fates,
            {
                "bad@dest.example": (Fate.BOUNCED, "5.1.1"),
                "good@dest.example": (Fate.SENT, "2.0.0"),
                "later@dest.example": (Fate.DEFERRED, "4.7.1"),
            },
        )
        self.assertEqual([len(server.messages), len(other.messages)], [1, 0])
        self.assertEqual(
            self.log,
            [
                "4Abc12: host 127.0.0.1[127.0.0.1] said: 450 4.2.0 greylisted (in reply to RCPT TO command)",
            ],
        )

    async def test_content_is_refused(self) -> None:
        """A 5xx to the content bounces all recipients, though there is another host."""
        _, port = await self.mail_server(Script((".", "554 5.6.0 what a message")))
        other, _ = await self.mail_server(Script(), "127.0.0.2", port)
        status = await self.deliver(f"[127.0.0.1]:{port}, [127.0.0.2]:{port}", ["a@dest.example", "b@dest.example"])
        self.assertTrue(status.complete)
        self.assertEqual(set(self.reports.fates.values()), {(Fate.BOUNCED, "5.6.0")})
        self.assertEqual(other.sessions, [])
