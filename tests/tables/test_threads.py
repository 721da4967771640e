"""Tests of twisted_mta.tables.threads, with threads that wait for the test."""

from collections.abc import Callable
from threading import Event, Thread, current_thread, enumerate

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.private_reactor import PrivateReactor
from twisted_mta.tables.threads import MOST_THREADS, TableThreads


def running() -> list[Thread]:
    """The threads of tables that there are."""
    return [thread for thread in enumerate() if thread.name.startswith("PoolThread-tables")]


class TableThreadsTests(SynchronousTestCase):
    """Threads of a reactor of the test's own."""

    def setUp(self) -> None:
        """Hanging work ends with the test."""
        self.reactor = PrivateReactor()
        self.addCleanup(self.reactor.close)
        self.go_on = Event()
        self.hanging: list[Deferred[bool]] = []
        self.addCleanup(self.let_go)

    def let_go(self) -> None:
        """End what hangs."""
        self.go_on.set()
        self.reactor.until(lambda: all(each.called for each in self.hanging))
        # The reactor may have a result before the thread that brings it has let go of the reactor.
        for thread in running():
            thread.join()

    def threads(self, most: int = MOST_THREADS) -> TableThreads:
        """What is tested."""
        threads = TableThreads(self.reactor, most)
        self.addCleanup(threads.stop)
        return threads

    def hang(self, threads: TableThreads) -> None:
        """Begin work that waits for the test, as for a database that does not answer."""
        self.hanging.append(threads(lambda: self.go_on.wait(60)))

    def value(self, found: Deferred[str]) -> str:
        """What comes of work that does not hang."""
        self.reactor.until(lambda: found.called)
        return self.successResultOf(found)

    def test_none_without_work(self) -> None:
        """Nothing is started before there is something to do."""
        before = running()
        threads = self.threads()
        self.assertEqual(running(), before)
        self.assertTrue(self.value(threads(lambda: current_thread().name)).startswith("PoolThread-tables"))

    def test_hanging_databases(self) -> None:
        """Work of others does not wait for databases that hang, as long as these are not too many."""
        threads = self.threads()
        for _ in range(40):
            self.hang(threads)
        self.assertEqual(self.value(threads(lambda: "found")), "found")

    def test_bounded(self) -> None:
        """There are never more threads than permitted: other work waits."""
        threads = self.threads(2)
        self.hang(threads)
        self.hang(threads)
        before, waiting = running(), threads(lambda: "found")
        self.assertEqual(running(), before)
        self.assertNoResult(waiting)
        self.go_on.set()
        self.assertEqual(self.value(waiting), "found")

    def test_errors(self) -> None:
        """What work raises comes out."""
        work: Callable[[], str] = {}.__getitem__  # type: ignore[assignment]  # it cannot be called without a key
        failing = self.threads()(work)
        self.reactor.until(lambda: failing.called)
        self.failureResultOf(failing, TypeError)

    def test_stop(self) -> None:
        """The end of the reactor waits for nobody, and the end of the process neither; new work is not begun."""
        threads = self.threads()
        self.hang(threads)
        self.reactor.fireSystemEvent("shutdown")
        self.assertNoResult(threads(lambda: "found"))
        self.assertTrue(running() and all(thread.daemon for thread in running()))
