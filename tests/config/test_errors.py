"""Configuration errors as people read them."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError


class DescribeTests(SynchronousTestCase):
    """ConfigError.describe."""

    def test_all(self) -> None:
        """Place, parameter, text and cause stand in one line."""
        error = ConfigError("macro processing error", cause="empty macro name", parameter="x", file="main.cf", line=3)
        self.assertEqual(error.describe(), "main.cf, line 3: parameter x: macro processing error: empty macro name")
        self.assertEqual(str(error), "macro processing error")

    def test_parameter_named_once(self) -> None:
        """A text that names the parameter is not preceded by its name."""
        error = ConfigError("bad boolean configuration: x = y", parameter="x", file="/etc/main.cf")
        self.assertEqual(error.describe(), "/etc/main.cf: bad boolean configuration: x = y")

    def test_bare(self) -> None:
        """A text alone stays alone."""
        self.assertEqual(ConfigError("no").describe(), "no")
