"""Servers that are out to hurt, over real connections: what becomes of each one's mail, and that the service stays small.

Sources: RFC 5321 sections 4.2 and 4.5.3.2; postconf(5) smtp_per_request_deadline, smtp_min_data_rate; the outcomes of smtp(8).
"""

from dataclasses import dataclass

from tests.interop.case import InteropCase, message, needs_own_service
from tests.kit.processes import peak_memory
from tests.kit.script import BODY, CONNECT, END_OF_DATA, Answer, Close, Deaf, Drip, Endless, HalfClose, Raw, Reset, Rule

SENDER = "sender@sender.example"

IMPATIENT = {
    f"smtp_{phase}_timeout": "2s"
    for phase in ("connect", "helo", "mail", "rcpt", "data_init", "data_xfer", "data_done", "quit", "rset")
} | {"smtp_per_request_deadline": "yes", "smtp_skip_5xx_greeting": "no", "delay_logging_resolution_limit": "0"}

LARGE_OCTETS = 40_000_000
"""More than the buffers of the system between two processes can hold."""

MOST_GROWTH = 8 * 1024 * 1024
"""Octets by which the service may grow with all of that at once; any of the floods has more."""

GREETING, EHLO = "receiving the initial server greeting", "performing the EHLO handshake"
MAIL, RCPT, DATA = "sending MAIL FROM", "sending RCPT TO", "sending DATA command"
CONTENT, DOT = "sending message body", "sending end of data -- message may be sent more than once"

SENT = "dsn=2.0.0, status=sent (250 "


def lost(doing: str) -> str:
    """The outcome where a connection is lost."""
    return f"dsn=4.4.2, status=deferred (lost connection with NAMADDR while {doing})"


def late(doing: str) -> str:
    """The outcome where a server takes too long."""
    return f"dsn=4.4.2, status=deferred (conversation with NAMADDR timed out while {doing})"


def refused(reply: str) -> str:
    """The outcome where a greeting is neither yes nor no."""
    return f"dsn=5.5.0, status=bounced (host NAMADDR refused to talk to me: {reply})"


@dataclass(frozen=True, slots=True)
class Case:
    """A server.

    Attributes:
        outcome: what the log says of its mail.
        rules: what it does.
        large: whether its message is too large for the buffers in between.
        keywords: what it offers.
    """

    outcome: str
    rules: tuple[Rule, ...]
    large: bool = False
    keywords: tuple[str, ...] = ("8BITMIME",)


def case(
    outcome: str, at: str, *answers: Answer, large: bool = False, keywords: tuple[str, ...] = ("8BITMIME",)
) -> Case:
    """A server that does one thing."""
    return Case(outcome, ((at, *answers),), large, keywords)


PIPELINING = ("PIPELINING", "8BITMIME")

CASES = (
    # Slow ones, and floods.
    case(late(GREETING), CONNECT, Drip(b"220 " + b"x" * 1000, 0.2)),
    case(late(EHLO), "EHLO", Drip(b"250 " + b"x" * 1000, 0.2)),
    case(lost(GREETING), CONNECT, Endless(b"2" * 65536)),
    case(lost(GREETING), CONNECT, Endless(b"220-welcome\r\n" * 5000)),
    case(lost(EHLO), "EHLO", Endless(b"250-" + b"X" * 900 + b"\r\n")),
    case(lost(MAIL), "MAIL", Endless(b"junk\r\n" * 1000), keywords=PIPELINING),
    case(lost(RCPT), "RCPT", Endless(b"\0" * 65536)),
    case(lost(DOT), END_OF_DATA, Endless(b"250-more\r\n" * 5000)),
    # Windows that stay shut, and one that opens again in time.
    case(late(CONTENT), BODY, Deaf(3600, Raw(b"")), large=True),
    case(SENT, BODY, Deaf(0.5, Raw(b"")), large=True),
    case(SENT, "DATA", Deaf(0.5), large=True, keywords=PIPELINING),
    # Resets.
    case(lost(GREETING), CONNECT, Reset()),
    case(lost(EHLO), "EHLO", Reset()),
    case(lost(MAIL), "MAIL", Reset()),
    case(lost(RCPT), "RCPT", Reset()),
    case(lost(DATA), "DATA", Reset()),
    case(lost(CONTENT), BODY, Reset(), large=True),
    case(lost(DOT), END_OF_DATA, Reset()),
    case(SENT, "QUIT", Reset()),
    # One side is closed, and the other one not.
    case(lost(GREETING), CONNECT, HalfClose()),
    case(lost(EHLO), "EHLO", HalfClose()),
    case(lost(MAIL), "MAIL", HalfClose()),
    case(lost(MAIL), "EHLO", HalfClose("250-mx\n250 PIPELINING"), keywords=PIPELINING),
    case(lost(DATA), "DATA", HalfClose()),
    case(lost(DOT), END_OF_DATA, HalfClose()),
    case(SENT, END_OF_DATA, HalfClose("250 2.0.0 ok")),
    case(
        "dsn=5.3.4, status=bounced (host NAMADDR said: 552 5.3.4 too much (in reply to end of DATA command))",
        BODY,
        HalfClose("552 5.3.4 too much"),
        large=True,
    ),
    # Codes that are none, and replies to nothing.
    case(refused("000 hm"), CONNECT, "000 hm"),
    case(refused("999 hm"), CONNECT, "999 hm"),
    case(refused("199 hm"), CONNECT, Close("199 hm")),
    case(lost(CONTENT), "DATA", "354 go\n250 2.0.0 at once", large=True),
    case(SENT, "MAIL", Raw(b"\x1b[31m\0 250 x\r\n250 ok\r\n")),
)
"""Each is one server, and all deliver at the same time."""


class HostileServersTests(InteropCase):
    """Each case has a domain of its own."""

    timeout = 120

    async def test_all_at_once(self) -> None:
        """Each has its outcome, nothing unprintable is in the log, and the service has not grown by more than some buffers."""
        needs_own_service()
        domains = {f"case{number}.example": f"192.0.2.{number + 10}" for number in range(len(CASES))}
        for test, address in zip(CASES, domains.values(), strict=True):
            await self.server(address, *test.rules, keywords=test.keywords)
        await self.begin(
            {**IMPATIENT, "message_size_limit": "0", "mailbox_size_limit": "0", "bounce_size_limit": "1"},
            routes={domain: f"[{address}]" for domain, address in domains.items()},
        )
        small = peak_memory(self.service.pid)
        large = message(body=("x" * 75 + "\n") * (LARGE_OCTETS // 76))
        for test, domain in zip(CASES, domains, strict=True):
            await self.postfix.submit(SENDER, [f"user@{domain}"], large if test.large else message())
        await self.postfix.settle(100)
        for test, (domain, address) in zip(CASES, domains.items(), strict=True):
            lines = self.postfix.log("/smtp[", f"to=<user@{domain}>", "status=")
            self.assertEqual(len(lines), 1, (test, lines))
            self.assertIn(test.outcome.replace("NAMADDR", f"{address}[{address}]"), lines[0], test.rules)
        for line in self.postfix.log("/smtp["):
            self.assertTrue(line.isprintable(), line)
        self.assertLess(peak_memory(self.service.pid) - small, MOST_GROWTH)
