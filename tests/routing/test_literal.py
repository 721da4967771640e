"""Addresses in place of host names."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.routing.candidates import Family
from twisted_mta.routing.literal import numeric_address, packed_address


class NumericAddressTests(SynchronousTestCase):
    """What connect would take for an address."""

    def test_forms(self) -> None:
        """Every numeric form of inet_aton(3) is an address, so that none passes by the check for ourselves."""
        for text, address in (
            ("192.0.2.1", "192.0.2.1"),
            ("0x7f.1", "127.0.0.1"),
            ("192.00.02.01", "192.0.2.1"),
            ("010.0.0.1", "8.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
        ):
            self.assertEqual(numeric_address(text), (Family.IPV4, address))
        for text, address in (("2001:DB8:0::5", "2001:db8::5"), ("::ffff:192.0.2.1", "::ffff:192.0.2.1")):
            self.assertEqual(numeric_address(text), (Family.IPV6, address))

    def test_names(self) -> None:
        """Anything else is a name, or nothing."""
        for text in (
            "",
            "mx.example",
            "1.2.3.4.5",
            "0300.0.2.1x",
            "08.1.2.3",
            "::g",
            "1::2::3",
            "fe80::1%lo",
            "1.2.3.4 x",
        ):
            self.assertIsNone(numeric_address(text), text)

    def test_packed(self) -> None:
        """Two spellings of an address are the same; no address is nothing."""
        self.assertEqual(packed_address("2001:DB8::0:5"), packed_address("2001:db8::5"))
        self.assertEqual(packed_address("fe80::1%eth0"), packed_address("fe80::1"))
        self.assertEqual(packed_address("192.0.2.1"), b"\xc0\x00\x02\x01")
        self.assertEqual(packed_address("mx.example"), b"")
        self.assertEqual(packed_address("192.0.2.1\x00"), b"")

    @settings(deadline=None, max_examples=100)
    @given(st.text("0123456789abcdfx.:%\x00", max_size=20))
    def test_never_fails(self, text: str) -> None:
        """Any text is an address or not; canonical text stays as it is."""
        found = numeric_address(text)
        if found:
            self.assertEqual(numeric_address(found[1]), found)
            self.assertIn(len(packed_address(found[1])), (4, 16))
