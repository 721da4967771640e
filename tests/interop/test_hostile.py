"""Servers and name servers that answer with anything but what they should; main.cf that is no main.cf."""

import struct

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from tests.interop.case import InteropCase, message, needs_own_service
from tests.kit.script import CONNECT, Close, Endless, Raw, Silence

SENDER = "sender@sender.example"


class GarbageNameServer(DatagramProtocol):
    """Answers each question with something that is not a DNS message, or that lies about itself."""

    def __init__(self) -> None:
        self.asked = 0

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Answer, each time in another way."""
        question = datagram[:2]
        junk = (
            b"",
            b"\x00",
            b"this is not the answer you are looking for",
            # A reply that announces records and ends there.
            question + struct.pack(">HHHHH", 0x8180, 1, 9, 9, 9) + datagram[12:],
            # A name that points at itself.
            question + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + b"\xc0\x0c\x00\x0f\x00\x01",
            question + b"\xff" * 400,
        )
        assert self.transport is not None
        self.transport.write(junk[self.asked % len(junk)], addr)
        self.asked += 1


GOOD = {"good.example": "[192.0.2.1]"}

IMPATIENT = {
    f"smtp_{phase}_timeout": "2s"
    for phase in ("connect", "helo", "mail", "rcpt", "data_init", "data_done", "quit", "rset")
} | {"smtp_per_request_deadline": "yes"}
"""Time limits that let a test with silent servers end soon."""


class HostileTests(InteropCase):
    """Mail for good.example goes to a server as it should be; mail for others to what each test says."""

    async def deliver(self, *domains: str) -> None:
        """Submit a message to a user of each domain."""
        for domain in domains:
            await self.postfix.submit(SENDER, [f"user@{domain}"], message())

    async def test_hostile_servers(self) -> None:
        """Junk, floods, silence and lost connections defer their own mail alone; the good server gets its mail at once."""
        good = await self.server("192.0.2.1")
        await self.server("192.0.2.2", (CONNECT, Raw(bytes(range(256)) * 20 + b"\r\n")))
        await self.server("192.0.2.3", (CONNECT, Endless(b"2" * 4096)))
        await self.server("192.0.2.4", (CONNECT, Endless(b"220-welcome\r\n" * 300)))
        await self.server("192.0.2.5", ("EHLO", Silence()))
        await self.server("192.0.2.6", ("MAIL", Raw(b"\r\n\r\nno code\r\n\x1b[31m 250 red\r\n")), ("RCPT", Close()))
        await self.server(
            "192.0.2.7", ("EHLO", "250-" + "x" * 100_000 + "\n250 SIZE abc"), ("DATA", Endless(b"3\x00\xff\n" * 1000))
        )
        await self.server("192.0.2.8", ("EHLO", Close("421 4.3.2 go away")), ("HELO", Close()))
        bad = {f"bad{number}.example": f"[192.0.2.{number}]" for number in range(2, 9)}
        await self.begin(IMPATIENT, routes=GOOD | bad)
        await self.deliver(*bad, "good.example")
        await good.until(lambda: len(good.messages) == 1)
        await self.postfix.settle(50)
        self.assertEqual(
            {name for mail in await self.postfix.queue() for name in mail.recipients}, {f"user@{name}" for name in bad}
        )
        self.assertEqual(self.postfix.reports(), [])
        for line in self.postfix.log("status=deferred"):
            self.assertTrue(line.isprintable(), line)
            self.assertRegex(line, r"dsn=4\.\d\.\d, status=deferred \(.+\)$")
        await self.deliver("good.example")
        await good.until(lambda: len(good.messages) == 2)

    async def test_garbage_from_the_name_server(self) -> None:
        """A name server that answers garbage defers the mail that needs it; other mail is delivered meanwhile."""
        name_server = GarbageNameServer()
        port = IReactorUDP(reactor).listenUDP(53, name_server, interface="127.0.0.1", maxPacketSize=8192)
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        good = await self.server("192.0.2.1")
        await self.begin(IMPATIENT, routes=GOOD)
        await self.deliver("nowhere.example", "good.example")
        await good.until(lambda: len(good.messages) == 1)
        await self.postfix.settle(50)
        self.assertGreater(name_server.asked, 0)
        ((recipient, reason),) = (await self.only_queued()).recipients.items()
        self.assertEqual(recipient, "user@nowhere.example")
        self.assertRegex(
            reason, r"^Host or domain name not found\. Name service error for name=nowhere\.example type=MX: .+"
        )
        await self.deliver("good.example")
        await good.until(lambda: len(good.messages) == 2)

    async def test_unusable_setting(self) -> None:
        """A setting that makes no sense defers the mail, and the log names it; corrected and reloaded, the mail goes out."""
        needs_own_service()
        good = await self.server("192.0.2.1")
        await self.begin({"smtp_helo_timeout": "soon"}, routes=GOOD)
        await self.deliver("good.example")
        await self.postfix.settle()
        (reason,) = (await self.only_queued()).recipients.values()
        self.assertRegex(reason, r"^mail system configuration error: .*smtp_helo_timeout")
        self.assertEqual(len(self.postfix.log("dsn=4.3.5, status=deferred")), 1)
        self.assertEqual(
            len(self.postfix.log("]: error: ", "main.cf, line ", "invalid smtp_helo_timeout: 0 (min 1)")), 1
        )
        self.postfix.configure({"smtp_helo_timeout": "10s"})
        self.service.reload()
        await self.postfix.flush()
        await good.until(lambda: len(good.messages) == 1)

    async def test_unreadable_configuration(self) -> None:
        """A main.cf with a syntax error: the log says which line of which file is wrong; once it is mended, mail goes out."""
        needs_own_service()
        good = await self.server("192.0.2.1")
        self.create(routes=GOOD)
        await self.start_postfix()
        path = self.postfix.etc / "main.cf"
        whole = path.read_text()
        first, *rest = whole.splitlines()
        path.write_text("\n".join([first, "this line has no equals sign", *rest, ""]))
        await self.start_agent()
        complaint = f"error: {path}, line 2: missing '=' after attribute name: \"this line has no equals sign\""
        await self.postfix.wait_for(lambda: self.postfix.log(complaint), "the service does not name the line")
        path.write_text(whole)
        self.service.reload()
        await self.deliver("good.example")
        await good.until(lambda: len(good.messages) == 1)
