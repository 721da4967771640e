"""Tests of twisted_mta.content.convert."""

import quopri
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.content.convert import QuotedPrintable

TEXTS = st.lists(
    st.sampled_from([b"a", b"=", b" ", b"\t", b"\xc3\xa4", b"\n", b"\0", b".", b"b" * 30]), max_size=60
).map(b"".join)


def converted(*chunks: bytes) -> bytes:
    """Chunks in quoted-printable."""
    encoder = QuotedPrintable()
    return b"".join(map(encoder.feed, chunks))


class QuotedPrintableTests(SynchronousTestCase):
    """RFC 2045 section 6.7."""

    def test_what_is_escaped(self) -> None:
        """All but printable ASCII and blanks is, and the equals sign."""
        self.assertEqual(converted(b"Gr\xc3\xb6\xc3\x9fe =\ttab\x00\x7f.\n"), b"Gr=C3=B6=C3=9Fe =3D\ttab=00=7F.\n")

    def test_blanks_at_the_end(self) -> None:
        """A blank at the end of a line is escaped: it would not survive every relay."""
        self.assertEqual(converted(b"a \nb\t\n  \n\n"), b"a=20\nb=09\n =20\n\n")

    def test_long_lines(self) -> None:
        """A line is broken before a character that would make it longer than 76 octets, where smtp(8) breaks it."""
        for text, expected in {
            b"a" * 73: b"a" * 73,
            b"a" * 150: b"a" * 73 + b"=\n" + b"a" * 73 + b"=\n" + b"a" * 4,
            b"a" * 72 + b"\xe4": b"a" * 72 + b"=E4",
            b"a" * 72 + b"\xe4b": b"a" * 72 + b"=E4=\nb",
            b"a" * 73 + b"\t": b"a" * 73 + b"=\n=09",
            b"a" * 72 + b" ": b"a" * 72 + b"=20",
            b"\xe4" * 26: b"=E4" * 25 + b"=\n=E4",
            b" " * 80: b" " * 73 + b"=\n" + b" " * 6 + b"=20",
        }.items():
            self.assertEqual(converted(text + b"\n"), expected + b"\n", text)

    def test_no_special_treatment(self) -> None:
        """Dots and From are left to others."""
        self.assertEqual(converted(b".\nFrom x\n"), b".\nFrom x\n")

    def test_unfinished_line(self) -> None:
        """A line in several chunks is one line."""
        self.assertEqual(converted(b"a" * 70), b"")
        self.assertEqual(
            converted(b"a" * 70, b"b" * 10 + b" ", b"\nc\n"), b"a" * 70 + b"bbb=\n" + b"b" * 7 + b"=20\nc\n"
        )

    @given(TEXTS, st.lists(st.integers(0, 200), max_size=4))
    def test_any_text(self, text: bytes, cuts: list[int]) -> None:
        """Decoding gives the text back; all is ASCII, no line is longer than 76 octets, none ends with a blank."""
        text += b"\n"
        bounds = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
        pieces = [text[begin:end] for begin, end in pairwise(bounds)]
        made = converted(*pieces)
        self.assertEqual(quopri.decodestring(made), text)
        self.assertEqual(made, converted(text))
        for line in made.split(b"\n"):
            self.assertTrue(line.isascii())
            self.assertLessEqual(len(line), 76)
            self.assertFalse(line.endswith((b" ", b"\t")))
