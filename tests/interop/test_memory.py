"""Large messages take no more room than small ones.

Sources: proc(5).
"""

from tests.interop.case import InteropCase, message, needs_own_service
from tests.interop.servers import NO_SMTP_SINK, start_smtp_sink
from tests.kit.processes import peak_memory

SENDER = "sender@sender.example"
SERVER = "192.0.2.1"

LARGE_OCTETS = 200_000_000
MOST_GROWTH = 2 * 1024 * 1024

LINES = b"".join(b"%s\n" % (b"x" * (number * 7 % 90)) for number in range(1000))
EIGHT_BIT = "gr\u00fc\u00dfe \u65e5\u672c\n".encode() * 1000


class MemoryTests(InteropCase):
    """One server that forgets what it gets."""

    timeout = 240
    if not InteropCase.skip and NO_SMTP_SINK:
        skip = NO_SMTP_SINK

    async def growth(self, content: bytes, *options: str, **settings: str) -> int:
        """By how many octets a large message lets the service grow beyond what it has had for a small one."""
        needs_own_service()
        unlimited = {"message_size_limit": "0", "mailbox_size_limit": "0"}
        await self.begin({**unlimited, "smtputf8_autodetect_classes": "verify", **settings})
        await start_smtp_sink(self, SERVER, *options)
        head = message().replace(b"\n\n", b"\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n")
        await self.postfix.submit(SENDER, ["small@dest.example"], head + content[:5000])
        await self.postfix.settle()
        small = peak_memory(self.service.pid)
        await self.postfix.submit(SENDER, ["large@dest.example"], head + content * (LARGE_OCTETS // len(content)))
        await self.postfix.settle(200)
        self.assertEqual(len(self.postfix.log("/smtp[", "status=sent")), 2)
        return peak_memory(self.service.pid) - small

    async def test_plain(self) -> None:
        """A message that needs nothing."""
        self.assertLess(await self.growth(LINES), MOST_GROWTH)

    async def test_converted(self) -> None:
        """A message that is converted, for a server without 8BITMIME."""
        self.assertLess(await self.growth(EIGHT_BIT, "-8"), MOST_GROWTH)
