"""Parameters against Postfix's own: with another value than the default, both agents say, send and log the same.

Each run takes some parameters by chance; TWISTED_MTA_SEED repeats a run, TWISTED_MTA_LONG=10 takes nearly all.
Sources: smtp(8); postconf(5).
"""

import random
import re
from collections.abc import Iterator

from tests.interop.agents import SERVICE
from tests.interop.case import LONG, InteropCase, needs_own_service
from tests.kit.chance import SEED
from tests.kit.script import CONNECT, END_OF_DATA, Rule
from tests.kit.smtp_server import ScriptedServer
from twisted_mta.config.parameter import Kind, Load
from twisted_mta.config.settings import ROWS, ROWS_BY_NAME

SAMPLE = 5 * LONG

SENDER = "s@sender.example"
KEYWORDS = ("PIPELINING", "SIZE 100000000", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES")
SERVERS: dict[str, tuple[tuple[Rule, ...], tuple[str, ...]]] = {
    "full": ((), KEYWORDS),
    "plain": ((), ()),
    "old": (((CONNECT, "220 mx SMTP here"), ("EHLO", "502 5.5.1 no"), ("LHLO", "502 5.5.1 no")), ()),
    "pix": (((CONNECT, "220 ***2*0**"),), KEYWORDS),
    "strict": ((("RCPT", "550 5.1.1 unknown"),), KEYWORDS),
    "closed": (((CONNECT, "554 5.7.1 no"),), KEYWORDS),
    "busy": (((CONNECT, "421 4.7.1 no"),), KEYWORDS),
    "choosy": (((END_OF_DATA, "554 5.6.0 bad"),), KEYWORDS),
    "later": ((("MAIL", "451 4.3.0 later"),), KEYWORDS),
}
"""Kinds of servers: their rules and keywords."""

MESSAGES = (
    b"Message-Id: <1@x>\nDate: now\nFrom: s@sender.example\nX-Long: " + b"a" * 60 + b"\n\nlong line of text\n.dot\n",
    b"Message-Id: <2@x>\nDate: now\nFrom: s@sender.example\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    b"Content-Transfer-Encoding: 8bit\n\n\xc3\xa4\n",
)
VALUES = {
    "debug_peer_level": "1",
    "delay_logging_resolution_limit": "0",
    "deliver_lock_attempts": "1",
    "error_notice_recipient": "root@sender.example",
    "header_address_token_limit": "3",
    "header_from_format": "obsolete",
    "header_size_limit": "30",
    "inet_protocols": "ipv4",
    "info_log_address_format": "internal",
    "line_length_limit": "600",
    "mail_name": "Other",
    "message_size_limit": "100000",
    "mime_nesting_limit": "1",
    "propagate_unmatched_extensions": "generic",
    "recipient_delimiter": "+",
    "smtp_address_preference": "ipv4",
    "smtp_address_verify_target": "data",
    "smtp_bind_address": "127.0.0.9",
    "smtp_body_checks": "regexp:{{/long/ REPLACE short}}",
    "smtp_delivery_status_filter": "regexp:{{/^5.1.1 (.*)/ 4.1.1 $$1}}",
    "smtp_discard_ehlo_keywords": "size, 8bitmime, dsn",
    "smtp_dns_support_level": "disabled",
    "smtp_fallback_relay": "[192.0.2.200]",
    "smtp_generic_maps": "inline:{ {s@sender.example=t@public.example}, {@full.ours.example=@other.example} }",
    "smtp_header_checks": "regexp:{{/^X-Long: (.*)/ PREPEND X-Was: y}}",
    "smtp_helo_name": "x.example",
    "smtp_host_lookup": "native",
    "smtp_line_length_limit": "40",
    "smtp_mx_address_limit": "1",
    "smtp_mx_session_limit": "1",
    "smtp_pix_workarounds": "disable_esmtp",
    "smtp_reply_filter": "regexp:{{/^250 2.1.5/ 550 5.1.1 filtered}}",
    "smtp_tcp_port": "26",
    "smtp_tls_loglevel": "1",
    "smtp_tls_security_level": "may",
}
"""Parameters that are no switches."""

_NEED_MORE = {"smtp_connection_cache_on_demand", "smtp_enforce_tls", "smtp_sasl_auth_enable", "smtp_tls_wrappermode"}
_SWITCHES = {
    row.name: "no" if row.default == "yes" else "yes"
    for row in ROWS
    if row.kind is Kind.BOOLEAN and row.load in (Load.AGENT, Load.TLS) and row.name not in _NEED_MORE
}

_DIFFERENT = (
    (re.compile(r"192\.0\.2\.\d+"), "IP"),
    (re.compile(r"\[\d+\]: [0-9A-F]{6,}: "), ": "),
    (re.compile(r"delay=[\d.]+, delays=[\d./]+, "), ""),
    (re.compile(r"\.(ours|theirs)\.example"), ".example"),
    (re.compile(r"SIZE=\d+"), "SIZE"),
)
"""What differs from delivery to delivery, and what stands for it."""


def alike(text: str) -> str:
    """A command or a log line without what differs from delivery to delivery."""
    for pattern, instead in _DIFFERENT:
        text = pattern.sub(instead, text)
    return text


class ParametersTests(InteropCase):
    """Nine kinds of servers, twice: one for each agent."""

    timeout = 120 * LONG

    def routes(self) -> Iterator[str]:
        """To each kind of server the way of each agent."""
        prefix = "inet:" if self.protocol == "lmtp" else ""
        for number, kind in enumerate(SERVERS):
            for last, (who, transport) in enumerate((("ours", SERVICE), ("theirs", self.protocol))):
                yield f"{{{kind}.{who}.example={transport}:{prefix}[192.0.2.{10 + 2 * number + last}]}}"

    async def test_some(self) -> None:
        """A parameter at a time."""
        needs_own_service()
        self.servers: dict[tuple[str, str], ScriptedServer] = {}
        for number, (kind, (rules, keywords)) in enumerate(SERVERS.items()):
            for last, who in enumerate(("ours", "theirs")):
                address = f"192.0.2.{10 + 2 * number + last}"
                self.servers[kind, who] = await self.server(address, *rules, keywords=keywords)
        routes = f"inline:{{ {' '.join(self.routes())} }}"
        others = {
            "transport_maps": routes,
            "smtputf8_autodetect_classes": "verify",
            "notify_classes": "",
            # Whether the queue manager asks for that is a matter of chance.
            "smtp_connection_cache_on_demand": "no",
            "lmtp_connection_cache_on_demand": "no",
        }
        await self.begin(others, services=f"{self.protocol} unix - - n - - {self.protocol}\n")
        values = {**_SWITCHES, **VALUES}
        names = [name for name in sorted(values) if ROWS_BY_NAME[name].name_in(self.protocol)]
        for name in random.Random(f"{SEED} {self.id()}").sample(names, min(SAMPLE, len(names))):
            await self.compare(ROWS_BY_NAME[name].name_in(self.protocol) or name, values[name])

    async def compare(self, name: str, value: str) -> None:
        """Send all messages to all servers by both agents, with a parameter set, and compare what is seen."""
        self.postfix.configure({name: value})
        await self.postfix.reload()
        await self.postfix.pause(1)
        logged = len(self.postfix.log())
        for server in self.servers.values():
            server.sessions.clear()
            server.messages.clear()
        for kind, who in self.servers:
            for message in MESSAGES:
                await self.postfix.submit(SENDER, [f"a+b@{kind}.{who}.example"], message)
        await self.postfix.settle()
        lines = self.postfix.log()[logged:]
        for kind in SERVERS:
            ours, theirs = (self.seen(kind, who, lines) for who in ("ours", "theirs"))
            self.assertEqual(ours, theirs, (SEED, name, value, kind))
            self.assertEqual(len([line for line in ours[2] if "to=<" in line]), len(MESSAGES))
        self.postfix.unset(name)
        await self.postfix.run("postsuper", "-d", "ALL")

    def seen(self, kind: str, who: str, lines: list[str]) -> tuple[list[str], list[bytes], list[str]]:
        """What one agent said to a kind of server, what it sent, and what it logged, in no order."""
        server = self.servers[kind, who]
        said = [alike(" | ".join(line for line in each.commands if line != "QUIT")) for each in server.sessions]
        sent = [re.sub(rb"\AReceived:.*?(?=Message-Id)", b"", each.content, flags=re.S) for each in server.messages]
        tag, place = f"postfix/{self.protocol}[", f"{kind}.{who}.example"
        told = [alike(line.partition(tag)[2]) for line in lines if tag in line and place in line]
        return sorted(said), sorted(sent), sorted(re.sub(r"\A\d+\]: [0-9A-F]+: ", "", line) for line in told)


class LmtpParametersTests(ParametersTests):
    """The same by LMTP."""

    protocol = "lmtp"
