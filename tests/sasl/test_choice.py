"""Which mechanism is used."""

from dataclasses import dataclass, field
from itertools import permutations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.sasl.logins import login
from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ISASLMechanism, ISASLMechanismFactory
from twisted_mta.model.login import ChannelBinding, Login
from twisted_mta.sasl.choice import Mechanisms
from twisted_mta.sasl.conversation import Conversation
from twisted_mta.sasl.mechanisms import BUILT_IN
from twisted_mta.sasl.plain import plain

USUAL = frozenset({"noplaintext", "noanonymous"})
LAX = frozenset({"noanonymous"})
BINDING = ChannelBinding("tls-unique", b"x")


@implementer(ISASLMechanismFactory)
@dataclass
class Plugin:
    """A user's own mechanism."""

    name: str = "X-OURS"
    rank: int = 50
    satisfies: frozenset[str] = field(default=USUAL)
    blocks: bool = False

    def obstacle(self, of: Login) -> str:
        """Nothing."""
        return ""

    def make(self, of: Login) -> ISASLMechanism:
        """One that says what PLAIN does."""
        return Conversation(self.name, plain(of))


class ChoiceTests(SynchronousTestCase):
    """The best of what is offered, allowed, and of use."""

    def chosen(self, offered: str, required: frozenset[str] = LAX, of: Login | None = None) -> str:
        """The name of the mechanism; empty: none."""
        choice = Mechanisms().choose(offered.split(), required, of or login())
        return choice.factory.name if choice.factory else ""

    def test_order(self) -> None:
        """The server's order and case do not matter."""
        for names in permutations(["CRAM-MD5", "login", "Plain", "DIGEST-MD5"]):
            self.assertEqual(self.chosen(" ".join(names)), "DIGEST-MD5")
        self.assertEqual(self.chosen("LOGIN PLAIN"), "PLAIN")
        self.assertEqual(self.chosen("PLAIN SCRAM-SHA-1 SCRAM-SHA-256 DIGEST-MD5"), "SCRAM-SHA-256")

    def test_security(self) -> None:
        """What the connection is not safe enough for is left out."""
        self.assertEqual(self.chosen("PLAIN LOGIN CRAM-MD5", USUAL), "CRAM-MD5")
        self.assertEqual(self.chosen("PLAIN LOGIN", USUAL), "")
        self.assertEqual(self.chosen("PLAIN CRAM-MD5 DIGEST-MD5", LAX | {"mutual_auth"}), "DIGEST-MD5")
        self.assertEqual(self.chosen("ANONYMOUS PLAIN", frozenset({"noplaintext"})), "ANONYMOUS")
        self.assertEqual(self.chosen("ANONYMOUS", LAX), "")

    def test_bound_first(self) -> None:
        """With TLS to be bound to, the bound forms come first; without, they do not count."""
        offered = "SCRAM-SHA-512 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS PLAIN"
        self.assertEqual(self.chosen(offered), "SCRAM-SHA-512")
        self.assertEqual(self.chosen(offered, of=login(binding=BINDING)), "SCRAM-SHA-256-PLUS")

    def test_external(self) -> None:
        """EXTERNAL needs a certificate, and is taken only if there is nothing else."""
        with_certificate = login(has_certificate=True)
        self.assertEqual(self.chosen("EXTERNAL"), "")
        self.assertEqual(self.chosen("EXTERNAL", USUAL, with_certificate), "EXTERNAL")
        self.assertEqual(self.chosen("EXTERNAL PLAIN", LAX, with_certificate), "PLAIN")
        self.assertEqual(self.chosen("EXTERNAL PLAIN", USUAL, with_certificate), "EXTERNAL")

    def test_tokens(self) -> None:
        """A token is sent as a token only; a password may be one if nothing else is offered."""
        token = login(is_token=True)
        self.assertEqual(self.chosen("PLAIN LOGIN XOAUTH2 OAUTHBEARER", of=token), "OAUTHBEARER")
        self.assertEqual(self.chosen("PLAIN LOGIN XOAUTH2", of=token), "XOAUTH2")
        self.assertEqual(self.chosen("PLAIN LOGIN", of=token), "")
        self.assertEqual(self.chosen("LOGIN XOAUTH2"), "LOGIN")
        self.assertEqual(self.chosen("XOAUTH2"), "XOAUTH2")
        self.assertEqual(self.chosen("XOAUTH2", USUAL), "")

    def test_passed_over(self) -> None:
        """What stood in the way is said of all that was offered and allowed."""
        choice = Mechanisms().choose(["EXTERNAL", "PLAIN", "X-NEW"], LAX, login(is_token=True))
        self.assertIsNone(choice.factory)
        self.assertEqual(
            choice.passed_over,
            (
                ("PLAIN", "the password table has a token, not a password"),
                ("EXTERNAL", "no client certificate is in use"),
            ),
        )
        self.assertEqual(Mechanisms().choose(["PLAIN"], USUAL, login()).passed_over, ())

    def test_many(self) -> None:
        """A list of ten thousand names is a list like any other."""
        names = [f"X-{number}" for number in range(10_000)]
        self.assertEqual(self.chosen(" ".join([*names, "PLAIN", *names])), "PLAIN")


class PluginTests(SynchronousTestCase):
    """Mechanisms of users."""

    def test_own_mechanism(self) -> None:
        """It takes its place by its rank."""
        mechanisms = Mechanisms([*BUILT_IN, Plugin()])
        choice = mechanisms.choose(["SCRAM-SHA-512", "x-ours"], USUAL, login())
        assert choice.factory is not None
        self.assertEqual(choice.factory.make(login()).name, "X-OURS")
        self.assertEqual(mechanisms.names[5], "X-OURS")

    def test_replacing(self) -> None:
        """One of the same name takes the other's place."""
        ours = Plugin("PLAIN", 500, LAX)
        for factories in ([*BUILT_IN, ours],):
            self.assertIs(Mechanisms(factories).choose(["PLAIN"], LAX, login()).factory, ours)

    def test_nonsense(self) -> None:
        """One that makes no sense is refused by name, before any mail depends on it."""
        for plugin, problem in [
            (Plugin("x-ours"), "'x-ours' is not the name of a mechanism"),
            (Plugin("A B"), "'A B' is not the name of a mechanism"),
            (Plugin(rank="1"), "SASL plug-in X-OURS: the rank is not an int"),  # type: ignore[arg-type]
            (
                Plugin(satisfies=frozenset({"safe"})),
                "SASL plug-in X-OURS: 'safe' is not a word of smtp_sasl_security_options",
            ),
        ]:
            error = self.assertRaises(ConfigError, Mechanisms, [plugin])
            self.assertIn(problem, error.text)
