"""Time limits with one timer for all."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.postfix.deadlines import DeadlineQueue


class DeadlineQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A queue of names that may stay for ten seconds."""
        self.clock = Clock()
        self.expired: list[str] = []
        self.queue = DeadlineQueue[str](self.clock, 10, self.expired.append)

    def test_each_has_the_same_time(self) -> None:
        """Each is expired when its own time is over, in order."""
        self.queue.add("a")
        self.clock.advance(4)
        self.queue.add("b")
        self.clock.advance(5.9)
        self.assertEqual(self.expired, [])
        self.clock.advance(0.1)
        self.assertEqual(self.expired, ["a"])
        self.clock.advance(4)
        self.assertEqual(self.expired, ["a", "b"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_leaves_is_not_expired(self) -> None:
        """Discarded and popped things are forgotten."""
        for name in "abc":
            self.queue.add(name)
        self.queue.discard("b")
        self.queue.discard("unknown")
        self.assertEqual(self.queue.pop(), "a")
        self.assertEqual((list(self.queue), len(self.queue), "c" in self.queue), (["c"], 1, True))
        self.clock.advance(10)
        self.assertEqual(self.expired, ["c"])
        self.assertRaises(KeyError, self.queue.pop)

    def test_one_timer(self) -> None:
        """However many come and go, there is one timer."""
        for n in range(100):
            self.queue.add(str(n))
            self.queue.discard(str(n))
            self.clock.advance(0.05)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clear(self) -> None:
        """Nothing and no timer is left."""
        self.queue.add("a")
        self.queue.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.queue.clear()
        self.clock.advance(20)
        self.assertEqual(self.expired, [])

    def test_expiry_may_change_the_queue(self) -> None:
        """Who is called may add and discard."""

        def expire(name: str) -> None:
            self.expired.append(name)
            queue.discard("b")
            if len(self.expired) < 3:
                queue.add("again")

        queue = DeadlineQueue[str](self.clock, 10, expire)
        for name in "abc":
            queue.add(name)
        self.clock.advance(10)
        self.assertEqual(self.expired, ["a", "c"])
        self.clock.advance(10)
        self.assertEqual(self.expired, ["a", "c", "again"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 15)), max_size=12))
    def test_never_early_and_at_most_a_moment_late(self, stays: list[tuple[int, int]]) -> None:
        """Whoever stays too long is expired after ten seconds; who does not, never."""
        clock, expired = Clock(), dict[int, float]()
        queue = DeadlineQueue[int](clock, 10, lambda item: expired.setdefault(item, clock.seconds()))
        came = dict[int, float]()
        for item, (pause, stay) in enumerate(stays):
            clock.pump([0.5] * (pause * 2))
            came[item] = clock.seconds()
            queue.add(item)
            if stay < 10:
                clock.callLater(stay, queue.discard, item)
        clock.pump([0.5] * 80)
        expected = {item: came[item] + 10 for item, (_, stay) in enumerate(stays) if stay >= 10}
        self.assertEqual(set(expired), set(expected))
        for item, when in expected.items():
            self.assertTrue(when <= expired[item] <= when + 0.5)
