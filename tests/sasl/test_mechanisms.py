"""The table of mechanisms, and the plug-ins made of it."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.sasl.logins import login
from twisted_mta.interfaces import ISASLMechanism, ISASLMechanismFactory
from twisted_mta.model.login import ChannelBinding
from twisted_mta.sasl.choice import Mechanisms
from twisted_mta.sasl.mechanisms import BUILT_IN

BY_NAME = {row.name: row for row in BUILT_IN}


class RowTests(SynchronousTestCase):
    """Each row."""

    def test_interfaces(self) -> None:
        """Rows are factories, and make mechanisms of their name."""
        of = login(binding=ChannelBinding("tls-unique", b"x"), has_certificate=True)
        for row in BUILT_IN:
            verifyObject(ISASLMechanismFactory, row)
            if row.blocks:
                continue  # which asks a server of its own
            made = row.make(of)
            verifyObject(ISASLMechanism, made)
            self.assertEqual(made.name, row.name)

    def test_order(self) -> None:
        """Best first: bound to the channel, then as the Cyrus library has them, then tokens, and what needs no password."""
        self.assertEqual(
            [row.name for row in BUILT_IN],
            [
                "SCRAM-SHA-512-PLUS", "SCRAM-SHA-384-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-224-PLUS", "SCRAM-SHA-1-PLUS",
                "SCRAM-SHA-512", "SCRAM-SHA-384", "SCRAM-SHA-256", "SCRAM-SHA-224", "SCRAM-SHA-1",
                "GSSAPI", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", "ANONYMOUS", "EXTERNAL",
            ],
        )  # fmt: skip
        ranks = [row.rank for row in BUILT_IN]
        self.assertEqual(ranks, sorted(set(ranks)))

    def test_protection(self) -> None:
        """Who is left for each word of smtp_sasl_security_options."""
        weak = {"PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"}
        mutual = {name for name in BY_NAME if name.startswith("SCRAM-")} | {"GSSAPI", "DIGEST-MD5"}
        for word, left in {
            "noplaintext": BY_NAME.keys() - weak,
            "noanonymous": BY_NAME.keys() - {"ANONYMOUS"},
            "noactive": mutual - {"DIGEST-MD5"},
            "mutual_auth": mutual,
            "nodictionary": {"EXTERNAL"},
            "forward_secrecy": set(),
        }.items():
            self.assertEqual({row.name for row in BUILT_IN if word in row.satisfies}, left, word)

    def test_obstacles(self) -> None:
        """What each kind of login cannot use, and why."""
        of = login()
        self.assertEqual(BY_NAME["PLAIN"].obstacle(of), "")
        self.assertEqual(BY_NAME["SCRAM-SHA-1-PLUS"].obstacle(of), "there is no TLS to be bound to")
        self.assertEqual(BY_NAME["EXTERNAL"].obstacle(of), "no client certificate is in use")
        token = replace(of, is_token=True)
        for name in ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
            self.assertEqual(BY_NAME[name].obstacle(token), "the password table has a token, not a password")
        for name in ("OAUTHBEARER", "XOAUTH2", "ANONYMOUS"):
            self.assertEqual(BY_NAME[name].obstacle(token), "")
        bound = replace(of, binding=ChannelBinding("tls-unique", b"x"), has_certificate=True)
        self.assertEqual(BY_NAME["SCRAM-SHA-1-PLUS"].obstacle(bound), "")
        self.assertEqual(BY_NAME["EXTERNAL"].obstacle(bound), "")

    def test_library_that_is_missing(self) -> None:
        """GSSAPI says how to install what it needs, where that is missing."""
        advice = 'it needs a library: pip install "twisted_mta[gssapi]"'
        self.assertEqual(BY_NAME["GSSAPI"].obstacle(login()), "" if importlib.util.find_spec("gssapi") else advice)


class PluginTests(SynchronousTestCase):
    """What twisted.plugin finds."""

    def test_documented_plugin(self) -> None:
        """The plug-in that docs/howto/sasl.md shows is one, and works."""
        page = (Path(__file__).resolve().parents[2] / "docs/howto/sasl.md").read_text("utf-8")
        code = page.partition("```python\n")[2].partition("```")[0]
        module = ModuleType("documented")
        # Dataclasses look their module up.
        sys.modules[module.__name__] = module
        self.addCleanup(sys.modules.pop, module.__name__)
        exec(compile(code, "docs/howto/sasl.md", "exec"), module.__dict__)
        ours = module.__dict__["ours"]
        verifyObject(ISASLMechanismFactory, ours)
        self.assertTrue(IPlugin.providedBy(ours))
        choice = Mechanisms([*BUILT_IN, ours]).choose(["PLAIN", "X-OURS"], frozenset({"noplaintext"}), login())
        self.assertIs(choice.factory, ours)
        made = ours.make(login())
        self.assertEqual([made.start(), made.step(b"abc")], [b"user", b"cba"])

    def test_plugins(self) -> None:
        """Every row is a plug-in, and as good as the row."""
        plugins = {plugin.name: plugin for plugin in getPlugins(ISASLMechanismFactory)}
        self.assertEqual(plugins.keys(), BY_NAME.keys())
        for name, plugin in plugins.items():
            verifyObject(ISASLMechanismFactory, plugin)
            self.assertTrue(IPlugin.providedBy(plugin))
            row = BY_NAME[name]
            self.assertEqual((plugin.rank, plugin.satisfies, plugin.blocks), (row.rank, row.satisfies, row.blocks))
