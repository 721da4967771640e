"""Shared locks on table files, as postmap(1) respects them: taken for each lookup, and waited for without a thread.

Flow: berkeley_db.py locks with flock(2), lmdb.py with fcntl(2); both wait with `LockWait`.
Sources: postmap(1); flock(2); fcntl(2), "Open file description locks".

A writer holds its exclusive lock for as long as it writes, so waiting means to try again and again: a thread that waits in the
kernel could not be told to give up.
"""

import errno
import fcntl
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from fcntl import LOCK_UN, flock

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

LONGEST_WAIT_SECONDS = 100.0
"""How long a lookup waits for a writer; as long as other tables wait for a server."""

LONGEST_WAIT_AT_OPEN_SECONDS = 10.0
"""How long opening may keep the process waiting."""

_POLL_SECONDS = 0.05
TRY_SHARED = fcntl.LOCK_SH | fcntl.LOCK_NB
"""The operation of flock(2) that shares a lock with other readers, or fails with BlockingIOError."""


class LockTimeoutError(OSError):
    """A writer kept its lock too long."""

    def __init__(self) -> None:
        super().__init__(errno.EWOULDBLOCK, "locked by another process")


class SharedLock(ABC):
    """A lock on a descriptor that keeps writers out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @abstractmethod
    def acquire(self) -> bool:
        """Try to take the lock; False if a writer has it.

        Raises:
            OSError: there can be no lock.
        """

    @abstractmethod
    def release(self) -> None:
        """Give the lock back."""

    def is_free(self) -> bool:
        """Whether no writer has the lock.

        Raises:
            OSError: there can be no lock.
        """
        if not self.acquire():
            return False
        self.release()
        return True

    def wait(self) -> None:
        """Take the lock, and keep the process waiting for it.

        Raises:
            OSError: there can be no lock, or not within LONGEST_WAIT_AT_OPEN_SECONDS.
        """
        limit = time.monotonic() + LONGEST_WAIT_AT_OPEN_SECONDS
        while not self.acquire():
            if time.monotonic() > limit:
                raise LockTimeoutError
            time.sleep(_POLL_SECONDS)


class FlockLock(SharedLock):
    """A lock by flock(2)."""

    def acquire(self) -> bool:
        """Try to take the lock; False if a writer has it.

        Raises:
            OSError: there can be no lock.
        """
        try:
            flock(self._descriptor, TRY_SHARED)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back."""
        flock(self._descriptor, LOCK_UN)


class FcntlLock(SharedLock):
    """A lock by fcntl(2) that belongs to the open file, not to the process.

    The process's own kind would vanish whenever any descriptor of the same file is closed, which the library does, too.
    """

    # struct flock: type, from where, start, length, process; a length of 0 is the whole file.
    _FLOCK = struct.Struct("hhqqi4x")
    _SHARED = _FLOCK.pack(fcntl.F_RDLCK, 0, 0, 0, 0)
    _NONE = _FLOCK.pack(fcntl.F_UNLCK, 0, 0, 0, 0)

    def acquire(self) -> bool:
        """Try to take the lock; False if a writer has it.

        Raises:
            OSError: there can be no lock.
        """
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, self._SHARED)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self) -> None:
        """Give the lock back."""
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, self._NONE)


class LockWait:
    """Those who wait for a lock, with one timer for all."""

    def __init__(self, clock: IReactorTime, is_free: Callable[[], bool]) -> None:
        """Wait for a lock.

        Args:
            clock: tells when to try again.
            is_free: whether no writer has the lock; raises OSError if there can be no lock.
        """
        self._clock = clock
        self._is_free = is_free
        self._waiting: dict[Deferred[None], float] = {}
        self._timer: IDelayedCall | None = None

    def until_free(self) -> Deferred[None]:
        """Wait until no writer has the lock.

        Returns:
            Fires then; fails with OSError if that takes longer than LONGEST_WAIT_SECONDS, or there can be no lock.
        """
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiting[waiter] = self._clock.seconds() + LONGEST_WAIT_SECONDS
        if self._timer is None:
            self._timer = self._clock.callLater(_POLL_SECONDS, self._poll)
        return waiter

    def stop(self) -> None:
        """Fail all who wait."""
        self._fail(list(self._waiting), OSError(errno.EBADF, "table is closed"))

    def _poll(self) -> None:
        self._timer = None
        try:
            free = self._is_free()
        except OSError as error:
            self._fail(list(self._waiting), error)
            return
        if free:
            waiting, self._waiting = self._waiting, {}
            for waiter in waiting:
                waiter.callback(None)
            return
        now = self._clock.seconds()
        self._fail([waiter for waiter, limit in self._waiting.items() if limit <= now], LockTimeoutError())
        if self._waiting and self._timer is None:
            self._timer = self._clock.callLater(_POLL_SECONDS, self._poll)

    def _fail(self, waiters: list[Deferred[None]], error: OSError) -> None:
        for waiter in waiters:
            self._forget(waiter)
            waiter.errback(error)

    def _forget(self, waiter: Deferred[None]) -> None:
        """Let one wait no longer."""
        self._waiting.pop(waiter, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None
