"""The TLS session cache."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.settings import load_settings
from twisted_mta.tls.levels import Level
from twisted_mta.tls.session_cache import (
    LONGEST_SESSION,
    MOST_OCTETS,
    KeptSession,
    SessionCache,
    SessionKey,
    can_be_resumed,
)
from twisted_mta.tls.verification import Verdict

VERDICT = Verdict(Level.MAY, has_certificate=True, trusted=False, matched=False)


def key(number: int) -> SessionKey:
    """One of many keys."""
    return SessionKey("smtp", "dest.example", "mx.dest.example", "192.0.2.1", number)


class CacheTests(SynchronousTestCase):
    """`SessionCache`."""

    def setUp(self) -> None:
        """A small cache."""
        self.clock = Clock()
        self.cache = SessionCache(3600, self.clock, limit=3)

    def keep(self, number: int) -> KeptSession:
        """Keep a session."""
        session = KeptSession(b"%d" % number, VERDICT, self.cache.now)
        self.cache.keep(key(number), session)
        return session

    def test_life(self) -> None:
        """A session is found until its verdict is too old; then it is gone."""
        kept = self.keep(1)
        self.clock.advance(3599)
        self.assertIs(self.cache.find(key(1)), kept)
        self.assertIsNone(self.cache.find(key(2)))
        self.clock.advance(1)
        self.assertIsNone(self.cache.find(key(1)))
        self.assertEqual(len(self.cache), 0)

    def test_bounds(self) -> None:
        """The session that was used longest ago makes room; one that is too large is not kept at all."""
        for number in (1, 2, 3):
            self.keep(number)
        self.cache.find(key(1))
        self.keep(4)
        self.assertEqual([number for number in range(1, 5) if self.cache.find(key(number))], [1, 3, 4])
        self.cache.keep(key(5), KeptSession(bytes(LONGEST_SESSION + 1), VERDICT, 0))
        self.assertIsNone(self.cache.find(key(5)))

    def test_large_sessions(self) -> None:
        """Large sessions make room sooner: together they never take more than the limit, however often they are replaced."""
        cache = SessionCache(3600, self.clock)
        fit = MOST_OCTETS // LONGEST_SESSION
        for number in range(2 * fit):
            for _ in range(2):
                cache.keep(key(number), KeptSession(bytes(LONGEST_SESSION), VERDICT, 0))
        self.assertEqual(len(cache), fit)
        cache.forget(key(2 * fit - 1))
        cache.keep(key(0), KeptSession(bytes(LONGEST_SESSION), VERDICT, 0))
        self.assertEqual(len(cache), fit)

    def test_secret(self) -> None:
        """What a session is worth is not shown."""
        self.assertNotIn("secret", repr(KeptSession(b"secret", VERDICT, 0)))

    def test_forget(self) -> None:
        """A session can be forgotten, also twice."""
        self.keep(1)
        self.cache.forget(key(1))
        self.cache.forget(key(1))
        self.assertIsNone(self.cache.find(key(1)))

    def test_settings(self) -> None:
        """There is a cache where a database is named and the time is not zero; a short time is made longer."""

        def seconds(database: str, timeout: str) -> float | None:
            overrides = [("smtp_tls_session_cache_database", database), ("smtp_tls_session_cache_timeout", timeout)]
            cache = SessionCache.from_settings(load_settings(None, overrides=overrides), self.clock)
            return None if cache is None else cache.lifetime_seconds

        self.assertEqual(seconds("btree:x", "3600s"), 3600)
        self.assertEqual(seconds("btree:x", "1s"), 120)
        self.assertIsNone(seconds("btree:x", "0"))
        self.assertIsNone(seconds("", "3600s"))

    def test_shown(self) -> None:
        """The log has a key as one word: its parts, and a digest of all else; a part that could be two is encoded."""
        shown = SessionKey("smtp", "a&b", "mx", "192.0.2.1", ("x", 1)).shown
        self.assertRegex(shown, r"\Asmtp&YSZi&mx&192\.0\.2\.1&&&[0-9A-F]{64}\Z")
        self.assertNotEqual(shown, SessionKey("smtp", "a&b", "mx", "192.0.2.1", ("x", 2)).shown)


class ResumableTests(SynchronousTestCase):
    """`can_be_resumed`: the structure is in the comments of SSL_SESSION_asn1 of OpenSSL."""

    HEAD = bytes.fromhex("020101 02020304 04021302")  # version of the structure, of TLS, cipher

    def session(self, rest: str) -> bytes:
        """A session."""
        body = self.HEAD + bytes.fromhex(rest)
        return b"\x30\x81" + bytes([len(body)]) + body

    def test_session_id_or_ticket(self) -> None:
        """Either of the two will do; none will not."""
        self.assertTrue(can_be_resumed(self.session("0403414243 0402aabb")))
        self.assertTrue(can_be_resumed(self.session("0400 0402aabb aa040402aabb")))
        self.assertFalse(can_be_resumed(self.session("0400 0402aabb")))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=64))
    def test_any_octets(self, octets: bytes) -> None:
        """What is no session is one that cannot be resumed, or can; it never fails."""
        self.assertIn(can_be_resumed(octets), (True, False))
