"""CRAM-MD5."""

from tests.sasl.logins import MechanismTestCase, login, mechanism
from twisted_mta.sasl.cram_md5 import LONGEST_CHALLENGE


class CramMd5Tests(MechanismTestCase):
    """CRAM-MD5 (RFC 2195)."""

    def test_example(self) -> None:
        """The example of RFC 2195 section 2."""
        made = mechanism("CRAM-MD5", login("tim", "tanstaaftanstaaf"))
        challenge = b"<1896.697170952@postoffice.reston.mci.net>"
        self.assertEqual(self.said(made, challenge), [None, b"tim b913a602c7eda7a495b4e6e7334d3890"])

    def test_odd_challenges(self) -> None:
        """An empty challenge is one, as for other clients; one that is far too long is not."""
        self.assertEqual(
            self.said(mechanism("CRAM-MD5", login("u", "pw")), b""), [None, b"u 80fec29b41c5156ea40107b2cc0ed5c6"]
        )
        self.said(mechanism("CRAM-MD5", login()), b"x" * LONGEST_CHALLENGE)
        error = self.refusal(mechanism("CRAM-MD5", login()), b"x" * 1_000_000)
        self.assertEqual(error.problem, "bad protocol / cancel")
        self.assertEqual(error.warning, "SASL authentication failure: CRAM-MD5 input longer than 1024 bytes")

    def test_second_challenge(self) -> None:
        """There is one challenge, no more."""
        self.assertEqual(self.refusal(mechanism("CRAM-MD5", login()), b"a", b"b").problem, "generic failure")
