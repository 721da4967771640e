"""Candidates, and the walk over them."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.routing.candidates import Candidate, CandidateWalk, Family, local_candidate


def some(count: int) -> list[Candidate]:
    """So many candidates."""
    return [Candidate(f"mx{at}.example", f"192.0.2.{at}", 25, Family.IPV4) for at in range(count)]


def walk(candidates: list[Candidate], addresses: int = 0, sessions: int = 0, used: int = 0) -> CandidateWalk:
    """A walk with limits."""
    return CandidateWalk(candidates, address_limit=addresses, session_limit=sessions, sessions_used=used)


class CandidateTests(SynchronousTestCase):
    """How a candidate shows."""

    def test_names(self) -> None:
        """IPv6 addresses stand between brackets as they are, without a prefix."""
        candidate = Candidate("mx.example", "2001:db8::1", 587, Family.IPV6)
        self.assertEqual(candidate.namaddr, "mx.example[2001:db8::1]")
        self.assertEqual(candidate.relay, "mx.example[2001:db8::1]:587")
        self.assertEqual(candidate.path, "")

    def test_socket(self) -> None:
        """A UNIX-domain socket has no port."""
        candidate = local_candidate("client.example", "private/lmtp")
        self.assertEqual(candidate.relay, "client.example[private/lmtp]")
        self.assertEqual(candidate.namaddr, candidate.relay)
        self.assertEqual(candidate.path, "private/lmtp")

    def test_immutable(self) -> None:
        """A candidate stays what it is."""
        with self.assertRaises(AttributeError):
            some(1)[0].port = 26  # type: ignore[misc]


class CandidateWalkTests(SynchronousTestCase):
    """Where the walk ends."""

    def test_no_limits(self) -> None:
        """Without limits it goes to the end, which it knows when it is there."""
        candidates = some(3)
        steps = walk(candidates)
        seen = [(candidate, steps.is_last) for candidate in steps]
        self.assertEqual(seen, list(zip(candidates, (False, False, True), strict=True)))

    def test_no_candidates(self) -> None:
        """Nothing to walk over."""
        steps = walk([])
        self.assertTrue(steps.is_last)
        self.assertEqual(list(steps), [])

    def test_address_limit(self) -> None:
        """Each candidate counts as an address, whether it was reached or not."""
        steps = walk(some(9), addresses=2)
        self.assertEqual([steps.is_last for _ in steps], [False, True])

    def test_session_limit(self) -> None:
        """Only sessions count for the session limit; the last one is known as such as soon as it has come about."""
        steps = walk(some(9), sessions=2)
        last = []
        for candidate in steps:
            if candidate.host in ("mx1.example", "mx3.example"):
                steps.count_session()
            last.append(steps.is_last)
        self.assertEqual(last, [False, False, False, True])

    def test_session_counted_once(self) -> None:
        """Saying it twice does not make two sessions of one."""
        steps = walk(some(3), sessions=2)
        next(steps)
        steps.count_session()
        steps.count_session()
        self.assertFalse(steps.is_last)

    def test_repeat(self) -> None:
        """A plaintext retry of the same address counts as one attempt with the first try."""
        candidates = some(3)
        steps = walk(candidates, addresses=2, sessions=1)
        next(steps)
        steps.count_session()
        self.assertTrue(steps.is_last)
        steps.repeat()
        self.assertFalse(steps.is_last)
        self.assertIs(next(steps), candidates[0])
        self.assertFalse(steps.is_last)
        self.assertIs(next(steps), candidates[1])
        self.assertTrue(steps.is_last)
        steps.repeat()
        self.assertEqual(list(steps), [candidates[1]])

    def test_repeat_nothing(self) -> None:
        """Before the first candidate there is nothing to repeat."""
        steps = walk(some(1))
        steps.repeat()
        self.assertEqual(len(list(steps)), 1)

    def test_kept_connections(self) -> None:
        """Kept connections that were used count for both limits, and may leave nothing."""
        self.assertEqual(len(list(walk(some(9), addresses=5, used=2))), 3)
        self.assertEqual(list(walk(some(9), addresses=2, used=2)), [])
        self.assertEqual(list(walk(some(9), sessions=1, used=2)), [])
        steps = walk(some(9), sessions=3, used=2)
        next(steps)
        steps.count_session()
        self.assertTrue(steps.is_last)

    @settings(deadline=None, max_examples=150)
    @given(
        st.integers(0, 12),
        st.integers(-1, 6),
        st.integers(-1, 6),
        st.integers(0, 4),
        st.lists(st.sampled_from(["nothing", "session", "repeat", "session and repeat"]), max_size=30),
    )
    def test_bounded_and_ordered(self, count: int, addresses: int, sessions: int, used: int, acts: list[str]) -> None:
        """Whatever happens on the way: the order is kept, the limits hold, and only the last one is called so."""
        candidates = some(count)
        steps = walk(candidates, addresses, sessions, used)
        seen: list[Candidate] = []
        made = 0
        acts = acts.copy()
        ended_before = steps.is_last
        for candidate in steps:
            self.assertFalse(ended_before)
            act = acts.pop() if acts else "nothing"
            if "session" in act:
                steps.count_session()
                made += 1
            if "repeat" in act:
                steps.repeat()
                made -= "session" in act
            else:
                seen.append(candidate)
            ended_before = steps.is_last
        self.assertTrue(ended_before)
        self.assertEqual(seen, candidates[: len(seen)])
        if addresses > 0:
            self.assertLessEqual(len(seen), max(0, addresses - used))
        if sessions > 0:
            self.assertLessEqual(made, max(0, sessions - used))
        if addresses <= 0 and sessions <= 0:
            self.assertEqual(len(seen), count)
