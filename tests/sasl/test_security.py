"""The words of smtp_sasl_security_options."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.sasl.security import WORDS, parse_security_options


class WordTests(SynchronousTestCase):
    """Reading a value."""

    def test_words(self) -> None:
        """Words stand between commas and blanks; there need not be any."""
        self.assertEqual(
            parse_security_options(" noplaintext,noanonymous\n\tmutual_auth ", "p"),
            {"noplaintext", "noanonymous", "mutual_auth"},
        )
        self.assertEqual(parse_security_options("", "p"), frozenset())
        self.assertEqual(parse_security_options(", ".join(WORDS), "p"), frozenset(WORDS))

    def test_unknown(self) -> None:
        """A word that means nothing makes the configuration unusable, in the words of smtp(8); case matters."""
        for text, word in {"noanonymous, NoPlaintext": "NoPlaintext", "secure": "secure"}.items():
            error = self.assertRaises(ConfigError, parse_security_options, text, "smtp_sasl_security_options")
            self.assertEqual(error.text, "SASL per-connection initialization failed")
            self.assertEqual(error.cause, f'unknown SASL security options value "{word}" in "{text}"')
            self.assertEqual(error.parameter, "smtp_sasl_security_options")
