"""What each time limit does: a server that neither answers nor takes what it is sent is given up when it has passed, not before.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
All run once more with LMTP, whose parameters have names of their own. The clock of the engine is moved by hand.
"""

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kit.script import BODY, CONNECT, END_OF_DATA, After, Deaf, Drip, Silence
from tests.scenarios.parameters import ParameterTestCase
from tests.scenarios.world import reactor
from twisted_mta.delivery.connecting import ClientTransport
from twisted_mta.model.request import LogClient, RequestFlags

SECONDS = 7
BIG = {"message": (b"x" * 99 + b"\n") * 120_000}


class EffectTests(ParameterTestCase):
    """One test a parameter."""

    clock: Clock

    def setUp(self) -> None:
        """Stop the clock."""
        super().setUp()
        self.clock = self.stop_the_clock()

    async def until_asked(self, event: str) -> None:
        """Wait until the server has been asked something, or greets, and our side waits."""
        await self.server.until(lambda: bool(self.server.sessions) and (event == CONNECT or bool(self.command(event))))
        await self.pause()

    async def time_out(self, delivered: Deferred[str]) -> str:
        """Let a second less than the limit pass, and then the rest; the outcome, which must not come before."""
        self.clock.advance(SECONDS - 1)
        await self.pause()
        self.assertFalse(delivered.called)
        self.clock.advance(1.5)
        return await self.soon(delivered)

    async def unanswered(self, event: str, **settings: Any) -> str:
        """The outcome with a server that says nothing at a command; the connection ends after SECONDS."""
        await self.start((event, Silence()), keywords=("XFORWARD NAME",))
        request = {"client": LogClient("origin.example")}
        delivered = self.defer(self.send(request=request, smtp_skip_quit_response="no", **settings))
        await self.until_asked(event)
        return await self.time_out(delivered)

    async def assert_gives_up(self, event: str, parameter: str, doing: str, **settings: Any) -> None:
        """The limit ends the wait for the reply to a command."""
        outcome = await self.unanswered(event, **{parameter: f"{SECONDS}s"}, **settings)
        self.assertIn(f"timed out while {doing}", outcome)

    async def test_smtp_connect_timeout(self) -> None:
        """A host that takes no connection."""
        full = socket.socket()
        self.addCleanup(full.close)
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):
            fills = socket.socket()
            self.addCleanup(fills.close)
            fills.setblocking(False)
            fills.connect_ex(full.getsockname())
        self.port = full.getsockname()[1]
        delivered = self.defer(self.send(smtp_connect_timeout=f"{SECONDS}s"))
        await self.pause()
        self.assertIn("Connection timed out", await self.time_out(delivered))

    async def test_smtp_helo_timeout(self) -> None:
        """The greeting, and the reply to EHLO or LHLO."""
        hello = "LHLO" if self.protocol == "lmtp" else "EHLO"
        for event, doing in ((CONNECT, "receiving the initial server greeting"), (hello, f"performing the {hello}")):
            await self.assert_gives_up(event, "smtp_helo_timeout", doing)

    async def test_smtp_xforward_timeout(self) -> None:
        """XFORWARD."""
        settings = {"smtp_send_xforward_command": "yes"}
        await self.assert_gives_up("XFORWARD", "smtp_xforward_timeout", "sending XFORWARD", **settings)

    async def test_smtp_mail_timeout(self) -> None:
        """MAIL."""
        await self.assert_gives_up("MAIL", "smtp_mail_timeout", "sending MAIL FROM")

    async def test_smtp_rcpt_timeout(self) -> None:
        """RCPT."""
        await self.assert_gives_up("RCPT", "smtp_rcpt_timeout", "sending RCPT TO")

    async def test_smtp_data_init_timeout(self) -> None:
        """DATA."""
        await self.assert_gives_up("DATA", "smtp_data_init_timeout", "sending DATA command")

    async def test_smtp_data_xfer_timeout(self) -> None:
        """The content, of which the server reads nothing."""
        await self.start(("DATA", Deaf(60)))
        delivered = self.defer(self.send(request=BIG, smtp_data_xfer_timeout=f"{SECONDS}s"))
        await self.until_asked("DATA")
        self.clock.advance(SECONDS - 1)
        self.assertFalse(delivered.called)
        # The system takes an octet or two more now and then, for which the server need not read any.
        for _ in range(SECONDS):
            self.clock.advance(2)
            await self.pause(0.02)
        self.assertIn("timed out while sending message body", await self.soon(delivered))

    async def test_smtp_data_done_timeout(self) -> None:
        """The final dot."""
        await self.assert_gives_up(END_OF_DATA, "smtp_data_done_timeout", "sending end of data")

    async def test_smtp_quit_timeout(self) -> None:
        """QUIT, where its reply is waited for; the mail has been sent."""
        await self.start(("QUIT", Silence()))
        delivered = self.defer(self.send(smtp_skip_quit_response="no", smtp_quit_timeout=f"{SECONDS}s"))
        await self.until_asked("QUIT")
        self.clock.advance(SECONDS - 1)
        await self.pause()
        self.assertTrue(self.is_connected())
        self.clock.advance(1.5)
        await self.pause()
        self.assertFalse(self.is_connected())
        self.assertEqual(await self.soon(delivered), "sent")

    def is_connected(self) -> bool:
        """Whether our end of a connection is still there."""
        return any(isinstance(reader, ClientTransport) for reader in reactor.getReaders())

    async def test_smtp_rset_timeout(self) -> None:
        """RSET at the end of a probe, which matters to nobody."""
        await self.start(("RSET", Silence()), keywords=())
        probe = {"flags": RequestFlags.MTA_VRFY}
        delivered = self.defer(self.send(request=probe, smtp_rset_timeout=f"{SECONDS}s"))
        await self.until_asked("RSET")
        self.clock.advance(SECONDS - 1)
        await self.pause()
        self.assertTrue(self.is_connected())
        self.clock.advance(1.5)
        await self.pause()
        self.assertFalse(self.is_connected())
        self.assertEqual(await self.soon(delivered), "sent")

    async def test_smtp_starttls_timeout(self) -> None:
        """STARTTLS."""
        await self.start(("STARTTLS", Silence()), keywords=("STARTTLS",))
        settings = {"smtp_tls_security_level": "encrypt", "smtp_starttls_timeout": f"{SECONDS}s"}
        delivered = self.defer(self.send(**settings))
        await self.until_asked("STARTTLS")
        self.assertIn("timed out while receiving the STARTTLS response", await self.time_out(delivered))

    async def test_smtp_per_request_deadline(self) -> None:
        """Octets that come one by one buy no time."""
        await self.assert_hurried(smtp_per_request_deadline="yes")

    async def test_smtp_per_record_deadline(self) -> None:
        """The same by its former name."""
        await self.assert_hurried(smtp_per_record_deadline="yes")

    async def assert_hurried(self, **settings: str) -> None:
        """A greeting that takes longer than it may, though its octets do not, is not waited for."""
        await self.start((CONNECT, Drip(b"220 mx.dest.example\r\n", 0.02)))
        delivered = self.defer(self.send(smtp_helo_timeout="10s", **settings))
        await self.until_asked(CONNECT)
        for _ in range(200):
            if delivered.called:
                break
            self.clock.advance(1)
            await self.pause(0.01)
        self.assertIn("timed out while receiving the initial server greeting", await self.soon(delivered))

    async def test_smtp_min_data_rate(self) -> None:
        """Content that is taken buys time at that rate: at a billion octets a second none to speak of."""
        await self.start(("DATA", Deaf(0.3)), (BODY, After(4_000_000, Deaf(60))))
        settings = {"smtp_per_request_deadline": "yes", "smtp_min_data_rate": "1000000000"}
        delivered = self.defer(self.send(request=BIG, smtp_data_xfer_timeout=f"{SECONDS}s", **settings))
        await self.until_asked("DATA")
        self.clock.advance(SECONDS - 1)
        await self.pause(0.5)
        self.assertFalse(delivered.called)
        self.clock.advance(1.5)
        self.assertIn("timed out while sending message body", await self.soon(delivered))


class LmtpEffectTests(EffectTests):
    """The same by LMTP."""

    protocol = "lmtp"
