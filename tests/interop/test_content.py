"""Content against Postfix's own: the same random messages leave through smtp(8) and through the service, and must be the same.

TWISTED_MTA_SEED repeats a run, TWISTED_MTA_LONG makes it longer.
Sources: smtp(8); postconf(5) for the parameters that are set.
"""

import random
from collections.abc import Mapping

from tests.interop.agents import SERVICE
from tests.interop.case import LONG, InteropCase, needs_own_service
from tests.kit.chance import SEED

MESSAGES = 20 * LONG

SENDER = "sender@sender.example"
OURS, THEIRS = "192.0.2.1", "192.0.2.2"

HEADERS = (
    b"Content-Type: multipart/mixed; boundary=b1",
    b'Content-Type: multipart/alternative; boundary="b2"; boundary=b1',
    b"Content-Type: multipart/digest; boundary=b2",
    b"Content-Type: message/rfc822",
    b"Content-Type: message/partial",
    b"Content-Type: message/global",
    b"Content-Type: text/plain",
    b"Content-Type: image/jpeg",
    b"Content-Transfer-Encoding: 8bit",
    b"Content-Transfer-Encoding: binary",
    b"Content-Transfer-Encoding: base64",
    b"MIME-Version: 1.0",
    b"Subject: gr\xc3\xbc\xc3\x9fe",
    b"X-Drop: 1",
    b"X-Replace: 1\n folded",
    b"X-Prepend: 1",
    b"X-Warn: 1",
    b"Reply-To: John Q. Public <a@map.example>, b+ext@map.example (c)",
    b'Cc: (x) g: a@map.example, "q s"@map.example, <@r:u@map.example>;, not@mapped.example',
    b"Bcc: <>, a@map.example b@map.example",
    b"Errors-To: a @ map . example,",
)
LINES = (
    *HEADERS,
    b"--b1",
    b"--b2",
    b"--b1--",
    b"--b2--",
    b"--b1junk",
    b"",
    b"",
    b"",
    b"text",
    b"t\xc3\xa4xt =",
    b"trailing ",
    b".dot",
    b"..",
    b" led by a blank",
    b"x" * 72 + b"\xc3\xa4",
    b"y" * 1500,
    b"z" * 3000,
    b"replace me",
    b"drop me",
)
CHECKS = (
    "regexp:{ {/^X-Drop/ IGNORE} {/^X-Replace: (.*)/ REPLACE X-New: $$1} {/^X-Prepend/ PREPEND X-Before: y}"
    " {/^X-Warn/ WARN hello} }"
)
BODY_CHECKS = "regexp:{ {/^replace (.*)/ REPLACE .$$1} {/^drop/ STRIP} {/^--b1$$/ INFO seen} }"
GENERIC = "inline:{ a@map.example=aa@public.example, b@map.example=bb, @map.example=@other.example }"


class ContentTests(InteropCase):
    """Each message goes to two recipients, one through each agent."""

    timeout = 120 * LONG

    def message(self, chosen: random.Random) -> bytes:
        """A message that is not what it should be."""
        headers = [chosen.choice(HEADERS) for _ in range(chosen.randrange(6))]
        lines = [chosen.choice(LINES) for _ in range(chosen.randrange(25))]
        ending = b"\n" if chosen.random() < 0.9 else b""
        return b"\n".join([b"Subject: x", *headers, *([b""] if chosen.random() < 0.8 else []), *lines]) + ending

    async def compare(self, settings: Mapping[str, str], *keywords: str) -> None:
        """Send messages, and compare what the two servers got and what was logged."""
        needs_own_service()
        chosen = random.Random(f"{SEED} {self.id()}")
        ours = await self.server(OURS, keywords=keywords)
        theirs = await self.server(THEIRS, keywords=keywords)
        routes = f"inline:{{ {{ours.example={SERVICE}:[{OURS}]}} {{theirs.example=smtp:[{THEIRS}]}} }}"
        # Headers in UTF-8 shall not make a message that only a server with SMTPUTF8 may get.
        others = {"transport_maps": routes, "smtputf8_autodetect_classes": "verify"}
        await self.begin({**others, **settings}, services="smtp unix - - n - - smtp\n")
        for number in range(MESSAGES):
            message = self.message(chosen)
            await self.postfix.submit(SENDER, ["r@ours.example", "r@theirs.example"], message)
            await self.postfix.settle()
            self.assertEqual((len(ours.messages), len(theirs.messages)), (number + 1, number + 1), (SEED, message))
            got, wanted = ours.messages[-1].content, theirs.messages[-1].content
            self.assertEqual(got, wanted, (SEED, number, message))
        lines = [line.partition("]: ")[2] for line in self.postfix.log("postfix/smtp[")]
        told = sorted(line for line in lines if "to=<" not in line)
        if "smtp_body_checks" in settings:
            self.assertNotEqual(told, [])
        # Each line is there twice, once from each agent.
        self.assertEqual(told[::2], told[1::2], SEED)

    async def test_plain(self) -> None:
        """Nothing is asked for."""
        await self.compare({}, "PIPELINING", "8BITMIME", "SIZE 0")

    async def test_conversion(self) -> None:
        """The servers take 7bit only."""
        await self.compare({"smtp_line_length_limit": "70"}, "PIPELINING")

    async def test_checks(self) -> None:
        """Headers and lines are checked."""
        names = ("smtp_header_checks", "smtp_mime_header_checks", "smtp_nested_header_checks")
        await self.compare({**dict.fromkeys(names, CHECKS), "smtp_body_checks": BODY_CHECKS}, "PIPELINING", "8BITMIME")

    async def test_generic_maps(self) -> None:
        """Addresses are replaced, and made canonical by trivial-rewrite(8)."""
        await self.compare(
            {"smtp_generic_maps": GENERIC, "recipient_delimiter": "+", "propagate_unmatched_extensions": "generic"},
            "PIPELINING",
            "8BITMIME",
        )

    async def test_all_together(self) -> None:
        """All of that at once."""
        await self.compare(
            {"smtp_header_checks": CHECKS, "smtp_body_checks": BODY_CHECKS, "smtp_generic_maps": GENERIC}, "PIPELINING"
        )
