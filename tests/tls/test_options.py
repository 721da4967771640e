"""Option bits of OpenSSL."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.settings import load_settings
from twisted_mta.model.events import Event
from twisted_mta.model.tls_events import TlsOptionUnknown
from twisted_mta.tls.library import OP_ALL
from twisted_mta.tls.options import option_bits

ALWAYS = 0x40000080  # no renegotiation; the end of a connection is no error


class OptionTests(SynchronousTestCase):
    """`option_bits`."""

    def bits(self, **settings: str) -> int:
        """The bits for some settings; what was told is in `told`."""
        self.told: list[Event] = []
        return option_bits(load_settings(None, overrides=list(settings.items())), self.told.append)

    def test_defaults(self) -> None:
        """All workarounds; no renegotiation, and no error where a server just hangs up."""
        self.assertEqual(self.bits(), OP_ALL | ALWAYS)

    def test_workarounds_off(self) -> None:
        """Workarounds are turned off by name in any case or by mask, and then Safari's, too."""
        self.assertEqual(self.bits(tls_disable_workarounds="tlsext_padding"), OP_ALL & ~0x50 | ALWAYS)
        self.assertEqual(self.bits(tls_disable_workarounds="0x800, CVE-2010-4180"), OP_ALL & ~0x840 | ALWAYS)
        self.assertEqual(self.bits(tls_disable_workarounds="0xFFFFFFFFFFFFFFFF"), ALWAYS)
        self.assertEqual(self.told, [])

    def test_options_on(self) -> None:
        """Options are turned on by name or by mask; those that other parameters are for are not."""
        self.assertEqual(self.bits(tls_ssl_options="NO_TICKET, prioritize_chacha"), OP_ALL | ALWAYS | 0x204000)
        self.assertEqual(self.bits(tls_ssl_options="0x3E400000"), OP_ALL | ALWAYS)  # versions, order of ciphers
        self.assertEqual(self.bits(tls_ssl_options="LEGACY_SERVER_CONNECT"), OP_ALL | ALWAYS | 0x4)

    def test_unknown_words(self) -> None:
        """A word that means nothing is told, with the whole value; the others count."""
        self.assertEqual(self.bits(tls_ssl_options="NO_TICKET bar,0x1G"), OP_ALL | ALWAYS | 0x4000)
        text = "NO_TICKET bar,0x1G"
        self.assertEqual(
            self.told,
            [TlsOptionUnknown("tls_ssl_options", "bar", text), TlsOptionUnknown("tls_ssl_options", "0x1G", text)],
        )
        self.bits(tls_disable_workarounds="what")
        self.assertEqual(self.told, [TlsOptionUnknown("tls_disable_workarounds", "what", "what")])
