"""Secrets and the values of a login: what they show."""

import copy
import pickle

from twisted.trial.unittest import SynchronousTestCase

from tests.sasl.logins import login
from twisted_mta.model.login import ChannelBinding, Confidential, Secret
from twisted_mta.sasl.credentials import Credentials
from twisted_mta.sasl.refusals import Refusal
from twisted_mta.smtp.reply import LineReader

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


class ConfidentialTests(SynchronousTestCase):
    """What was said in confidence, and is taken out of what is told."""

    def setUp(self) -> None:
        """Nothing was said."""
        self.confidential = Confidential()

    def test_nothing(self) -> None:
        """Where nothing was said, all is told."""
        self.assertEqual(self.confidential.out_of("250 ok"), "250 ok")

    def test_words(self) -> None:
        """Each word, wherever it is, the longer one first; very short ones stay."""
        for word in ("horse", "correct horse", "abc", ""):
            self.confidential.add(word)
        self.assertEqual(self.confidential.out_of("abc correct horse, horse\nhorsehorse"), "abc ****, ****\n********")

    def test_cut(self) -> None:
        """The beginning of a word at the end of a line, where that was cut."""
        self.confidential.add("correct horse")
        self.assertEqual(self.confidential.out_of("no corr\nno cor\ncorrect hors"), "no ****\nno cor\n****")
        self.assertEqual(self.confidential.out_of("correct correct"), "correct ****")
        self.assertEqual(self.confidential.out_of("corrcorrec"), "corr****")

    def test_as_it_is_read(self) -> None:
        """What is repeated is read with question marks for control characters, and for what is not ASCII or UTF-8."""
        self.confidential.add("p\u00e4ss\twort\udcff")
        reply = "535 p\u00e4ss\twort\udcff\r\n".encode("utf-8", "surrogateescape")
        for utf8 in (True, False):
            (line,) = LineReader(utf8=utf8).feed(reply)
            assert isinstance(line, str)
            self.assertEqual(self.confidential.out_of(line), "535 ****")

    def test_shown(self) -> None:
        """It shows nothing of itself."""
        self.confidential.add(WORD)
        self.assertEqual(repr(self.confidential), "****")
