"""PLAIN and LOGIN."""

from tests.sasl.logins import MechanismTestCase, login, mechanism


class PlainTests(MechanismTestCase):
    """PLAIN (RFC 4616)."""

    def test_example(self) -> None:
        """The examples of RFC 4616 section 4."""
        self.assertEqual(self.said(mechanism("PLAIN", login("tim", "tanstaaftanstaaf"))), [b"\0tim\0tanstaaftanstaaf"])
        other = login("Kurt", "xipj3plmq", authorization_id="Ursel")
        self.assertEqual(self.said(mechanism("PLAIN", other)), [b"Ursel\0Kurt\0xipj3plmq"])

    def test_octets(self) -> None:
        """Names and passwords leave as UTF-8; octets that are none leave as they came; a password may be empty."""
        self.assertEqual(self.said(mechanism("PLAIN", login("\u00fcser", " p\udcff "))), [b"\0\xc3\xbcser\0 p\xff "])
        self.assertEqual(self.said(mechanism("PLAIN", login("user", ""))), [b"\0user\0"])

    def test_no_name(self) -> None:
        """Without a name nothing is said at all."""
        self.assertEqual(self.refusal(mechanism("PLAIN", login(""))).problem, "generic failure")

    def test_challenge(self) -> None:
        """All has been said: a challenge makes no sense."""
        self.assertEqual(self.refusal(mechanism("PLAIN", login()), b"what").problem, "generic failure")


class LoginTests(MechanismTestCase):
    """LOGIN."""

    def test_questions(self) -> None:
        """The server's words do not matter."""
        for questions in ([b"Username:", b"Password:"], [b"", b""], [b"User Name\0", b"x" * 5000]):
            self.assertEqual(self.said(mechanism("LOGIN", login()), *questions), [None, b"user", b"pencil"])

    def test_third_question(self) -> None:
        """There are two questions, no more."""
        self.assertEqual(self.refusal(mechanism("LOGIN", login()), b"a", b"b", b"c").problem, "generic failure")

    def test_no_name(self) -> None:
        """That there is no name matters when it is asked for."""
        self.assertEqual(self.refusal(mechanism("LOGIN", login("  ")), b"Username:").problem, "generic failure")
