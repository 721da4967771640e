"""Run the blocking lookups of one table in threads: a few at a time, each with a time limit.

A session is what a thread uses for a lookup: connections to servers, or a file. It is lent to one thread at a time. A lookup that
takes too long is given up, its session is broken off so that the thread ends, and never used again; as long as the thread has not
ended it counts, so that a server that hangs cannot use up all threads.
Flow: database.py makes Sessions for a table; sqlite.py, mysql.py, pgsql.py, ldap.py and mongodb.py say what a session is.
Sources: mysql_table(5) idle_interval; twisted.internet.threads.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from twisted_mta.tables.opening import InThread
from twisted_mta.tables.results import LookupFailedError

T = TypeVar("T")


class Session(Protocol):
    """What a thread uses for a lookup."""

    def abort(self) -> None:
        """Break off what the session does now; called in another thread, must not block or raise."""

    def rest(self) -> None:
        """Close connections, which may be made again; may block, must not raise."""


S = TypeVar("S", bound=Session)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What the lookups of a table may take.

    Attributes:
        sessions: at the same time, at most.
        seconds: for a lookup, the wait for a session included.
        idle_seconds: a session keeps its connections so long without use.
    """

    sessions: int = 4
    seconds: float = 100.0
    idle_seconds: float = 60.0


DEFAULT_LIMITS = SessionLimits()


@dataclass(slots=True, eq=False)
class _Job(Generic[S]):
    """A lookup that waits, or runs."""

    work: Callable[[S], Any]
    result: "Deferred[Any]" = field(default_factory=Deferred)
    session: S | None = None
    over: bool = False


class Sessions(Generic[S]):
    """The sessions of one table.

    Args:
        table: its name, for the log.
        make: makes a session; must not block.
        in_thread: runs work in a thread; None: the caller may be blocked.
        clock: for time limits; None only without threads.
        limits: see there.
    """

    def __init__(
        self,
        table: str,
        make: Callable[[], S],
        in_thread: InThread | None,
        clock: IReactorTime | None,
        limits: SessionLimits = DEFAULT_LIMITS,
    ) -> None:
        self._table = table
        self._make = make
        self._in_thread = in_thread
        self._clock = clock
        self._limits = limits
        self._idle: dict[S, IDelayedCall | None] = {}
        self._waiting: deque[_Job[S]] = deque()
        self._running: set[_Job[S]] = set()
        self._closed = False

    def run(self, work: Callable[[S], T]) -> "Deferred[T] | T":
        """Call `work` with a session.

        Returns:
            What it returns; a Deferred of it where there are threads. To cancel that is to give up.

        Raises:
            LookupFailedError: it takes too long; anything that `work` raises. The Deferred fails with the same.
        """
        if self._in_thread is None or self._clock is None:
            session = self._idle.popitem()[0] if self._idle else self._make()
            try:
                return work(session)
            finally:
                self._idle[session] = None
        job: _Job[S] = _Job(work)
        job.result = Deferred(lambda _: self._give_up(job))
        expiry = self._clock.callLater(self._limits.seconds, self._expire, job)
        self._waiting.append(job)
        self._start()
        return job.result.addBoth(_stop, expiry)

    def close(self) -> None:
        """Close all sessions: idle ones at once, others when their threads end; who waits gets an error."""
        self._closed = True
        for job in list(self._waiting):
            self._finish(job, Failure(LookupFailedError("table closed")))
        self._waiting.clear()
        for session in list(self._idle):
            self._rest(session)
        self._idle.clear()

    def _start(self) -> None:
        assert self._in_thread is not None
        while self._waiting and len(self._running) < self._limits.sessions:
            job = self._waiting.popleft()
            if job.over:
                continue
            if self._idle:
                job.session, end = self._idle.popitem()
                if end is not None and end.active():
                    end.cancel()
            else:
                job.session = self._make()
            self._running.add(job)
            self._in_thread(partial(job.work, job.session)).addBoth(self._ended, job)

    def _ended(self, outcome: Any, job: _Job[S]) -> None:
        self._running.discard(job)
        session = job.session
        assert session is not None and self._clock is not None
        if job.over or self._closed:
            self._rest(session)
        else:
            self._idle[session] = self._clock.callLater(self._limits.idle_seconds, self._idle_long_enough, session)
        self._finish(job, outcome)
        self._start()

    def _expire(self, job: _Job[S]) -> None:
        problem = f"no reply within {self._limits.seconds:g} seconds"
        self._give_up(job)
        self._finish(job, Failure(LookupFailedError(problem, f"{self._table}: {problem}")))

    def _give_up(self, job: _Job[S]) -> None:
        job.over = True
        if job in self._running and job.session is not None:
            job.session.abort()
        elif job in self._waiting:
            self._waiting.remove(job)

    def _finish(self, job: _Job[S], outcome: Any) -> None:
        job.over = True
        if job.result.called:
            return
        if isinstance(outcome, Failure):
            job.result.errback(outcome)
        else:
            job.result.callback(outcome)

    def _idle_long_enough(self, session: S) -> None:
        self._idle.pop(session)
        self._rest(session)

    def _rest(self, session: S) -> None:
        end = self._idle.get(session)
        if end is not None and end.active():
            end.cancel()
        if self._in_thread is None:
            session.rest()
        else:
            self._in_thread(session.rest).addErrback(lambda _: None)


def _stop(outcome: T, expiry: IDelayedCall) -> T:
    if expiry.active():
        expiry.cancel()
    return outcome
