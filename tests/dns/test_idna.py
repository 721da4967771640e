"""Internationalized domain names; results and words were seen with a running Postfix."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.dns.hostnames import valid_hostname
from twisted_mta.dns.idna import DomainNameError, to_a_labels


def problem(name: str) -> str:
    """Why a name cannot be converted."""
    try:
        to_a_labels(name)
    except DomainNameError as error:
        return str(error)
    return ""


class ToALabelsTests(SynchronousTestCase):
    """Conversion."""

    def test_converted(self) -> None:
        """Case and width are folded, dots are unified, what UTS 46 ignores is left out."""
        for name, converted in (
            ("bücher.example", "xn--bcher-kva.example"),
            ("Bü.Example", "xn--b-eha.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("☕.example", "xn--53h.example"),
            ("a\u200db.example", "xn--ab-m1t.example"),
            ("\uff41.example", "a.example"),
            ("bücher。example", "xn--bcher-kva.example"),
            ("ü_x.example", "xn--_x-wka.example"),
            ("ü\u00ad.com", "xn--tda.com"),
            ("א1a.example", "xn--1a-uld.example"),
            ("xn--BCHER-kva.ü.example", "xn--bcher-kva.xn--tda.example"),
            ("xn--0ca24w.ü", "xn--0ca24w.xn--tda"),
            ("≠.ü", "xn--1ch.xn--tda"),
            ("xn--1ch.ü", "xn--1ch.xn--tda"),
            ("xn--fa-hia.ü", "xn--fa-hia.xn--tda"),
            ("ü.x\u0300", "xn--tda.xn--x-vbb"),
        ):
            self.assertEqual(to_a_labels(name), converted)

    def test_ascii(self) -> None:
        """A name in ASCII stays, whatever it looks like: others judge it."""
        for name in ("Example.COM", "xn--zz", "a..b", ""):
            self.assertEqual(to_a_labels(name), name)

    def test_transitional(self) -> None:
        """enable_idna2003_compatibility maps what IDNA2003 mapped."""
        self.assertEqual(to_a_labels("faß.example", True), "fass.example")
        self.assertEqual(to_a_labels("a\u200db\u200c.example", True), "ab.example")
        self.assertEqual(to_a_labels("βόλος.example", True), to_a_labels("βόλοσ.example"))

    def test_problems(self) -> None:
        """What cannot be converted, and why."""
        for name, why in (
            ("bücher..example", "UIDNA_ERROR_EMPTY_LABEL"),
            (".ü", "UIDNA_ERROR_EMPTY_LABEL"),
            ("\u00ad.com", "UIDNA_ERROR_EMPTY_LABEL"),
            ("ü.", "malformed ASCII label(s)"),
            ("üü!x.example", "malformed ASCII label(s)"),
            ("ü .example", "malformed ASCII label(s)"),
            ("\uff11\uff12\uff17.0.0.1", "malformed ASCII label(s)"),
            ("⑴.ü", "malformed ASCII label(s)"),
            ("xn--zzzzzz.ü", "UIDNA_ERROR_PUNYCODE"),
            ("ü.xn--ü", "UIDNA_ERROR_PUNYCODE"),
            ("xn--a.ü", "UIDNA_ERROR_INVALID_ACE_LABEL"),
            ("ü" * 64 + ".com", "UIDNA_ERROR_LABEL_TOO_LONG"),
            ("ü" * 60 + ".com", "UIDNA_ERROR_LABEL_TOO_LONG"),
            (".".join(["ü" * 20] * 10), "UIDNA_ERROR_DOMAIN_NAME_TOO_LONG"),
            ("ü" * 100000, "UIDNA_ERROR_DOMAIN_NAME_TOO_LONG"),
            ("\udcff\udcfe.com", "malformed UTF-8"),
            ("-ü.example", "UIDNA_ERROR_LEADING_HYPHEN"),
            ("ü-.example", "UIDNA_ERROR_TRAILING_HYPHEN"),
            ("a--.ü", "UIDNA_ERROR_TRAILING_HYPHEN"),
            ("aa--ü.example", "UIDNA_ERROR_HYPHEN_3_4"),
            ("ab--c.ü.x", "UIDNA_ERROR_HYPHEN_3_4"),
            ("︒ü.com", "UIDNA_ERROR_DISALLOWED"),
            ("ü\u2028.com", "UIDNA_ERROR_DISALLOWED"),
            ("ü\u0378.x", "UIDNA_ERROR_DISALLOWED"),
            ("\ue000.x", "UIDNA_ERROR_DISALLOWED"),
            ("\u0301x.com", "UIDNA_ERROR_LEADING_COMBINING_MARK"),
        ):
            self.assertEqual(problem(name), why, ascii(name))

    @settings(deadline=None, max_examples=300)
    @given(st.text(st.sampled_from("aßüא\u0301-.x1n。\udcff☕\u200d!") | st.characters(), max_size=20))
    def test_any(self, name: str) -> None:
        """Any text with a character outside of ASCII becomes a valid host name, or has a problem."""
        if name.isascii() or problem(name):
            return
        converted = to_a_labels(name)
        self.assertTrue(converted.isascii())
        self.assertTrue(valid_hostname(converted))
