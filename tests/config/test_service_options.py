"""Arguments of a delivery agent; each expectation is what a running smtp(8) makes of the same ones."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.service_options import ServiceOptions, check_flags, read_options


class OptionTests(SynchronousTestCase):
    """`read_options` and `check_flags`."""

    def test_options(self) -> None:
        """Overrides in order, with what -i and -m stand for; -v is counted; letters may stick together."""
        self.assertEqual(
            read_options(
                ["-v", "-o", "a = b c", "-oa=d", "-vvo", "e=", "-i", "5s", "-m5", "-n", "x", "-cutunix", "flags=DR"]
            ),
            ServiceOptions(
                overrides=(("a", "b c"), ("a", "d"), ("e", ""), ("max_idle", "5s"), ("max_use", "5")),
                verbosity=3,
                flags="DR",
            ),
        )
        self.assertEqual(read_options([]), ServiceOptions())
        self.assertEqual(read_options(["--", "flags=X"]), ServiceOptions(flags="X"))

    def test_flags(self) -> None:
        """The keyword in any case, the letters in theirs; the last one counts alone."""
        self.assertEqual(read_options(["flags=R", "FLAGS=DO"]).flags, "DO")
        self.assertEqual(read_options(["flags="]).flags, "")
        check_flags("XROD")

    def test_errors(self) -> None:
        """Each mistake has the agent's text."""
        for arguments, problem in {
            ("flags=DZ",): 'unknown flags=DZ value "Z" in "DZ"',
            ("flags=dr",): 'unknown flags=dr value "d" in "dr"',
            ("Flags=D R",): 'unknown Flags=D R value " " in "D R"',
            ("bar=1",): "unknown attribute name: bar=1",
            ("flags",): "unknown attribute name: flags",
            ("flags=R", "-o", "a=b"): "unknown attribute name: -o",
            ("-o", "foo"): "invalid \"-o foo\" option value: missing '=' after attribute name",
            ("-Q",): "invalid option: Q",
            ("-o",): "invalid option: o",
        }.items():
            error = self.assertRaises(ConfigError, read_options, arguments)
            self.assertEqual(error.text, problem)
        self.assertEqual(self.assertRaises(ConfigError, check_flags, "Z").text, 'unknown flags=Z value "Z" in "Z"')
