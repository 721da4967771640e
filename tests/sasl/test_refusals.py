"""Entries about refused logins."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.login import Secret
from twisted_mta.sasl.refusals import Refusal, digest_of, key_of, parse_refusal

# As smtp(8) writes it, for the password "pass".
ENTRY = "1795379910;nU4eI71bcnBGqeO0t9tXvY1u5oQ=;5.7.8;535-5.7.8 one\n535 5.7.8 two"


class RefusalTests(SynchronousTestCase):
    """What is written, and read again."""

    def test_form(self) -> None:
        """Entries are those of smtp(8)."""
        refusal = Refusal(1795379910, digest_of(Secret("pass")), "5.7.8", "535-5.7.8 one\n535 5.7.8 two")
        self.assertEqual(refusal.to_text(), ENTRY)
        self.assertEqual(parse_refusal(ENTRY), refusal)
        self.assertEqual(key_of("192.0.2.1", "user"), "192.0.2.1;user")

    def test_what_applies(self) -> None:
        """It is of one password, and for some time."""
        refusal = parse_refusal(ENTRY)
        assert refusal is not None
        self.assertTrue(refusal.applies(Secret("pass"), refusal.at, 90))
        self.assertTrue(refusal.applies(Secret("pass"), refusal.at + 90, 90))
        self.assertFalse(refusal.applies(Secret("pass"), refusal.at + 91, 90))
        self.assertFalse(refusal.applies(Secret("Pass"), refusal.at, 90))

    def test_nonsense(self) -> None:
        """What is no entry is none."""
        for text in (
            "",
            "x",
            "1;2;3;4",
            "1;AA==;4.7.8;no",
            "-1;AA==;5.7.8;no",
            "1;AA==;5.7.8;",
            "1;AA==;5.7;no",
            "1" * 99 + ENTRY,
        ):
            self.assertIsNone(parse_refusal(text), text)

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 10**12), st.text(max_size=10), st.text(min_size=1, max_size=40))
    def test_round_trip(self, at: int, password: str, reply: str) -> None:
        """What is written is read again, and has no password in it that one could see."""
        refusal = Refusal(at, digest_of(Secret(password)), "5.7.8", reply)
        self.assertEqual(parse_refusal(refusal.to_text()), refusal)
        self.assertTrue(refusal.applies(Secret(password), at, 0))
