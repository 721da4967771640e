"""What tables have in common that ask a server for each key.

Flow: tcp.py, socketmap.py, memcache.py and proxy.py build on it.
Sources: DATABASE_README(5).
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twisted_mta.interfaces import TableError
from twisted_mta.model.events import TableWarning
from twisted_mta.tables.asking import within
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.reading import TooSlowError

T = TypeVar("T")


class NetworkTable:
    """A table that is asked over the network; a lookup never takes longer than its time limit.

    Args:
        request: what was to be opened.
        clock: for the time limit.
        seconds: for a whole lookup: connecting, waiting for a connection, all attempts.
    """

    by_pattern = True

    def __init__(self, request: TableRequest, clock: IReactorTime, seconds: float) -> None:
        self.name = request.table
        self._emit = request.context.emit
        self._clock = clock
        self._seconds = seconds

    def lookup(self, key: str) -> Deferred[str | None]:
        """Ask the server; fails with TableError if that does not work."""
        return Deferred.fromCoroutine(self.in_time(self._find(key), key))

    def changed(self) -> bool:
        """Never: the server always knows what is new."""
        return False

    def close(self) -> None:
        """Drop the connections."""
        raise NotImplementedError

    def warn(self, text: str) -> None:
        """Emit a warning."""
        self._emit(TableWarning(text))

    async def in_time(self, work: Coroutine[Any, Any, T], key: str) -> T:
        """Wait for what is done about a key, no longer than the time limit.

        Raises:
            TableError: it takes longer, which has been told.
        """
        try:
            return await within(self._seconds, self._clock, work)
        except TooSlowError:
            problem = f"no reply within {self._seconds:g} seconds"
            self.warn(self._too_slow(problem))
            raise TableError(self.name, problem, key) from None

    def _find(self, key: str) -> Coroutine[Any, Any, str | None]:
        """Look up a key, without time limit; raises TableError, and warns before."""
        raise NotImplementedError

    def _too_slow(self, problem: str) -> str:
        """What to warn about a lookup that takes too long."""
        return f"table {self.name} lookup error: {problem}"
