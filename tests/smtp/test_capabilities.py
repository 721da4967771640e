"""Reading EHLO replies."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.smtp.capabilities import (
    Capabilities,
    Feature,
    discarded_for_log,
    parse_discard_words,
    parse_ehlo,
)


def offered(*lines: str, discard: str = "") -> Capabilities:
    """What a server offers whose reply has these lines."""
    return parse_ehlo("\n".join(lines), parse_discard_words(tuple(discard.split())))


class KeywordTests(SynchronousTestCase):
    """Which line says what (RFC 5321 section 4.1.1.1)."""

    def test_usual_reply(self) -> None:
        """The name of the server, then keywords with or without parameters."""
        found = offered(
            "250-mx.example at your service",
            "250-PIPELINING",
            "250-SIZE 52428800",
            "250-8BITMIME",
            "250-ENHANCEDSTATUSCODES",
            "250-AUTH PLAIN LOGIN",
            "250-STARTTLS",
            "250-DSN",
            "250 SMTPUTF8",
        )
        self.assertEqual(found.name, "mx.example")
        self.assertEqual(found.size_limit, 52428800)
        self.assertEqual(found.auth_mechanisms, ("PLAIN LOGIN",))
        for feature in ("ESMTP", "PIPELINING", "SIZE", "EIGHTBITMIME", "AUTH", "STARTTLS", "DSN", "SMTPUTF8"):
            self.assertTrue(found.offers(Feature[feature]), feature)
        self.assertFalse(found.offers(Feature.XFORWARD_NAME))

    def test_first_line_is_a_name(self) -> None:
        """A keyword on the first line is the server's name."""
        found = offered("250-PIPELINING", "250 DSN")
        self.assertEqual((found.name, found.features), ("PIPELINING", Feature.ESMTP | Feature.DSN))

    def test_empty_lines_do_not_count(self) -> None:
        """Lines without a word are passed over: the name is on the first one that has a word."""
        for empty in ("250-", "250 ", "250", "250- ", "250-=", "garbage"):
            found = offered(empty, "250-PIPELINING", "250 DSN")
            self.assertEqual((found.name, found.features), ("PIPELINING", Feature.ESMTP | Feature.DSN), empty)

    def test_odd_separators(self) -> None:
        """One character parts code and rest; blanks and equals signs around a keyword do not matter."""
        found = offered("250-mx", "250--DSN", "250- 8BITMIME", "250-=SMTPUTF8=yes", "250-  pipelining x=y")
        self.assertEqual(found.features, Feature.ESMTP | Feature.EIGHTBITMIME | Feature.SMTPUTF8 | Feature.PIPELINING)

    def test_any_case(self) -> None:
        """Keywords have no case, may come twice, and unknown ones mean nothing."""
        found = offered("250-mx", "250-dsn", "250-Dsn x", "250-CHUNKING", "250-SIZE?100", "250 X-UNKNOWN")
        self.assertEqual(found.features, Feature.ESMTP | Feature.DSN)

    def test_xforward(self) -> None:
        """Each known attribute of XFORWARD counts for itself (XFORWARD_README)."""
        found = offered("250-mx", "250-XFORWARD NAME addr FOO", "250 XFORWARD source")
        wanted = Feature.XFORWARD_NAME | Feature.XFORWARD_ADDR | Feature.XFORWARD_SOURCE
        self.assertEqual(found.features, Feature.ESMTP | wanted)

    def test_auth_with_equals_sign(self) -> None:
        """The AUTH= of old servers counts as well; each line gives its list."""
        found = offered("250-mx", "250-AUTH PLAIN", "250 AUTH=LOGIN CRAM-MD5")
        self.assertEqual(found.auth_mechanisms, ("PLAIN", "LOGIN CRAM-MD5"))

    def test_size(self) -> None:
        """SIZE limits by a number (RFC 1870 section 4); 0, none, and one that no message reaches are no limit."""
        for parameters, limit in {
            "SIZE 1000": 1000,
            "SIZE=1000": 1000,
            "SIZE 1000 2000": 1000,
            "SIZE 000000000000000000000000000100": 100,
            "SIZE 9223372036854775807": 2**63 - 1,
            "SIZE": 0,
            "SIZE 0": 0,
            "SIZE 9223372036854775808": 0,
            "SIZE 1" + "0" * 40: 0,
        }.items():
            found = offered("250-mx", f"250 {parameters}")
            self.assertEqual((found.size_limit, found.bad_size), (limit, ""), parameters)
            self.assertTrue(found.offers(Feature.SIZE), parameters)

    def test_size_that_is_no_number(self) -> None:
        """It is told, and SIZE still is offered."""
        for parameters, word in {
            "SIZE -1": "-1",
            "SIZE abc": "abc",
            "SIZE 10x y": "10x",
            "SIZE \u0663": "\u0663",
        }.items():
            found = offered("250-mx", f"250 {parameters}")
            self.assertEqual((found.size_limit, found.bad_size), (0, word), parameters)
            self.assertTrue(found.offers(Feature.SIZE), parameters)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.text("250- =\tabSIZEDN?\u00e9\u0663", max_size=20), max_size=8))
    def test_junk(self, lines: list[str]) -> None:
        """Nothing makes the parser fail, and it invents neither names nor keywords."""
        found = offered(*lines)
        self.assertIn(found.name, "\n".join(lines))
        self.assertTrue(found.offers(Feature.ESMTP))
        self.assertTrue(0 <= found.size_limit < 2**63)


class DiscardTests(SynchronousTestCase):
    """Keywords that are treated as not offered (postconf(5) smtp_discard_ehlo_keywords)."""

    def test_discarded(self) -> None:
        """What is discarded is not there, in any spelling; the rest is."""
        found = offered(
            "250-mx", "250-Dsn", "250-SIZE 10", "250-XFORWARD NAME", "250 PIPELINING", discard="dsn SIZE xforward"
        )
        self.assertEqual((found.features, found.size_limit), (Feature.ESMTP | Feature.PIPELINING, 0))

    def test_name_is_no_keyword(self) -> None:
        """The server's name is never discarded."""
        self.assertEqual(offered("250-dsn", "250 DSN", discard="dsn").name, "dsn")

    def test_unknown_words(self) -> None:
        """Words that are not known have no effect."""
        self.assertEqual(parse_discard_words(("FOO", "Etrn")), {"etrn"})

    def test_log(self) -> None:
        """The log has the words in an order of its own, and one under the name that it has in Postfix's code."""
        words = parse_discard_words(("smtputf8", "dsn", "8bitmime"))
        self.assertEqual(discarded_for_log(words), "8BITMIME DSN EHLO_MASK_SMTPUTF8")

    def test_silent(self) -> None:
        """With silent-discard the log has nothing; without words it has nothing, either."""
        self.assertEqual(discarded_for_log(parse_discard_words(("dsn", "silent-discard"))), "")
        self.assertEqual(discarded_for_log(frozenset()), "")
