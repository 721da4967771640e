"""Tests of twisted_mta.dns.hostnames."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.dns.hostnames import hostname_problem, valid_address, valid_hostname, valid_ipv4, valid_ipv6
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


class AddressTests(SynchronousTestCase):
    """Which texts are addresses."""

    def test_ipv4(self) -> None:
        """Four numbers up to 255; leading zeros may stand; 0 begins nothing but the address of all zeros."""
        for text in ["1.2.3.4", "0000001.2.3.4", "192.0.2.01", "0.0.0.0", "00.0.0.0", "255.255.255.255", "1.0.0.0"]:
            self.assertTrue(valid_ipv4(text), text)
        for text in [
            "0.0.0.1",
            "0.1.2.3",
            "256.0.0.1",
            "1.2.3",
            "1.2.3.4.",
            "1.2.3.4.5",
            "+1.2.3.4",
            "1.2.3.x",
            "",
            "1.2.3.4\n",
        ]:
            self.assertFalse(valid_ipv4(text), text)
        self.assertFalse(valid_ipv4("1.2.3." + "9" * 10000))
        self.assertFalse(valid_ipv4("\u0661.2.3.4"))

    def test_ipv6(self) -> None:
        """Up to eight groups; no zone; a double colon at an end stands for more than one group."""
        for text in ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4"]:
            self.assertTrue(valid_ipv6(text), text)
        for text in [
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            ":::",
            "1:2",
            "::12345",
            "fe80::1%lo",
            "::1.2.3",
            "::G",
            "::1\0",
            "::\xe9",
        ]:
            self.assertFalse(valid_ipv6(text), text)

    def test_either(self) -> None:
        """An address is of one family or the other."""
        self.assertTrue(valid_address("1.2.3.4"))
        self.assertTrue(valid_address("2001:db8::1"))
        self.assertFalse(valid_address("mx1.dest.example"))
