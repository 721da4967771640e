"""Lists of protocol versions."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tls.protocols import OFF_BITS, ProtocolLimits, parse_protocols

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x02000000, 0x04000000, 0x10000000, 0x08000000, 0x20000000


class ProtocolTests(SynchronousTestCase):
    """`parse_protocols`."""

    def test_floor_and_ceiling(self) -> None:
        """Versions by name in any case, by number in hexadecimal, or none; the last one of each kind counts."""
        cases = {
            ">=TLSv1": (0x301, 0),
            ">=tlsV1.2 <=TLSv1.3": (0x303, 0x304),
            ">=0x0302,<=303": (0x302, 0x303),
            ">=TLSv1:>=TLSv1.1:<=None": (0x302, 0),
            ">=0399": (0x399, 0),
            ">=SSLv3": (0, 0),
            ">=TLSv1 >=SSLv3": (0, 0),
            "": (0, 0),
            " , ": (0, 0),
        }
        for text, (minimum, maximum) in cases.items():
            self.assertEqual(parse_protocols(text), ProtocolLimits(minimum, maximum, 0), text)

    def test_single_versions(self) -> None:
        """Names that are excluded are off; where names are included, all others are off, too."""
        cases = {
            "!SSLv2 !SSLv3": SSL3,
            "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1": SSL3 | TLS10 | TLS11,
            "TLSv1.2": SSL3 | TLS10 | TLS11 | TLS13,
            "TLSv1.2:TLSv1.3:!TLSv1.3": SSL3 | TLS10 | TLS11 | TLS13,
            ">=TLSv1 !TLSv1.1": TLS11,
            "SSLv2": 0,
            "SSLv2 TLSv1.2": SSL3 | TLS10 | TLS11 | TLS13,
            "<=SSLv3": OFF_BITS,
            "<=300 TLSv1.2": OFF_BITS,
        }
        for text, off in cases.items():
            self.assertEqual(getattr(parse_protocols(text), "off", None), off, text)

    def test_dane_has_no_ssl(self) -> None:
        """With DANE, SSL is off whatever the list says (RFC 7672 section 2.1.1 wants TLS)."""
        self.assertEqual(parse_protocols("", for_dane=True), ProtocolLimits(0, 0, SSL3))
        self.assertEqual(parse_protocols("SSLv3 TLSv1.2", for_dane=True), ProtocolLimits(0, 0, OFF_BITS & ~TLS12))

    def test_nonsense(self) -> None:
        """A word that means nothing makes nonsense of all."""
        for text in (
            "TLSv1.4",
            ">=TLSv1.4",
            ">=",
            "!",
            "!foo",
            ">=SSLv2",
            "TLSv1.2 what",
            ">=0x",
            ">=123456789",
            "=TLSv1",
        ):
            self.assertIsNone(parse_protocols(text), text)

    @settings(deadline=None, max_examples=60)
    @given(st.text("TLSsv1.203!<>=:, x"))
    def test_any_text(self, text: str) -> None:
        """Whatever is written gives limits or nothing; only bits of versions are off."""
        limits = parse_protocols(text)
        if limits is not None:
            self.assertEqual(limits.off & ~OFF_BITS, 0)
