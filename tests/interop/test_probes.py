"""Address probes and traces, with Postfix's own verify(8) and trace(8): what they learn, and that no mail is sent for it.

Sources: ADDRESS_VERIFICATION_README; sendmail(1), "-bv" and "-v"; verify(8); postconf(5) smtp_address_verify_target.
"""

import smtplib
from email.message import EmailMessage

from twisted.internet.threads import deferToThread

from tests.interop.case import InteropCase, message
from tests.kit.postfix import SMTPD_PORT, delivery_status
from tests.kit.script import CONNECT, Close

SENDER = "sender@sender.example"
FATES = (
    ("RCPT TO:<unknown@", "550 5.1.1 no such user"),
    ("RCPT TO:<later@", "450 4.2.0 not now"),
)
NAMES = ["known@dest.example", "unknown@dest.example", "later@dest.example"]


def actions(report: EmailMessage) -> dict[str, tuple[str, str]]:
    """What a report says of each recipient: action and status."""
    _, *recipients = delivery_status(report)
    return {
        fields["Final-Recipient"].removeprefix("rfc822; "): (fields["Action"], fields["Status"])
        for fields in recipients
    }


class ProbeTests(InteropCase):
    """One server, 192.0.2.1, that knows one user."""

    def rcpt(self, *recipients: str) -> list[tuple[int, str]]:
        """What smtpd(8) says to recipients; waits, so it is for a thread."""
        with smtplib.SMTP("127.0.0.1", SMTPD_PORT, timeout=30) as client:
            client.ehlo("tests.example")
            client.mail(SENDER)
            return [(code, text.decode()) for code, text in map(client.rcpt, recipients)]

    async def test_by_smtpd(self) -> None:
        """smtpd(8) asks verify(8), which has addresses probed; the answers are remembered."""
        server = await self.server("192.0.2.1", *FATES)
        await self.begin(
            {
                "smtpd_relay_restrictions": "reject_unverified_recipient, permit_mynetworks, reject",
                "unverified_recipient_reject_code": "550",
                "address_verify_poll_count": "10",
                "address_verify_poll_delay": "1s",
            }
        )
        for _ in range(2):
            (known, said), (unknown, why), (later, wait) = await deferToThread(self.rcpt, *NAMES)
            self.assertEqual((known, unknown, later), (250, 550, 450), (said, why, wait))
            self.assertIn("host 192.0.2.1[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)", why)
            self.assertIn("450 4.2.0 not now", wait)
        await self.postfix.settle()
        for word, count in (("deliverable (250 ", 1), ("undeliverable (host ", 2)):
            self.assertEqual(len(self.postfix.log("/smtp[", f"status={word}")), count)
        self.assertEqual(len(server.sessions), 3)
        self.assertEqual({session.commands[-2] for session in server.sessions}, {"RSET"})
        self.assertEqual(server.messages, [])
        self.assertEqual(await self.postfix.queue(), [])

    async def probe(self, **settings: str) -> set[str]:
        """Probe by ``sendmail -bv``; the verbs that the server has heard."""
        server = await self.server("192.0.2.1", *FATES)
        await self.begin(settings)
        await self.postfix.submit(SENDER, NAMES, message(), "-bv")
        await self.postfix.settle()
        await self.postfix.wait_for(self.postfix.reports, "no report")
        found = {name: fate for report in self.postfix.reports() for name, fate in actions(report).items()}
        self.assertEqual(found["known@dest.example"][0], "deliverable")
        self.assertEqual(found["unknown@dest.example"], ("undeliverable", "5.1.1"))
        self.assertEqual(found["later@dest.example"], ("undeliverable", "4.2.0"))
        self.assertEqual(server.messages, [])
        self.assertEqual(await self.postfix.queue(), [])
        return {command.split()[0] for session in server.sessions for command in session.commands}

    async def test_by_sendmail(self) -> None:
        """A report tells what would become of mail to each; nothing is sent, and nothing stays in the queue."""
        self.assertEqual(await self.probe(), {"EHLO", "MAIL", "RCPT", "RSET", "QUIT"})

    async def test_as_far_as_data(self) -> None:
        """With smtp_address_verify_target = data the server is asked whether it would take the content, and then left."""
        self.assertEqual(await self.probe(smtp_address_verify_target="data"), {"EHLO", "MAIL", "RCPT", "DATA"})

    async def test_host_is_down(self) -> None:
        """Where nobody can be asked, the probe says so."""
        await self.server("192.0.2.1", (CONNECT, Close("421 4.3.2 down")))
        await self.begin()
        await self.postfix.submit(SENDER, ["known@dest.example"], message(), "-bv")
        await self.postfix.settle()
        await self.postfix.wait_for(self.postfix.reports, "no report")
        (report,) = self.postfix.reports()
        self.assertEqual(actions(report), {"known@dest.example": ("undeliverable", "4.3.2")})

    async def test_trace(self) -> None:
        """With ``sendmail -v`` the mail is delivered, and a report tells how; what must wait is told as delayed."""
        server = await self.server("192.0.2.1", *FATES, keywords=("PIPELINING",))
        await self.begin()
        await self.postfix.submit(SENDER, NAMES, message(), "-v")
        await self.postfix.settle()
        await self.postfix.wait_for(lambda: len(self.postfix.reports()) >= 2, "no report")
        self.assertEqual(len(server.messages), 1)
        (trace,) = [report for report in self.postfix.reports() if "Delivery Status Report" in report["Subject"]]
        found = actions(trace)
        self.assertEqual(found["known@dest.example"], ("relayed", "2.0.0"))
        self.assertEqual(found["unknown@dest.example"], ("failed", "5.1.1"))
        self.assertEqual(found["later@dest.example"], ("delayed", "4.2.0"))
        text = trace.as_string()
        self.assertIn("delivery via 192.0.2.1[192.0.2.1]:25: 250 2.0.0 Ok: queued", " ".join(text.split()))
