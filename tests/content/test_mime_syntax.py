"""Tests of twisted_mta.content.mime_syntax; what smtp(8) does was observed."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.content.mime_syntax import ContentType, PartType, content_type, is_eight_bit


def boundaries(value: bytes) -> tuple[bytes, ...]:
    """The boundaries of a multipart with this behind its type."""
    found = content_type(b"multipart/mixed" + value)
    assert found is not None
    return found.boundaries


class ContentTypeTests(SynchronousTestCase):
    """Content-Type headers."""

    def test_types(self) -> None:
        """Text and messages have types of their own, in any case, with comments and blanks (RFC 2045 section 5.1)."""
        for value, kind in {
            b" text/plain; charset=utf-8": PartType.LEAF,
            b"TEXT/html": PartType.LEAF,
            b" text": PartType.LEAF,
            b" message/rfc822": PartType.RFC822,
            b" message (c) / (d)\n RFC822; x=y": PartType.RFC822,
            b" message/global": PartType.GLOBAL,
            b" message/partial; number=1": PartType.OTHER_MESSAGE,
            b" message/delivery-status": PartType.OTHER_MESSAGE,
            b" message": PartType.OTHER_MESSAGE,
            b' message/"rfc822"': PartType.OTHER_MESSAGE,
        }.items():
            self.assertEqual(content_type(value), ContentType(kind), value)

    def test_nothing_is_a_leaf(self) -> None:
        """A header without a type means text."""
        for value in (b"", b" ", b"; boundary=x", b"(c)", b"(never closed multipart/mixed; boundary=x"):
            self.assertEqual(content_type(value), ContentType(PartType.LEAF), value)

    def test_other_types_leave_the_default(self) -> None:
        """Any other type, and one in quotes, changes nothing."""
        for value in (b" image/jpeg", b" application/pdf; boundary=x", b' "multipart"/mixed; boundary=x', b"/x", b" ="):
            self.assertIsNone(content_type(value), value)

    def test_digest(self) -> None:
        """The parts of multipart/digest are messages (RFC 2046 section 5.1.5)."""
        self.assertEqual(content_type(b"multipart/DIGEST"), ContentType(PartType.MULTIPART, (), is_digest=True))
        self.assertEqual(content_type(b"multipart digest"), ContentType(PartType.MULTIPART))

    def test_boundaries(self) -> None:
        """A boundary is a token or a quoted string, the first thing behind a semicolon."""
        for value, found in {
            b"; boundary=x": b"x",
            b' ; BOUNDARY = "a b"': b"a b",
            b";(c)boundary(d)=(e)x(f)": b"x",
            b";;boundary=x y": b"x",
            b'; charset="a;b"; boundary=x': b"x",
            b"/foo; boundary=x=y": b"x",
            b';boundary="a\\"b\\c"': b'a"bc',
            b';boundary="a\n b"': b"a b",
            b';boundary="a\\\n b"': b"a\n b",
            b';boundary="open': b"open",
            b';boundary="open\\': b"open",
            b';boundary=""': b"",
            b";boundary=a\xc3\xa4.b": b"a\xc3\xa4.b",
            b";boundary=a\x01b": b"a",
            b";boundary=\x01b": b"\x01",
            b";boundary=\rb": b"b",
        }.items():
            self.assertEqual(boundaries(value), (found,), value)

    def test_several_boundaries(self) -> None:
        """Each parameter of that name counts."""
        self.assertEqual(boundaries(b"; boundary=a; x=y; boundary=b"), (b"a", b"b"))

    def test_no_boundaries(self) -> None:
        """What is not a parameter of that name has none."""
        for value in (
            b" boundary=x",
            b"; a boundary=x",
            b", boundary=x",
            b'; "boundary"=x',
            b"; boundary=@x",
            b"; boundary==x",
            b"; boundary=",
            b"; boundary*=x",
            b"; boundary=\\x",
            b"; foo=bar boundary=x",
        ):
            self.assertEqual(boundaries(value), (), value)

    def test_only_multiparts_have_boundaries(self) -> None:
        """The parameter means nothing elsewhere."""
        self.assertEqual(content_type(b"text/plain; boundary=x"), ContentType(PartType.LEAF))
        self.assertEqual(content_type(b"message/rfc822; boundary=x"), ContentType(PartType.RFC822))


class TransferEncodingTests(SynchronousTestCase):
    """Content-Transfer-Encoding headers."""

    def test_known_encodings(self) -> None:
        """8bit and binary may hold 8-bit data, the others must not (RFC 2045 section 6)."""
        for value, eight_bit in {
            b" 8bit": True,
            b"BINARY": True,
            b"(c) 8Bit; foo": True,
            b" 8bit x": True,
            b" 8bit.": True,
            b" 7bit\x07x": False,
            b"7bit": False,
            b" base64": False,
            b" Quoted-Printable": False,
        }.items():
            self.assertIs(is_eight_bit(value), eight_bit, value)

    def test_unknown_encodings(self) -> None:
        """Others, and those in quotes, say nothing."""
        for value in (b"", b" x-uuencode", b' "8bit"', b" ;8bit", b" 8bit=x", b" 8bit/", b" 8bit\xe4", b"/8bit"):
            self.assertIsNone(is_eight_bit(value), value)


class AnyHeaderTests(SynchronousTestCase):
    """Whatever a header holds."""

    @given(st.binary(max_size=60), st.text('multipart/;boundary="x\\()\n=', max_size=60))
    def test_never_fails(self, octets: bytes, text: str) -> None:
        """Something is found, or nothing."""
        for value in (octets, text.encode(), b"multipart/mixed; " + octets, b"multipart/x;boundary=" + text.encode()):
            content_type(value)
            is_eight_bit(value)
