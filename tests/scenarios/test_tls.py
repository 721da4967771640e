"""TLS from end to end: what a server proves decides whether it gets the mail, and how."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue

from tests.kit.pki import HOST, shared_pki
from tests.kit.script import Close, Raw, Reset, Script
from tests.kit.server_tls import server_context
from tests.kit.smtp_server import ScriptedServer
from tests.scenarios.world import ON_THE_WIRE, SETTINGS, WorldTestCase, reactor
from twisted_mta.assembly import now_microseconds
from twisted_mta.model.request import MessageStats
from twisted_mta.model.result import Fate

KEYWORDS = ("PIPELINING", "STARTTLS", "DSN")
ZONE = {
    "dest.example": {"MX": [f"10 {HOST}"]},
    HOST: {"A": ["127.0.0.1"]},
    "two.example": {"MX": [f"10 {HOST}", "20 mx2.dest.example"]},
    "mx2.dest.example": {"A": ["127.0.0.2"]},
}
RECIPIENT = "a@dest.example"


class TlsTestCase(WorldTestCase):
    """Servers with certificates."""

    async def start(self, *rules: Any, identity: str = "valid", keywords: Any = KEYWORDS, **options: Any) -> None:
        """Start the server at mx1, and a name server."""
        script = Script(*rules, hostname=HOST, keywords=keywords, tls=server_context(shared_pki()[identity]), **options)
        self.server, self.port = await self.mail_server(script)
        self.names = await self.name_server(ZONE)

    def authorities(self) -> str:
        """A file with the root."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(shared_pki().root.certificate_pem)
        return str(path)

    async def send(
        self,
        level: str,
        settings: Mapping[str, str] | None = None,
        *,
        nexthop: str = "dest.example",
        waited: int = 0,
    ) -> tuple[Fate, str, str]:
        """Deliver at a level; the recipient's fate, status and reason."""
        now = now_microseconds()
        await self.deliver(
            nexthop,
            [RECIPIENT],
            servers=[self.names],
            settings={
                "smtp_tcp_port": str(self.port),
                "smtp_tls_security_level": level,
                "smtp_tls_loglevel": "1",
                **(settings or {}),
            },
            stats=MessageStats(now - waited * 1_000_000, now, now),
        )
        result = self.reports.results[-1]
        return result.fate, result.dsn.status, result.dsn.reason

    def handshakes(self, server: ScriptedServer | None = None) -> list[bool]:
        """Of each connection, whether TLS was begun on it."""
        return [session.handshake is not None for session in (server or self.server).sessions]


class LevelTests(TlsTestCase):
    """The levels."""

    async def test_encrypt(self) -> None:
        """Any certificate will do; EHLO is said again inside TLS, and the message arrives as it is."""
        await self.start(identity="self_signed")
        fate, status, _ = await self.send("encrypt")
        self.assertEqual((fate, status), (Fate.SENT, "2.0.0"))
        [session] = self.server.sessions
        self.assertEqual(
            session.commands[:3], ["EHLO client.example", "STARTTLS", "EHLO client.example"], session.commands
        )
        self.assertEqual(session.messages[0].content, ON_THE_WIRE)
        self.assertRegex(
            self.log[0],
            r"Untrusted TLS connection established to mx1\.dest\.example\[127\.0\.0\.1\]:\d+: TLSv1\.3 with cipher TLS_",
        )

    async def test_verify(self) -> None:
        """The name must be that of the host, and the authority known."""
        ours = {"smtp_tls_CAfile": self.authorities()}
        for identity, delivered, line in (
            ("valid", True, "Verified TLS connection established to "),
            ("wrong_name", False, "server certificate verification failed for .*hostname mismatch"),
            ("expired", False, "server certificate verification failed for .*: certificate has expired"),
            ("no_intermediate", False, "certificate verification failed for .*: untrusted issuer"),
        ):
            self.log.clear()
            await self.start(identity=identity)
            fate, status, reason = await self.send("verify", ours)
            if delivered:
                self.assertEqual((fate, status), (Fate.SENT, "2.0.0"), identity)
            else:
                self.assertEqual(
                    (fate, status, reason), (Fate.DEFERRED, "4.7.5", "Server certificate not verified"), identity
                )
                await self.server.until(lambda: not self.server.sessions[0].open)
                self.assertEqual(self.server.sessions[0].commands[-1], "QUIT")
                self.assertEqual(self.server.messages, [])
            self.assertTrue(any(re.search(line, logged) for logged in self.log), self.log)

    async def test_may(self) -> None:
        """Where TLS is not offered, or refused, mail goes out in the clear on the same connection."""
        await self.start(keywords=("PIPELINING",))
        self.assertEqual((await self.send("may"))[0], Fate.SENT)
        await self.start(("STARTTLS", "454 4.7.0 not now"))
        self.assertEqual((await self.send("may"))[0], Fate.SENT)
        self.assertEqual(self.handshakes(), [False])

    async def test_none(self) -> None:
        """STARTTLS is not said."""
        await self.start()
        self.assertEqual((await self.send("none", {"smtp_tls_note_starttls_offer": "yes"}))[0], Fate.SENT)
        self.assertNotIn("STARTTLS", self.server.sessions[0].commands)
        self.assertIn(f"Host offered STARTTLS: [{HOST}]", self.log)

    async def test_required(self) -> None:
        """Nothing goes out in the clear: not offered, refused for now, refused for good."""
        for rules, keywords, fate, status in (
            ((), ("PIPELINING",), Fate.DEFERRED, "4.7.4"),
            ((("STARTTLS", "454 4.7.0 not now"),), KEYWORDS, Fate.DEFERRED, "4.7.0"),
            ((("STARTTLS", "554 5.7.3 never"),), KEYWORDS, Fate.BOUNCED, "5.7.3"),
        ):
            await self.start(*rules, keywords=keywords)
            self.assertEqual((await self.send("encrypt"))[:2], (fate, status))
            self.assertEqual(self.server.messages, [])

    async def test_wrapper(self) -> None:
        """TLS begins before the greeting."""
        await self.start(wrapper=True)
        fate, _, reason = await self.send("encrypt", {"smtp_tls_wrappermode": "yes"})
        self.assertEqual(fate, Fate.SENT, reason)
        self.assertNotIn("STARTTLS", self.server.sessions[0].commands)
        self.assertEqual(self.server.messages[0].content, ON_THE_WIRE)


class FailureTests(TlsTestCase):
    """What goes wrong."""

    async def test_handshake_fails(self) -> None:
        """At level may fresh mail waits; mail that has waited goes out in the clear at once. Above, it never does."""
        hangs_up = ("STARTTLS", Close("220 2.0.0 go ahead"))
        failed = (Fate.DEFERRED, "4.7.5", "Cannot start TLS: handshake failure")
        await self.start(hangs_up)
        self.assertEqual(await self.send("may"), failed)
        self.assertEqual(len(self.server.sessions), 1)
        self.assertEqual((await self.send("may", waited=1000))[0], Fate.SENT)
        self.assertEqual(len(self.server.sessions), 3)
        self.assertNotIn("STARTTLS", self.server.sessions[2].commands)
        self.assertIn("4Abc12: Cannot start TLS: handshake failure", self.log)
        self.assertEqual(await self.send("encrypt", waited=1000), failed)

    async def test_never_falls_back(self) -> None:
        """Above level may no mail is ever sent in the clear, whatever fails, and however long it has waited."""
        demands = {
            "encrypt": {},
            "fingerprint": {"smtp_tls_fingerprint_cert_match": shared_pki()["valid"].fingerprint()},
            "verify": {"smtp_tls_CAfile": self.authorities()},
            "secure": {"smtp_tls_CAfile": self.authorities(), "smtp_tls_secure_cert_match": "hostname"},
        }
        for rules in (
            ("STARTTLS", Close("220 2.0.0 go ahead")),
            ("STARTTLS", Reset()),
            ("STARTTLS", Raw(b"220 2.0.0 go ahead\r\n\x15\x03\x03\x00\x02\x02\x28")),
            ("STARTTLS", Raw(b"220 2.0.0 go ahead\r\n"), Close()),
            ("EHLO", None, Close(), None, Close()),
            ("MAIL", Close()),
            ("DATA", Reset()),
        ):
            await self.start(rules)
            for level, settings in demands.items():
                short = {"smtp_starttls_timeout": "1s"}
                fate, _, reason = await self.send(level, {**settings, **short}, waited=100_000)
                self.assertIs(fate, Fate.DEFERRED, (level, rules, reason))
            for session in self.server.sessions:
                if session.handshake is None:
                    self.assertFalse(
                        [said for said in session.commands if re.match("MAIL|RCPT|DATA|AUTH", said)], rules
                    )
            self.assertLessEqual(len(self.server.sessions), len(demands), rules)

    async def test_next_host(self) -> None:
        """The next host is tried with TLS again."""
        await self.start(("STARTTLS", Close("220 2.0.0 go ahead")))
        script = Script(keywords=KEYWORDS, tls=server_context(shared_pki()["valid"]))
        other, _ = await self.mail_server(script, "127.0.0.2", self.port)
        self.assertEqual((await self.send("encrypt", nexthop="two.example"))[0], Fate.SENT)
        self.assertEqual(self.handshakes(other), [True])

    async def test_plaintext_behind_the_reply(self) -> None:
        """What follows the reply to STARTTLS in the clear is no reply of the server's: nothing is sent over that connection."""
        for behind in (b"250 injected\r\n", b"250-injec", b"\r\n"):
            await self.start(("STARTTLS", Raw(b"220 2.0.0 go ahead\r\n" + behind)))
            for level in ("may", "encrypt"):
                self.assertEqual(
                    await self.send(level, waited=1000), (Fate.DEFERRED, "4.7.0", "unexpected server message")
                )
            self.assertEqual(self.handshakes(), [False, False])
            self.assertEqual(self.server.sessions[-1].commands, ["EHLO client.example", "STARTTLS"])
            self.assertIn(
                f"warning: host {HOST}[127.0.0.1] sent plaintext behind its reply to STARTTLS; the connection is not used",
                self.log,
            )

    async def test_lost_inside(self) -> None:
        """A connection that is lost inside TLS counts like a failed handshake at level may, for mail that has waited."""
        await self.start(("EHLO", None, Close()))
        fate, status, reason = await self.send("may")
        self.assertEqual((fate, status), (Fate.DEFERRED, "4.4.2"), reason)
        await self.start(("EHLO", None, Close(), None))
        self.assertEqual((await self.send("may", waited=1000))[0], Fate.SENT)
        self.assertEqual(self.handshakes(), [True, False])

    async def test_garbage(self) -> None:
        """Lines that are no replies are told where the server has offered pipelining; an offer in the clear is forgotten."""
        await self.start(("STARTTLS", Raw(b"what\r\n454 4.7.0 not now\r\n")))
        self.assertEqual((await self.send("may"))[0], Fate.SENT)
        self.assertTrue(
            any("non-ESMTP response from" in line and line.endswith(": what") for line in self.log), self.log
        )
        self.log.clear()
        await self.start(("EHLO", None, Raw(f"what\r\n250-{HOST}\r\n250 DSN\r\n".encode())))
        self.assertEqual((await self.send("encrypt"))[0], Fate.SENT)
        self.assertFalse(any("non-ESMTP" in line for line in self.log), self.log)

    async def test_early_reply_to_mail(self) -> None:
        """smtp_tls_block_early_mail_reply: who answers MAIL before it is said gets no mail."""
        await self.start(("EHLO", None, Raw(f"250-{HOST}\r\n250 DSN\r\n250 2.1.0 early\r\n".encode())))
        settings = {"smtp_tls_block_early_mail_reply": "yes"}
        self.assertEqual(await self.send("encrypt", settings), (Fate.DEFERRED, "4.7.0", "unexpected server message"))
        self.assertIn(f"warning: server {HOST}[127.0.0.1] violates smtp_tls_block_early_mail_reply policy", self.log)
        self.assertEqual(self.server.messages, [])

    async def test_no_engine(self) -> None:
        """Without its files the engine is not there: level may sends in the clear, above it mail waits."""
        await self.start()
        missing = {"smtp_tls_CAfile": "/nowhere/ca.pem"}
        self.assertEqual((await self.send("may", missing))[0], Fate.SENT)
        self.assertEqual(self.handshakes(), [False])
        self.assertEqual(
            await self.send("encrypt", missing),
            (Fate.DEFERRED, "4.7.5", "TLS is required, but our TLS engine is unavailable"),
        )
        await self.start()
        self.assertEqual(
            await self.send("encrypt", missing | {"smtp_tls_wrappermode": "yes"}),
            (Fate.DEFERRED, "4.7.5", "TLS is required, but our TLS engine is unavailable"),
        )
        await self.server.until(lambda: not self.server.sessions[0].open)
        self.assertEqual(self.server.sessions[0].commands, [], "nothing in the clear is for a server in wrapper mode")


class ForgettingTests(TlsTestCase):
    """What was said in the clear does not count inside TLS."""

    async def told(self, before: str, inside: str) -> tuple[Fate, str, list[str]]:
        """Deliver where EHLO offers other things inside TLS: the fate, its reason, and what was said there."""
        offers = (
            "\n".join([f"250-{HOST}", *(f"250-{word}" for word in offer.split("|")), "250 HELP"])
            for offer in (before, inside)
        )
        await self.start(("EHLO", *offers))
        login = {
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": "static:someone:secret",
            "smtp_sasl_security_options": "noanonymous",
        }
        fate, _, reason = await self.send("encrypt", login)
        commands = self.server.sessions[0].commands
        self.assertEqual(commands[:2], ["EHLO client.example", "STARTTLS"])
        return fate, reason, commands[2:]

    async def test_keywords(self) -> None:
        """Offers of before are not used: no SIZE, no DSN, no 8BITMIME, and no login where AUTH is not offered inside."""
        fate, reason, said = await self.told("STARTTLS|SIZE 10|DSN|8BITMIME|SMTPUTF8|PIPELINING|AUTH PLAIN", "ETRN")
        self.assertEqual(fate, Fate.SENT, reason)
        self.assertRegex(said[1], r"\AMAIL FROM:<[^ ]*>\Z")
        self.assertFalse([command for command in said if command.startswith("AUTH")])

    async def test_login(self) -> None:
        """A password is said inside TLS alone, by a mechanism that is offered there."""
        _, _, said = await self.told("STARTTLS|AUTH LOGIN CRAM-MD5", "AUTH PLAIN")
        self.assertTrue(said[1].startswith("AUTH PLAIN "), said)

    async def test_size(self) -> None:
        """The size that is told inside counts."""
        fate, reason, _ = await self.told("STARTTLS|SIZE 100000000", "SIZE 10")
        self.assertEqual(fate, Fate.BOUNCED)
        self.assertIn("exceeds size limit 10", reason)

    async def test_starttls_again(self) -> None:
        """STARTTLS is not said twice, whatever is offered inside."""
        fate, _, said = await self.told("STARTTLS", "STARTTLS")
        self.assertEqual(fate, Fate.SENT)
        self.assertNotIn("STARTTLS", said)

    async def test_filter(self) -> None:
        """Lines behind the reply to STARTTLS are found, too, where replies go through a filter."""
        table = Path(self.mktemp()).absolute()
        table.write_text("/^250 x/ 250 y\n")
        for behind in (b"250 injected\r\n", b"250-inj", b"junk\r\n"):
            await self.start(("STARTTLS", Raw(b"220 2.0.0 go ahead\r\n" + behind)))
            self.assertEqual(
                await self.send("may", {"smtp_reply_filter": f"regexp:{table}"}, waited=1000),
                (Fate.DEFERRED, "4.7.0", "unexpected server message"),
            )
            self.assertEqual(self.handshakes(), [False])


class CommandTests(TlsTestCase):
    """``smtpdeliver tls``."""

    async def ask(self, *words: str, destination: str = "dest.example", matches: Sequence[str] = ()) -> tuple[Any, int]:
        """Ask about a destination; what is told of each host, and the exit status."""
        arguments = ["-m", "twisted_mta.cli", "tls", "--json", "--nameserver", "{}:{}".format(*self.names)]
        settings = {**SETTINGS, "smtp_tcp_port": str(self.port)}
        options = [word for item in settings.items() for word in ("-o", "=".join(item))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MAIL_CONFIG": ""}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, [*arguments, *options, destination, *matches, *words], environment, reactor=reactor
        )
        self.assertEqual(err.decode(), "")
        return [json.loads(line) for line in out.splitlines()], status

    async def test_verified(self) -> None:
        """It shows the certificates, what they are good for, and that mail would be sent; but sends nothing."""
        await self.start()
        [host], status = await self.ask("--level", "verify", "-o", f"smtp_tls_CAfile={self.authorities()}")
        self.assertEqual((host["would_deliver"], host["problem"], status), (True, "", os.EX_OK), host)
        self.assertEqual(host["policy"]["level"], "verify")
        self.assertEqual(host["policy"]["match"], ["hostname"])
        self.assertEqual((host["tls"]["protocol"], host["tls"]["matched"]), ("TLSv1.3", True))
        self.assertEqual(host["certificates"][0]["names"], [HOST])
        self.assertEqual(host["certificates"][0]["fingerprint"], shared_pki()["valid"].fingerprint())
        self.assertEqual(host["certificates"][0]["key_fingerprint"], shared_pki()["valid"].key_fingerprint())
        self.assertTrue(any("Verified TLS connection established" in line for line in host["log"]), host["log"])
        self.assertEqual(self.server.sessions[0].commands[-2:], ["EHLO client.example", "QUIT"])

    async def test_not_verified(self) -> None:
        """It shows why mail would wait."""
        await self.start(identity="wrong_name")
        [host], status = await self.ask("--level", "secure", "-o", f"smtp_tls_CAfile={self.authorities()}")
        self.assertEqual((host["would_deliver"], status), (False, os.EX_UNAVAILABLE))
        self.assertEqual(host["problem"], "Server certificate not verified")
        self.assertEqual(host["certificates"][0]["names"], ["other.example"])
        self.assertTrue(any("hostname mismatch" in line for line in host["log"]), host["log"])

    async def test_handshake_fails(self) -> None:
        """Without a handshake there is its error."""
        await self.start(("STARTTLS", Close("220 2.0.0 go ahead")))
        [host], status = await self.ask("--level", "encrypt")
        self.assertEqual((host["problem"], host["tls"], status), ("Cannot start TLS: handshake failure", None, 69))
        self.assertTrue(any("lost connection" in line for line in host["log"]), host["log"])

    async def test_reconnect(self) -> None:
        """On request it connects again, and says whether the session of TLS was taken up; a name to match is given as a word."""
        await self.start()
        words = ("--level", "secure", "-o", f"smtp_tls_CAfile={self.authorities()}", "--reconnect", "0", "--pem")
        [host], status = await self.ask(*words, matches=[HOST])
        self.assertEqual((host["would_deliver"], host["resumed"], status), (True, True, os.EX_OK), host)
        self.assertEqual(host["policy"]["match"], [HOST])
        self.assertIn("-----BEGIN CERTIFICATE-----", host["certificates"][0]["pem"])
        self.assertEqual(len(self.server.sessions), 2)
        said = [line for line in host["dialog"] if line.startswith(">")]
        self.assertEqual(said, ["> EHLO client.example", "> STARTTLS", "> EHLO client.example", "> QUIT"])

    async def test_socket(self) -> None:
        """A server of LMTP at a socket is asked as well."""
        await self.start()
        script = Script(lmtp=True, keywords=KEYWORDS, hostname=HOST, tls=server_context(shared_pki()["valid"]))
        server, path = await self.local_server(script)
        words = ("--protocol", "lmtp", "--level", "encrypt", "-o", "lmtp_tls_CAfile=" + self.authorities())
        [host], status = await self.ask(*words, destination=f"unix:{path}")
        self.assertEqual((host["problem"], host["would_deliver"], status), ("", True, os.EX_OK), host)
        self.assertEqual((host["policy"]["level"], host["tls"]["trusted"]), ("encrypt", True))
        self.assertEqual(server.sessions[0].commands[-2:], ["LHLO client.example", "QUIT"])
