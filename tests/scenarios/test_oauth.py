"""Deliveries to servers that want OAuth2 tokens, which come from a token server of HTTP on loopback."""

import base64
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.kit.script import Script
from tests.kit.token_server import Answer, TokenServer
from tests.scenarios.world import MESSAGE, SETTINGS, WorldTestCase, reactor
from twisted_mta.assembly import build_agent, build_resolver, open_tables
from twisted_mta.config.settings import load_settings
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.model.result import Fate
from twisted_mta.oauth.accounts import FOLDER
from twisted_mta.oauth.provider import TokenProvider
from twisted_mta.oauth.store import TokenStore
from twisted_mta.sasl.oauth_tokens import Tokens

USER = "alice@client.example"
ANN = "ann@dest.example"

ACCOUNTS = {
    "service": 'grant = "client_credentials"',
    "person": 'grant = "refresh_token"',
}

LOGIN = {
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_security_options": "noanonymous",
    "smtp_connection_cache_on_demand": "no",
}


class OauthTests(WorldTestCase):
    """A server that offers both mechanisms for tokens, and takes any, unless a test says otherwise."""

    async def begin(self, *rules: Any, account: str = "service", offer: str = "PLAIN XOAUTH2 OAUTHBEARER") -> None:
        """Start all that there is.

        Args:
            rules: of the mail server.
            account: that the password table names.
            offer: the mechanisms of the mail server.
        """
        self.tokens = TokenServer(reactor.seconds)
        self.tokens.listen(reactor)
        self.addCleanup(self.tokens.stop)
        script = Script(*rules, ("AUTH", "235 2.7.0 welcome"), keywords=["PIPELINING", f"AUTH {offer}"])
        self.server, port = await self.mail_server(script)
        self.nexthop = f"[127.0.0.1]:{port}"
        directory = Path(self.mktemp()).absolute()
        (directory / FOLDER).mkdir(parents=True)
        (directory / "data").mkdir()
        for name, grant in ACCOUNTS.items():
            path = directory / FOLDER / f"{name}.toml"
            endpoint = f'token_endpoint = "{self.tokens.url("/token")}"'
            path.write_text(f'{grant}\nclient_id = "client"\nclient_secret = "hush"\n{endpoint}\n')
            path.chmod(0o600)
        passwords = f"inline:{{ {{127.0.0.1={USER}:oauth2:{account}}} }}"
        settings = {**SETTINGS, **LOGIN, "smtp_sasl_password_maps": passwords, "data_directory": f"{directory}/data"}
        (directory / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        self.store = TokenStore(directory / "data" / FOLDER)
        self.engine = self.build(directory)

    def build(self, directory: Path) -> DeliveryAgent:
        """An engine of this configuration."""
        settings = load_settings(directory)
        return build_agent(
            settings,
            open_tables(settings, reactor, self.emit),
            reactor,
            build_resolver(reactor, self.emit, [("127.0.0.1", 9)]),
            self.emit,
            tokens=TokenProvider.from_settings(settings, reactor, self.emit),
        )

    async def send(self, recipient: str = ANN) -> None:
        """Deliver a message."""
        await self.deliver(self.nexthop, [recipient], agent=self.engine)

    def consent(self) -> None:
        """A person has consented long ago."""
        url = self.tokens.browse({"client_id": "client", "redirect_uri": "http://x", "state": "s"}, USER)
        grant = self.tokens._first(self.tokens._codes.pop(url.partition("code=")[2].partition("&")[0]))
        self.store.save("person", USER, Tokens("old", 1.0, 2.0, grant["refresh_token"]))

    def logins(self) -> list[bytes]:
        """What was said in AUTH, in all sessions."""
        lines = [command for session in self.server.sessions for command in session.commands]
        return [base64.b64decode(line.split()[2]) for line in lines if line.startswith("AUTH ")]

    def no_secrets(self, user: str = USER) -> None:
        """Nothing that was logged or reported has a secret in it."""
        told = "\n".join([*self.log, *(repr(result) for result in self.reports.results)])
        sent = [asked.fields.get("refresh_token", "hush") for asked in self.tokens.requests]
        for secret in ("hush", *sent, *self.tokens.given(user), *self.tokens.given(self.tokens.service_user)):
            self.assertNotIn(secret, told)

    async def test_delivery(self) -> None:
        """The token is fetched for the first message, and serves for the next ones."""
        await self.begin(offer="PLAIN XOAUTH2")
        await self.send()
        await self.send("bob@dest.example")
        (token,) = self.tokens.given(self.tokens.service_user)
        said = f"user={USER}\x01auth=Bearer {token}\x01\x01".encode()
        self.assertEqual(self.logins(), [said, said])
        self.assertEqual(self.reports.fates, {ANN: (Fate.SENT, "2.0.0"), "bob@dest.example": (Fate.SENT, "2.0.0")})
        self.assertEqual(self.server.messages[0].content, MESSAGE.replace(b"\n", b"\r\n"))
        self.assertIn("OAuth2 account service: new access token, valid for 3600 seconds", self.log)
        self.no_secrets()

    async def test_oauthbearer(self) -> None:
        """Where both mechanisms are offered, the standard one is used."""
        await self.begin()
        await self.send()
        (token,) = self.tokens.given(self.tokens.service_user)
        (said,) = self.logins()
        self.assertTrue(said.startswith(f"n,a={USER},\x01host=127.0.0.1\x01".encode()), said)
        self.assertTrue(said.endswith(f"\x01auth=Bearer {token}\x01\x01".encode()), said)

    async def test_many_at_once(self) -> None:
        """A hundred messages make one request."""
        await self.begin()
        self.tokens.answers["/token"] = [Answer(wait=True)]
        sending = [Deferred.fromCoroutine(self.send(f"r{number}@dest.example")) for number in range(100)]
        while len(self.server.sessions) < 100 or not self.tokens.requests:
            await self.pause()
        self.tokens.go_on()
        await gatherResults(sending)
        self.assertEqual(len(self.tokens.requests), 1)
        self.assertEqual({fate for fate, _ in self.reports.fates.values()}, {Fate.SENT})
        self.assertEqual(len(self.server.messages), 100)

    async def test_refused_token(self) -> None:
        """A token that the mail server refuses defers the message; the next attempt has another one."""
        await self.begin(("AUTH", "535 5.7.8 no", "235 2.7.0 welcome"))
        await self.send()
        self.assertEqual(self.reports.fates, {ANN: (Fate.DEFERRED, "4.7.8")})
        await self.send()
        self.assertEqual(self.reports.fates, {ANN: (Fate.SENT, "2.0.0")})
        first, second = self.tokens.given(self.tokens.service_user)
        said = self.logins()
        self.assertIn(first.encode(), said[0])
        self.assertIn(second.encode(), said[1])
        self.assertIn(
            "warning: OAuth2 account service: a server refused the access token, the next login gets a new one",
            self.log,
        )
        self.no_secrets()

    async def test_user_that_is_not_wanted(self) -> None:
        """A server that refuses every token does not make a request for each message."""
        await self.begin(("AUTH", "535 5.7.8 no"))
        for _ in range(5):
            await self.send()
        self.assertEqual(len(self.tokens.requests), 2)
        self.assertEqual(self.reports.fates, {ANN: (Fate.DEFERRED, "4.7.8")})

    async def test_consent(self) -> None:
        """Without consent mail waits, and says what to run; with it, the same engine delivers; withdrawn, it waits again."""
        await self.begin(account="person")
        await self.send()
        (result,) = self.reports.results
        self.assertEqual((result.fate, result.dsn.status), (Fate.DEFERRED, "4.7.0"))
        advice = f"run: smtpdeliver oauth login person {USER}"
        self.assertIn(f"nobody has consented yet; {advice}", result.dsn.reason)
        self.assertEqual(self.logins(), [])
        self.consent()
        await self.send()
        self.assertEqual(self.reports.fates, {ANN: (Fate.SENT, "2.0.0")})
        kept = self.store.load("person", USER)
        assert kept is not None
        self.assertEqual(kept.refresh_token, self.tokens.refresh_token(USER))
        self.tokens.withdraw(USER)
        self.store.save("person", USER, Tokens("old", 1.0, 2.0, kept.refresh_token))
        await self.send()
        self.assertEqual(self.reports.fates, {ANN: (Fate.DEFERRED, "4.7.0")})
        self.assertTrue(any("invalid_grant" in line and advice in line for line in self.log), self.log)
        self.assertEqual(len(self.server.messages), 1)
        self.no_secrets()

    async def test_token_server_is_away(self) -> None:
        """Mail waits for a token server as for any other; it is never sent without a login, nor returned."""
        await self.begin()
        for answer in (Answer(503), Answer(hang_up=True), Answer(401, b'{"error": "invalid_client"}')):
            self.tokens.answers["/token"] = [answer]
            self.engine = self.build(self.store.folder.parents[1])
            await self.send()
            self.assertEqual(self.reports.fates, {ANN: (Fate.DEFERRED, "4.7.0")})
        self.assertEqual(self.server.messages, [])
        self.no_secrets()

    async def test_no_such_account(self) -> None:
        """A password table that names no account is told with the file that should be there."""
        await self.begin(account="nobody")
        await self.send()
        (result,) = self.reports.results
        self.assertEqual((result.fate, result.dsn.status), (Fate.DEFERRED, "4.7.0"))
        self.assertIn("nobody.toml: there is no such file", result.dsn.reason)

    async def test_no_mechanism_for_tokens(self) -> None:
        """A token is never sent as a password."""
        await self.begin(offer="PLAIN LOGIN")
        await self.send()
        (result,) = self.reports.results
        self.assertEqual((result.fate, self.logins(), self.tokens.requests), (Fate.DEFERRED, [], []))

    def pause(self) -> Deferred[None]:
        """Let some time go by."""
        pause: Deferred[None] = Deferred()
        reactor.callLater(0.01, pause.callback, None)
        return pause
