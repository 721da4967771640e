"""What is sent arrives."""

import hashlib

from tests.kit.script import Script
from tests.scenarios.world import WorldTestCase
from twisted_mta.model.result import FinalStatus


class ContentTests(WorldTestCase):
    async def test_large_message(self) -> None:
        """A message of many pieces arrives whole, dots at the edges of pieces included."""
        message = b"Subject: large\n\n" + b"".join(b".%d\n" % number * 3 for number in range(300_000))
        server, port = await self.mail_server(Script())
        status = await self.deliver(f"[127.0.0.1]:{port}", ["a@dest.example"], message=message)
        self.assertEqual(status, FinalStatus(True))
        arrived = server.messages[0].content.replace(b"\r\n", b"\n")
        self.assertEqual(hashlib.sha256(arrived).digest(), hashlib.sha256(message).digest())

    async def test_no_end_of_data_is_smuggled(self) -> None:
        """Whatever stands in a message, the server sees one message, and none of the attacker's commands."""
        for trick in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r\n"):
            message = b"Subject: trick\n\nbefore" + trick + b"MAIL FROM:<evil@example>\nRCPT TO:<victim@example>\n"
            server, port = await self.mail_server(Script())
            status = await self.deliver(f"[127.0.0.1]:{port}", ["a@dest.example"], message=message)
            self.assertEqual(status, FinalStatus(True))
            self.assertEqual(len(server.messages), 1)
            self.assertIn(b"RCPT TO:<victim@example>\r\n", server.messages[0].content)

    async def test_log_in_the_order_of_the_message(self) -> None:
        """What checks say of a line, and that a line is broken, stands in the log as it comes in the message."""
        _, port = await self.mail_server(Script())
        message = b"Subject: first\nX-Long: " + b"x" * 2000 + b"\nX-Last: 1\n\nfirst\nlast\n"
        settings = {"smtp_header_checks": "static:WARN", "smtp_body_checks": "static:INFO"}
        await self.deliver(f"[127.0.0.1]:{port}", ["a@dest.example"], message=message, settings=settings)
        told = [
            line.partition(": ")[2] for line in self.log if "header" in line or "body" in line or "breaking" in line
        ]
        self.assertEqual(
            told,
            [
                "warning: header Subject: first",
                "warning: header X-Long: " + "x" * 192,
                "breaking line > 998 bytes with <CR><LF>SPACE",
                "warning: header X-Last: 1",
                "info: body first",
                "info: body last",
            ],
        )
