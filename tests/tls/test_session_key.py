"""The keys of TLS sessions."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tls.session_key import FORMAT, LONGEST_ID, SessionKey

KEY = SessionKey("smtp", "dest.example", "mx.dest.example", "192.0.2.1", ("x", 1))
TEXTS = st.text("ab&.:[]/é\udcff\n ", max_size=6)


class KeyTests(SynchronousTestCase):
    """`SessionKey`."""

    def test_shown(self) -> None:
        """The log has a key as one word: its parts, and a digest of all; a part that could be two is encoded."""
        key = replace(KEY, nexthop="a&b")
        self.assertRegex(key.shown, r"\Asmtp&YSZi&mx\.dest\.example&192\.0\.2\.1&&&[0-9A-F]{64}\Z")
        self.assertEqual(key.shown[-64:], key.digest)
        self.assertIn("&Jgrtsr8=&", replace(KEY, host="&\n\udcbf").shown)

    def test_id(self) -> None:
        """Elsewhere it has a name in front that is not that of a service of Postfix."""
        self.assertEqual(KEY.id, f"twisted_mta:{FORMAT}&{KEY.shown}")
        self.assertRegex(
            KEY.id, r"\Atwisted_mta:\d+&smtp&dest\.example&mx\.dest\.example&192\.0\.2\.1&&&[0-9A-F]{64}\Z"
        )

    def test_odd_parts(self) -> None:
        """Parts that are long, or not plain, are in the digest alone: tlsmgr(8) could not take them."""
        for part in ("x" * LONGEST_ID, "münchen.example", "a\nb", "a\0b", "\udcff"):
            key = replace(KEY, host=part)
            self.assertEqual(key.id, f"twisted_mta:{FORMAT}&{key.digest}")
            self.assertTrue(key.shown)

    @settings(deadline=None, max_examples=200)
    @given(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS))
    def test_one_for_each(self, one: tuple[str, ...], other: tuple[str, ...]) -> None:
        """Two keys have one id only if they are the same; an id is printable ASCII, and short."""
        first, second = SessionKey(*one), SessionKey(*other)
        self.assertEqual(first.id == second.id, one == other)
        self.assertTrue(first.id.isascii() and first.id.isprintable() and len(first.id) <= LONGEST_ID)

    def test_known(self) -> None:
        """Another version of the package still finds what this one has stored; if not, FORMAT is another one."""
        known = "5960F0B5FC34BB3FD4450F19981F8562F0AD0BF43FE6E9EC4403CAACB663CC9E"
        self.assertEqual((FORMAT, KEY.digest), (1, known))

    def test_digest_is_no_part(self) -> None:
        """That the digest has been made does not make another key of it."""
        other = replace(KEY)
        self.assertTrue(other.digest)
        self.assertEqual((other, hash(other)), (replace(KEY), hash(replace(KEY))))
        self.assertNotIn("_digest", repr(other))
