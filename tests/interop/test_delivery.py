"""Ordinary deliveries, refusals and broken connections."""

import random

from tests.interop.case import InteropCase, message
from tests.kit.postfix import delivery_status
from tests.kit.script import BODY, END_OF_DATA, After, Close, Reset

SENDER = "sender@sender.example"


class DeliveryTests(InteropCase):
    """One server, 192.0.2.1, for all mail."""

    async def test_second_mail_exchanger(self) -> None:
        """The best mail exchanger refuses the connection: both recipients get the message through the second."""
        self.name_server(
            {
                "dest.example": {"MX": ["10 mx1.dest.example", "20 mx2.dest.example"]},
                "mx1.dest.example": {"A": ["192.0.2.1"]},
                "mx2.dest.example": {"A": ["192.0.2.2"]},
            }
        )
        server = await self.server("192.0.2.2")
        await self.begin(routes={})
        await self.postfix.submit(SENDER, ["one@dest.example", "two@dest.example"], message())
        await self.postfix.settle()
        (delivered,) = server.messages
        self.assertEqual(
            {name.split()[0] for name in delivered.recipients}, {"<one@dest.example>", "<two@dest.example>"}
        )
        self.assertEqual(len(self.postfix.log("connect to mx1.dest.example[192.0.2.1]:25: Connection refused")), 1)
        self.assertEqual(len(self.postfix.log("relay=mx2.dest.example[192.0.2.2]:25", "dsn=2.0.0, status=sent")), 2)
        self.assertEqual(await self.postfix.queue(), [])

    async def test_refused_recipient(self) -> None:
        """A 550 for one of three recipients: the others get the message, the sender a report about the one."""
        server = await self.server("192.0.2.1", ("RCPT TO:<bad@", "550 5.1.1 <bad@dest.example> no such user here"))
        await self.begin()
        await self.postfix.submit(SENDER, [f"{name}@dest.example" for name in ("good", "bad", "better")], message())
        await self.postfix.settle()
        (delivered,) = server.messages
        self.assertEqual(
            {name.split()[0] for name in delivered.recipients}, {"<good@dest.example>", "<better@dest.example>"}
        )
        (report,) = self.postfix.reports()
        self.assertEqual(report["To"], SENDER)
        per_message, *per_recipient = delivery_status(report)
        self.assertEqual(per_message["Reporting-MTA"], "dns; client.example.com")
        self.assertEqual(len(per_recipient), 1)
        (fields,) = per_recipient
        self.assertEqual(fields["Final-Recipient"], "rfc822; bad@dest.example")
        self.assertEqual(fields["Original-Recipient"], "rfc822;bad@dest.example")
        self.assertEqual(fields["Action"], "failed")
        self.assertEqual(fields["Status"], "5.1.1")
        self.assertEqual(fields["Remote-MTA"], "dns; 192.0.2.1")
        self.assertEqual(fields["Diagnostic-Code"], "smtp; 550 5.1.1 <bad@dest.example> no such user here")
        self.assertEqual(await self.postfix.queue(), [])

    async def test_deferred_then_flushed(self) -> None:
        """A 451 leaves the message in the queue, where postqueue shows why; a later flush delivers it."""
        server = await self.server("192.0.2.1", ("RCPT", "451 4.3.0 Try again later", None))
        await self.begin()
        await self.postfix.submit(SENDER, ["user@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual(server.messages, [])
        _, shown = await self.postfix.run("postqueue", "-p")
        reason = "(host 192.0.2.1[192.0.2.1] said: 451 4.3.0 Try again later (in reply to RCPT TO command))"
        self.assertIn(reason, shown)
        self.assertEqual((await self.only_queued()).recipients, {"user@dest.example": reason[1:-1]})
        await self.postfix.flush()
        await server.until(lambda: len(server.messages) == 1)
        await self.postfix.settle()
        self.assertEqual(await self.postfix.queue(), [])
        self.assertEqual(self.postfix.reports(), [])

    async def test_connection_lost_before_final_dot(self) -> None:
        """A connection that breaks within the content: deferred with 4.4.2, delivered once at the next try."""
        server = await self.server("192.0.2.1", (BODY, After(300_000, Reset()), None))
        await self.begin()
        await self.postfix.submit(SENDER, ["user@dest.example"], message(body="0123456789\n" * 200_000))
        await self.postfix.settle()
        self.assertEqual(server.messages, [])
        self.assertLess(server.sessions[0].unfinished_octets, 2_000_000)
        self.assertEqual(
            len(self.postfix.log("dsn=4.4.2, status=deferred (lost connection with", "while sending message body")), 1
        )
        await self.postfix.flush()
        await server.until(lambda: len(server.messages) == 1)
        await self.postfix.settle()
        self.assertEqual(len(server.messages), 1)
        self.assertTrue(server.messages[0].content.endswith(b"\r\n\r\n" + b"0123456789\r\n" * 200_000))

    async def test_connection_lost_after_final_dot(self) -> None:
        """A connection that breaks before the reply to the final dot: deferred, as the server may not have taken it."""
        server = await self.server("192.0.2.1", (END_OF_DATA, Close(), None))
        await self.begin()
        await self.postfix.submit(SENDER, ["user@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual(len(server.sessions[0].messages), 1)
        reason = "while sending end of data -- message may be sent more than once"
        self.assertEqual(len(self.postfix.log("dsn=4.4.2, status=deferred (lost connection with", reason)), 1)
        await self.postfix.flush()
        await server.until(lambda: len(server.messages) == 1)
        await self.postfix.settle()
        self.assertEqual(await self.postfix.queue(), [])

    async def test_large_message(self) -> None:
        """20 MB arrive to the last byte: dots in front of lines, empty lines and lines of every length included."""
        source = random.Random(20)
        letters = bytes(range(33, 127)) + b"." * 10
        lines = [
            bytes(source.choices(letters, k=length)) if length else b""
            for length in (source.choice((0, 1, 2, 76, 76, 500, 990)) for _ in range(900))
        ]
        lines += [b".", b"..", b".." + b"x" * 64]
        body = b""
        while len(body) < 20_000_000:
            source.shuffle(lines)
            body += b"\n".join(lines) + b"\n"
        server = await self.server("192.0.2.1")
        await self.begin()
        await self.postfix.submit(SENDER, ["user@dest.example"], message() + body)
        await server.until(lambda: len(server.messages) == 1)
        await self.postfix.settle()
        arrived = server.messages[0].content.partition(b"\r\n\r\n")[2]
        # Not assertEqual: its account of a difference in 20 MB would take minutes.
        self.assertTrue(arrived == b"text\r\n" + body.replace(b"\n", b"\r\n"), "the content has changed")
        self.assertEqual(await self.postfix.queue(), [])

    async def test_all_addresses_unreachable(self) -> None:
        """A network that cannot be reached defers the mail, with the system's reason."""
        await self.begin(routes={"dest.example": "[203.0.113.1]"})
        await self.postfix.submit(SENDER, ["user@dest.example"], message())
        await self.postfix.settle()
        (reason,) = (await self.only_queued()).recipients.values()
        self.assertEqual(reason, "connect to 203.0.113.1[203.0.113.1]:25: No route to host")
