"""Logins from end to end, at a server with GNU SASL behind it: what goes out on which connection, and what is told."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint

from tests.kit.auth_server import AuthServer, Begin
from tests.kit.gnu_sasl import MISSING, GnuSaslLogin
from tests.kit.pki import HOST, shared_pki
from tests.kit.script import Close, Rule, Script
from tests.kit.server_tls import server_context
from tests.scenarios.world import WorldTestCase, reactor
from twisted_mta.model.request import RequestFlags
from twisted_mta.model.result import Fate

RECIPIENT = "a@dest.example"
PASSWORDS = {"alice": "p\u00e4ss:w,=rd \u20ac"}
ZONE = {"dest.example": {"MX": [f"10 {HOST}"]}, HOST: {"A": ["127.0.0.1"]}}


class LoginTests(WorldTestCase):
    """Logins with GNU SASL."""

    if MISSING:
        skip = MISSING

    async def start(
        self, mechanisms: str, *, tls: SSL.Context | None = None, passwords: Mapping[str, str] = PASSWORDS
    ) -> None:
        """Start a server that offers these mechanisms, inside TLS only if it has TLS, and a name server."""

        def begin(mechanism: str, binding: Any, certificate: str) -> GnuSaslLogin:
            return GnuSaslLogin(mechanism, passwords, binding, certificate=certificate, host=HOST)

        keywords = ["PIPELINING", "STARTTLS"] if tls else ["PIPELINING"]
        script = Script(hostname=HOST, keywords=[*keywords, f"AUTH {mechanisms}"], tls=tls)
        self.server = await self.auth_server(script, begin)
        self.names = await self.name_server(ZONE)

    async def auth_server(self, script: Script, begin: Begin) -> AuthServer:
        """Start a server."""
        server = AuthServer(script, reactor, begin)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        listening: Any = await server.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        self.port = listening.getHost().port
        return server

    async def send(self, password: str = PASSWORDS["alice"], **settings: str) -> tuple[Fate, str, str]:
        """Deliver; the recipient's fate, status and reason."""
        table = Path(self.mktemp()).absolute()
        table.write_text(f"{HOST} alice:{password}\n", "utf-8")
        await self.deliver(
            "dest.example",
            [RECIPIENT],
            servers=[self.names],
            settings={
                "smtp_tcp_port": str(self.port),
                "smtp_dns_support_level": "enabled",
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "",
                "smtp_sasl_password_maps": f"texthash:{table}",
                **settings,
            },
        )
        (result,) = self.reports.results
        self.reports.results.clear()
        told = "\n".join([*self.log, repr(result)])
        self.assertNotIn(PASSWORDS["alice"][:4], told)
        return result.fate, result.dsn.status, result.dsn.reason

    async def logs_in(self, **settings: str) -> str:
        """Deliver; the login that the server saw."""
        self.assertEqual((await self.send(**settings))[0], Fate.SENT)
        return self.server.logins[-1]

    async def test_in_the_clear(self) -> None:
        """Each mechanism that it has, with a right password and with a wrong one."""
        names = "CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256"
        await self.start(names)
        for name in names.split():
            self.assertEqual(await self.logs_in(smtp_sasl_mechanism_filter=name), f"{name} alice")
            fate, status, _ = await self.send("another", smtp_sasl_mechanism_filter=name)
            self.assertEqual((fate, status), (Fate.DEFERRED, "4.7.8"), name)

    async def test_without_password(self) -> None:
        """ANONYMOUS leaves a trace, and no name."""
        await self.start("ANONYMOUS")
        self.assertEqual(await self.logs_in(), "ANONYMOUS")
        fate, status, _ = await self.send(smtp_sasl_security_options="noanonymous")
        self.assertEqual((fate, status), (Fate.DEFERRED, "4.7.0"))

    def tls(self, version: int, **options: Any) -> SSL.Context:
        """TLS of one version."""
        return server_context(shared_pki()["valid"], version=version, **options)

    async def test_bound_to_tls(self) -> None:
        """The -PLUS forms: with TLS 1.3 by tls-exporter, with TLS 1.2 by tls-unique."""
        for version, kind in ((SSL.TLS1_3_VERSION, b"tls-exporter"), (SSL.TLS1_2_VERSION, b"tls-unique")):
            await self.start("SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS PLAIN", tls=self.tls(version))
            login = await self.logs_in(smtp_tls_security_level="encrypt")
            self.assertEqual(login, "SCRAM-SHA-256-PLUS alice", kind)
            login = await self.logs_in(smtp_tls_security_level="encrypt", smtp_sasl_mechanism_filter="scram-sha-1-plus")
            self.assertEqual(login, "SCRAM-SHA-1-PLUS alice", kind)
            self.assertEqual(await self.logs_in(), "SCRAM-SHA-256 alice")

    async def test_external(self) -> None:
        """EXTERNAL, with the certificate that we show, where nothing else is offered."""
        files = Path(self.mktemp()).absolute()
        files.mkdir()
        chain = shared_pki()["valid"].write(files, "client").both
        await self.start("EXTERNAL", tls=self.tls(SSL.TLS1_3_VERSION, asks_for_certificate=True))
        fate, _, reason = await self.send(smtp_tls_security_level="encrypt")
        self.assertEqual(fate, Fate.DEFERRED)
        self.assertTrue(reason.endswith("no mechanism available"), reason)
        login = await self.logs_in(smtp_tls_security_level="encrypt", smtp_tls_chain_files=str(chain))
        self.assertEqual(login, "EXTERNAL")


class PlaintextTests(WorldTestCase):
    """Servers whose TLS does not work, where TLS may be."""

    async def probe(self, table: str) -> list[list[str]]:
        """Ask a server about a recipient; what it heard in each session."""
        script = Script(("STARTTLS", Close("220 2.0.0 go")), hostname=HOST, keywords=["STARTTLS", "AUTH PLAIN"])
        server, port = await self.mail_server(script)
        names = await self.name_server(ZONE)
        await self.deliver(
            "dest.example",
            [RECIPIENT],
            servers=[names],
            settings={
                "smtp_tcp_port": str(port),
                "smtp_dns_support_level": "enabled",
                "smtp_tls_security_level": "may",
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "",
                "smtp_sasl_password_maps": f"inline:{{ {{{table} = alice:secret}} }}",
            },
            flags=RequestFlags.MTA_VRFY,
        )
        return [session.commands for session in server.sessions]

    async def test_passwords_stay_inside_tls(self) -> None:
        """Who would log in does not go on in the clear (smtp(8)); who would not, does."""
        with_login = await self.probe(HOST)
        self.assertEqual([commands[-1] for commands in with_login], ["STARTTLS"])
        without = await self.probe("other.example")
        self.assertEqual([commands[1][:4] for commands in without], ["STAR", "MAIL"])


class HostileTests(WorldTestCase):
    """Servers that mean harm: mail waits, nothing grows, and nothing of the password is told."""

    PASSWORD = "correct horse battery"

    async def send(self, keywords: list[str], *rules: Rule) -> str:
        """Deliver to a server that offers this; ``sent``, or status and reason."""
        server, port = await self.mail_server(Script(*rules, hostname=HOST, keywords=keywords))
        await self.deliver(
            f"[127.0.0.1]:{port}",
            [RECIPIENT],
            settings={
                "smtp_sasl_auth_enable": "yes",
                "smtp_sasl_security_options": "",
                "smtp_sasl_password_maps": f"static:{{alice:{self.PASSWORD}}}",
                "debug_peer_list": "127.0.0.1",
            },
        )
        result = self.reports.results[-1]
        told = "\n".join([*self.log, repr(result)])
        for secret in (self.PASSWORD, base64.b64encode(self.PASSWORD.encode()).decode(), "AGFsaWNlAGNvcn"):
            self.assertNotIn(secret, told)
        await server.until(lambda: not server.sessions[-1].open)
        self.commands = server.sessions[-1].commands
        return "sent" if result.fate is Fate.SENT else f"{result.dsn.status} {result.dsn.reason}"

    async def test_endless_lists(self) -> None:
        """Ten thousand mechanisms in as many lines, or more than fit into one: what is read of them counts."""
        names = [f"X-{number:05d}" for number in range(10_000)]
        accepted = ("AUTH", "235 2.7.0 ok")
        self.assertEqual(await self.send([f"AUTH PLAIN {' '.join(names[:400])}"], accepted), "sent")
        self.assertEqual(await self.send(["AUTH PLAIN", *(f"AUTH {name}" for name in names)], accepted), "sent")
        for keywords in ([f"AUTH {' '.join(names[:400])}"], [f"AUTH {name}" for name in names]):
            self.assertIn("no mechanism available", await self.send(keywords, accepted))
        self.assertLess(max(map(len, self.log)), 5000)

    async def test_repeated_later(self) -> None:
        """A server that repeats the password in its replies to the mail does not get it into anybody's sight either."""
        accepted = ("AUTH", "235 2.7.0 ok")
        for rule in (
            ("MAIL", f"550 5.1.8 {self.PASSWORD} may not"),
            ("RCPT", f"450-4.2.0 it is\n450 4.2.0 {self.PASSWORD}"),
            ("DATA", f"554 5.7.0 {self.PASSWORD}"),
            (".", f"250 2.0.0 queued as {self.PASSWORD}"),
        ):
            told = await self.send(["AUTH PLAIN", "PIPELINING"], accepted, rule)
            self.assertTrue(told == "sent" or "****" in told, told)

    async def test_endless_line(self) -> None:
        """A list of ten thousand in one line, or of a megabyte, ends the session."""
        for names in (" ".join(f"X-{number:05d}" for number in range(10_000)), "x" * 1_000_000):
            self.assertTrue((await self.send([f"AUTH PLAIN {names}"])).startswith("4.4.2 lost connection with"))
            self.assertFalse([line for line in self.commands if line.startswith("MAIL")])

    async def test_challenges(self) -> None:
        """Challenges that are none, that never end, or that come where there is nothing more to say."""
        servers: dict[str, list[Rule]] = {
            "LOGIN": [("", None, None, "334 VXNlcm5hbWU6")],
            "PLAIN": [("AUTH", "334 AAAA")],
            "CRAM-MD5": [("AUTH", "334 ====")],
            "DIGEST-MD5": [("AUTH", "334 !!!")],
            "SCRAM-SHA-256": [("AUTH", "334 " + base64.b64encode(b"r=x,s=c2FsdA==,i=4096").decode())],
            "SCRAM-SHA-1": [("AUTH", "235 2.7.0 welcome")],
            "XOAUTH2": [("", None, None, "334 e30=")],
        }
        for name, rules in servers.items():
            reason = await self.send([f"AUTH {name}"], *rules)
            self.assertTrue(
                reason.startswith("4.7.0 SASL authentication failed; cannot authenticate to server"), reason
            )
            self.assertEqual(self.commands[-1], "QUIT", name)
            self.assertFalse([line for line in self.commands if line.startswith("MAIL")], name)
