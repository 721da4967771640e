"""What each parameter of the dialog itself does: names, keywords, workarounds, replies.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
All run once more with LMTP, whose parameters have names of their own.
"""

from typing import Any

from tests.kit.script import CONNECT, END_OF_DATA, Late
from tests.scenarios.parameters import HOST, ParameterTestCase
from tests.scenarios.world import reactor
from twisted_mta.assembly import now_microseconds
from twisted_mta.delivery.connecting import ClientTransport
from twisted_mta.model.request import LogClient, MessageStats, RequestFlags
from twisted_mta.model.result import Fate

PIX = "220 ************2*0*0*******"
PROBE = {"flags": RequestFlags.MTA_VRFY}


def so_old(seconds: int) -> dict[str, Any]:
    """A request for a message that arrived so long ago."""
    now = now_microseconds()
    return {"stats": MessageStats(now - seconds * 1_000_000, now, now)}


class DialogTestCase(ParameterTestCase):
    """What both protocols share."""

    async def is_connected_after_quit(self, **settings: str) -> bool:
        """Whether our end of the connection is still there a while after QUIT, which the server takes its time to answer."""
        await self.start(("QUIT", Late(0.2)))
        delivered = self.defer(self.send(**settings))
        await self.server.until(lambda: bool(self.server.sessions) and "QUIT" in self.said)
        await self.pause()
        connected = any(isinstance(reader, ClientTransport) for reader in reactor.getReaders())
        self.assertEqual(await delivered, "sent")
        return connected


class EffectTests(DialogTestCase):
    """One test a parameter."""

    # ---- names ----

    async def test_smtp_helo_name(self) -> None:
        """What we call ourselves."""
        await self.start()
        self.assertEqual(await self.send(smtp_helo_name="other.example"), "sent")
        self.assertEqual(self.said[0], f"{'LHLO' if self.protocol == 'lmtp' else 'EHLO'} other.example")

    async def test_smtp_quote_rfc821_envelope(self) -> None:
        """With no, addresses go out as they are."""
        await self.start()
        self.assertEqual(await self.send("a b@dest.example", smtp_quote_rfc821_envelope="no"), "sent")
        self.assertTrue(self.command("RCPT").startswith("RCPT TO:<a b@dest.example>"))

    async def test_smtp_send_xforward_command(self) -> None:
        """A server that wants to know hears where the mail came from."""
        await self.start(keywords=("XFORWARD NAME ADDR PROTO HELO",))
        client = LogClient("origin.example", "192.0.2.9", "99", "ESMTP", "origin")
        sent = await self.send(request={"client": client}, smtp_send_xforward_command="yes")
        self.assertEqual(sent, "sent")
        self.assertEqual(self.command("XFORWARD"), "XFORWARD NAME=origin.example ADDR=192.0.2.9")

    # ---- keywords ----

    async def test_smtp_discard_ehlo_keywords(self) -> None:
        """What the server offers in vain."""
        await self.start(keywords=("SIZE 1000000", "8BITMIME"))
        self.assertEqual(await self.send(smtp_discard_ehlo_keywords="size"), "sent")
        self.assertEqual(self.command("MAIL"), "MAIL FROM:<sender@client.example> BODY=7BIT")

    async def test_smtp_discard_ehlo_keyword_address_maps(self) -> None:
        """The same by the server's address, in place of the other list."""
        await self.start(keywords=("SIZE 1000000", "8BITMIME"))
        maps = "inline:{ {127.0.0.1=8bitmime} }"
        sent = await self.send(smtp_discard_ehlo_keywords="size", smtp_discard_ehlo_keyword_address_maps=maps)
        self.assertEqual(sent, "sent")
        self.assertRegex(self.command("MAIL"), r"\AMAIL FROM:<sender@client.example> SIZE=\d+\Z")

    # ---- workarounds ----

    async def enabled_by_pix(self, **settings: str) -> str:
        """The workarounds that are told after the greeting of a PIX, for a message of ten minutes."""
        await self.start((CONNECT, PIX))
        self.assertEqual(await self.send(request=so_old(600), smtp_pix_workaround_delay_time="1s", **settings), "sent")
        self.assertEqual(len(self.log), 1)
        return self.log[0].partition("enabling PIX workarounds: ")[2].partition(" for ")[0]

    async def test_smtp_pix_workarounds(self) -> None:
        """Which of them are there."""
        self.assertEqual(await self.enabled_by_pix(smtp_pix_workarounds="disable_esmtp"), "disable_esmtp")

    async def test_smtp_pix_workaround_maps(self) -> None:
        """The same by the server's address, in place of the other list."""
        table = "inline:{ {127.0.0.1=delay_dotcrlf} }"
        self.assertEqual(await self.enabled_by_pix(smtp_pix_workaround_maps=table), "delay_dotcrlf")

    async def test_smtp_pix_workaround_threshold_time(self) -> None:
        """Mail that has not waited so long is not delayed further."""
        self.assertEqual(await self.enabled_by_pix(smtp_pix_workaround_threshold_time="1h"), "disable_esmtp")

    async def test_smtp_pix_workaround_delay_time(self) -> None:
        """How long the final dot is kept back."""
        clock = self.stop_the_clock()
        await self.start((CONNECT, PIX))
        delivered = self.defer(self.send(request=so_old(600), smtp_pix_workaround_delay_time="3s"))
        await self.server.until(lambda: bool(self.server.sessions) and "DATA" in self.said)
        await self.pause()
        clock.advance(2.9)
        await self.pause()
        self.assertNotIn(END_OF_DATA, self.said)
        clock.advance(0.2)
        self.assertEqual(await self.soon(delivered), "sent")

    async def test_minimal_backoff_time(self) -> None:
        """Mail that has waited so long goes out in the clear where TLS is not a must, and fails."""
        await self.start(("STARTTLS", "220 go"), keywords=("STARTTLS",))
        settings = {"smtp_tls_security_level": "may", "minimal_backoff_time": "100s"}
        self.assertEqual(await self.send(request=so_old(200), **settings), "sent")
        self.assertEqual([bool(session.messages) for session in self.server.sessions], [False, True])

    # ---- replies ----

    async def test_smtp_reply_filter(self) -> None:
        """A table says what a reply should have been."""
        await self.start((END_OF_DATA, "250 2.0.0 Thanks"))
        table = "regexp:{{/thanks/ 450 4.2.0 No thanks}}"
        self.assertIn(" said: 450 4.2.0 No thanks", await self.send(smtp_reply_filter=table))

    async def test_line_length_limit(self) -> None:
        """More of a reply is not read."""
        await self.start(("MAIL", f"550 5.7.1 {'x' * 1000}"))
        self.assertNotIn("x" * 600, await self.send(line_length_limit="600"))

    async def test_smtp_skip_5xx_greeting(self) -> None:
        """With no, a greeting that refuses returns the mail."""
        await self.start((CONNECT, "554 5.7.1 no"))
        self.assertIn("refused to talk to me: 554 5.7.1 no", await self.send(smtp_skip_5xx_greeting="no"))
        self.assertIs(self.reports.results[-1].fate, Fate.BOUNCED)

    async def test_smtp_skip_quit_response(self) -> None:
        """With no, the reply to QUIT is waited for."""
        self.assertTrue(await self.is_connected_after_quit(smtp_skip_quit_response="no"))

    async def test_smtp_address_verify_target(self) -> None:
        """How far a probe goes."""
        await self.start()
        self.assertEqual(await self.send(request=PROBE, smtp_address_verify_target="data"), "sent")
        self.assertIn("DATA", self.said)


class LmtpEffectTests(EffectTests):
    """The same by LMTP."""

    protocol = "lmtp"

    async def test_smtp_skip_quit_response(self) -> None:
        """In LMTP it is waited for, unless that is not wanted."""
        self.assertFalse(await self.is_connected_after_quit(smtp_skip_quit_response="yes"))
        self.assertTrue(await self.is_connected_after_quit())


class SmtpOnlyTests(ParameterTestCase):
    """What LMTP does not read."""

    async def test_smtp_always_send_ehlo(self) -> None:
        """With no, the greeting must say ESMTP."""
        await self.start((CONNECT, f"220 {HOST} SMTP"))
        self.assertEqual(await self.send(smtp_always_send_ehlo="no"), "sent")
        self.assertEqual(self.said[0], "HELO client.example")

    async def test_smtp_never_send_ehlo(self) -> None:
        """HELO whatever it says."""
        await self.start()
        self.assertEqual(await self.send(smtp_never_send_ehlo="yes"), "sent")
        self.assertEqual(self.said[0], "HELO client.example")


class LmtpOnlyTests(ParameterTestCase):
    """What SMTP does not read."""

    protocol = "lmtp"

    async def test_lmtp_assume_final(self) -> None:
        """Mail that the server has is delivered, not just relayed."""
        await self.start(keywords=())
        self.assertEqual(await self.send(lmtp_assume_final="yes"), "sent")
        self.assertEqual(self.reports.results[-1].dsn.action, "delivered")

    async def test_smtp_names(self) -> None:
        """LMTP knows neither HELO nor the parameters that ask for it."""
        for name, value in (("smtp_never_send_ehlo", "yes"), ("smtp_always_send_ehlo", "no")):
            await self.start((CONNECT, f"220 {HOST}"))
            self.assertEqual(await self.send(**{name: value, f"lmtp{name.removeprefix('smtp')}": value}), "sent")
            self.assertEqual(self.said[0], "LHLO client.example")
