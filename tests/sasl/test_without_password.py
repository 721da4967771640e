"""EXTERNAL and ANONYMOUS."""

from tests.sasl.logins import MechanismTestCase, login, mechanism


class WithoutPasswordTests(MechanismTestCase):
    """Logins that need no secret."""

    def test_external(self) -> None:
        """EXTERNAL says whose rights it wants, if not those of the certificate (RFC 4422 appendix A)."""
        self.assertEqual(self.said(mechanism("EXTERNAL", login())), [b""])
        self.assertEqual(self.said(mechanism("EXTERNAL", login(authorization_id="fred"))), [b"fred"])

    def test_anonymous(self) -> None:
        """ANONYMOUS says where we come from, as the Cyrus library does (RFC 4505)."""
        self.assertEqual(self.said(mechanism("ANONYMOUS", login())), [b"anonymous@client.example"])
        self.assertEqual(self.said(mechanism("ANONYMOUS", login(authorization_id="u"))), [b"u@client.example"])
