"""The next mail exchanger takes over."""

from tests.kit.script import CONNECT, Close, Script
from tests.scenarios.world import ON_THE_WIRE, WorldTestCase
from twisted_mta.model.result import Fate, FinalStatus

ZONE = {
    "dest.example": {"MX": ["10 mx1.dest.example", "20 mx2.dest.example"]},
    "mx1.dest.example": {"A": ["127.0.0.2"]},
    "mx2.dest.example": {"A": ["127.0.0.1"]},
}


class NextHostTests(WorldTestCase):
    async def test_first_host_refuses_the_connection(self) -> None:
        """A host that is down is logged and passed over; the next one gets the message for both recipients."""
        server, port = await self.mail_server(Script())
        status = await self.deliver(
            f"dest.example:{port}", ["a@dest.example", "b@dest.example"], servers=[await self.name_server(ZONE)]
        )
        self.assertEqual(status, FinalStatus(True))
        (message,) = server.messages
        self.assertEqual(message.content, ON_THE_WIRE)
        self.assertEqual([name.split(" ")[0] for name in message.recipients], ["<a@dest.example>", "<b@dest.example>"])
        self.assertEqual(self.log, [f"connect to mx1.dest.example[127.0.0.2]:{port}: Connection refused"])
        self.assertEqual({fate for fate, _ in self.reports.fates.values()}, {Fate.SENT})
        self.assertEqual(self.reports.results[0].relay, f"mx2.dest.example[127.0.0.1]:{port}")

    async def test_first_host_hangs_up(self) -> None:
        """A host that closes the connection within the dialog keeps nothing: the next one gets the message."""
        server, port = await self.mail_server(Script())
        first, _ = await self.mail_server(Script(("DATA", Close())), "127.0.0.2", port)
        status = await self.deliver(f"dest.example:{port}", ["a@dest.example"], servers=[await self.name_server(ZONE)])
        self.assertEqual(status, FinalStatus(True))
        self.assertEqual((len(first.messages), len(server.messages)), (0, 1))
        self.assertEqual(
            self.log, ["4Abc12: lost connection with mx1.dest.example[127.0.0.2] while sending DATA command"]
        )

    async def test_no_host_is_left(self) -> None:
        """When all hosts send us away for now, the last one's words are the reason, and the destination is held back."""
        _, port = await self.mail_server(Script((CONNECT, "421 4.3.2 not now")))
        await self.mail_server(Script((CONNECT, "554 5.7.1 go away")), "127.0.0.2", port)
        status = await self.deliver(f"dest.example:{port}", ["a@dest.example"], servers=[await self.name_server(ZONE)])
        self.assertFalse(status.complete)
        self.assertEqual(self.reports.fates, {"a@dest.example": (Fate.DEFERRED, "4.3.2")})
        assert status.hop_status is not None
        self.assertEqual(
            status.hop_status.reason, "host mx2.dest.example[127.0.0.1] refused to talk to me: 421 4.3.2 not now"
        )
