"""Ways that mail takes, and who hears of it, with Postfix's own qmgr, cleanup, bounce, error and discard around."""

import subprocess

from tests.interop.case import InteropCase, message
from tests.kit.postfix import delivery_status

PROHIBITED = "203.0.113.130"
UNREACHABLE = "203.0.113.5"
OURS = "192.0.2.50"


class NetworkTests(InteropCase):
    """Hosts with several addresses, and networks in which something is wrong."""

    def arrange(self, what: str, entry: str) -> None:
        """Add an address or a route, for this test."""
        subprocess.run(["ip", what, "add", *entry.split()], check=True)
        self.addCleanup(subprocess.run, ["ip", what, "del", *entry.removesuffix(" nodad").split()], check=True)

    async def test_networks_that_cannot_be_reached(self) -> None:
        """An unreachable and a prohibited network, a port without a server: each told in the words of the system."""
        self.arrange("route", f"prohibit {PROHIBITED}/32")
        hosts = [UNREACHABLE, PROHIBITED, "192.0.2.9", "192.0.2.1"]
        zone = {f"mx{number}.dest.example": {"A": [address]} for number, address in enumerate(hosts)}
        zone["dest.example"] = {"MX": [f"{number} mx{number}.dest.example" for number in range(len(hosts))]}
        self.name_server(zone)
        server = await self.server("192.0.2.1")
        await self.begin(routes={})
        await self.postfix.submit("s@sender.example", ["r@dest.example"], message())
        await server.until(lambda: bool(server.messages))
        await self.postfix.settle()
        for number, problem in enumerate(["No route to host", "Permission denied", "Connection refused"]):
            line = f"connect to mx{number}.dest.example[{hosts[number]}]:25: {problem}"
            self.assertEqual(len(self.postfix.log(line)), 1, line)
        self.assertTrue(self.postfix.log("relay=mx3.dest.example[192.0.2.1]:25", "status=sent"))

    async def test_families_and_local_addresses(self) -> None:
        """Both families in the order that is preferred, each from the local address that is set for it."""
        self.name_server(
            {
                "dest.example": {"MX": ["10 mx.dest.example"]},
                "mx.dest.example": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
            }
        )
        for address in ("2001:db8::1", "2001:db8::7"):
            self.arrange("address", f"{address}/128 dev lo nodad")
        old = await self.server("192.0.2.1")
        new = await self.server("2001:db8::1", ("MAIL", "450 4.3.0 later"))
        settings = {
            "smtp_address_preference": "ipv6",
            "smtp_bind_address": "192.0.2.33",
            "smtp_bind_address6": "[2001:db8::7]",
        }
        await self.begin(settings, routes={})
        await self.postfix.submit("s@sender.example", ["r@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual([session.peer for session in new.sessions], ["2001:db8::7"])
        self.assertEqual([session.peer for session in old.sessions], ["192.0.2.33"])
        self.assertTrue(self.postfix.log("relay=mx.dest.example[192.0.2.1]:25", "status=sent"))


class LoopTests(InteropCase):
    """Mail whose best mail exchanger is this machine."""

    async def begin_with(self, transport: str) -> None:
        """Start with best_mx_transport."""
        self.name_server({"dest.example": {"MX": ["10 mx.dest.example"]}, "mx.dest.example": {"A": [OURS]}})
        await self.begin({"proxy_interfaces": OURS, "best_mx_transport": transport}, routes={})

    async def test_taken_over(self) -> None:
        """Another transport takes it over; what that has done is not done again."""
        await self.begin_with("discard:silently")
        await self.postfix.submit("s@sender.example", ["a@dest.example", "b@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual(len(self.postfix.log("passing <", "> to transport=discard")), 2)
        self.assertEqual(len(self.postfix.log("postfix/discard", "status=sent (silently)")), 2)
        self.assertEqual(await self.postfix.queue(), [])
        self.assertEqual(self.postfix.reports(), [])

    async def test_returned_by_the_other(self) -> None:
        """Its words stand in the report."""
        await self.begin_with("error:5.7.1 we do not want that")
        await self.postfix.submit("s@sender.example", ["a@dest.example"], message())
        await self.postfix.settle()
        (report,) = self.postfix.reports()
        _, recipient = delivery_status(report)
        self.assertEqual((recipient["Final-Recipient"], recipient["Status"]), ("rfc822; a@dest.example", "5.7.1"))
        self.assertIn("we do not want that", recipient["Diagnostic-Code"])

    async def test_deferred_by_the_other(self) -> None:
        """Mail that the other transport defers stays in the queue, and is passed on again."""
        await self.begin_with("retry:4.7.1 not now")
        await self.postfix.submit("s@sender.example", ["a@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual((await self.only_queued()).recipients, {"a@dest.example": "not now"})
        await self.postfix.flush()
        await self.postfix.settle()
        self.assertEqual(len(self.postfix.log("passing <a@dest.example> to transport=retry")), 2)


class NoticeTests(InteropCase):
    """Notices to the postmaster, by way of cleanup(8)."""

    async def test_notice(self) -> None:
        """The transcript of a session with a server that does not understand us."""
        await self.server("192.0.2.1", ("RCPT", "501 5.1.3 bad syntax"))
        settings = {"notify_classes": "protocol", "error_notice_recipient": "postmaster@origin.example"}
        await self.begin(settings)
        await self.postfix.submit("s@sender.example", ["r@dest.example"], message())
        await self.postfix.wait_for(lambda: len(self.postfix.reports()) == 2, "no notice")
        await self.postfix.settle()
        (notice,) = [report for report in self.postfix.reports() if "errors from" in report["Subject"]]
        self.assertEqual(notice["Subject"], "Postfix SMTP client: errors from 192.0.2.1[192.0.2.1]:25")
        self.assertEqual(notice["To"], "Postmaster <postmaster@origin.example>")
        self.assertEqual(notice["Return-Path"], "<double-bounce@client.example.com>")
        text = notice.get_content()
        self.assertIn("\n Out: MAIL FROM:<s@sender.example>", text)
        self.assertIn("\n In:  501 5.1.3 bad syntax\n", text)

    async def test_no_notice_of_a_notice(self) -> None:
        """Nothing comes of notices that cannot be delivered."""
        await self.server("192.0.2.1", ("RCPT", "501 5.1.3 bad syntax"))
        await self.begin({"notify_classes": "protocol", "error_notice_recipient": "someone@dest.example"})
        await self.postfix.submit("s@sender.example", ["r@dest.example"], message())
        await self.postfix.settle()
        self.assertEqual(len(self.postfix.log("from=<double-bounce@client.example.com>")), 1)
        self.assertEqual(await self.postfix.queue(), [])


class FilterTests(InteropCase):
    """Tables that change what is reported."""

    async def test_delivery_status_filter(self) -> None:
        """A bounce becomes a deferral, and the queue shows the new reason."""
        await self.server("192.0.2.1", ("RCPT", "550 5.1.1 no such user"))
        await self.begin({"smtp_delivery_status_filter": "pcre:{{/^5\\.1\\.1 (.*)/ 4.1.1 perhaps later: $$1}}"})
        await self.postfix.submit("s@sender.example", ["r@dest.example"], message())
        await self.postfix.settle()
        (reason,) = (await self.only_queued()).recipients.values()
        self.assertTrue(reason.startswith("perhaps later: host 192.0.2.1[192.0.2.1] said: 550 5.1.1"), reason)
