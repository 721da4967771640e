"""The encodings of DSN and XFORWARD parameters."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.text import to_text
from twisted_mta.smtp.xtext import uxtext, xforward_text, xtext


def decode_xtext(encoded: bytes) -> bytes:
    """What a server makes of xtext (RFC 3461 section 4)."""
    return re.sub(rb"\+([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), encoded)


def decode_uxtext(encoded: bytes) -> str:
    """What a server makes of utf-8-addr-xtext (RFC 6533 section 3)."""
    return re.sub(r"\\x\{([0-9A-F]{2,6})\}", lambda match: chr(int(match[1], 16)), encoded.decode("ascii"))


class XtextTests(SynchronousTestCase):
    """Texts to ASCII without blanks, and back."""

    def test_xtext(self) -> None:
        """Blanks, the plus and the equals sign, and what is not ASCII."""
        self.assertEqual(xtext("a b+c=d"), b"a+20b+2Bc+3Dd")
        self.assertEqual(xtext("jos\u00e9"), b"jos+C3+A9")

    def test_xforward(self) -> None:
        """In XFORWARD the equals sign stays."""
        self.assertEqual(xforward_text("c l+i=e"), b"c+20l+2Bi=e")

    def test_uxtext(self) -> None:
        """UTF-8 addresses have code points in braces; the backslash is one."""
        self.assertEqual(uxtext("utf-8;jos\u00e9@ex"), rb"utf-8;jos\x{E9}@ex")
        self.assertEqual(uxtext("a\\b+\U0001f4e7\x01"), rb"a\x{5C}b\x{2B}\x{1F4E7}\x{01}")

    def test_uxtext_of_other_octets(self) -> None:
        """What is not UTF-8 has no form."""
        self.assertRaises(ValueError, uxtext, to_text(b"a\xffb"))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=120))
    def test_xtext_round_trip(self, octets: bytes) -> None:
        """Any octets come back, and what travels is printable ASCII without blanks."""
        for encode in (xtext, xforward_text):
            encoded = encode(to_text(octets))
            self.assertEqual(decode_xtext(encoded), octets)
            self.assertRegex(encoded, rb"\A[!-~]*\Z")

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=60))
    def test_uxtext_round_trip(self, text: str) -> None:
        """Any text comes back."""
        encoded = uxtext(text)
        self.assertEqual(decode_uxtext(encoded), text)
        self.assertRegex(encoded, rb"\A[!-~]*\Z")
