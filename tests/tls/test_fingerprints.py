"""Fingerprints to match."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.asking import settings_of
from tests.tls.judging import line
from twisted_mta.model.events import Event
from twisted_mta.tls.digests import SHA256
from twisted_mta.tls.fingerprints import Fingerprints, associations_of, fingerprint_of
from twisted_mta.tls.policy import Association


class FingerprintTests(SynchronousTestCase):
    """`Fingerprints` and `associations_of`; the lines are those of Postfix."""

    def usable(self, *values: str, tells: bool = False, **parameters: str) -> tuple[tuple[str, ...], list[str]]:
        """Those that are usable, and what was told."""
        told: list[Event] = []
        found = Fingerprints(settings_of(**parameters), told.append, tells=tells).usable(values)
        return found, [line(event) for event in told]

    def test_forms(self) -> None:
        """Digits in any case, with or without colons."""
        for value in ("aabb", "AA:bb", "aa:bbcc", "aa"):
            self.assertEqual(self.usable(value), ((value,), []))
            self.assertEqual(associations_of(value)[0].data, bytes.fromhex(value.replace(":", "")))

    def test_malformed(self) -> None:
        """Others are told and left out; of long ones only the beginning is told."""
        values = ("zz", "aa:b:b", "aa::bb", "aa:bb:", ":aa", "aab", "a", "", "aa bb", "\u0661\u0661", "aa\n")
        found, told = self.usable(*values, "aa")
        self.assertEqual(found, ("aa",))
        self.assertEqual(len(told), len(values))
        self.assertEqual(told[0], "warning: malformed fingerprint value: zz")
        self.assertEqual(self.usable("a" * 194)[1], [f"warning: malformed fingerprint value: {'a' * 100}..."])
        self.assertEqual(self.usable("a" * 192)[1], [])

    def test_told(self) -> None:
        """Where that is wanted each one is told as a record."""
        self.assertEqual(
            self.usable("aa:bb", tells=True)[1], ["fingerprint: digest as private-use TLSA record: 3 0 255 AABB"]
        )

    def test_legacy(self) -> None:
        """The old default digest is told with each use, but not if it was chosen."""
        note = (
            "using backwards-compatible default setting smtp_tls_fingerprint_digest=md5"
            " to compute certificate fingerprints"
        )
        self.assertEqual(self.usable("aa", compatibility_level="2")[1], [note])
        self.assertEqual(self.usable("aa", compatibility_level="2", smtp_tls_fingerprint_digest="md5")[1], [])
        self.assertEqual(self.usable("aa", compatibility_level="3.6")[1], [])

    def test_associations(self) -> None:
        """A fingerprint may be that of the certificate or of its key."""
        self.assertEqual(
            associations_of("AA:0b"), (Association(3, 0, 255, b"\xaa\x0b"), Association(3, 1, 255, b"\xaa\x0b"))
        )

    @settings(max_examples=50, deadline=None)
    @given(st.binary(min_size=1, max_size=64))
    def test_round_trip(self, data: bytes) -> None:
        """What is told of a certificate can be demanded."""
        shown = fingerprint_of(data, SHA256)
        self.assertEqual(self.usable(shown), ((shown,), []))
        self.assertEqual(associations_of(shown)[0].data, SHA256.of(data))
