"""smtp_fallback_relay takes what the destination cannot."""

from tests.kit.script import Script
from tests.scenarios.world import WorldTestCase
from twisted_mta.model.result import Fate, FinalStatus


class FallbackTests(WorldTestCase):
    async def test_fallback_relay(self) -> None:
        """A destination that cannot be reached leads to the fallback relay."""
        server, port = await self.mail_server(Script())
        status = await self.deliver(
            f"[127.0.0.2]:{port}", ["a@dest.example"], settings={"smtp_fallback_relay": f"[127.0.0.1]:{port}"}
        )
        self.assertEqual(status, FinalStatus(True))
        self.assertEqual(len(server.messages), 1)

    async def test_fallback_that_does_not_exist(self) -> None:
        """A fallback relay that does not exist is the administrator's problem: the mail waits."""
        _, port = await self.mail_server(Script())
        status = await self.deliver(
            f"[127.0.0.2]:{port}",
            ["a@dest.example"],
            servers=[await self.name_server({})],
            settings={"smtp_fallback_relay": "nowhere.example"},
        )
        self.assertFalse(status.complete)
        self.assertEqual(self.reports.fates, {"a@dest.example": (Fate.DEFERRED, "4.3.5")})
        self.assertIn("warning: smtp_fallback_relay configuration problem", self.log)

    async def test_destination_without_sense(self) -> None:
        """A destination that makes no sense defers the mail with Postfix's words, and holds the destination back."""
        status = await self.deliver("dest.example:99999", ["a@dest.example"])
        self.assertFalse(status.complete)
        assert status.hop_status is not None
        self.assertEqual(status.hop_status.status, "4.3.5")
        self.assertEqual(
            self.reports.results[0].dsn.reason, "bad network port: 99999 for destination: dest.example:99999"
        )
