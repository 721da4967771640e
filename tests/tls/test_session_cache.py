"""The TLS session cache."""

from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.engines import MemoryStore
from twisted_mta.config.settings import load_settings
from twisted_mta.tls.levels import Level
from twisted_mta.tls.session_cache import MOST_OCTETS, KeptSession, SessionCache, SessionKey, can_be_resumed
from twisted_mta.tls.session_record import LONGEST_SESSION
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

    def test_from_the_future(self) -> None:
        """A verdict that is not made yet is none: the clock was wrong, then or now."""
        kept = self.keep(1)
        self.clock.rightNow -= 1
        self.assertIsNone(self.cache.find(key(1)))
        self.assertEqual(kept.judged_at, self.clock.rightNow + 1)


SEQUENCE = b"\x30\x03\x02\x01\x01"
UNPROVED = Verdict(Level.VERIFY, has_certificate=True, trusted=False, matched=False)


class StoredTests(SynchronousTestCase):
    """`SessionCache` with a store, which other processes have, too."""

    def setUp(self) -> None:
        """Two processes and their store."""
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.store = MemoryStore()
        self.one, self.other = (SessionCache(3600, self.clock, self.store) for _ in range(2))

    def kept(self, number: int = 1, *, verdict: Verdict = VERDICT, age: float = 0) -> KeptSession:
        """Keep a session in the first process."""
        session = KeptSession(SEQUENCE, verdict, self.one.now - age)
        self.one.keep(key(number), session)
        return session

    def look(self, cache: SessionCache, number: int = 1) -> KeptSession | None:
        """Look a session up."""
        return self.successResultOf(Deferred.fromCoroutine(cache.look_up(key(number))))

    def begin_to_look(self) -> tuple[Deferred[KeptSession | None], Callable[[], None]]:
        """Look a session up in the other process; the store answers when it is told to."""
        answer: Deferred[bytes | None] = Deferred()

        async def slow(key: str) -> bytes | None:
            return await answer

        stored = self.store.kept[key(1).id]
        self.store.lookup = slow  # type: ignore[method-assign]
        found = Deferred.fromCoroutine(self.other.look_up(key(1)))
        return found, partial(answer.callback, stored)

    def test_shared(self) -> None:
        """What a process keeps is found by others, which then have it in memory."""
        session = self.kept()
        self.assertEqual(self.look(self.other), session)
        self.assertIsNone(self.look(self.other, 2))
        self.assertEqual(self.store.asked, [key(1).id, key(2).id])
        self.assertEqual(self.look(self.other), session)
        self.assertEqual(self.look(self.one), session)
        self.assertEqual(len(self.store.asked), 2)

    def test_forgotten(self) -> None:
        """What a process forgets others find no more, unless they have it in memory."""
        session = self.kept()
        self.assertEqual(self.look(self.other), session)
        self.one.forget(key(1))
        self.assertEqual(self.store.kept, {})
        self.assertIsNone(self.look(self.one))

    def test_age(self) -> None:
        """The age of a verdict counts in the store, too; one that is too old, or of the future, goes."""
        for seconds, found in ((0, True), (3599, True), (3600, False), (-1, False)):
            self.kept()
            self.clock.advance(seconds)
            fresh = SessionCache(3600, self.clock, self.store)
            self.assertEqual(self.look(fresh) is not None, found, seconds)
            self.assertEqual(bool(self.store.kept), found)

    def test_what_stays(self) -> None:
        """What room is made of, or what is too old in memory, is not deleted elsewhere: others may have a newer one."""
        small = SessionCache(3600, self.clock, self.store, limit=1)
        for number in (1, 2):
            small.keep(key(number), KeptSession(SEQUENCE, VERDICT, small.now))
        self.assertEqual(len(self.store.kept), 2)
        self.assertIsNotNone(self.look(small, 1))

    def test_new_tickets(self) -> None:
        """A session that goes on is stored now and then; at once, if the server was judged anew, or nothing is stored."""
        session = self.kept()

        def is_stored(verdict: Verdict = VERDICT, age: float = 0) -> bool:
            self.store.kept.clear()
            self.one.keep(key(1), KeptSession(SEQUENCE, verdict, session.judged_at + age))
            return bool(self.store.kept)

        self.clock.advance(4)
        self.assertFalse(is_stored())
        self.clock.advance(1)
        self.assertTrue(is_stored())
        self.assertFalse(is_stored())
        self.assertTrue(is_stored(age=1))
        self.assertFalse(is_stored(UNPROVED, age=1))
        self.assertTrue(is_stored(age=1))
        self.one.forget(key(1))
        self.assertTrue(is_stored(age=1))
        self.assertEqual(self.look(self.other), KeptSession(SEQUENCE, VERDICT, session.judged_at + 1))
        self.store.kept.clear()
        self.other.keep(key(1), KeptSession(SEQUENCE, VERDICT, session.judged_at + 1))
        self.assertEqual(self.store.kept, {})

    def test_unproved(self) -> None:
        """A server that did not prove what it should have is not remembered beyond the process, nor is what it proved before."""
        self.kept()
        self.assertEqual(len(self.store.kept), 1)
        session = self.kept(verdict=UNPROVED)
        self.assertEqual(self.store.kept, {})
        self.assertEqual(self.look(self.one), session)

    def test_nonsense(self) -> None:
        """What is no session is no session, and goes."""
        self.kept(1)
        self.kept(2)
        mine, theirs = self.store.kept[key(1).id], self.store.kept[key(2).id]
        for octets in (b"", mine[:-1], mine + b"x", theirs, bytes(100_000)):
            self.store.kept[key(1).id] = octets
            self.assertIsNone(self.look(self.other))
            self.assertNotIn(key(1).id, self.store.kept)

    def test_too_large(self) -> None:
        """One that is too large goes nowhere."""
        self.one.keep(key(1), KeptSession(bytes(LONGEST_SESSION + 1), VERDICT, self.one.now))
        self.assertEqual(self.store.kept, {})

    def test_newer_meanwhile(self) -> None:
        """What is kept while the store is asked counts more than what it says."""
        self.kept(age=10)
        found, answer = self.begin_to_look()
        self.assertNoResult(found)
        newer = KeptSession(SEQUENCE, VERDICT, self.other.now)
        self.other.keep(key(1), newer)
        answer()
        self.assertIs(self.successResultOf(found), newer)

    def test_forgotten_meanwhile(self) -> None:
        """What is forgotten while the store is asked is not used, though the store may not know that yet."""
        self.kept()
        found, answer = self.begin_to_look()
        self.other.forget(key(1))
        answer()
        self.assertIsNone(self.successResultOf(found))
        self.assertEqual(len(self.other), 0)

    def test_settings(self) -> None:
        """Without a cache there is nothing for the store."""
        loaded = load_settings(None, overrides=[("smtp_tls_session_cache_database", "")])
        self.assertIsNone(SessionCache.from_settings(loaded, self.clock, self.store))


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
