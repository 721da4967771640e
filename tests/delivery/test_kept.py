"""The states of one kept session."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.delivery.kept import MOVES, Effect, Happening, Kept, State


class Closable:
    """Counts how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        """Count."""
        self.closed += 1


class MovesTests(SynchronousTestCase):
    """The table."""

    def test_complete(self) -> None:
        """There is a row for whatever may happen wherever the session is."""
        self.assertEqual(set(MOVES), set(State))
        for moves in MOVES.values():
            self.assertEqual(set(moves), set(Happening))

    def test_what_effects_mean(self) -> None:
        """Each effect belongs to one change of the state, so that the cache's books follow from the effects."""
        for before, moves in MOVES.items():
            for happening, (after, effect) in moves.items():
                change = (before, after)
                where = (before.name, happening.name)
                if effect is Effect.LEND:
                    self.assertEqual(change, (State.RESTING, State.LENT), where)
                elif effect is Effect.KEEP:
                    self.assertEqual(change, (State.LENT, State.RESTING), where)
                elif effect is Effect.CLOSE:
                    self.assertIs(after, State.OVER, where)
                    self.assertIsNot(before, State.OVER, where)
                else:
                    self.assertIs(before, after, where)

    def test_nothing_follows_the_end(self) -> None:
        """A session that is over stays so."""
        for happening in Happening:
            self.assertEqual(MOVES[State.OVER][happening], (State.OVER, Effect.NOTHING))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from(list(Happening)), max_size=20))
    def test_any_order(self, happenings: list[Happening]) -> None:
        """Whatever happens in whatever order: it is lent to one at a time, and closed once, never in use but at the very end."""
        session = Closable()
        kept = Kept(session)
        users, resting = 1, 0
        for happening in happenings:
            was = kept.state
            effect = kept.tell(happening)
            users += (effect is Effect.LEND) - (effect is Effect.KEEP)
            resting += (effect is Effect.KEEP) - (effect is Effect.LEND)
            if effect is Effect.CLOSE:
                if was is State.RESTING:
                    resting -= 1
                else:
                    self.assertIs(happening, Happening.RETIRED, "it came back to a cache that is no more")
                    users -= 1
            self.assertIn(users, (0, 1))
            self.assertEqual((users, resting), (kept.state is State.LENT, kept.state is State.RESTING))
            self.assertEqual(session.closed, kept.state is State.OVER)
        kept.tell(Happening.RETIRED)
        self.assertEqual(session.closed, 1)
