"""Blocking lookups in threads, of which the tests decide when they end."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.tables.opened import WaitingThreads
from twisted_mta.tables.results import LookupFailedError
from twisted_mta.tables.sessions import SessionLimits, Sessions


class Recorded:
    """A session that notes what is done to it."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def abort(self) -> None:
        """Take note."""
        self.story.append("abort")

    def rest(self) -> None:
        """Take note."""
        self.story.append("rest")


class SessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two sessions at most."""
        self.clock = Clock()
        self.threads = WaitingThreads()
        self.made: list[Recorded] = []
        self.sessions = Sessions("type:name", self.make, self.threads, self.clock, SessionLimits(2, 30, 60))

    def make(self) -> Recorded:
        """A session."""
        self.made.append(Recorded())
        return self.made[-1]

    def run_work(self, work: Callable[[Recorded], Any] = lambda session: "done") -> Deferred[Any]:
        """Ask for work."""
        found = self.sessions.run(work)
        assert isinstance(found, Deferred)
        return found

    def test_few_at_a_time(self) -> None:
        """Lookups beyond the limit wait, and use the sessions of those before."""
        found = [self.run_work() for _ in range(5)]
        self.assertEqual(len(self.threads.waiting), 2)
        for each in found:
            self.assertNoResult(each)
            self.threads.run()
            self.assertEqual(self.successResultOf(each), "done")
        self.assertEqual(len(self.made), 2)

    def test_errors(self) -> None:
        """What the work raises comes out; the session is used again."""

        def fail(session: Recorded) -> None:
            raise LookupFailedError("no")

        found = self.run_work(fail)
        self.threads.run()
        self.failureResultOf(found, LookupFailedError)
        self.run_work()
        self.assertEqual(len(self.made), 1)

    def test_too_slow(self) -> None:
        """A lookup that takes too long is broken off; its place is free only when its thread has ended."""
        found = [self.run_work() for _ in range(3)]
        self.clock.advance(30)
        for each in found:
            self.assertIn("30 seconds", self.failureResultOf(each, LookupFailedError).value.problem)
        self.assertEqual([session.story for session in self.made], [["abort"], ["abort"]])
        after = self.run_work()
        self.assertEqual(len(self.threads.waiting), 2)
        self.threads.run()
        self.assertEqual(len(self.made), 3)
        while self.threads.waiting:
            self.threads.run()
        self.assertEqual(self.successResultOf(after), "done")
        self.assertEqual([session.story for session in self.made[:2]], [["abort", "rest"]] * 2)

    def test_cancelled(self) -> None:
        """A lookup that nobody waits for any more is broken off, or never begun."""
        found = [self.run_work() for _ in range(3)]
        for each in found[1:]:
            each.cancel()
            each.addErrback(lambda _: None)
        self.assertEqual([session.story for session in self.made], [[], ["abort"]])
        while self.threads.waiting:
            self.threads.run()
        self.assertEqual(self.successResultOf(found[0]), "done")
        self.assertEqual(len(self.made), 2)

    def test_idle(self) -> None:
        """Connections are closed after some time without use."""
        self.run_work()
        self.threads.run()
        self.clock.advance(60)
        self.threads.run()
        self.assertEqual(self.made[0].story, ["rest"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """Idle sessions are closed, busy ones when their threads end; who waits gets an error."""
        self.run_work()
        self.threads.run()
        busy = [self.run_work(), self.run_work()]
        waiting = self.run_work()
        self.sessions.close()
        self.failureResultOf(waiting, LookupFailedError)
        while self.threads.waiting:
            self.threads.run()
        self.assertEqual([self.successResultOf(each) for each in busy], ["done", "done"])
        self.assertEqual([session.story for session in self.made], [["rest"], ["rest"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_threads(self) -> None:
        """In a command, work is done at once."""
        sessions = Sessions("type:name", self.make, None, None)
        self.assertEqual([sessions.run(lambda session: session) for _ in range(2)], [self.made[0]] * 2)
        sessions.close()
        self.assertEqual(self.made[0].story, ["rest"])
