"""What each parameter of content does: a message that arrives otherwise without it.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
All run once more with LMTP, whose parameters have names of their own.
"""

import os

from tests.scenarios.parameters import ParameterTestCase
from twisted_mta.config.errors import ConfigError

EIGHT_BITS = b"Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n\xe4\n"
NESTED = b"""\
Subject: x
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

--outer
Content-Type: multipart/mixed; boundary="inner"

--inner
Content-Transfer-Encoding: 8bit

\xe4
--inner--
--outer--
"""
ATTACHED = b"""\
Subject: x
MIME-Version: 1.0
Content-Type: message/rfc822

Subject: attached

Hello.
"""
SEVEN_BIT_SERVER = ("PIPELINING", "SIZE 1000000")


class EffectTests(ParameterTestCase):
    """One test a parameter."""

    async def passed(self, message: bytes, encoding: str = "7bit", **settings: str) -> bytes:
        """What arrives of a message at a server without 8BITMIME."""
        await self.start(keywords=SEVEN_BIT_SERVER)
        self.assertEqual(await self.send(request={"message": message, "encoding": encoding}, **settings), "sent")
        return self.content

    async def recipient(self, address: str, sender: str = "sender@client.example", **settings: str) -> str:
        """What the server hears as the recipient."""
        await self.start(keywords=())
        self.assertEqual(await self.send(address, request={"sender": sender}, **settings), "sent")
        return self.command("RCPT").removeprefix("RCPT TO:")

    # ---- lines ----

    async def test_smtp_line_length_limit(self) -> None:
        """Longer lines are broken."""
        arrived = await self.passed(b"Subject: x\n\n" + b"a" * 30 + b"\n", smtp_line_length_limit="20")
        self.assertEqual(arrived, b"Subject: x\r\n\r\n" + b"a" * 20 + b"\r\n " + b"a" * 10 + b"\r\n")

    # ---- checks ----

    async def test_smtp_header_checks(self) -> None:
        """Headers of the message."""
        arrived = await self.passed(ATTACHED, smtp_header_checks="regexp:{{/^Subject/ IGNORE}}")
        self.assertEqual(arrived.count(b"Subject:"), 1)
        self.assertIn(b"Subject: attached", arrived)

    async def test_smtp_mime_header_checks(self) -> None:
        """MIME headers."""
        arrived = await self.passed(ATTACHED, smtp_mime_header_checks="regexp:{{/^Content-Type/ REPLACE X-Type: y}}")
        self.assertIn(b"X-Type: y\r\n", arrived)

    async def test_smtp_nested_header_checks(self) -> None:
        """Headers of attached messages."""
        arrived = await self.passed(ATTACHED, smtp_nested_header_checks="regexp:{{/^Subject/ REPLACE Subject: y}}")
        self.assertIn(b"\r\nSubject: y\r\n\r\nHello.", arrived)

    async def test_smtp_body_checks(self) -> None:
        """Lines of the body."""
        arrived = await self.passed(ATTACHED, smtp_body_checks="regexp:{{/^Hello/ REPLACE Good bye.}}")
        self.assertTrue(arrived.endswith(b"\r\nGood bye.\r\n"))

    async def test_header_size_limit(self) -> None:
        """More of a header is not looked at."""
        message = b"X-Long: " + b"a" * 100 + b"\n end\nSubject: x\n\n"
        settings = {"smtp_header_checks": "regexp:{{/end/ WARN}}", "header_size_limit": "50"}
        self.assertIn(b"Subject: x", await self.passed(message, **settings))
        self.assertEqual(self.log, [])

    async def test_daemon_table_open_error_is_fatal(self) -> None:
        """With yes, a table that is not there is found at the start, not when it is needed."""
        settings = {"smtp_header_checks": "texthash:/nonexistent/table", "daemon_table_open_error_is_fatal": "yes"}
        self.assertRaises(ConfigError, self.engine, **settings)

    # ---- conversion ----

    async def test_disable_mime_output_conversion(self) -> None:
        """With yes, eight bits are sent to every server."""
        arrived = await self.passed(EIGHT_BITS, "8bit", disable_mime_output_conversion="yes")
        self.assertEqual(arrived, EIGHT_BITS.replace(b"\n", b"\r\n"))

    async def test_mime_nesting_limit(self) -> None:
        """Messages that are deeper, and then some, are not converted, but returned."""
        await self.start(keywords=SEVEN_BIT_SERVER)
        parts = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(4))
        request = {"message": b"MIME-Version: 1.0\n" + parts, "encoding": "8bit"}
        self.assertIn("5.6.0 MIME nesting exceeds", await self.send(request=request, mime_nesting_limit="1"))

    async def test_mime_boundary_length_limit(self) -> None:
        """More of a boundary does not count."""
        message = NESTED.replace(b"--inner\n", b"--inne\xc3\n")
        self.assertIn(b"quoted-printable", await self.passed(message, "8bit", mime_boundary_length_limit="4"))

    # ---- addresses ----

    async def test_smtp_generic_maps(self) -> None:
        """In the envelope and in headers."""
        table = "inline:{ {sender@client.example=public@client.example} }"
        await self.start(keywords=())
        self.assertEqual(await self.send(smtp_generic_maps=table), "sent")
        self.assertEqual(self.command("MAIL"), "MAIL FROM:<public@client.example>")
        self.assertIn(b"From: public@client.example\r\n", self.content)

    async def test_recipient_delimiter(self) -> None:
        """An address is found without what follows it."""
        table = "inline:{ {a@dest.example=b@dest.example} }"
        found = await self.recipient("a+x@dest.example", smtp_generic_maps=table, recipient_delimiter="+")
        self.assertEqual(found, "<b@dest.example>")

    async def test_propagate_unmatched_extensions(self) -> None:
        """And what follows is added to what was found."""
        table = "inline:{ {a@dest.example=b@dest.example} }"
        settings = {"recipient_delimiter": "+", "propagate_unmatched_extensions": "generic"}
        found = await self.recipient("a+x@dest.example", smtp_generic_maps=table, **settings)
        self.assertEqual(found, "<b+x@dest.example>")

    async def test_owner_request_special(self) -> None:
        """With no, a hyphen parts the names of lists, too."""
        table = "inline:{ {owner@dest.example=b@dest.example} }"
        settings = {"recipient_delimiter": "-", "owner_request_special": "no"}
        found = await self.recipient("owner-list@dest.example", smtp_generic_maps=table, **settings)
        self.assertEqual(found, "<b@dest.example>")

    async def test_double_bounce_sender(self) -> None:
        """Its address has no extension."""
        table = "inline:{ {no@dest.example=b@dest.example} }"
        settings = {"recipient_delimiter": "-", "double_bounce_sender": "no-body"}
        found = await self.recipient("no-body@dest.example", smtp_generic_maps=table, **settings)
        self.assertEqual(found, "<no-body@dest.example>")

    async def test_mydestination(self) -> None:
        """Of domains that are ours the local part alone is found."""
        table = "inline:{ {a=b@dest.example} }"
        found = await self.recipient("a@own.example", smtp_generic_maps=table, mydestination="own.example")
        self.assertEqual(found, "<b@dest.example>")

    async def test_myorigin(self) -> None:
        """The domain of addresses that have none."""
        table = "inline:{ {a@dest.example=b} }"
        settings = {"smtp_generic_maps": table, "myorigin": "origin.example"}
        self.assertEqual(await self.recipient("a@dest.example", **settings), "<b@origin.example>")

    async def test_mydomain(self) -> None:
        """The domain of hosts that are not named in full, if that is wanted."""
        table = "inline:{ {a@dest.example=b@host} }"
        settings = {"smtp_generic_maps": table, "mydomain": "our.example", "append_dot_mydomain": "yes"}
        self.assertEqual(await self.recipient("a@dest.example", **settings), "<b@host.our.example>")

    # ---- names ----

    async def test_myhostname(self) -> None:
        """We go by it."""
        await self.start()
        self.assertEqual(await self.send(myhostname="name.example"), "sent")
        self.assertTrue(self.said[0].endswith(" name.example"))

    async def test_service_name(self) -> None:
        """Parameters may refer to it."""
        await self.start()
        self.assertEqual(await self.send(smtp_helo_name="$service_name.example"), "sent")
        self.assertTrue(self.said[0].endswith(f" {self.protocol}.example"))

    async def test_process_name(self) -> None:
        """And to the program."""
        await self.start()
        self.assertEqual(await self.send(smtp_helo_name="$process_name.example"), "sent")
        self.assertTrue(self.said[0].endswith(f" {self.protocol}.example"))

    async def test_process_id(self) -> None:
        """And to the process."""
        await self.start()
        self.assertEqual(await self.send(smtp_helo_name="p$process_id.example"), "sent")
        self.assertTrue(self.said[0].endswith(f" p{os.getpid()}.example"))


class LmtpEffectTests(EffectTests):
    """The same by LMTP."""

    protocol = "lmtp"
