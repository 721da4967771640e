"""Holding the end of the process while a refresh is on its way; refreshing itself is tested with what does it."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.oauth.refreshing import LONGEST_HOLD_SECONDS, ShutdownHold


class EndingReactor(Clock):
    """Ends when it is told so, once those who hold it let go."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[int, Callable[[], Deferred[None]]] = {}

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], Deferred[None]]) -> int:
        """Somebody wants to be asked before the end."""
        assert (phase, event) == ("before", "shutdown")
        self._asked[len(self._asked) + 1] = call
        return len(self._asked)

    def removeSystemEventTrigger(self, number: int) -> None:
        """And does not any more."""
        del self._asked[number]

    def end(self) -> list[Deferred[None]]:
        """Ask them; returns what they want to wait for."""
        return [call() for call in self._asked.values()]


class HoldTests(SynchronousTestCase):
    """A refresh that is on its way when the process should end."""

    def setUp(self) -> None:
        """Begin a refresh."""
        self.reactor = EndingReactor()
        self.release = ShutdownHold(self.reactor).begin()

    def test_waits_for_the_end(self) -> None:
        """The process ends when the new tokens are kept."""
        (waiting,) = self.reactor.end()
        self.assertNoResult(waiting)
        self.release()
        self.successResultOf(waiting)

    def test_not_for_ever(self) -> None:
        """A token server that hangs does not keep the process alive."""
        (waiting,) = self.reactor.end()
        self.reactor.advance(LONGEST_HOLD_SECONDS)
        self.successResultOf(waiting)
        self.release()

    def test_nothing_left(self) -> None:
        """A refresh that is over holds nobody."""
        self.release()
        self.assertEqual(self.reactor.end(), [])
