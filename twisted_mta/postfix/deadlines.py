"""Time limits for many things of one kind, with one timer for all of them.

Flow: postfix/requests.py and postfix/handoff.py put their connections in, and are told which took too long.
"""

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T", bound=Hashable)


class DeadlineQueue(Generic[T]):
    """Things that all get the same time, first in, first out.

    Since all get the same time, the oldest is due first: one timer for it is enough, and who comes and goes in time costs an
    entry in a dict. A timer for each would cost more than all else that is done for a short-lived connection.

    Args:
        clock: where time comes from.
        seconds: how long each may stay.
        expire: is called with each that stayed too long, already taken out.
    """

    __slots__ = ("_clock", "_due", "_expire", "_seconds", "_timer")

    def __init__(self, clock: IReactorTime, seconds: float, expire: Callable[[T], object]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._expire = expire
        self._due: dict[T, float] = {}
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, item: T) -> bool:
        return item in self._due

    def __iter__(self) -> Iterator[T]:
        """The things as they came; a copy, so that they may leave meanwhile."""
        return iter(tuple(self._due))

    def add(self, item: T) -> None:
        """Let the time of `item`, which is not here yet, begin."""
        self._due[item] = self._clock.seconds() + self._seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._look)

    def discard(self, item: T) -> None:
        """Forget `item`, if it is here; the timer stays, for others."""
        self._due.pop(item, None)

    def pop(self) -> T:
        """Take out the oldest.

        Raises:
            KeyError: there is none.
        """
        for item in self._due:
            del self._due[item]
            return item
        raise KeyError("the queue is empty")

    def clear(self) -> None:
        """Forget everything, the timer too."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        late = []
        for item, due in self._due.items():
            if due > now:
                break
            late.append(item)
        for item in late:
            if self._due.pop(item, None) is not None:
                self._expire(item)
        if self._due and self._timer is None:
            # Not below a moment: a clock that was set back must not make a busy loop of this.
            wait = next(iter(self._due.values())) - self._clock.seconds()
            self._timer = self._clock.callLater(max(wait, 0.01), self._look)
