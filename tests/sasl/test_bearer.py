"""OAUTHBEARER and XOAUTH2."""

from zope.interface.verify import verifyObject

from tests.sasl.logins import MechanismTestCase, login, mechanism
from twisted_mta.interfaces import ISASLMechanism, SaslError

ERROR = b'{"status":"invalid_token","scope":"example_scope"}'


class BearerTests(MechanismTestCase):
    """Tokens in place of passwords."""

    def test_oauthbearer(self) -> None:
        """The form of RFC 7628 section 4.1, with its example."""
        made = mechanism(
            "OAUTHBEARER",
            login(
                "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", host="server.example.com", port=143
            ),
        )
        verifyObject(ISASLMechanism, made)
        self.assertEqual(
            self.said(made),
            [
                b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
                b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
            ],
        )
        made.succeeded()

    def test_names_and_local_sockets(self) -> None:
        """Commas and equals signs in names are written otherwise; a local socket has no port."""
        self.assertEqual(
            self.said(mechanism("OAUTHBEARER", login("a,b=c", "t", host="h", port=0))),
            [b"n,a=a=2Cb=3Dc,\x01host=h\x01auth=Bearer t\x01\x01"],
        )

    def test_xoauth2(self) -> None:
        """The form that Google and Microsoft want."""
        made = mechanism("XOAUTH2", login("someuser@example.com", "ya29.token"))
        verifyObject(ISASLMechanism, made)
        self.assertEqual(self.said(made), [b"user=someuser@example.com\x01auth=Bearer ya29.token\x01\x01"])

    def test_errors(self) -> None:
        """An error is acknowledged, with one octet or with nothing, and kept for the log (RFC 7628 section 3.2.3)."""
        for name, acknowledgement in (("OAUTHBEARER", b"\x01"), ("XOAUTH2", b"")):
            made = mechanism(name, login())
            self.assertEqual(self.said(made, ERROR)[1:], [acknowledgement])
            self.assertEqual(made.remark, ERROR.decode())
            self.assertRaises(SaslError, made.step, b"more")
            self.assertRaises(SaslError, made.succeeded)

    def test_long_errors(self) -> None:
        """No more of an error is kept than a log line can hold; an empty one counts as one."""
        made = mechanism("XOAUTH2", login())
        self.said(made, b"x" * 1_000_000)
        self.assertEqual(len(made.remark), 400)
        made = mechanism("XOAUTH2", login())
        self.said(made, b"")
        self.assertEqual(made.remark, "(nothing)")

    def test_no_name(self) -> None:
        """Without a name there is no login."""
        for name in ("OAUTHBEARER", "XOAUTH2"):
            self.assertRaises(SaslError, mechanism, name, login(" "))

    def test_separators(self) -> None:
        """What would end a field, and begin another one, is not sent."""
        for name in ("OAUTHBEARER", "XOAUTH2"):
            for of in (login("user\x01host=other", "token"), login("user", "token\x01\x01")):
                error = self.assertRaises(SaslError, mechanism, name, of)
                self.assertNotIn("token\x01", error.warning)
