"""Names of certificates, and names that are demanded."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.handmade import certificate, subject_alt_name
from tests.tls.judging import SERVER, line
from twisted_mta.model.events import Event
from twisted_mta.tls.certificates import read_certificate
from twisted_mta.tls.names import Match, References, match_names, name_matches, names_meant, references_of

LABEL = st.text("abz019-", min_size=1, max_size=4).filter(lambda label: label.strip("-") == label)
NAME = st.lists(LABEL, min_size=2, max_size=4).map(".".join)


def references(*names: str) -> tuple[References, list[str]]:
    """References of names, and what was told of them."""
    told: list[Event] = []
    return references_of(names, SERVER, told.append), [line(event) for event in told]


def matched(der: bytes, *names: str) -> Match:
    """What the comparison of a certificate with names gives."""
    return match_names(read_certificate(der), references(*names)[0])


class ReferenceTests(SynchronousTestCase):
    """`names_meant` and `references_of`."""

    def test_words(self) -> None:
        """The three words, in any case, stand for names."""
        self.assertEqual(
            names_meant(["Hostname", "nexthop", "dot-nextHop", "other"], "mx.example", "d.example"),
            ("mx.example", "d.example", ".d.example", "other"),
        )

    def test_names(self) -> None:
        """Names become A-labels in lower case, each once; dots of other scripts may stand in front."""
        found, told = references(
            "MX.Example", "mx.example", "b\u00fccher.example", "\u3002B\u00fccher.example", "\uff0ed"
        )
        self.assertEqual(found.names, (b"mx.example", b"xn--bcher-kva.example", b".xn--bcher-kva.example", b".d"))
        self.assertEqual((found.address, told), (b"", []))

    def test_not_convertible(self) -> None:
        """A name that has no A-label form is told, and kept as it is."""
        found, told = references("\u00fc..example")
        self.assertEqual(found.names, ("\u00fc..example".encode(),))
        self.assertEqual(len(told), 1)
        self.assertIn("UIDNA_ERROR_EMPTY_LABEL", told[0])

    def test_dot_alone(self) -> None:
        """A dot alone is no name, nor is one with NUL."""
        found, told = references(".", "", "a\0b")
        self.assertFalse(found)
        self.assertEqual(
            told, [f'warning: {SERVER}: ignoring invalid match name: "{name}"' for name in (".", "", "a?b")]
        )

    def test_addresses(self) -> None:
        """Only the first address counts, and each other one is told, also the same."""
        found, told = references("192.0.2.1", "mx.example", "192.0.2.1", "2001:db8::1")
        self.assertEqual(found, References((b"mx.example",), bytes([192, 0, 2, 1])))
        self.assertEqual(
            told, [f'warning: {SERVER}: error loading match name: "{name}"' for name in ("192.0.2.1", "2001:db8::1")]
        )


class NameMatchTests(SynchronousTestCase):
    """`name_matches`, as X509_check_host(3) has it without partial wildcards."""

    def test_matches(self) -> None:
        """Names that match."""
        for presented, reference in (
            ("mx.example", "mx.example"),
            ("MX.Example", "mx.example"),
            ("m_x.example", "m_x.example"),
            ("*.dest.example", "mx.dest.example"),
            ("*.Dest.example", "xn--a.dest.example"),
            ("*.dest.example", "*.dest.example"),
            ("a.d.example", ".d.example"),
            ("a.b.D.example", ".d.example"),
            ("*.d.example", ".d.example"),
            (".d.example", ".d.example"),
            ("*", "*"),
            ("f*.d.example", "f*.d.example"),
            ("*.*.example", ".example"),
        ):
            self.assertTrue(name_matches(presented.encode(), reference.encode()), (presented, reference))

    def test_no_matches(self) -> None:
        """Names that do not."""
        for presented, reference in (
            ("mx.example", "my.example"),
            ("mx.example.", "mx.example"),
            ("mx.example", "mx.example."),
            ("d.example", ".d.example"),
            ("ad.example", ".d.example"),
            ("*.dest.example", "dest.example"),
            ("*.dest.example", "a.b.dest.example"),
            ("*.dest.example", "m_x.dest.example"),
            ("*.dest.example", ".dest.example.x"),
            ("*.example", "mx.example"),
            ("*", "mx"),
            ("m*.dest.example", "mx.dest.example"),
            ("*x.dest.example", "mx.dest.example"),
            ("mx.*.example", "mx.dest.example"),
            ("*.*.example", "a.b.example"),
            ("*.d_t.example", "mx.d_t.example"),
            ("*.-d.example", "mx.-d.example"),
            ("*.d-.example", "mx.d-.example"),
            ("*..example", "mx..example"),
            ("", "mx.example"),
            ("mx.example\0", "mx.example"),
            ("mx\0.d.example", ".d.example"),
            ("mx.example", "."),
        ):
            self.assertFalse(name_matches(presented.encode(), reference.encode()), (presented, reference))

    @settings(max_examples=100, deadline=None)
    @given(NAME, LABEL)
    def test_relations(self, name: str, label: str) -> None:
        """A name matches itself, names below it a leading dot, and one label more a wildcard."""
        below = f"{label}.{name}".encode()
        self.assertTrue(name_matches(name.upper().encode(), name.encode()))
        self.assertTrue(name_matches(below, b"." + name.encode()))
        self.assertTrue(name_matches(b"*." + name.encode(), below))
        self.assertFalse(name_matches(b"*." + name.encode(), name.encode()))
        self.assertFalse(name_matches(b"*." + name.encode(), b"a." + below))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=30), NAME)
    def test_anything(self, presented: bytes, reference: str) -> None:
        """Whatever is presented matches a plain name only if it is that name, or a wildcard above it."""
        expected = {reference.encode(), b"*." + reference.partition(".")[2].encode()}
        if name_matches(presented, reference.encode()):
            self.assertIn(presented.lower(), expected)


class CertificateMatchTests(SynchronousTestCase):
    """`match_names`: which names of a certificate count."""

    def test_first_reference_counts(self) -> None:
        """The name that is told is the first that matches the first reference, as it is written."""
        der = certificate("cn.example", subject_alt_name(b"B.example", b"a.example", b"*.example.com"))
        self.assertEqual(matched(der, "a.example", "b.example"), Match(True, True, "a.example"))
        self.assertEqual(matched(der, "x.example.com", "b.example"), Match(True, True, "*.example.com"))
        self.assertEqual(matched(der, "b.example"), Match(True, True, "B.example"))
        self.assertEqual(matched(der, "cn.example"), Match(False, True))

    def test_common_names(self) -> None:
        """All common names count where there is no DNS name; other alternative names change nothing."""
        other = bytes.fromhex("300b8109") + b"a@b.ex.ex"
        for der in (certificate(("c1.example", "c2.example")), certificate(("c1.example", "c2.example"), other)):
            self.assertEqual(matched(der, "c2.example"), Match(True, True, "c2.example"))
        ip = subject_alt_name(addresses=[bytes([192, 0, 2, 1])])
        self.assertEqual(matched(certificate("c.example", ip), "c.example"), Match(True, True, "c.example"))

    def test_addresses(self) -> None:
        """An address is matched by an address only; names and an address must both match."""
        der = certificate("192.0.2.1", subject_alt_name(b"192.0.2.2", b"a.example", addresses=[bytes([192, 0, 2, 3])]))
        self.assertEqual(matched(der, "192.0.2.3"), Match(True, True))
        self.assertEqual(matched(der, "192.0.2.1"), Match(True, False))
        self.assertEqual(matched(der, "192.0.2.2"), Match(True, False))
        self.assertEqual(matched(der, "192.0.2.3", "a.example"), Match(True, True, "a.example"))
        self.assertEqual(matched(der, "192.0.2.3", "b.example"), Match(False, True))
        self.assertEqual(matched(der, "192.0.2.4", "b.example"), Match(False, False))

    def test_hostile(self) -> None:
        """Nothing matches in names that are damaged, endless, or hold NUL; other names beside odd ones still do."""
        for names in (b"\x30\x05\x82\x10mx", b"", b"\x04\x00", b"\x30\x84\xff\xff\xff\xff"):
            self.assertEqual(matched(certificate("mx.example", names), "mx.example"), Match(False, True))
        odd = subject_alt_name(b"\xff\xfe", b"mx.example\0.evil", b"x" * 100_000, b"good.example")
        self.assertEqual(matched(certificate("mx.example", odd), "mx.example"), Match(False, True))
        self.assertEqual(matched(certificate("mx.example", odd), "good.example"), Match(True, True, "good.example"))

    def test_many(self) -> None:
        """Ten thousand names are looked through."""
        many = subject_alt_name(*(b"h%d.example" % number for number in range(10_000)))
        self.assertEqual(matched(certificate("", many), "h9999.example").peername, "h9999.example")
