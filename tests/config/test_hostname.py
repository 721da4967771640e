"""Host names; texts are those of a running Postfix."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.hostname import hostname_problem


class HostNameTests(SynchronousTestCase):
    """`hostname_problem`."""

    def test_good(self) -> None:
        """Letters, digits, hyphens and underscores between dots."""
        for name in ("localhost", "a.example.com", "a_b.example", "1.a", "a.1", "x" * 63 + ".y"):
            self.assertEqual(hostname_problem(name), "")

    def test_bad(self) -> None:
        """The first mistake is told, with the name."""
        for name, problem in {
            "a b": "invalid character 32(decimal)",
            "[1.2.3.4]": "invalid character 91(decimal)",
            "ü.example": "invalid character 195(decimal)",
            "a..b c": "misplaced delimiter",
            "a..-b": "misplaced delimiter",
            "a.example.": "misplaced delimiter",
            ".": "misplaced delimiter",
            "-a b": "misplaced hyphen",
            "a-.b c": "misplaced hyphen",
            "-1.2": "misplaced hyphen",
            "--": "misplaced hyphen",
            "a" * 64 + "..b": "hostname label too long",
            "a" * 63 + "-.b": "hostname label too long",
            "1.2.3.4": "numeric hostname",
        }.items():
            self.assertEqual(hostname_problem(name), f"{problem}: {name}")

    def test_length(self) -> None:
        """A long name is cut; an empty one is none."""
        name = ".".join(["a" * 50] * 6)
        self.assertEqual(hostname_problem(name), f"bad length 305 for {name[:100]}...")
        self.assertEqual(hostname_problem(""), "empty hostname")
