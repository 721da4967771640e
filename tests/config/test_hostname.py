"""Tests of twisted_mta.config.hostname."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.hostname import hostname_problem, valid_hostname
from twisted_mta.model.text import to_text

_LONG = "x" + ".abcdefghi" * 30

PROBLEMS = {
    "": "empty hostname",
    "a..b": "misplaced delimiter: a..b",
    ".a": "misplaced delimiter: .a",
    "a.": "misplaced delimiter: a.",
    "1..": "misplaced delimiter: 1..",
    "-a.example": "misplaced hyphen: -a.example",
    "a-.example": "misplaced hyphen: a-.example",
    "a.-b": "misplaced hyphen: a.-b",
    "a-": "misplaced hyphen: a-",
    "-..": "misplaced hyphen: -..",
    "a-.!": "misplaced hyphen: a-.!",
    "a!-": "invalid character 33(decimal): a!-",
    "a b": "invalid character 32(decimal): a b",
    "a\\032b": "invalid character 92(decimal): a\\032b",
    "a:b": "invalid character 58(decimal): a:b",
    "a\n": "invalid character 10(decimal): a\n",
    "bücher": "invalid character 195(decimal): bücher",
    "*.a": "invalid character 42(decimal): *.a",
    "a" * 64: "hostname label too long: " + "a" * 64,
    "a" * 64 + "!": "hostname label too long: " + "a" * 64 + "!",
    "a" * 63 + "-": "hostname label too long: " + "a" * 63 + "-",
    "1.2": "numeric hostname: 1.2",
    "1.2.3.4.5": "numeric hostname: 1.2.3.4.5",
    "999.1.1.1": "numeric hostname: 999.1.1.1",
    _LONG: f"bad length 301 for {_LONG[:100]}...",
    _LONG + "!": f"invalid character 33(decimal): {_LONG}!",
}
"""As a running Postfix words them."""

GOOD = [
    "a",
    "a.b",
    "mx1.dest.example",
    "a_b.example",
    "_25._tcp.a",
    "1-2",
    "0x7f.0x1",
    "a.123",
    "xn--bcher-kva.example",
]


class HostnameTests(SynchronousTestCase):
    """Which names are host names, and what is said of the others."""

    def test_problems(self) -> None:
        """Each fault has its words, and the first one in the name is told."""
        for name, problem in PROBLEMS.items():
            self.assertEqual(hostname_problem(name), problem)
            self.assertFalse(valid_hostname(name), name)

    def test_good_names(self) -> None:
        """Letters, digits, underscores and inner hyphens make a name, up to 63 in a label and 255 in all."""
        for name in [*GOOD, "a" * 63 + ".b", ".".join(["a" * 63] * 4)]:
            self.assertTrue(valid_hostname(name), name)
            self.assertEqual(hostname_problem(name), "")

    def test_wildcard(self) -> None:
        """An asterisk may be the whole first label where that is allowed."""
        for name in ["*", "*.example"]:
            self.assertEqual(hostname_problem(name, wildcard=True), "")
        for name in ["a.*.example", "*a.example", "*.*.example", "a*"]:
            self.assertEqual(hostname_problem(name, wildcard=True), f"'*' can be the first label only: {name}")

    @settings(deadline=None)
    @given(st.one_of(st.binary(max_size=300).map(to_text), st.text("ab1-_.*!", max_size=12)))
    @example(".".join(["a" * 63] * 4) + ".")
    def test_check_and_words_agree(self, name: str) -> None:
        """A name is valid exactly if there is nothing to say against it."""
        self.assertEqual(valid_hostname(name), hostname_problem(name) == "")
