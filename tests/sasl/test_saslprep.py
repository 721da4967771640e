"""SASLprep."""

import stringprep

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scramp import ScramException
from scramp.utils import saslprep as other_saslprep
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.sasl.saslprep import SaslPrepError, saslprep


class SaslPrepTests(SynchronousTestCase):
    """Names and passwords in one form."""

    def test_examples(self) -> None:
        """The examples of RFC 4013 section 3."""
        for text, wanted in {
            "I\u00adX": "IX",
            "user": "user",
            "USER": "USER",
            "\u00aa": "a",
            "\u2168": "IX",
        }.items():
            self.assertEqual(saslprep(text), wanted)
        self.assertRaises(SaslPrepError, saslprep, "\x07")
        self.assertRaises(SaslPrepError, saslprep, "\u06271")

    def test_others(self) -> None:
        """Blanks of all kinds are one; what has no characters, or characters of a newer Unicode, may pass."""
        self.assertEqual(saslprep("a\u00a0b\u2003c"), "a b c")
        self.assertEqual(saslprep(""), "")
        self.assertEqual(saslprep("\u00ad"), "")
        self.assertEqual(saslprep("\U0001f511"), "\U0001f511")
        self.assertEqual(saslprep("\u05d0\u05d1"), "\u05d0\u05d1")
        for text in ("\udcff", "a\u202eb", "\ufffd", "\u05d0b", "b\u05d0", "\u05d01", "\ue000", "a\nb"):
            self.assertRaises(SaslPrepError, saslprep, text)

    def test_reasons_show_nothing(self) -> None:
        """Why a text cannot be prepared does not say what it is."""
        self.assertNotIn("secret", str(self.assertRaises(SaslPrepError, saslprep, "secret\x00")))

    @settings(max_examples=300, deadline=None)
    @given(
        st.text(
            st.characters(exclude_categories=["Cs"]) | st.sampled_from("\u00ad\u00a0\u05d0\u0627a1\u2168"), max_size=8
        )
    )
    def test_agrees_with_another(self, text: str) -> None:
        """For characters that Unicode 3.2 has, the outcome is that of another implementation."""
        assume(not any(map(stringprep.in_table_a1, text)))
        try:
            wanted: str | None = other_saslprep(text)
        except ScramException:
            wanted = None
        try:
            found: str | None = saslprep(text)
        except SaslPrepError:
            found = None
        self.assertEqual(found, wanted)
