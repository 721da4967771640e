"""Tables that fail, at once or later, or cannot even be opened: what becomes of mail depends on the parameter that asked.

Sources: postconf(5), the parameters; DATABASE_README(5); what smtp(8) makes of it.
"""

from collections.abc import Mapping

from tests.kit.script import CONNECT, Script
from tests.scenarios.world import WorldTestCase
from twisted_mta.model.result import Fate

TABLES = ("fail:x", "socketmap:inet:127.0.0.1:1:x", "sdbm:x")
"""One that fails at once, one that fails later as nobody listens there, and one of a type that is not there."""

LOGIN = {"smtp_sasl_auth_enable": "yes", "smtp_sasl_security_options": "noanonymous"}

DEFERS: Mapping[str, tuple[Mapping[str, str], str, str]] = {
    "smtp_generic_maps": ({}, "4.3.0", "smtp_generic_maps map lookup problem for sender@client.example"),
    "mydestination": (
        {"smtp_generic_maps": "inline:{x=y}"},
        "4.3.0",
        "smtp_generic_maps map lookup problem for a@dest.example",
    ),
    "smtp_sasl_password_maps": (LOGIN, "4.3.0", "smtp_sasl_password_maps lookup error"),
    "smtp_sasl_mechanism_filter": (
        {**LOGIN, "smtp_sasl_password_maps": "static:user:secret"},
        "4.3.0",
        "smtp_sasl_mechanism_filter: {}: table lookup problem",
    ),
    "smtp_tls_policy_maps": ({}, "4.7.5", "policy table lookup error"),
    "smtp_tls_per_site": ({}, "4.3.0", "per-site table lookup error"),
    "smtp_discard_ehlo_keyword_address_maps": ({}, "4.3.0", "map lookup error for 127.0.0.1"),
    "smtp_header_checks": ({}, "4.3.0", "smtp header checks lookup error"),
    "smtp_mime_header_checks": ({}, "4.3.0", "smtp header checks lookup error"),
    "smtp_body_checks": ({}, "4.3.0", "smtp body checks lookup error"),
    "smtp_reply_filter": ({}, "4.3.0", "lookup error for"),
}
"""What else must be set, the status of the recipient, and what the log says."""

GOES_ON = {
    "smtp_pix_workaround_maps": '{} lookup error for "127.0.0.1"',
    "debug_peer_list": "debug_peer_list: {}: table lookup problem",
    "smtp_connection_cache_destinations": "smtp_connection_cache_destinations: {}: table lookup problem",
    "use_srv_lookup": "use_srv_lookup: {}: table lookup problem",
}
"""Parameters whose tables matter so little that mail goes out all the same, and what the log says."""

MESSAGE = b"From: sender@client.example\nMime-Version: 1.0\nContent-Type: text/plain\n\nHello.\n"


class FailingTablesTests(WorldTestCase):
    """One message, one server, and no table that works."""

    timeout = 60
    greeting = ""

    async def send(self, parameter: str, table: str, others: Mapping[str, str]) -> tuple[Fate, str]:
        """What becomes of a message."""
        await self.setUpServers()
        self.log.clear()
        self.reports.results.clear()
        settings = {"smtp_tcp_port": str(self.port), "smtp_helo_timeout": "5s", **others, parameter: table}
        await self.deliver(
            "dest.example",
            ["a@dest.example"],
            servers=[self.names],
            settings=settings,
            message=MESSAGE,
            sender="sender@client.example",
        )
        (result,) = self.reports.results
        return result.fate, result.dsn.status

    async def setUpServers(self) -> None:
        """Start the servers, once a test."""
        if not hasattr(self, "names"):
            rules = [(CONNECT, self.greeting)] if self.greeting else []
            self.server, self.port = await self.mail_server(Script(*rules, keywords=["PIPELINING", "AUTH PLAIN"]))
            zone = {"dest.example": {"MX": ["10 mx.dest.example"]}, "mx.dest.example": {"A": ["127.0.0.1"]}}
            self.names = await self.name_server(zone)

    def told(self, text: str) -> bool:
        """Whether a line of the log has a text."""
        return any(text in line for line in self.log)

    async def test_mail_is_deferred(self) -> None:
        """Without the answer of such a table mail cannot go out, nor be returned: it is deferred, and the log names the table."""
        for parameter, (others, status, text) in DEFERS.items():
            for table in TABLES:
                became = await self.send(parameter, table, others)
                self.assertEqual(became, (Fate.DEFERRED, status), f"{parameter} = {table}: {self.log}")
                self.assertTrue(self.told(text.format(table)), f"{parameter} = {table}: {self.log}")
                self.assertTrue(self.told(table), f"{parameter} = {table}: {self.log}")
        self.assertEqual(self.server.messages, [])

    async def test_answers_of_name_servers(self) -> None:
        """smtp_dns_reply_filter: the name cannot be looked up now."""
        for table in TABLES:
            became = await self.send("smtp_dns_reply_filter", table, {})
            self.assertEqual(became, (Fate.DEFERRED, "4.4.3"), f"{table}: {self.log}")
            self.assertTrue(self.told(table), self.log)

    async def test_mail_goes_on(self) -> None:
        """What hardly matters is told, and mail goes out."""
        # That of a firewall: only for such ones there are workarounds to be looked up.
        self.greeting = "220 ****************"
        for parameter, text in GOES_ON.items():
            for table in TABLES:
                became = await self.send(parameter, table, {})
                self.assertEqual(became, (Fate.SENT, "2.0.0"), f"{parameter} = {table}: {self.log}")
                self.assertTrue(self.told(text.format(table)), f"{parameter} = {table}: {self.log}")
