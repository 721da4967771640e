"""The line about a connection."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.tls.judging import line
from twisted_mta.tls.levels import Level
from twisted_mta.tls.state import TlsState
from twisted_mta.tls.summary import summary_of, trust_word

STATE = TlsState(Level.VERIFY, "TLSv1.2", "AES256-SHA", 256, 256, True, False, False, False)


class SummaryTests(SynchronousTestCase):
    """`trust_word` and `summary_of`."""

    def test_words(self) -> None:
        """The best word that fits; half-secured servers are trusted at best."""
        trusted = replace(STATE, trusted=True)
        self.assertEqual(trust_word(replace(trusted, has_certificate=False)), "Anonymous")
        self.assertEqual(trust_word(STATE), "Untrusted")
        self.assertEqual(trust_word(trusted), "Trusted")
        self.assertEqual(trust_word(replace(trusted, matched=True)), "Trusted")
        self.assertEqual(trust_word(replace(trusted, matched=True, secured=True)), "Verified")

    def test_lines(self) -> None:
        """A new connection, with details; a kept one. The server is in lower case."""
        state = replace(STATE, used_bits=128, details=" key-exchange X25519")
        self.assertEqual(
            line(summary_of(state, "MX1.dest.example[192.0.2.1]:25")),
            "Untrusted TLS connection established to mx1.dest.example[192.0.2.1]:25: TLSv1.2 with cipher AES256-SHA"
            " (128/256 bits) key-exchange X25519",
        )
        self.assertEqual(
            line(summary_of(STATE, "a[b]", kept=True)),
            "Untrusted TLS connection reused to a[b]: TLSv1.2 with cipher AES256-SHA (256/256 bits)",
        )
