"""The connection cache in the process."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import load_settings
from twisted_mta.delivery.cache import Lent, Place, PoolLimits, SessionPool
from twisted_mta.delivery.cache_keys import DestinationKey, EndpointKey
from twisted_mta.interfaces import IConnectionCache
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import TlsPolicy

PLACE = Place("d.test", Candidate("h1.test", "10.0.0.1", 25, Family.IPV4), True)
OTHER_PLACE = Place("d.test", Candidate("h2.test", "10.0.0.2", 25, Family.IPV4), False)
HERE, THERE = EndpointKey("here"), EndpointKey("there")
NAME, OTHER_NAME = DestinationKey("name"), DestinationKey("other")


class FakeSession:
    """A session, as far as the cache knows it.

    Attributes:
        sound: whether it can rest: nothing unasked has come.
        closed: how often it was closed.
    """

    def __init__(self, name: str = "", *, sound: bool = True) -> None:
        self.name = name
        self.sound = sound
        self.closed = 0
        self.kept: Any = None
        self.disturbed: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return self.name

    def rest(self, disturbed: Callable[[], None]) -> bool:
        """Wait for another message."""
        self.disturbed = disturbed
        return self.sound

    def close(self) -> None:
        """Count."""
        self.closed += 1


class PoolTestCase(SynchronousTestCase):
    """A pool with room for a few sessions."""

    LIMITS = PoolLimits(2.0, for_one_address=3, in_all=5)

    def setUp(self) -> None:
        """Begin empty."""
        self.clock = Clock()
        self.pool = SessionPool(self.clock, self.LIMITS)

    def keep(
        self,
        session: FakeSession,
        endpoint: EndpointKey = HERE,
        destination: DestinationKey | None = None,
        place: Place = PLACE,
    ) -> FakeSession:
        """Save a session."""
        anything: Any = session
        self.pool.keep(anything, endpoint, destination, place)
        return session

    def sessions(self, count: int, *keys: Any) -> list[FakeSession]:
        """Save so many."""
        return [self.keep(FakeSession(f"session {number}"), *keys) for number in range(count)]

    def lent(self, key: DestinationKey | EndpointKey) -> Any:
        """The session that is lent; None: there is none."""
        lent = self.pool.lend(key)
        return lent.session if lent else None


class LendTests(PoolTestCase):
    """Who gets what."""

    def test_interface(self) -> None:
        """The pool is an IConnectionCache."""
        self.assertTrue(verifyObject(IConnectionCache, self.pool))
        self.assertTrue(self.pool.accepts)

    def test_by_address(self) -> None:
        """The one that has rested longest comes first, and each is lent once."""
        first, second = self.sessions(2)
        self.assertEqual(self.pool.lend(HERE), Lent(first, HERE))  # type: ignore[arg-type] # a fake
        self.assertIs(self.lent(HERE), second)
        self.assertIsNone(self.lent(HERE))
        self.assertIsNone(self.lent(THERE))

    def test_by_destination(self) -> None:
        """A destination leads to addresses; the session says where it leads."""
        session = self.keep(FakeSession(), HERE, NAME)
        self.assertEqual(self.pool.lend(NAME), Lent(session, HERE, PLACE))  # type: ignore[arg-type] # a fake
        self.assertIsNone(self.lent(NAME))
        self.keep(session)
        self.assertIs(self.lent(NAME), session, "the binding outlasts the loan")
        self.assertIsNone(self.lent(OTHER_NAME))

    def test_first_address_with_a_session(self) -> None:
        """Of several addresses the first that was bound counts, as long as it has a session, whoever has left that."""
        here = self.keep(FakeSession(), HERE, NAME)
        there = self.keep(FakeSession(), THERE, NAME, OTHER_PLACE)
        self.assertIs(self.lent(NAME), here)
        lent = self.pool.lend(NAME)
        self.assertEqual(lent, Lent(there, THERE, OTHER_PLACE))  # type: ignore[arg-type] # a fake
        somebodys = self.keep(FakeSession(), HERE, OTHER_NAME)
        self.assertIs(self.lent(NAME), somebodys)

    def test_not_across_policies(self) -> None:
        """One address with another policy is another endpoint, whatever the text of its name."""
        session = self.keep(FakeSession(), EndpointKey("here", TlsPolicy(Level.MAY)))
        for key in (HERE, EndpointKey("here", TlsPolicy(Level.ENCRYPT)), EndpointKey("here", source="10.0.0.9")):
            self.assertIsNone(self.lent(key))
        self.assertIs(self.lent(EndpointKey("here", TlsPolicy(Level.MAY))), session)

    def test_another_endpoint_later(self) -> None:
        """A session is found under the name that it was saved by last."""
        (session,) = self.sessions(1)
        self.lent(HERE)
        self.keep(session, THERE)
        self.assertIsNone(self.lent(HERE))
        self.assertIs(self.lent(THERE), session)


class EndTests(PoolTestCase):
    """How sessions end here."""

    def test_time(self) -> None:
        """Each rests for so long and no longer; the time begins anew with each rest."""
        first, second = self.sessions(2)
        self.clock.advance(1)
        self.assertIs(self.lent(HERE), first)
        self.keep(first)
        self.clock.advance(1)
        self.assertEqual((first.closed, second.closed), (0, 1))
        self.clock.advance(1)
        self.assertEqual((first.closed, len(self.pool)), (1, 0))
        self.assertIsNone(self.lent(HERE))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bindings_end(self) -> None:
        """A binding lasts as long as a session that was saved with it would."""
        session = self.keep(FakeSession(), HERE, NAME)
        self.clock.advance(1)
        self.assertIs(self.lent(NAME), session)
        self.keep(session)
        self.clock.advance(1.5)
        self.assertIsNone(self.lent(NAME))
        self.assertIs(self.lent(HERE), session)

    def test_clock_set_back(self) -> None:
        """A clock that is set back makes no busy loop."""
        (session,) = self.sessions(1)
        self.clock.rightNow -= 100
        self.clock.advance(101)
        self.assertEqual(session.closed, 0)
        calls = self.clock.getDelayedCalls()
        self.assertGreater(calls[0].getTime(), self.clock.seconds())

    def test_disturbed(self) -> None:
        """One that is disturbed is closed at once; the others are not."""
        first, second = self.sessions(2)
        first.disturbed()
        self.assertEqual((first.closed, len(self.pool)), (1, 1))
        self.assertIs(self.lent(HERE), second)
        second.disturbed()
        self.assertEqual(second.closed, 0, "the delivery that has it sees for itself")

    def test_unsound(self) -> None:
        """One that has been disturbed before it could rest is closed, and not lent."""
        session = self.keep(FakeSession(sound=False), HERE, NAME)
        self.assertEqual((session.closed, len(self.pool)), (1, 0))
        self.assertIsNone(self.lent(NAME))

    def test_crowd_at_one_address(self) -> None:
        """Too many for one address: the one that has rested longest goes."""
        sessions = self.sessions(4)
        self.assertEqual([session.closed for session in sessions], [1, 0, 0, 0])
        self.keep(FakeSession(), THERE)
        self.assertEqual(len(self.pool), 4)

    def test_crowd_in_all(self) -> None:
        """Too many in all: likewise."""
        sessions = [self.keep(FakeSession(), EndpointKey(str(number))) for number in range(7)]
        self.assertEqual([session.closed for session in sessions], [1, 1, 0, 0, 0, 0, 0])
        self.assertEqual(len(self.pool), 5)

    def test_room_for_one(self) -> None:
        """Limits may be as low as one."""
        for limits in (PoolLimits(2.0, for_one_address=1), PoolLimits(2.0, in_all=1)):
            self.pool = SessionPool(self.clock, limits)
            first, second = self.sessions(2)
            self.assertEqual((first.closed, second.closed), (1, 0))
            self.assertIs(self.lent(HERE), second)
            self.keep(second)
            self.pool.close()

    def test_bindings_are_bounded(self) -> None:
        """Names of destinations do not pile up, nor addresses of one destination."""
        for number in range(50):
            self.keep(FakeSession(), EndpointKey(str(number)), DestinationKey(str(number)))
            self.keep(FakeSession(), EndpointKey(str(number)), NAME)
        self.assertLessEqual(len(self.pool._bindings), self.LIMITS.in_all)
        self.assertLessEqual(max(map(len, self.pool._bindings.values())), self.LIMITS.for_one_address)

    def test_shed(self) -> None:
        """All that rests gives way where descriptors are needed; others may come."""
        self.assertFalse(self.pool.shed())
        sessions = self.sessions(3)
        self.assertTrue(self.pool.shed())
        self.assertEqual([session.closed for session in sessions], [1, 1, 1])
        session = self.keep(FakeSession())
        self.assertIs(self.lent(HERE), session)

    def test_close(self) -> None:
        """In the end all are closed, those that come back later too, and no timer is left."""
        first, second = self.sessions(2)
        self.lent(HERE)
        self.pool.close()
        self.assertEqual((first.closed, second.closed), (0, 1))
        self.assertFalse(self.pool.accepts)
        self.keep(first)
        third = self.keep(FakeSession(), HERE, NAME)
        self.assertEqual((first.closed, third.closed, len(self.pool)), (1, 1, 0))
        self.assertIsNone(self.lent(NAME))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pool.close()


class LimitsTests(SynchronousTestCase):
    """What settings say."""

    def limits(self, *overrides: tuple[str, str]) -> PoolLimits:
        """The limits of a configuration."""
        return PoolLimits.from_settings(load_settings(None, protocol="smtp", overrides=overrides))

    def test_time(self) -> None:
        """The shorter one of what smtp(8) asks for and scache(8) permits."""
        self.assertEqual(self.limits().seconds, 2)
        self.assertEqual(self.limits(("smtp_connection_cache_time_limit", "10s")).seconds, 2)
        both = (("smtp_connection_cache_time_limit", "10s"), ("connection_cache_ttl_limit", "1m"))
        self.assertEqual(self.limits(*both).seconds, 10)

    def test_malformed(self) -> None:
        """A limit that is none is an error, as any."""
        with self.assertRaises(ConfigError) as caught:
            self.limits(("connection_cache_ttl_limit", "long"))
        self.assertIn("connection_cache_ttl_limit", str(caught.exception))


_STEPS = st.sampled_from(
    [
        "open",
        "open",
        "lend",
        "lend",
        "lend by name",
        "return",
        "return",
        "spend",
        "disturb",
        "wait",
        "crowd",
        "shed",
        "close",
    ]
)


class AnyOrderTests(SynchronousTestCase):
    """Whatever happens in whatever order."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(_STEPS, st.integers(0, 3)), max_size=40))
    def test_books(self, steps: list[tuple[str, int]]) -> None:
        """No session has two users, or none and is never closed; what is closed is not lent; bounds hold; time ends all."""
        clock = Clock()
        limits = PoolLimits(2.0, for_one_address=3, in_all=4)
        pool: Any = SessionPool(clock, limits)
        keys = (HERE, THERE)
        used: list[FakeSession] = []
        everybody: list[FakeSession] = []

        def take(lent: Lent | None) -> None:
            if lent is not None:
                session: Any = lent.session
                self.assertNotIn(session, used)
                self.assertEqual(session.closed, 0)
                used.append(session)

        for number, (step, choice) in enumerate(steps):
            key, name = keys[choice % 2], (NAME, None)[choice // 2]
            if step == "open":
                everybody.append(FakeSession(str(number), sound=choice != 3))
                pool.keep(everybody[-1], key, name, PLACE)
            elif step == "lend":
                take(pool.lend(key))
            elif step == "lend by name":
                take(pool.lend(NAME))
            elif step == "return" and used:
                pool.keep(used.pop(choice % len(used)), key, name, PLACE)
            elif step == "spend" and used:
                used.pop(choice % len(used)).close()
            elif step == "disturb" and everybody:
                session = everybody[choice % len(everybody)]
                session.disturbed()
            elif step == "wait":
                clock.advance(choice)
            elif step == "crowd":
                for more in range(5):
                    everybody.append(FakeSession(f"{number}.{more}"))
                    pool.keep(everybody[-1], key, name, PLACE)
            elif step == "shed":
                pool.shed()
            elif step == "close":
                pool.close()
            self.assertLessEqual(len(pool), limits.in_all)
            self.assertEqual(len(pool), sum(not session.closed for session in everybody) - len(used))
            self.assertLessEqual({session.closed for session in everybody}, {0, 1})
            self.assertEqual([session for session in used if session.closed], [])
        clock.advance(2.5)
        self.assertEqual(len(pool), 0)
        self.assertEqual([session for session in everybody if not session.closed and session not in used], [])
        self.assertEqual(clock.getDelayedCalls(), [])


class LeanTests(SynchronousTestCase):
    """What the module does not do."""

    def test_no_wait_for_each(self) -> None:
        """All sessions share a timer."""
        clock = Clock()
        pool: Any = SessionPool(clock, PoolLimits(2.0))
        for number in range(100):
            pool.keep(FakeSession(), EndpointKey(str(number)), None, PLACE)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        pool.close()
