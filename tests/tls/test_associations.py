"""Which certificate associations count."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.pki import shared_pki
from tests.tls.handmade import SEQUENCE, certificate, der
from tests.tls.judging import associated
from twisted_mta.tls.associations import best_of, is_usable, matches
from twisted_mta.tls.certificates import read_certificate
from twisted_mta.tls.digests import DEFAULT_RECORD_DIGESTS, SHA256, Digest, RecordDigests
from twisted_mta.tls.policy import Association

DIGESTS = DEFAULT_RECORD_DIGESTS
ANY = st.builds(
    Association,
    st.integers(2, 3),
    st.integers(0, 1),
    st.sampled_from([0, 1, 2, 255]),
    st.binary(min_size=1, max_size=2),
)


class UsableTests(SynchronousTestCase):
    """`is_usable`."""

    def usable(self, association: Association, digests: RecordDigests = DIGESTS) -> bool:
        """Whether it is, with SHA-256 for fingerprints."""
        return is_usable(association, digests, SHA256)

    def test_digests(self) -> None:
        """A digest that is known, and of its length."""
        for matching_type, length in ((1, 32), (2, 64), (255, 32)):
            self.assertTrue(self.usable(Association(3, 1, matching_type, bytes(length))))
            self.assertFalse(self.usable(Association(3, 1, matching_type, bytes(length - 1))))
        self.assertFalse(self.usable(Association(3, 1, 7, bytes(32))))
        self.assertFalse(self.usable(Association(3, 1, 2, bytes(64)), RecordDigests({1: SHA256})))

    def test_usages_and_selectors(self) -> None:
        """Only those that mail knows."""
        for usage in (0, 1, 4):
            self.assertFalse(self.usable(Association(usage, 1, 1, bytes(32))))
        self.assertFalse(self.usable(Association(3, 2, 1, bytes(32))))

    def test_full_data(self) -> None:
        """A certificate or a key, whole, nothing behind it, and fit to be used."""
        valid = shared_pki()["valid"]
        for usage in (2, 3):
            for selector in (0, 1):
                good = associated(valid, usage, selector)
                self.assertTrue(self.usable(good))
                for data in (b"", good.data + b"\0", good.data[:-1], b"\0" + good.data):
                    self.assertFalse(self.usable(Association(usage, selector, 0, data)))
                self.assertFalse(self.usable(Association(usage, 1 - selector, 0, good.data)))
        self.assertFalse(self.usable(Association(2, 0, 0, certificate("x", key=der(SEQUENCE, b"\x05\x00")))))
        unknown_key = der(SEQUENCE, der(SEQUENCE, b"\x06\x02\x2a\x03"), b"\x03\x02\x00\x01")
        self.assertFalse(self.usable(Association(2, 1, 0, unknown_key)))


class BestTests(SynchronousTestCase):
    """`best_of`: digest agility."""

    def test_agility(self) -> None:
        """For each usage and selector the best digest that is there counts, and full data; twice is once."""
        one = [Association(3, 1, 1, b"a"), Association(3, 1, 2, b"b"), Association(3, 1, 0, b"c")]
        other = [Association(3, 0, 1, b"d"), Association(2, 1, 1, b"e")]
        self.assertEqual(best_of([*one, *other, *one], DIGESTS), (one[1], one[2], other[0], other[1]))

    def test_order_of_digests(self) -> None:
        """What is best is what the setting says."""
        weak_first = RecordDigests(dict(list(DIGESTS.by_type.items())[::-1]))
        both = [Association(3, 1, 1, b"a"), Association(3, 1, 2, b"b")]
        self.assertEqual(best_of(both, weak_first), (both[0],))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(ANY, max_size=8))
    def test_always(self, associations: list[Association]) -> None:
        """The order in which they come does not matter; each usage and selector keeps one at least."""
        kept = best_of(associations, DIGESTS)
        self.assertEqual(kept, best_of(associations[::-1], DIGESTS))
        self.assertLessEqual(set(kept), set(associations))
        self.assertEqual({(a.usage, a.selector) for a in kept}, {(a.usage, a.selector) for a in associations})
        self.assertLessEqual({a for a in associations if a.matching_type in (0, 255)}, set(kept))


class MatchTests(SynchronousTestCase):
    """`matches`."""

    def test_matches(self) -> None:
        """Data or digest, of certificate or key; another certificate never."""
        pki = shared_pki()
        valid, other = read_certificate(pki["valid"].der), read_certificate(pki["rsa"].der)
        for selector in (0, 1):
            for matching_type in (0, 1, 2):
                association = associated(pki["valid"], 3, selector, matching_type)
                self.assertTrue(matches(association, valid, DIGESTS, SHA256))
                self.assertFalse(matches(association, other, DIGESTS, SHA256))

    def test_fingerprints(self) -> None:
        """The private type is that of the digest of fingerprints."""
        valid = read_certificate(shared_pki()["valid"].der)
        md5 = Digest("md5", 16)
        association = Association(3, 0, 255, md5.of(valid.der))
        self.assertTrue(matches(association, valid, DIGESTS, md5))
        self.assertFalse(matches(association, valid, DIGESTS, SHA256))
        self.assertFalse(matches(Association(3, 0, 9, b""), valid, DIGESTS, SHA256))
