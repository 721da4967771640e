"""Delivery to servers that other people wrote: Postfix, Exim, OpenSMTPD, aiosmtpd, and smtp-sink with its faults."""

import base64
import email
from dataclasses import dataclass
from pathlib import Path

from twisted.internet import reactor

from tests.interop.case import InteropCase, message
from tests.interop.servers import (
    NO_AIOSMTPD,
    NO_EXIM,
    NO_OPENSMTPD,
    NO_SMTP_SINK,
    Exim,
    OpenSmtpd,
    start_aiosmtpd,
    start_smtp_sink,
)
from tests.kit.postfix import MASTER_CF, Postfix, delivery_status

SENDER = "sender@sender.example"
SERVER = "192.0.2.1"

DOTS = ".one dot\n..two dots\n.\n.\n\nlast\n"
LONG = "".join(f"{number:06d}" for number in range(150)) + "\n"
EIGHT_BIT = "Gr\u00fc\u00dfe \u65e5\u672c\n"
BODY = DOTS + LONG + EIGHT_BIT
"""What a server gets wrong if the client does."""


def eight_bit(body: str = BODY) -> bytes:
    """A message whose body is UTF-8."""
    header = f"From: {SENDER}\nTo: one@dest.example\nSubject: hello\nMIME-Version: 1.0\n"
    kind = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
    return f"{header}{kind}\n{body}".encode()


MULTIPART = f"""\
From: {SENDER}
To: one@dest.example
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 8bit

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

{EIGHT_BIT}{DOTS}{LONG}blanks at the end \t
--b
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Subject: attached
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

=3D {EIGHT_BIT}
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

{base64.encodebytes(bytes(range(256))).decode()}
--b--
""".encode()
"""Text, an attached message, and something that is 7bit already."""


def texts(content: bytes) -> list[bytes]:
    """What Python's email package reads in the leaves of a message."""
    leaves = (part for part in email.message_from_bytes(content).walk() if not part.is_multipart())
    return [payload for leaf in leaves if isinstance(payload := leaf.get_payload(decode=True), bytes)]


def stored(maildir: Path) -> list[bytes]:
    """The bodies of the messages in a maildir."""
    return [path.read_bytes().partition(b"\n\n")[2] for path in sorted((maildir / "new").iterdir())]


class PostfixServerTests(InteropCase):
    """A second Postfix is the mail exchanger, in whose maildir the mail for dest.example ends."""

    async def begin_with_server(self, **settings: str) -> Postfix:
        """Start both; returns the server."""
        await self.begin()
        server = Postfix(self.directory / "mx", reactor)
        server.directory.mkdir()
        server.create(
            {
                "myhostname": "mx.dest.example",
                "virtual_mailbox_domains": "dest.example, sender.example",
                "smtpd_relay_restrictions": "reject_unauth_destination",
                **settings,
            }
        )
        server.write("master.cf", MASTER_CF.replace("127.0.0.1:10025", f"{SERVER}:25"))
        self.addCleanup(server.stop)
        await server.start()
        return server

    async def test_content(self) -> None:
        """Dots, long lines and UTF-8 arrive as they were."""
        server = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example"], eight_bit())
        await self.postfix.settle()
        await server.settle()
        (content,) = stored(server.directory / "sink" / "reports")
        self.assertEqual(content.decode(), BODY)
        self.assertEqual(len(self.postfix.log(f"relay={SERVER}[{SERVER}]:25", "dsn=2.0.0, status=sent")), 1)

    async def test_conversion(self) -> None:
        """A server that takes 7bit only gets 7bit only, which says the same."""
        server = await self.begin_with_server(smtpd_discard_ehlo_keywords="8bitmime, smtputf8")
        await self.postfix.submit(SENDER, ["one@dest.example"], MULTIPART)
        await self.postfix.settle()
        await server.settle()
        (path,) = (server.directory / "sink" / "reports" / "new").iterdir()
        content = path.read_bytes()
        self.assertTrue(content.isascii())
        self.assertIn(b"\nContent-Transfer-Encoding: quoted-printable\n", content)
        self.assertEqual(texts(content), texts(MULTIPART))
        self.assertEqual(len(texts(content)), 3)

    async def test_mixed_fates(self) -> None:
        """One transaction with recipients that are taken, refused and put off."""
        server = await self.begin_with_server(
            smtpd_recipient_restrictions="check_recipient_access inline:{"
            " { no@dest.example = 550 5.1.1 not here } { later@dest.example = 450 4.2.1 not now } },"
            " reject_unauth_destination"
        )
        names = ["one", "no", "two", "later", "three"]
        await self.postfix.submit(SENDER, [f"{name}@dest.example" for name in names], message())
        await self.postfix.settle()
        await server.settle()
        sent = self.postfix.log("status=sent", "dest.example", f"relay={SERVER}")
        self.assertEqual(len(sent), 3)
        (report,) = self.postfix.reports()
        fields = delivery_status(report)[1]
        self.assertEqual(fields["Status"], "5.1.1")
        diagnostic = " ".join(fields["Diagnostic-Code"].split())
        self.assertEqual(diagnostic, "smtp; 550 5.1.1 <no@dest.example>: Recipient address rejected: not here")
        self.assertEqual(list((await self.only_queued()).recipients), ["later@dest.example"])

    async def test_many_recipients(self) -> None:
        """More commands than fit into one group; the server counts one transaction, and every recipient."""
        server = await self.begin_with_server()
        recipients = [f"user-with-a-long-name-{number}@dest.example" for number in range(150)]
        await self.postfix.submit(SENDER, recipients, message())
        await self.postfix.settle()
        await server.settle()
        self.assertEqual(len(self.postfix.log("dsn=2.0.0, status=sent", f"relay={SERVER}")), 150)
        # The queue manager makes several requests of so many (default_destination_recipient_limit).
        self.assertEqual(len(server.log("smtpd", "client=")), 3)
        self.assertEqual(server.log("smtpd", "warning"), [])

    async def test_success_report_is_left_to_the_server(self) -> None:
        """The server knows DSN: NOTIFY, ORCPT, RET and ENVID go there, and it makes the report (RFC 3461)."""
        server = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example"], message(), "-N", "success", "-V", "id 1")
        await self.postfix.settle()
        await server.settle()
        self.assertEqual(self.postfix.reports(), [])
        _, report = server.reports()
        per_message, fields = delivery_status(report)
        self.assertEqual(per_message["Original-Envelope-Id"], "id 1")
        self.assertEqual(per_message["Reporting-MTA"], "dns; mx.dest.example")
        self.assertEqual(fields["Original-Recipient"], "rfc822;one@dest.example")
        self.assertEqual(fields["Action"], "delivered")

    async def test_too_large(self) -> None:
        """SIZE tells that the message is too large, so it does not even travel (RFC 1870)."""
        server = await self.begin_with_server(message_size_limit="20000", virtual_mailbox_limit="0")
        await self.postfix.submit(SENDER, ["one@dest.example"], message(body="x" * 70 + "\n" + "y\n" * 20000))
        await self.postfix.settle()
        (report,) = self.postfix.reports()
        fields = delivery_status(report)[1]
        self.assertEqual(fields["Status"], "5.3.4")
        self.assertEqual(server.log("smtpd", "client="), [])

    async def test_international_sender(self) -> None:
        """An address that is not ASCII needs SMTPUTF8, which this server has (RFC 6531)."""
        server = await self.begin_with_server(smtputf8_enable="yes")
        await self.postfix.submit("s\u00e4nder@sender.example", ["\u00e4mpf\u00e4nger@dest.example"], eight_bit())
        await self.postfix.settle()
        await server.settle()
        self.assertEqual(len(server.log("to=<\u00e4mpf\u00e4nger@dest.example>", "status=sent")), 1)

    async def test_early_talker_filter(self) -> None:
        """A server that is strict about pipelining finds nothing to complain of."""
        server = await self.begin_with_server(
            smtpd_data_restrictions="reject_unauth_pipelining",
            smtpd_client_restrictions="sleep 1, reject_unauth_pipelining",
            smtpd_helo_required="yes",
            strict_rfc821_envelopes="yes",
            smtpd_forbid_bare_newline="yes",
        )
        await self.postfix.submit(SENDER, ["one@dest.example"], message())
        await self.postfix.settle()
        await server.settle()
        self.assertEqual(len(server.log("to=<one@dest.example>", "status=sent")), 1)


class EximTests(InteropCase):
    """Exim is the mail exchanger."""

    if not InteropCase.skip and NO_EXIM:
        skip = NO_EXIM

    async def begin_with_server(self) -> Exim:
        """Start both; returns the server."""
        await self.begin()
        exim = Exim(self, SERVER)
        await exim.start()
        return exim

    async def test_content(self) -> None:
        """Dots, long lines and UTF-8 arrive as they were."""
        exim = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example", "two@dest.example"], eight_bit())
        await self.postfix.settle()
        (body,) = exim.bodies()
        self.assertEqual(body.decode(), BODY)
        (envelope,) = exim.envelopes()
        self.assertIn(f"\n<{SENDER}>\n", envelope)
        self.assertIn("\n--helo_name client.example.com\n", envelope)
        self.assertIn("\none@dest.example", envelope)
        self.assertIn("\ntwo@dest.example", envelope)
        self.assertEqual(len(self.postfix.log("status=sent (250 OK id=")), 2)

    async def test_mixed_fates(self) -> None:
        """Exim has no enhanced status codes: they are made from the replies (RFC 2034)."""
        exim = await self.begin_with_server()
        await self.postfix.submit(
            SENDER, ["unknown@dest.example", "one@dest.example", "full@dest.example"], message(body="text\n")
        )
        await self.postfix.settle()
        self.assertEqual(exim.bodies(), [b"text\n"])
        (report,) = self.postfix.reports()
        fields = delivery_status(report)[1]
        self.assertEqual(fields["Status"], "5.0.0")
        self.assertEqual(fields["Diagnostic-Code"], "smtp; 550 no such user here")
        (reason,) = (await self.only_queued()).recipients.values()
        self.assertIn("said: 451 mailbox is full (in reply to RCPT TO command)", reason)

    async def test_all_refused(self) -> None:
        """Where nobody is taken, Exim has a word of its own for DATA."""
        exim = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["unknown@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual(exim.bodies(), [])
        self.assertEqual(len(self.postfix.log("dsn=5.0.0, status=bounced")), 1)

    async def test_report_by_the_server(self) -> None:
        """The DSN parameters of RFC 3461 are understood."""
        exim = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example"], message(), "-N", "success", "-V", "id 1", "-R", "hdrs")
        await self.postfix.settle()
        (envelope,) = exim.envelopes()
        self.assertIn("\n-dsn_envid id+201\n", envelope)
        self.assertIn("\n-dsn_ret ", envelope)
        self.assertIn("rfc822;one@dest.example", envelope)

    async def test_too_large(self) -> None:
        """The limit that EHLO told is kept to."""
        exim = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example"], message(body="a line of text\n" * 100_000))
        await self.postfix.settle()
        self.assertEqual(exim.bodies(), [])
        self.assertEqual(len(self.postfix.log("dsn=5.3.4, status=bounced (message size ")), 1)


class OpenSmtpdTests(InteropCase):
    """OpenSMTPD is the mail exchanger: no pipelining, no SMTPUTF8."""

    if not InteropCase.skip and NO_OPENSMTPD:
        skip = NO_OPENSMTPD

    async def begin_with_server(self) -> OpenSmtpd:
        """Start both; returns the server."""
        await self.begin()
        server = OpenSmtpd(self, SERVER)
        await server.start()
        return server

    async def test_content(self) -> None:
        """Dots, long lines and UTF-8 arrive as they were, for both recipients."""
        server = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example", "two@dest.example"], eight_bit())
        await self.postfix.settle()
        first, second = await server.messages(2)
        for content in (first, second):
            self.assertEqual(content.partition(b"\n\n")[2].decode(), BODY)
            self.assertTrue(content.startswith(f"Return-Path: <{SENDER}>\n".encode()))
        self.assertEqual(len(self.postfix.log("dsn=2.0.0, status=sent (250 2.0.0 ")), 2)

    async def test_mixed_fates(self) -> None:
        """A recipient that is taken, one that nobody knows, and one whose mailbox is full."""
        server = await self.begin_with_server()
        names = ["one@dest.example", "unknown@dest.example", "full@dest.example"]
        await self.postfix.submit(SENDER, names, message(body="text\n"))
        await self.postfix.settle()
        (content,) = await server.messages(1)
        self.assertTrue(content.endswith(b"\n\ntext\n"))
        (report,) = self.postfix.reports()
        fields = delivery_status(report)[1]
        self.assertEqual(fields["Final-Recipient"], "rfc822; unknown@dest.example")
        diagnostic = " ".join(fields["Diagnostic-Code"].split())
        self.assertEqual(diagnostic, "smtp; 524 5.2.4 Mailing list expansion problem: <unknown@dest.example>")
        (reason,) = (await self.only_queued()).recipients.values()
        self.assertIn("said: 450 4.2.2 mailbox is full (in reply to RCPT TO command)", reason)

    async def test_report_by_the_server(self) -> None:
        """It knows DSN, so the report of success is its to make: there is none from here (RFC 3461)."""
        server = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example"], message(), "-N", "success", "-V", "id 1", "-R", "hdrs")
        await self.postfix.settle()
        await server.messages(1)
        self.assertEqual(self.postfix.reports(), [])
        self.assertEqual(len(self.postfix.log("status=sent (250 2.0.0 ")), 1)

    async def test_too_large(self) -> None:
        """The limit that EHLO told is kept to."""
        server = await self.begin_with_server()
        await self.postfix.submit(SENDER, ["one@dest.example"], message(body="a line of text\n" * 100_000))
        await self.postfix.settle()
        self.assertEqual([*server.maildir.iterdir()], [])
        self.assertEqual(len(self.postfix.log("dsn=5.3.4, status=bounced (message size ")), 1)


class AiosmtpdTests(InteropCase):
    """aiosmtpd is the mail exchanger: no pipelining, no enhanced codes."""

    if not InteropCase.skip and NO_AIOSMTPD:
        skip = NO_AIOSMTPD

    async def test_content(self) -> None:
        """Dots, long lines and UTF-8 arrive as they were."""
        await self.begin()
        maildir = await start_aiosmtpd(self, SERVER)
        await self.postfix.submit(SENDER, ["one@dest.example"], eight_bit())
        await self.postfix.settle()
        (content,) = stored(maildir)
        self.assertEqual(content.decode(), BODY)
        self.assertEqual(len(self.postfix.log("dsn=2.0.0, status=sent (250 OK)")), 1)

    async def test_needs_smtputf8(self) -> None:
        """Without SMTPUTF8 a message that needs it is returned (RFC 6531 section 3.2); with it, delivered."""
        await self.begin(routes={"dest.example": f"[{SERVER}]", "utf8.example": "[192.0.2.2]"})
        await start_aiosmtpd(self, SERVER)
        await self.postfix.submit("s\u00e4nder@sender.example", ["one@dest.example"], eight_bit())
        await self.postfix.settle()
        reason = f"(SMTPUTF8 is required, but was not offered by host {SERVER}[{SERVER}])"
        self.assertEqual(len(self.postfix.log(f"dsn=5.6.7, status=bounced {reason}")), 1)
        maildir = self.directory / "aiosmtpd"
        self.assertEqual([*(maildir / "new").iterdir()] if maildir.exists() else [], [])
        maildir = await start_aiosmtpd(self, "192.0.2.2", "--smtputf8")
        await self.postfix.submit("s\u00e4nder@sender.example", ["one@utf8.example"], eight_bit())
        await self.postfix.settle()
        (content,) = stored(maildir)
        self.assertEqual(content.decode(), BODY)


@dataclass(frozen=True, slots=True)
class Fault:
    """What smtp-sink does wrong, and what becomes of the mail.

    Attributes:
        options: its command line.
        outcome: what stands in the log of the recipient.
    """

    options: str
    outcome: str


def _hard(command: str, said: str = "500 5.3.0 Error: command failed") -> str:
    return f"dsn=5.3.0, status=bounced (host NAMADDR said: {said} (in reply to {command} command))"


def _soft(command: str, said: str = "450 4.3.0 Error: command failed") -> str:
    return f"dsn=4.3.0, status=deferred (host NAMADDR said: {said} (in reply to {command} command))"


def _lost(doing: str) -> str:
    return f"dsn=4.4.2, status=deferred (lost connection with NAMADDR while {doing})"


SENT = "dsn=2.0.0, status=sent (250 2.0.0 Ok)"

FAULTS = (
    Fault("", SENT),
    Fault("-p", SENT),
    Fault("-e", SENT),
    Fault("-8 -a -C -E -F -N", SENT),
    Fault("-P", SENT),
    Fault("-f EHLO", SENT),
    Fault("-f MAIL", _hard("MAIL FROM")),
    Fault("-f RCPT", _hard("RCPT TO")),
    Fault("-f DATA", _hard("DATA")),
    Fault("-f .", _hard("end of DATA")),
    Fault("-f QUIT", SENT),
    Fault(
        "-f CONNECT", "dsn=4.3.0, status=deferred (host NAMADDR refused to talk to me: 500 5.3.0 Error: command failed)"
    ),
    Fault("-r EHLO", SENT),
    Fault("-r MAIL", _soft("MAIL FROM")),
    Fault("-r RCPT", _soft("RCPT TO")),
    Fault("-r DATA", _soft("DATA")),
    Fault("-r .", _soft("end of DATA")),
    Fault(
        "-r CONNECT", "dsn=4.3.0, status=deferred (host NAMADDR refused to talk to me: 450 4.3.0 Error: command failed)"
    ),
    Fault(
        "-r EHLO,HELO",
        "dsn=4.3.0, status=deferred (host NAMADDR refused to talk to me: 450 4.3.0 Error: command failed)",
    ),
    Fault("-q CONNECT", _lost("receiving the initial server greeting")),
    Fault("-q EHLO", _lost("performing the EHLO handshake")),
    Fault("-q MAIL", _lost("sending MAIL FROM")),
    Fault("-q RCPT", _lost("sending RCPT TO")),
    Fault("-q DATA", _lost("sending DATA command")),
    Fault("-q .", _lost("sending end of data -- message may be sent more than once")),
    Fault("-q QUIT", SENT),
    Fault("-Q MAIL", "dsn=4.0.0, status=deferred (host NAMADDR said: 421 "),
    Fault("-Q RCPT", "dsn=4.0.0, status=deferred (host NAMADDR said: 421 "),
    Fault("-Q DATA", "dsn=4.0.0, status=deferred (host NAMADDR said: 421 "),
    Fault("-Q EHLO", "dsn=4.0.0, status=deferred (host NAMADDR refused to talk to me: 421 "),
    Fault("-W DATA:1", SENT),
    Fault("-W .:1 -p", SENT),
    Fault("-w 1", SENT),
)
"""One server each."""


class SmtpSinkTests(InteropCase):
    """smtp-sink with each of its faults, all at once."""

    if not InteropCase.skip and NO_SMTP_SINK:
        skip = NO_SMTP_SINK

    async def test_faults(self) -> None:
        """Each fault has the outcome that Postfix gives it."""
        hosts = {f"fault{number}.example": f"192.0.2.{number + 10}" for number in range(len(FAULTS))}
        await self.begin(
            {"smtp_pix_workarounds": "disable_esmtp"},
            routes={domain: f"[{address}]" for domain, address in hosts.items()},
        )
        for fault, address in zip(FAULTS, hosts.values(), strict=True):
            await start_smtp_sink(self, address, *fault.options.split())
        for domain in hosts:
            await self.postfix.submit(SENDER, [f"user@{domain}"], message(body="x\n" * 100))
        await self.postfix.settle()
        for fault, (domain, address) in zip(FAULTS, hosts.items(), strict=True):
            lines = self.postfix.log(f"to=<user@{domain}>", "status=")
            expected = fault.outcome.replace("NAMADDR", f"{address}[{address}]")
            self.assertEqual(len(lines), 1, fault)
            self.assertIn(expected, lines[0], fault.options)
