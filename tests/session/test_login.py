"""Logging in: the rules, each step of a login, and what becomes of it in a session."""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.dialog import PEER, ScriptedServer, play
from tests.kit.lookup_tables import SlowTable
from tests.kit.messages import make_request
from tests.session.shell import ShellTestCase
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import load_settings
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.interfaces import ISASLMechanism, ISASLMechanismFactory, ITokenProvider, SaslError, TokenError
from twisted_mta.model.events import Event
from twisted_mta.model.login import ChannelBinding, Confidential, Login
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.sasl.choice import Mechanisms
from twisted_mta.sasl.conversation import Conversation
from twisted_mta.sasl.credentials import CredentialTables
from twisted_mta.sasl.mechanisms import BUILT_IN
from twisted_mta.sasl.plain import plain
from twisted_mta.session.channel import IN_THE_CLEAR, Channel, SecurityOptions
from twisted_mta.session.login import Helpers, LoginRules, Outcome
from twisted_mta.session.overhearing import DetailedLog, Ear
from twisted_mta.session.session import Session
from twisted_mta.session.tables import SessionTables
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, Dialog
from twisted_mta.smtp.capabilities import Feature, parse_ehlo
from twisted_mta.smtp.greeting import Occasion, Rebuff
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.tables.maps import Maps
from twisted_mta.tables.opening import FOLDED, TableContext
from twisted_mta.tables.table_set import TableSet
from twisted_mta.tls.levels import Level
from twisted_mta.tls.state import TlsState

T = TypeVar("T")

ENABLED = {
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_password_maps": "inline:{{mx.example = user:secret}}",
    "smtp_sasl_security_options": "noanonymous",
}
OCCASION = Occasion("4Abc12", sender="a@b.example", destination="[mx.example]:587")
TLS = TlsState(Level.MAY, "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, 256, True, False, False, False)
NO_MECHANISM = f"SASL authentication failed; cannot authenticate to server {PEER.namaddr}: no mechanism available"


@implementer(ITokenProvider)
class Tokens:
    """Gives the tokens it has, and writes down what was refused."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []

    def access_token(self, user: str, account: str) -> Deferred[str]:
        """The next token."""
        self.asked.append((user, account))
        return succeed(self.tokens.pop(0)) if self.tokens else fail(TokenError("no consent: run smtpdeliver oauth"))

    def rejected(self, account: str, token: str) -> None:
        """One was refused."""
        self.refused.append((account, token))


class LoginTestCase(SynchronousTestCase):
    """Rules of a configuration, and servers by script."""

    def setUp(self) -> None:
        """Nothing has happened."""
        self.events: list[Event] = []
        self.now = 1_700_000_000.0
        self.tokens: ITokenProvider | None = None
        self.mechanisms = Mechanisms()
        self.confidential = Confidential()

    def rules(self, protocol: str = "smtp", **parameters: str) -> LoginRules:
        """The rules that parameters make; those of ENABLED beside others."""
        rules = self.rules_or_none(protocol, **{**ENABLED, **parameters})
        assert rules is not None
        return rules

    def rules_or_none(self, protocol: str = "smtp", **parameters: str) -> LoginRules | None:
        """The same, for parameters that may turn logins off."""
        settings = load_settings(None, protocol=protocol, overrides=list(parameters.items()))
        tables = TableSet(TableContext(settings.expanded, Path("/"), Path("/"), self.events.append))
        helpers = Helpers(self.events.append, lambda: self.now, tokens=self.tokens)
        return LoginRules.from_settings(settings, tables, self.mechanisms, {"192.0.2.1"}.__contains__, helpers)

    @property
    def log(self) -> list[str]:
        """What is logged."""
        return [
            f"{severity.value}: {text}" if severity.value else text for severity, text in map(self._line, self.events)
        ]

    def _line(self, event: Event) -> Any:
        return line_of(event, LogStyle())

    def log_in(
        self,
        rules: LoginRules,
        script: str,
        *auth: str,
        occasion: Occasion = OCCASION,
        channel: Channel = IN_THE_CLEAR,
    ) -> Outcome | Rebuff:
        """Log in to a server that offers these lists (PLAIN if there are none); `script` has its replies."""
        self.said: list[str] = []

        async def perform(dialog: Dialog[T]) -> T:
            played = play(dialog, ScriptedServer("\n".join(f"S: {reply}" for reply in script.split(" | "))))
            self.said += [row[3:] for row in played.rows if row.startswith("C: ")]
            self.events += played.events
            if played.error is not None:
                raise played.error
            assert played.result is not None
            return played.result

        async def steps() -> Outcome | Rebuff:
            lines = [f"250-AUTH {names}" for names in auth or ["PLAIN"]]
            offer = await rules.hear(parse_ehlo("\n".join(["250-mx", *lines])), PEER)
            return await rules.log_in(PEER, offer, occasion, channel, perform, self.confidential)

        done: list[Any] = []
        Deferred.fromCoroutine(steps()).addBoth(done.append)
        (outcome,) = done
        if isinstance(outcome, Failure):
            outcome.raiseException()
        assert isinstance(outcome, Outcome | Rebuff)
        return outcome

    def reason(self, *arguments: Any, **named: Any) -> str:
        """Why a login fails."""
        outcome = self.log_in(*arguments, **named)
        assert isinstance(outcome, Rebuff), outcome
        return outcome.why.reason


class SettingsTests(LoginTestCase):
    """What main.cf says, and what smtp(8) would die of."""

    def test_disabled(self) -> None:
        """Nobody logs in unless it is enabled, whatever else there is."""
        self.assertIsNone(self.rules_or_none(smtp_sasl_password_maps="nosuch:x", smtp_sasl_security_options="x"))

    def test_fatal(self) -> None:
        """Words that mean nothing, and tables that are none; what smtp(8) warns of before it dies goes along."""
        for name in (
            "smtp_sasl_security_options",
            "smtp_sasl_tls_security_options",
            "smtp_sasl_tls_verified_security_options",
        ):
            error = self.assertRaises(ConfigError, self.rules, **{name: "a, noplaintext"})
            self.assertEqual(error.text, "SASL per-connection initialization failed")
            self.assertEqual(error.cause, 'unknown SASL security options value "a" in "a, noplaintext"')
        error = self.assertRaises(ConfigError, self.rules, smtp_sasl_password_maps="x")
        self.assertEqual(error.text, 'open dictionary: expecting "type:name" form instead of "x"')

    def test_lmtp(self) -> None:
        """LMTP has parameters of its own, and does not care for senders."""
        parameters = {name.replace("smtp_", "lmtp_"): value for name, value in ENABLED.items()}
        rules = self.rules_or_none("lmtp", **parameters, lmtp_sender_dependent_authentication="yes")
        assert rules is not None
        self.assertTrue(rules.terms.lmtp)
        self.assertEqual(rules.credentials.maps.parameter, "lmtp_sasl_password_maps")
        self.assertIsNone(rules.credentials.find_sender)

    def test_senders(self) -> None:
        """Senders are looked up in all forms: with and without quotes, extension, local domain, local part."""
        rules = self.rules(
            smtp_sender_dependent_authentication="yes",
            recipient_delimiter="+",
            mydestination="here.test",
            smtp_sasl_password_maps="inline:{ {a@b.test = 1}, {local = 2}, {@d.test = 3}, {mx.example = 6} }",
        )
        for sender, user in {
            "A+ext@b.test": "1",
            "local@here.test": "2",
            "local+x@here.test": "2",
            "any@d.test": "3",
            "x@nowhere.test": "6",
            "": "6",
        }.items():
            found = self.successResultOf(rules.find_credentials(sender, "mx.example", "dest"))
            assert found is not None
            self.assertEqual(found.user, user, sender)

    def test_whether_there_is_a_login(self) -> None:
        """Who asks before there is a session gets an answer; where the tables cannot tell, there may be a login."""
        rules = self.rules()
        self.assertTrue(self.successResultOf(rules.may_log_in("", "mx.example", "x")))
        self.assertFalse(self.successResultOf(rules.may_log_in("", "other.example", "x")))
        self.assertTrue(self.successResultOf(self.rules(smtp_sasl_password_maps="fail:x").may_log_in("", "h", "x")))

    def test_certificate(self) -> None:
        """A client certificate counts, whichever of the parameters names it."""
        self.assertFalse(self.rules().has_certificate)
        for name in ("smtp_tls_cert_file", "smtp_tls_eccert_file", "smtp_tls_chain_files"):
            self.assertTrue(self.rules(**{name: "/x.pem"}).has_certificate)


class OutcomeTests(LoginTestCase):
    """What becomes of a login."""

    def test_success(self) -> None:
        """The usual way."""
        self.assertIs(self.log_in(self.rules(), "235 ok", "LOGIN PLAIN"), Outcome.AUTHENTICATED)
        self.assertEqual(self.said, ["AUTH PLAIN AHVzZXIAc2VjcmV0"])
        self.assertEqual(self.log, [])
        self.assertEqual(self.confidential.out_of("secret AHVzZXIAc2VjcmV0"), "**** ****")

    def test_not_wanted(self) -> None:
        """Without credentials there is no login, even if the server offers nothing that could be used."""
        rules = self.rules(smtp_sasl_password_maps="inline:{other.example=u:p}")
        self.assertIs(self.log_in(rules, "", ""), Outcome.NOT_WANTED)
        self.assertEqual(self.log, [f"warning: {PEER.relay} offered null AUTH mechanism list"])

    def test_destination(self) -> None:
        """The destination's credentials are as good as the host's."""
        rules = self.rules(smtp_sasl_password_maps="inline:{[mx.example]:587=u:p}")
        self.assertIs(self.log_in(rules, "235 ok"), Outcome.AUTHENTICATED)

    def test_nothing_offered(self) -> None:
        """A list of which the filter leaves nothing."""
        rules = self.rules(smtp_sasl_mechanism_filter="!plain, cram-md5")
        reason = (
            f"SASL authentication failed: server {PEER.namaddr} offered no compatible authentication mechanisms"
            " for this type of connection security"
        )
        self.assertEqual(self.reason(rules, "", "PLAIN LOGIN"), reason)
        self.assertEqual(self.log, [f"warning: {PEER.relay} offered no supported AUTH mechanisms: 'PLAIN LOGIN'"])

    def test_nothing_worthy(self) -> None:
        """A list of which the options leave nothing."""
        rules = self.rules(smtp_sasl_security_options="noplaintext, noanonymous")
        self.assertEqual(self.reason(rules, "", "PLAIN LOGIN X-NEW"), NO_MECHANISM)
        self.assertEqual(self.log, ["warning: SASL authentication failure: No worthy mechs found"])

    def test_nothing_that_can_be_used(self) -> None:
        """A list whose mechanisms need what is not there: the log says what."""
        self.assertEqual(self.reason(self.rules(), "", "EXTERNAL SCRAM-SHA-1-PLUS"), NO_MECHANISM)
        self.assertEqual(
            self.log[0],
            f"warning: {PEER.relay}: AUTH mechanisms that cannot be used: SCRAM-SHA-1-PLUS: there is no TLS to be bound to;"
            " EXTERNAL: no client certificate is in use",
        )

    def test_refused(self) -> None:
        """A server that says no."""
        outcome = self.log_in(self.rules(), "535 5.7.8 no")
        assert isinstance(outcome, Rebuff)
        self.assertEqual(outcome.why.status, "4.7.8")
        outcome = self.log_in(self.rules(smtp_sasl_auth_soft_bounce="no"), "535 5.7.8 no")
        assert isinstance(outcome, Rebuff)
        self.assertEqual(outcome.why.status, "5.7.8")

    def test_authorization_identity(self) -> None:
        """The name may be sent twice (send_cyrus_sasl_authzid)."""
        self.log_in(self.rules(send_cyrus_sasl_authzid="yes"), "235 ok")
        self.assertEqual(self.said, ["AUTH PLAIN dXNlcgB1c2VyAHNlY3JldA=="])

    def test_anonymous(self) -> None:
        """ANONYMOUS, where it is allowed, tells our name."""
        rules = self.rules(smtp_sasl_security_options="", myhostname="client.test")
        self.log_in(rules, "235 ok", "ANONYMOUS")
        self.assertEqual(self.said, ["AUTH ANONYMOUS " + base64.b64encode(b"anonymous@client.test").decode()])

    def test_unspeakable(self) -> None:
        """Line breaks and null characters in credentials: nothing is said, and nothing of them shown."""
        for value in ("us\ner:secret", "user:sec\0ret", "user:secret\r"):
            maps = Maps("smtp_sasl_password_maps", [_Constant(value)], self.events.append)
            rules = replace(self.rules(), credentials=CredentialTables(maps))
            reason = self.reason(rules, "")
            self.assertTrue(reason.endswith(": a line break or null character in the credentials"), reason)
            self.assertEqual(self.said, [])
            self.assertNotIn("sec", reason)

    def test_empty_name(self) -> None:
        """A table with a password and no name."""
        rules = self.rules(smtp_sasl_password_maps="static::secret")
        self.assertTrue(self.reason(rules, "").endswith(": generic failure"))
        self.assertEqual(self.log, ["warning: SASL authentication failure: All-whitespace username."])

    def test_lost(self) -> None:
        """A connection that breaks ends the session."""
        rules = self.rules()

        async def perform(dialog: Dialog[Any]) -> Any:
            raise ConnectionBrokenError(Breakage.LOST, phases.AUTH)

        async def steps() -> Any:
            offer = await rules.hear(parse_ehlo("250-mx\n250 AUTH PLAIN"), PEER)
            return await rules.log_in(PEER, offer, OCCASION, IN_THE_CLEAR, perform, self.confidential)

        self.failureResultOf(Deferred.fromCoroutine(steps()), ConnectionBrokenError)

    def test_tables_that_fail(self) -> None:
        """Where a table cannot tell, no mail goes out; which one it was goes into the log."""
        for parameters, lines in [
            (
                {"smtp_sasl_password_maps": "fail:x"},
                [
                    'warning: fail:x lookup error for "mx.example"',
                    "warning: 4Abc12: smtp_sasl_password_maps lookup error",
                ],
            ),
            (
                {"smtp_sasl_mechanism_filter": "fail:x"},
                ["warning: smtp_sasl_mechanism_filter: fail:x: table lookup problem"],
            ),
        ]:
            self.events.clear()
            rules = self.rules(**parameters)
            error = self.assertRaises(ConnectionBrokenError, self.log_in, rules, "")
            self.assertIs(error.breakage, Breakage.LOCAL_ERROR)
            self.assertEqual([line for line in self.log if "unavailable" not in line], lines)


class ChannelTests(LoginTestCase):
    """What the connection's safety changes."""

    def test_options(self) -> None:
        """Each kind of connection has options of its own."""
        options = SecurityOptions(frozenset({"a"}), frozenset({"b"}), frozenset({"c"}))
        self.assertEqual(options.on(None), {"a"})
        self.assertEqual(options.on(TLS), {"b"})
        self.assertEqual(options.on(replace(TLS, level=Level.VERIFY, matched=True)), {"c"})

    def test_defaults(self) -> None:
        """The three parameters follow each other."""
        rules = self.rules(smtp_sasl_security_options="noactive")
        self.assertEqual(rules.security, SecurityOptions(*[frozenset({"noactive"})] * 3))
        rules = self.rules(smtp_sasl_tls_security_options="")
        self.assertEqual(rules.security.encrypted, frozenset())
        self.assertEqual(rules.security.verified, frozenset())

    def test_passwords_in_the_clear(self) -> None:
        """What is forbidden in the clear may be allowed with TLS."""
        rules = self.rules(
            smtp_sasl_security_options="noplaintext, noanonymous", smtp_sasl_tls_security_options="noanonymous"
        )
        self.assertIsInstance(self.log_in(rules, ""), Rebuff)
        self.assertIs(self.log_in(rules, "235 ok", channel=Channel(TLS)), Outcome.AUTHENTICATED)

    def bound(self, protocol: str, known: dict[str, bytes]) -> ChannelBinding | None:
        """The binding of a channel."""
        return Channel(replace(TLS, protocol=protocol), known.get).channel_binding()

    def test_bindings(self) -> None:
        """TLS 1.3 has a kind of its own (RFC 9266); where that cannot be had, the certificate will do."""
        known = {"tls-exporter": b"e", "tls-unique": b"u", "tls-server-end-point": b"s"}
        self.assertEqual(self.bound("TLSv1.3", known), ChannelBinding("tls-exporter", b"e"))
        self.assertEqual(self.bound("TLSv1.2", known), ChannelBinding("tls-unique", b"u"))
        del known["tls-exporter"], known["tls-unique"]
        self.assertEqual(self.bound("TLSv1.3", known), ChannelBinding("tls-server-end-point", b"s"))
        self.assertIsNone(self.bound("TLSv1.3", {"tls-unique": b"u"}))
        self.assertIsNone(Channel(None, known.get).channel_binding())

    def test_bound_login(self) -> None:
        """The bound forms come first, and say which kind they use."""
        channel = Channel(TLS, {"tls-exporter": b"e"}.get)
        self.reason(self.rules(), "535 no", "PLAIN SCRAM-SHA-256 SCRAM-SHA-1-PLUS", channel=channel)
        (command,) = self.said
        word, name, first = command.split()
        self.assertEqual((word, name), ("AUTH", "SCRAM-SHA-1-PLUS"))
        self.assertTrue(base64.b64decode(first).startswith(b"p=tls-exporter,,n=user,r="))

    def test_offer_that_was_taken_away(self) -> None:
        """A server without bound forms hears that we could; but not if our own filter has left them out."""
        channel = Channel(TLS, {"tls-exporter": b"e"}.get)
        for rules, flag in ((self.rules(), b"y"), (self.rules(smtp_sasl_mechanism_filter="scram-sha-1"), b"n")):
            offered = "SCRAM-SHA-1" if flag == b"y" else "SCRAM-SHA-1 SCRAM-SHA-1-PLUS"
            self.reason(rules, "535 no", offered, channel=channel)
            self.assertTrue(base64.b64decode(self.said[0].split()[2]).startswith(flag + b",,n=user,"))

    def test_external(self) -> None:
        """EXTERNAL needs a certificate, and TLS to show it in."""
        rules = self.rules(smtp_tls_cert_file="/x.pem")
        self.assertIsInstance(self.log_in(rules, "", "EXTERNAL"), Rebuff)
        self.assertIs(self.log_in(rules, "334 | 235 ok", "EXTERNAL", channel=Channel(TLS)), Outcome.AUTHENTICATED)
        self.assertEqual(self.said, ["AUTH EXTERNAL", ""])


class MemoryTests(LoginTestCase):
    """Refusals that are remembered."""

    def test_refused_once(self) -> None:
        """After a 535 the same password is not tried again, until it changes or time has passed."""
        rules = self.rules(smtp_sasl_auth_cache_name="internal:x", smtp_sasl_auth_cache_time="90d")
        self.reason(rules, "535-5.7.8 one, | 535 5.7.8 two".replace(" | 535", " | 535"), "PLAIN")
        self.assertEqual(len(self.said), 1)
        reason = self.reason(rules, "")
        self.assertEqual(self.said, [])
        self.assertEqual(reason, "SASL [CACHED] authentication failed; server mx.example said: 535-5.7.8 one,")
        changed = replace(self.rules(smtp_sasl_password_maps="static:user:new"), memory=rules.memory)
        self.assertIs(self.log_in(changed, "235 ok"), Outcome.AUTHENTICATED)

    def test_time(self) -> None:
        """What is too old is forgotten."""
        rules = self.rules(smtp_sasl_auth_cache_name="internal:x", smtp_sasl_auth_cache_time="10s")
        self.reason(rules, "535 5.7.8 no")
        self.now += 11
        self.assertIs(self.log_in(rules, "235 ok"), Outcome.AUTHENTICATED)
        self.now -= 11
        self.assertIs(self.log_in(rules, "235 ok"), Outcome.AUTHENTICATED)

    def test_other_replies(self) -> None:
        """Only a 535 says that the password is wrong."""
        rules = self.rules(smtp_sasl_auth_cache_name="internal:x")
        for reply in ("534 5.7.9 too weak", "454 4.7.0 later", "530 5.7.0 what"):
            self.reason(rules, reply)
            self.reason(rules, reply)
            self.assertEqual(len(self.said), 1, reply)


class TokenTests(LoginTestCase):
    """OAuth2 accounts in place of passwords."""

    PARAMETERS: dict[str, str] = {"smtp_sasl_password_maps": "static:me@b.example:oauth2:work"}  # noqa: RUF012

    def test_token(self) -> None:
        """The token that the account gives is sent by the mechanisms for tokens only."""
        self.tokens = tokens = Tokens("t0ken")
        verifyObject(ITokenProvider, tokens)
        outcome = self.log_in(self.rules(**self.PARAMETERS), "235 ok", "PLAIN LOGIN XOAUTH2")
        self.assertIs(outcome, Outcome.AUTHENTICATED)
        self.assertEqual(tokens.asked, [("me@b.example", "work")])
        response = base64.b64decode(self.said[0].removeprefix("AUTH XOAUTH2 "))
        self.assertEqual(response, b"user=me@b.example\x01auth=Bearer t0ken\x01\x01")

    def test_refused(self) -> None:
        """A token that is refused is given back; nothing is remembered, since the next one is another."""
        self.tokens = tokens = Tokens("t0ken", "other")
        rules = self.rules(**self.PARAMETERS, smtp_sasl_auth_cache_name="internal:x")
        reason = self.reason(rules, "334 e30= | 535 5.7.8 bad token t0ken", "XOAUTH2")
        self.assertEqual(tokens.refused, [("work", "t0ken")])
        self.assertTrue(reason.endswith("bad token ****"), reason)
        self.assertEqual(self.log, [f"{PEER.relay}: XOAUTH2: the server explains: {{}}"])
        self.assertIs(self.log_in(rules, "235 ok", "XOAUTH2"), Outcome.AUTHENTICATED)
        self.reason(rules, "454 4.7.0 later", "XOAUTH2") if tokens.tokens else None
        self.assertEqual(len(tokens.refused), 1)

    def test_no_token(self) -> None:
        """Where there is none, the reason says what to do, and nothing is said to the server."""
        self.tokens = Tokens()
        reason = self.reason(self.rules(**self.PARAMETERS), "", "XOAUTH2")
        self.assertTrue(reason.endswith(": no consent: run smtpdeliver oauth"), reason)
        self.assertEqual(self.said, [])

    def test_no_provider(self) -> None:
        """Nor where nobody gives any."""
        reason = self.reason(self.rules(**self.PARAMETERS), "", "XOAUTH2")
        self.assertTrue(reason.endswith(": OAuth2 accounts cannot be used here"), reason)

    def test_mechanisms(self) -> None:
        """A server that takes no tokens gets none, and the log says so."""
        self.tokens = tokens = Tokens("t0ken")
        self.assertEqual(self.reason(self.rules(**self.PARAMETERS), "", "PLAIN LOGIN"), NO_MECHANISM)
        self.assertEqual(tokens.asked, [])
        self.assertIn("PLAIN: the password table has a token, not a password", self.log[0])

    def test_malformed_reference(self) -> None:
        """What looks like an account, but cannot be one, is not shown."""
        rules = self.rules(smtp_sasl_password_maps="static:me:oauth2:se/cret")
        reason = self.reason(rules, "", "XOAUTH2")
        self.assertIn("is not the name of an account", reason)
        self.assertNotIn("cret", reason)


@implementer(ISASLMechanismFactory)
@dataclass
class SlowMechanism:
    """A mechanism that takes long to make."""

    name: str = "X-SLOW"
    rank: int = 1
    satisfies: frozenset[str] = frozenset({"noanonymous"})
    blocks: bool = True
    problem: str = ""

    def obstacle(self, of: Login) -> str:
        """Nothing."""
        return ""

    def make(self, of: Login) -> ISASLMechanism:
        """One that says what PLAIN does."""
        if self.problem:
            raise SaslError("generic failure", self.problem)
        return Conversation(self.name, plain(of))


class PluginTests(LoginTestCase):
    """Mechanisms of users."""

    def test_slow(self) -> None:
        """What takes long is done in a thread."""
        calls: list[Callable[[], Any]] = []

        def in_thread(work: Callable[[], T]) -> Deferred[T]:
            calls.append(work)
            return succeed(work())

        self.mechanisms = Mechanisms([*BUILT_IN, SlowMechanism()])
        rules = self.rules()
        rules = replace(rules, helpers=replace(rules.helpers, in_thread=in_thread))
        self.assertIs(self.log_in(rules, "235 ok", "PLAIN X-SLOW"), Outcome.AUTHENTICATED)
        self.assertEqual(len(calls), 1)
        self.assertIs(self.log_in(rules, "235 ok", "PLAIN"), Outcome.AUTHENTICATED)
        self.assertEqual(len(calls), 1)

    def test_that_cannot_be_made(self) -> None:
        """One that cannot be made says why."""
        self.mechanisms = Mechanisms([SlowMechanism(problem="SASL authentication failure: no ticket")])
        self.assertTrue(self.reason(self.rules(), "", "X-SLOW").endswith(": generic failure"))
        self.assertEqual(self.log, ["warning: SASL authentication failure: no ticket"])


class SessionTestCase(ShellTestCase):
    """A session that logs in."""

    PARAMETERS: dict[str, str] = {}  # noqa: RUF012

    def connect(self, settings: DialogSettings | None = None, *args: Any, **named: Any) -> None:
        """Connect anew, and make a session of it that logs in."""
        super().connect(settings, *args, **named)
        configuration = load_settings(None, overrides=list({**ENABLED, **self.PARAMETERS}.items()))
        tables = TableSet(TableContext(configuration.expanded, Path("/"), Path("/"), self.events.append))
        helpers = Helpers(self.events.append, lambda: 0.0)
        self.rules = LoginRules.from_settings(configuration, tables, Mechanisms(), lambda _: False, helpers)
        self.session = Session(self.protocol, self.settings, logins=self.rules)

    def greet(self, *keywords: str) -> Deferred[Rebuff | None]:
        """Greet, up to the reply to EHLO."""
        done = Deferred.fromCoroutine(self.session.greet(OCCASION))
        self.server("220 mx.example ESMTP")
        self.assertEqual(self.client(), "EHLO client.example\r\n")
        self.server("250-mx.example", *(f"250-{keyword}" for keyword in keywords), "250 PIPELINING")
        return done

    def mail(self) -> str:
        """What MAIL says."""
        request = make_request("r@d.example", sender="s@c.example")
        Deferred.fromCoroutine(
            self.session.transact(request, request.recipients, BytesContent(b"x\n"), self.findings.append)
        ).addErrback(lambda _: None)
        return self.client().partition("\r\n")[0]


class SessionTests(SessionTestCase):
    """Logins within a session."""

    def test_login(self) -> None:
        """AUTH comes behind EHLO, and mail behind AUTH; EHLO is not said again."""
        self.connect(replace(self.SETTINGS, dummy_mail_auth=True))
        done = self.greet("AUTH PLAIN")
        self.assertNoResult(done)
        self.assertEqual(self.client(), "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n")
        self.server("235 2.7.0 ok")
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(self.mail(), "MAIL FROM:<s@c.example> AUTH=<>")

    def test_no_offer(self) -> None:
        """A server that offers no AUTH gets the mail without a login, even if there are credentials."""
        self.connect(replace(self.SETTINGS, dummy_mail_auth=True))
        self.assertIsNone(self.successResultOf(self.greet("SIZE")))
        self.assertEqual(self.mail(), "MAIL FROM:<s@c.example> SIZE=49")

    def test_rebuff(self) -> None:
        """A refused login is the end: no mail goes out without it."""
        done = self.greet("AUTH PLAIN")
        self.client()
        self.server("535 5.7.8 no")
        self.assertIsInstance(self.successResultOf(done), Rebuff)

    def test_cancelled(self) -> None:
        """Whoever gives up in the midst of a login drops the connection."""
        done = self.greet("AUTH PLAIN")
        self.client()
        done.cancel()
        self.failureResultOf(done)
        self.client()
        self.clock.advance(0)
        self.assertEqual(self.transport.ended, "dropped")

    def test_server_that_hangs(self) -> None:
        """A login has the time of EHLO, no more."""
        done = self.greet("AUTH PLAIN")
        self.client()
        self.clock.advance(300)
        self.assertEqual(
            self.broken(done), f"conversation with {PEER.namaddr} timed out while performing the EHLO handshake"
        )


class WithoutCredentialsTests(SessionTestCase):
    """A session where there are no credentials for the server."""

    PARAMETERS = {"smtp_sasl_password_maps": "inline:{other.example=u:p}"}  # noqa: RUF012

    def test_login(self) -> None:
        """The mail goes out as if nothing had been offered."""
        self.connect(replace(self.SETTINGS, dummy_mail_auth=True))
        self.assertIsNone(self.successResultOf(self.greet("AUTH PLAIN")))
        self.assertFalse(self.session.welcome.capabilities.offers(Feature.AUTH))
        self.assertEqual(self.mail(), "MAIL FROM:<s@c.example>")


class FailingTableTests(SessionTestCase):
    """A session where the table cannot tell."""

    PARAMETERS = {"smtp_sasl_password_maps": "fail:x"}  # noqa: RUF012

    def test_login(self) -> None:
        """QUIT is said, and the mail waits."""
        done = self.greet("AUTH PLAIN")
        self.assertEqual(self.broken(done), f"local data error while talking to {PEER.namaddr}")
        self.assertEqual(self.client(), "QUIT\r\n")


class SecrecyTests(SessionTestCase):
    """Nothing that anybody may see has a password in it: not the log, not the transcript, not reasons, not exceptions."""

    PASSWORD = "correct:horse-battery"
    PARAMETERS = {"smtp_sasl_password_maps": f"static:user:{PASSWORD}"}  # noqa: RUF012

    def test_all_output(self) -> None:
        """With the detailed log, with a transcript for the postmaster, and servers that repeat what they hear."""
        names = [
            row.name for row in BUILT_IN if not row.name.endswith("-PLUS") and row.name not in ("GSSAPI", "EXTERNAL")
        ]
        encoded = [
            base64.b64encode(text.encode()).decode()
            for text in (self.PASSWORD, f"\0user\0{self.PASSWORD}", f"user=user\x01auth=Bearer {self.PASSWORD}\x01\x01")
        ]
        for name in names:
            for refusal in ("535 5.7.8 no {0}", "500-what? {0} | 500 {1}", "235 {0}", "334 {0}", "hm {0}", "150 {1}"):
                shown = self.log_in(name, [refusal.format(self.PASSWORD, secret) for secret in encoded])
                for secret in (self.PASSWORD, *encoded):
                    self.assertNotIn(secret, shown, f"{name}: {refusal}")

    def test_any_challenge(self) -> None:
        """What answers a challenge is secret whatever its code is: each 3xx is one."""
        secrets = [base64.b64encode(text.encode()).decode() for text in ("user", self.PASSWORD)]
        for code in ("334", "300", "354", "399"):
            shown = self.log_in("LOGIN", [], challenge=f"{code} VXNlcm5hbWU6")
            self.assertIn("****", shown)
            for secret in secrets:
                self.assertNotIn(secret, shown, code)

    def test_cut_lines(self) -> None:
        """A line that is cut within the password shows no part of it."""
        for before in (0, 20, 2040 - len(self.PASSWORD) // 2):
            for lines in ("535 {0}{1}{2}", "535-{0}{1}{2} | 535-{0} | 535-{1} | 535 {1}", "{0}{1}{2} | 535 no"):
                refusal = lines.format("x" * before, self.PASSWORD, "x" * 3000)
                shown = self.log_in("PLAIN", [refusal])
                self.assertNotIn(self.PASSWORD[:8], shown, f"{before}: {lines[:20]}")

    def test_filtered_replies(self) -> None:
        """Lines that are replaced, or that the filter cannot tell about, show no password."""
        for name in ("regexp:{{/^535 (.*)/ 535 5.7.8 $1}}", "fail:x"):
            shown = self.log_in("PLAIN", [f"535 {self.PASSWORD}"], reply_filter=name)
            self.assertIn("****", shown)
            self.assertNotIn(self.PASSWORD[:8], shown, name)

    def log_in(
        self,
        name: str,
        refusals: Iterable[str],
        challenge: str = "334 VXNlcm5hbWU6",
        reply_filter: str = "",
    ) -> str:
        """Log in with one mechanism, answered by challenges and a refusal; all that can be seen of it."""
        self.connect()
        transcript = Transcript()
        self.protocol.incoming.ear = Ear([transcript, DetailedLog(PEER.relay, self.events.append)], 2048)
        done = self.greet(f"AUTH {name}")
        if reply_filter:
            tables = TableSet(TableContext(lambda _: None, Path("/"), Path("/"), self.events.append))
            self.protocol.ask(SessionTables(tables.open(reply_filter, FOLDED)))
        for _ in range(2):
            if "AUTH" in self.client() or not done.called:
                self.server(challenge)
        self.client()
        for refusal in refusals:
            self.server(*refusal.split(" | "))
            self.client()
        self.server("535 5.7.8 bye")
        if not done.called:
            self.transport.receive_end()
        outcome = []
        done.addBoth(lambda result: outcome.append(repr(result)))
        seen = [line_of(event, LogStyle())[1] for event in self.events]
        return "\n".join([*seen, *transcript.lines(), *outcome, repr(self.rules), repr(vars(self.session))])


class _Constant(SlowTable):
    """A table with one value for all keys."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def lookup(self, key: str) -> Any:
        """The value."""
        return self._value
