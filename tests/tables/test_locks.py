"""Tests of twisted_mta.tables.locks and twisted_mta.tables.locked, with writers in other processes."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Timer

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.tables.databases import write_database
from tests.tables.opened import OpenTables, TablesCase
from twisted_mta.interfaces import TableError
from twisted_mta.tables.files import open_file
from twisted_mta.tables.locks import LONGEST_WAIT_SECONDS, FcntlLock, FlockLock, LockWait, SharedLock

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
(fcntl.flock if sys.argv[2] == "flock" else fcntl.lockf)(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read(1)
"""


class Writer:
    """A process that holds the exclusive lock of a file."""

    def __init__(self, path: Path, how: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"

    def finish(self) -> None:
        """Give the lock back; may be called again."""
        if self._process.poll() is None:
            self._process.communicate(b"x")


class LockCase(TablesCase):
    """A test with writers."""

    def writer(self, path: Path, how: str) -> Writer:
        """Hold a lock until the end of the test at most."""
        made = Writer(path, how)
        self.addCleanup(made.finish)
        return made


class SharedLockTests(LockCase):
    """Locks of readers."""

    def check(self, make: Callable[[int], SharedLock], how: str, other: str) -> None:
        """A writer keeps readers out until it ends, readers do not keep out each other, other kinds of locks do not matter."""
        path = self.opened.write("file", "x")
        files = [open_file(str(path)) for _ in range(2)]
        first, second = (make(file.descriptor) for file in files)
        self.assertTrue(first.acquire())
        self.assertTrue(second.is_free())
        self.assertTrue(second.acquire())
        first.release()
        second.release()
        writer = self.writer(path, how)
        self.assertFalse(first.acquire())
        self.assertFalse(first.is_free())
        writer.finish()
        self.assertTrue(first.is_free())
        writer = self.writer(path, other)
        self.assertTrue(first.is_free())
        writer.finish()
        first.wait()
        with path.open("r+b") as outside:
            lock = fcntl.flock if how == "flock" else self.other_process_lock
            self.assertRaises(BlockingIOError, lock, outside.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            files[1].close()  # does not give back the lock of another descriptor
            self.assertRaises(BlockingIOError, lock, outside.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        first.release()
        files[0].close()
        self.assertRaises(OSError, first.acquire)

    def other_process_lock(self, descriptor: int, operation: int) -> None:
        """Try a lock by fcntl(2) in another process."""
        program = "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), int(sys.argv[2]))"
        command = [sys.executable, "-c", program, str(descriptor), str(operation)]
        ran = subprocess.run(command, pass_fds=[descriptor], capture_output=True, check=False)
        if b"BlockingIOError" in ran.stderr:
            raise BlockingIOError
        self.assertEqual((ran.returncode, ran.stderr), (0, b""))

    def test_flock(self) -> None:
        """Locks by flock(2)."""
        self.check(FlockLock, "flock", "fcntl")

    def test_fcntl(self) -> None:
        """Locks by fcntl(2)."""
        self.check(FcntlLock, "fcntl", "flock")


class LockWaitTests(TablesCase):
    """Waiting without a thread."""

    def setUp(self) -> None:
        """A lock that is not free."""
        super().setUp()
        self.clock = Clock()
        self.free: bool | OSError = False
        self.wait = LockWait(self.clock, self.is_free)

    def is_free(self) -> bool:
        """What the test says."""
        if isinstance(self.free, OSError):
            raise self.free
        return self.free

    def test_all_at_once(self) -> None:
        """All who wait go on when the lock is free; then no timer is left."""
        waiters = [self.wait.until_free() for _ in range(3)]
        self.clock.pump([0.05] * 10)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.free = True
        self.clock.advance(0.05)
        for waiter in waiters:
            self.assertEqual(self.successResultOf(waiter), None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limit(self) -> None:
        """Who has waited too long fails; who came later waits on."""
        first = self.wait.until_free()
        self.clock.advance(LONGEST_WAIT_SECONDS / 2)
        second = self.wait.until_free()
        self.clock.advance(LONGEST_WAIT_SECONDS / 2)
        self.assertEqual(str(self.failureResultOf(first, OSError).value), "[Errno 11] locked by another process")
        self.assertNoResult(second)
        self.clock.advance(LONGEST_WAIT_SECONDS / 2)
        self.failureResultOf(second, OSError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_lock(self) -> None:
        """An error of the lock ends the wait."""
        waiter = self.wait.until_free()
        self.free = OSError(5, "broken")
        self.clock.advance(0.05)
        self.failureResultOf(waiter, OSError)

    def test_cancel(self) -> None:
        """Who is cancelled waits no longer; the last one stops the timer."""
        first, second = self.wait.until_free(), self.wait.until_free()
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        second.cancel()
        self.failureResultOf(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """Who finds the lock taken again waits again."""
        found: list[Deferred[None]] = []
        self.wait.until_free().addCallback(lambda _: found.append(self.wait.until_free()))
        self.free = True
        self.clock.advance(0.05)
        self.free = False
        self.assertNoResult(found[0])
        self.clock.advance(0.05)
        self.free = True
        self.clock.advance(0.05)
        self.successResultOf(found[0])

    def test_stop(self) -> None:
        """A table that is closed fails those who wait."""
        waiter = self.wait.until_free()
        self.wait.stop()
        self.failureResultOf(waiter, OSError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LockedTableTests(LockCase):
    """Tables while somebody writes them."""

    def check(self, kind: str, how: str, suffix: str) -> None:
        """A lookup waits for the writer, others as well; then all have their answers."""
        write_database(kind, self.opened.directory / "table", [("a", "1"), ("b", "2")])
        clock = Clock()
        opened = OpenTables(self.opened.directory, reactor=clock)
        spec = f"{kind}:table"
        self.assertEqual(opened.find(spec, "a"), "1")
        path = opened.directory / f"table{suffix}"
        writer = self.writer(path, how)
        table = opened.tables.open(spec)
        found = [table.lookup(key) for key in ("a", "B", "none")]
        clock.advance(1)
        for each in found:
            assert isinstance(each, Deferred)
            self.assertNoResult(each)
        self.assertEqual(opened.changed, "")
        writer.finish()
        clock.advance(1)
        self.assertEqual([self.successResultOf(each) for each in found if isinstance(each, Deferred)], ["1", "2", None])
        writer = self.writer(path, how)
        late, cut = table.lookup("a"), table.lookup("a")
        assert isinstance(late, Deferred)
        assert isinstance(cut, Deferred)
        clock.advance(LONGEST_WAIT_SECONDS)
        error = self.failureResultOf(late, TableError).value
        self.assertEqual((error.table, error.key), (spec, "a"))
        self.assertIn("locked by another process", opened.lines[-1])
        self.failureResultOf(cut, TableError)
        waiting = table.lookup("a")
        assert isinstance(waiting, Deferred)
        opened.tables.close()
        self.failureResultOf(waiting, TableError)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_hash(self) -> None:
        """Type hash waits for flock(2)."""
        self.needs("berkeleydb")
        self.check("hash", "flock", ".db")

    def test_lmdb(self) -> None:
        """Type lmdb waits for fcntl(2)."""
        self.needs("lmdb")
        self.check("lmdb", "fcntl", ".lmdb")

    def test_written_meanwhile(self) -> None:
        """What was written while a lookup waited is what it finds."""
        self.needs("berkeleydb")
        directory = self.opened.directory
        write_database("hash", directory / "table", [("a", "1")])
        write_database("hash", directory / "other", [("a", "new")])
        clock = Clock()
        opened = OpenTables(directory, reactor=clock)
        self.assertEqual(opened.find("hash:table", "a"), "1")
        writer = self.writer(directory / "table.db", "flock")
        found = opened.tables.open("hash:table").lookup("a")
        (directory / "table.db").write_bytes((directory / "other.db").read_bytes())
        os.utime(directory / "table.db", (1, 1))
        self.assertEqual(opened.changed, "")  # not while it is being written
        writer.finish()
        self.assertEqual(opened.changed, "hash:table")
        clock.advance(1)
        assert isinstance(found, Deferred)
        self.assertEqual(self.successResultOf(found), "new")
        opened.tables.close()


class BlockingTests(LockCase):
    """Without a reactor, as in a command, the process itself waits."""

    def check(self, kind: str, how: str, suffix: str) -> None:
        """Opening a table waits for the writer, and so does a lookup."""
        write_database(kind, self.opened.directory / "table", [("a", "1")])
        path = self.opened.directory / f"table{suffix}"
        for _ in ("to open", "to look up"):
            writer = self.writer(path, how)
            timer = Timer(0.1, writer.finish)
            timer.start()
            self.assertEqual(self.opened.find(f"{kind}:table", "a"), "1")
            timer.join()

    def test_hash(self) -> None:
        """Type hash."""
        self.needs("berkeleydb")
        self.check("hash", "flock", ".db")

    def test_lmdb(self) -> None:
        """Type lmdb."""
        self.needs("lmdb")
        self.check("lmdb", "fcntl", ".lmdb")
