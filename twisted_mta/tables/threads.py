"""The threads in which tables wait for databases.

They are not the reactor's own, which are few and find host names: three databases that hang must not stop that. Nor does the end
of the process wait for them.

Flow: generations.py and cli/ have one TableThreads for all generations; sessions.py runs lookups in it.
Sources: twisted.python.threadpool.
"""

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

MOST_THREADS = 50
"""A table uses a few at a time; so many tables may hang before others have to wait."""


class _DaemonPool(ThreadPool):
    """Threads that end with the process, whatever they wait for."""

    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment]  # makes threads as a class does

    def stop(self) -> None:
        """Take no more work; threads end when theirs is done, which nobody waits for."""
        self.threads = []
        super().stop()


class TableThreads:
    """Runs blocking work in threads, which start with the first work and stop with the reactor; the InThread of tables.

    Args:
        reactor: gets the results.
        most: threads at a time.
    """

    def __init__(self, reactor: Any, most: int = MOST_THREADS) -> None:
        self._reactor = reactor
        self._pool = _DaemonPool(0, most, "tables")

    def __call__(self, work: Callable[[], T]) -> Deferred[T]:
        """Call `work` in a thread; fires with what it returns, or fails with what it raises."""
        if not self._pool.started and not self._pool.joined:
            self._pool.start()
            self._reactor.addSystemEventTrigger("during", "shutdown", self.stop)
        return deferToThreadPool(self._reactor, self._pool, work)

    def stop(self) -> None:
        """Start no more work; what runs is left alone. May be called again."""
        if not self._pool.joined:
            self._pool.stop()
