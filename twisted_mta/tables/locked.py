"""What tables have in common whose file is locked for each lookup.

Flow: berkeley_db.py and lmdb.py build on it.
Sources: postmap(1); DATABASE_README(5).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_mta.interfaces import TableError
from twisted_mta.model.events import TableWarning
from twisted_mta.tables.locks import LockWait, SharedLock
from twisted_mta.tables.opening import TableRequest

T = TypeVar("T")

NULL = b"\0"


class TrailingNull:
    """Whether keys of a table end with a null character: both forms are tried until one of them has found something.

    postmap(1) makes tables with it or without, other programs often the other way.
    """

    __slots__ = ("_ending",)

    def __init__(self) -> None:
        self._ending: bytes | None = None

    def find(self, get: Callable[[bytes], bytes | None], key: bytes) -> str | None:
        """Look up a key, and cut the value at its first null character.

        Args:
            get: looks up exactly what it is given.
            key: the key alone.
        """
        ending = self._ending
        value = self._try_both(get, key) if ending is None else get(key + ending)
        # As to_text, without a further call: this runs for each lookup.
        return None if value is None else value.partition(NULL)[0].decode("utf-8", "surrogateescape")

    def _try_both(self, get: Callable[[bytes], bytes | None], key: bytes) -> bytes | None:
        for ending in (NULL, b""):
            value = get(key + ending)
            if value is not None:
                self._ending = ending
                return value
        return None


class LockedTable(ABC):
    """A table in a file that postmap(1) may write to at any time."""

    by_pattern = False

    def __init__(self, request: TableRequest) -> None:
        self.name = request.table
        self._emit = request.context.emit
        self._wait = (
            LockWait(request.context.reactor, lambda: self._lock.is_free())
            if request.context.reactor is not None
            else None
        )

    @property
    @abstractmethod
    def _lock(self) -> SharedLock:
        """The lock that keeps writers out, now."""

    @abstractmethod
    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up a key, at once unless there is a writer.

        Raises:
            TableError: the file cannot be read; the Deferred fails with the same.
        """

    def close(self) -> None:
        """Close the file; lookups that wait for a writer fail."""
        if self._wait is not None:
            self._wait.stop()

    def _later(self, key: str) -> str | Deferred[str | None] | None:
        """Look up a key once no writer has the lock."""
        if self._wait is None:
            try:
                self._lock.wait()
                self._lock.release()
            except OSError as error:
                raise self._problem(key, str(error.strerror)) from None
            return self.lookup(key)
        return self._wait.until_free().addCallbacks(partial(self._again, key), self._gave_up, errbackArgs=(key,))

    def _again(self, key: str, _: None) -> str | Deferred[str | None] | None:
        return self.lookup(key)

    def _gave_up(self, failure: Failure, key: str) -> None:
        failure.trap(OSError)
        raise self._problem(key, str(failure.value))

    def _problem(self, key: str, problem: str) -> TableError:
        """Tell what is wrong, and make the error of it."""
        self._emit(TableWarning(f"{self.name}: {problem}"))
        return TableError(self.name, problem, key)
