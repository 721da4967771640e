"""What each parameter of logins does: a delivery that comes out otherwise without it.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
tests/sasl/test_rows.py compares the names with the rows of the registry. All is true of LMTP, too, by parameters of its own.
"""

from typing import Any

from OpenSSL import SSL
from twisted.internet.task import deferLater

from tests.kit.pki import HOST, shared_pki
from tests.kit.script import Script
from tests.kit.server_tls import server_context
from tests.scenarios.world import WorldTestCase, reactor
from twisted_mta.config.errors import ConfigError
from twisted_mta.model.result import Fate

LOGGED_IN = "AUTH PLAIN AHVzZXIAc2VjcmV0"
NO_MECHANISM = "no mechanism available"


class EffectTests(WorldTestCase):
    """One test a parameter."""

    protocol = "smtp"

    async def start(self, mechanisms: str = "PLAIN", *rules: Any, tls: SSL.Context | None = None) -> None:
        """Start a server that offers these mechanisms; unless rules say otherwise it takes any login."""
        keywords = [*(["STARTTLS"] if tls else []), f"AUTH {mechanisms}"]
        rules = (*rules, ("AUTH", "235 2.7.0 ok"))
        script = Script(*rules, hostname=HOST, keywords=keywords, tls=tls, lmtp=self.protocol == "lmtp")
        self.server, self.port = await self.mail_server(script)

    def parameters(self, settings: dict[str, str]) -> dict[str, str]:
        """These, and what it takes to log in by PLAIN, as the protocol has them."""
        usual = {
            "smtp_sasl_auth_enable": "yes",
            "smtp_sasl_password_maps": "static:user:secret",
            "smtp_sasl_security_options": "noanonymous",
        }
        both = {**usual, **settings}
        return {name.replace("smtp_", f"{self.protocol}_", 1): value for name, value in both.items()}

    async def send(self, agent: Any = None, **settings: str) -> str:
        """Deliver a message; ``sent``, or status and reason."""
        agent = agent or self.agent(self.parameters(settings), protocol=self.protocol)
        nexthop = f"[127.0.0.1]:{self.port}"
        if self.protocol == "lmtp":
            nexthop = f"inet:{nexthop}"
        await self.deliver(nexthop, ["a@dest.example"], protocol=self.protocol, agent=agent)
        result = self.reports.results[-1]
        return "sent" if result.fate is Fate.SENT else f"{result.dsn.status} {result.dsn.reason}"

    @property
    def said(self) -> list[str]:
        """The commands of the last session."""
        return self.server.sessions[-1].commands

    def logins(self) -> list[str]:
        """All commands AUTH."""
        return [said for session in self.server.sessions for said in session.commands if said.startswith("AUTH")]

    # ---- whether, and as whom ----

    async def test_smtp_sasl_auth_enable(self) -> None:
        """Without it nobody logs in."""
        await self.start()
        self.assertEqual(await self.send(smtp_sasl_auth_enable="yes"), "sent")
        self.assertEqual(self.logins(), [LOGGED_IN])

    async def test_smtp_sasl_password_maps(self) -> None:
        """Name and password of the server."""
        await self.start()
        self.assertEqual(await self.send(smtp_sasl_password_maps="inline:{ {127.0.0.1=user:secret} }"), "sent")
        self.assertEqual(self.logins(), [LOGGED_IN])

    async def test_smtp_sasl_password_result_delimiter(self) -> None:
        """What stands between name and password."""
        await self.start()
        settings = {"smtp_sasl_password_maps": "static:user|secret", "smtp_sasl_password_result_delimiter": "|"}
        self.assertEqual(await self.send(**settings), "sent")
        self.assertEqual(self.logins(), [LOGGED_IN])

    async def test_smtp_sender_dependent_authentication(self) -> None:
        """The sender's own password comes first; LMTP knows nothing of senders."""
        await self.start()
        table = "inline:{ {sender@client.example=sender:secret}, {127.0.0.1=user:secret} }"
        settings = {"smtp_sasl_password_maps": table, "smtp_sender_dependent_authentication": "yes"}
        self.assertEqual(await self.send(**settings), "sent")
        by_sender = "AUTH PLAIN AHNlbmRlcgBzZWNyZXQ="
        self.assertEqual(self.logins(), [by_sender if self.protocol == "smtp" else LOGGED_IN])

    async def test_send_cyrus_sasl_authzid(self) -> None:
        """The name is sent twice."""
        await self.start()
        self.assertEqual(await self.send(send_cyrus_sasl_authzid="yes"), "sent")
        self.assertEqual(self.logins(), ["AUTH PLAIN dXNlcgB1c2VyAHNlY3JldA=="])

    async def test_smtp_send_dummy_mail_auth(self) -> None:
        """MAIL says that nobody is known to have sent it."""
        await self.start()
        self.assertEqual(await self.send(smtp_send_dummy_mail_auth="yes"), "sent")
        (command,) = (said for said in self.said if said.startswith("MAIL"))
        self.assertTrue(command.endswith(" AUTH=<>"), command)

    # ---- by which mechanism ----

    async def test_smtp_sasl_type(self) -> None:
        """There is one type for clients."""
        await self.start()
        error = None
        try:
            await self.send(smtp_sasl_type="dovecot")
        except ConfigError as caught:
            error = caught
        assert error is not None
        self.assertEqual(error.text, "SASL library initialization")
        self.assertEqual(error.cause, "unsupported SASL client implementation: dovecot")

    async def test_smtp_sasl_mechanism_filter(self) -> None:
        """What it leaves out is not used."""
        steps = ("AUTH LOGIN", "334 VXNlcm5hbWU6"), ("dXNlcg==", "334 UGFzc3dvcmQ6"), ("c2VjcmV0", "235 2.7.0 ok")
        await self.start("PLAIN LOGIN", *steps)
        self.assertEqual(await self.send(smtp_sasl_mechanism_filter="!plain, static:rest"), "sent")
        self.assertEqual(self.logins(), ["AUTH LOGIN"])

    async def test_smtp_sasl_security_options(self) -> None:
        """Passwords in the clear, where that is permitted."""
        await self.start()
        self.assertEqual(await self.send(smtp_sasl_security_options="noanonymous"), "sent")

    async def inside_tls(self, **settings: str) -> str:
        """Deliver by TLS to a server that offers PLAIN, which is not for connections in the clear."""
        await self.start(tls=server_context(shared_pki()["self_signed"]))
        options = {"smtp_sasl_security_options": "noplaintext", "smtp_tls_security_level": "encrypt"}
        return await self.send(**options, **settings)

    async def test_smtp_sasl_tls_security_options(self) -> None:
        """The same inside TLS."""
        self.assertEqual(await self.inside_tls(smtp_sasl_tls_security_options="noanonymous"), "sent")
        self.assertEqual(self.logins(), [LOGGED_IN])

    async def test_smtp_sasl_tls_verified_security_options(self) -> None:
        """The same with a server that has proved who it is, and only then."""
        options = {"smtp_sasl_tls_verified_security_options": "noanonymous"}
        self.assertIn(NO_MECHANISM, await self.inside_tls(**options))
        await self.start(tls=server_context(shared_pki()["self_signed"]))
        verified = {
            "smtp_sasl_security_options": "noplaintext",
            "smtp_tls_security_level": "fingerprint",
            "smtp_tls_fingerprint_cert_match": shared_pki()["self_signed"].fingerprint(),
        }
        self.assertEqual(await self.send(**verified, **options), "sent")

    # ---- refusals ----

    async def test_smtp_sasl_auth_soft_bounce(self) -> None:
        """Without it a refusal returns the mail."""
        await self.start("PLAIN", ("AUTH", "535 5.7.8 no"))
        self.assertTrue((await self.send(smtp_sasl_auth_soft_bounce="no")).startswith("5.7.8 "))
        self.assertIs(self.reports.results[-1].fate, Fate.BOUNCED)

    async def refused_twice(self, pause: float = 0.0, **settings: str) -> str:
        """Deliver two messages to a server that refuses the login; the reason of the second."""
        await self.start("PLAIN", ("AUTH", "535 5.7.8 no"))
        agent = self.agent(self.parameters(settings), protocol=self.protocol)
        self.assertIn(" said: 535 5.7.8 no", await self.send(agent))
        await deferLater(reactor, pause, lambda: None)
        return await self.send(agent)

    async def test_smtp_sasl_auth_cache_name(self) -> None:
        """A password that was refused is not tried again."""
        self.assertIn(
            "SASL [CACHED] authentication failed", await self.refused_twice(smtp_sasl_auth_cache_name="internal:x")
        )
        self.assertEqual(self.logins(), [LOGGED_IN])

    async def test_smtp_sasl_auth_cache_time(self) -> None:
        """But after some time it is."""
        settings = {"smtp_sasl_auth_cache_name": "internal:x", "smtp_sasl_auth_cache_time": "1s"}
        # Times are kept in whole seconds.
        self.assertNotIn("CACHED", await self.refused_twice(pause=2.1, **settings))
        self.assertEqual(self.logins(), [LOGGED_IN, LOGGED_IN])


class LmtpEffectTests(EffectTests):
    """The same for LMTP: each parameter has a name of its own, with the same effect."""

    protocol = "lmtp"
