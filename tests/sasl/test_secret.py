"""Secrets and the values of a login: what they show."""

import copy
import pickle

from twisted.trial.unittest import SynchronousTestCase

from tests.sasl.logins import login
from twisted_mta.model.login import ChannelBinding, Secret
from twisted_mta.sasl.credentials import Credentials
from twisted_mta.sasl.refusals import Refusal

WORD = "correct horse"


class SecretTests(SynchronousTestCase):
    """A text that shows itself as stars."""

    def test_shown(self) -> None:
        """However it is printed, it is stars; only who asks for it gets it."""
        secret = Secret(WORD)
        for shown in (
            repr(secret),
            str(secret),
            f"{secret}",
            f"{secret!r:>20}".strip(),
            f"{secret:>20}",
        ):
            self.assertEqual(shown, "****")
        self.assertEqual(secret.reveal(), WORD)

    def test_values(self) -> None:
        """What holds a secret does not show it either."""
        values = [
            login(password=WORD),
            Credentials("user", Secret(WORD)),
            ChannelBinding("tls-unique", WORD.encode()),
            Refusal(0, WORD, "5.7.8", "535 no"),
        ]
        for value in values:
            self.assertNotIn(WORD, repr(value))

    def test_comparing(self) -> None:
        """Two of the same text are equal, whatever octets it has."""
        self.assertEqual(Secret("a\udcff"), Secret("a\udcff"))
        self.assertEqual(len({Secret("a"), Secret("a"), Secret("b")}), 2)
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")
        self.assertTrue(Secret("a"))
        self.assertFalse(Secret(""))

    def test_writing(self) -> None:
        """It cannot be written into a file by accident."""
        self.assertRaises(TypeError, pickle.dumps, Secret("a"))
        self.assertRaises(TypeError, copy.deepcopy, Secret("a"))
