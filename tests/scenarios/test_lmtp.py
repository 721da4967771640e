"""LMTP to a UNIX-domain socket."""

from tests.kit.script import Script
from tests.scenarios.world import ON_THE_WIRE, WorldTestCase
from twisted_mta.model.result import Fate


class LmtpTests(WorldTestCase):
    async def test_a_reply_for_each_recipient(self) -> None:
        """After the dot each accepted recipient has a reply of its own; one that was refused at RCPT has none."""
        script = Script(
            ("RCPT TO:<b@", "550 5.1.1 unknown"),
            (". <c@", "452 4.2.2 over quota"),
            lmtp=True,
        )
        server, path = await self.local_server(script)
        status = await self.deliver(
            f"unix:{path}", ["a@dest.example", "b@dest.example", "c@dest.example"], protocol="lmtp"
        )
        self.assertFalse(status.complete)
        self.assertEqual(
            self.reports.fates,
            {
                "a@dest.example": (Fate.SENT, "2.0.0"),
                "b@dest.example": (Fate.BOUNCED, "5.1.1"),
                "c@dest.example": (Fate.DEFERRED, "4.2.2"),
            },
        )
        self.assertEqual(self.reports.results[0].relay, f"client.example[{path}]")
        self.assertEqual(server.messages[0].content, ON_THE_WIRE)
