"""One kept session: what may become of it, whatever happens in whatever order.

It rests in the cache, or it is lent to one delivery, or it is over. Whoever has it when something happens is told what to do by
one row of one table; there is no other order of events than those of the table, and no row is missing.

What cannot happen: a session that is lent twice at a time; one that is over and is lent; one that is closed by the cache while a
delivery uses it, or never closed at all.

Flow: delivery/cache.py tells what happens, and does what the table says.
Sources: none; httpcore's connection pool has the idea to decide first, and then to act.
"""

import enum
from collections.abc import Mapping
from typing import NamedTuple, Protocol


class State(enum.IntEnum):
    """Where a kept session is; numbers, because they are looked up for every message."""

    RESTING = enum.auto()
    """In the cache, watched."""
    LENT = enum.auto()
    """With a delivery, which gives it back or ends it."""
    OVER = enum.auto()
    """Nowhere."""


class Happening(enum.IntEnum):
    """What may happen to it."""

    WANTED = enum.auto()
    """A delivery could use it."""
    RETURNED = enum.auto()
    """The delivery is done with it, and it still works."""
    DISTURBED = enum.auto()
    """The server has hung up, or said something that nobody had asked: a 421, stray bytes."""
    EXPIRED = enum.auto()
    """It has rested for too long."""
    CROWDED_OUT = enum.auto()
    """Too many rest."""
    RETIRED = enum.auto()
    """The cache ends: another configuration is in force, or the service stops."""


class Effect(enum.IntEnum):
    """What is to be done."""

    NOTHING = enum.auto()
    LEND = enum.auto()
    """Take it out of the cache, and give it to the delivery."""
    KEEP = enum.auto()
    """Put it into the cache, and watch it."""
    CLOSE = enum.auto()
    """Close it, in order and without a word; if it is in the cache, take it out."""


class Move(NamedTuple):
    """A row of the table: what follows."""

    state: State
    effect: Effect


_OVER = Move(State.OVER, Effect.CLOSE)
_USED_BY_ANOTHER = Move(State.LENT, Effect.NOTHING)  # the delivery sees for itself what happens to it
_GONE = Move(State.OVER, Effect.NOTHING)

MOVES: Mapping[State, Mapping[Happening, Move]] = {
    State.RESTING: {
        Happening.WANTED: Move(State.LENT, Effect.LEND),
        Happening.RETURNED: Move(State.RESTING, Effect.NOTHING),
        Happening.DISTURBED: _OVER,
        Happening.EXPIRED: _OVER,
        Happening.CROWDED_OUT: _OVER,
        Happening.RETIRED: _OVER,
    },
    State.LENT: {
        Happening.WANTED: _USED_BY_ANOTHER,
        Happening.RETURNED: Move(State.RESTING, Effect.KEEP),
        Happening.DISTURBED: _USED_BY_ANOTHER,
        Happening.EXPIRED: _USED_BY_ANOTHER,
        Happening.CROWDED_OUT: _USED_BY_ANOTHER,
        Happening.RETIRED: _OVER,
    },
    State.OVER: dict.fromkeys(Happening, _GONE),
}
"""Every move. A session begins as lent: the delivery that opened it has it."""


class Keepable(Protocol):
    """What is kept: a session, as far as it matters here."""

    def close(self) -> None:
        """Close it, in order and without a word."""


class Kept:
    """A session and its state.

    Attributes:
        session: the session.
        state: where it is.
    """

    __slots__ = ("session", "state")

    def __init__(self, session: Keepable) -> None:
        """Begin.

        Args:
            session: a delivery has it.
        """
        self.session = session
        self.state = State.LENT

    def tell(self, happening: Happening) -> Effect:
        """Something has happened; what is to be done. Closing is done already."""
        self.state, effect = MOVES[self.state][happening]
        if effect is Effect.CLOSE:
            self.session.close()
        return effect
