"""What the tests of tables share: a set of tables whose events are kept, and tables that answer later.

Flow: a test case makes an OpenTables in a directory of its own, and looks at what lookups give and what was told.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.tables.opening import ADDRESSES, InThread, TableContext, TableFlags
from twisted_mta.tables.table_set import TableSet


class OpenTables:
    """Tables of one generation, and what was told of them.

    Attributes:
        directory: what relative names are relative to.
        events: what was emitted.
        tables: the set.
    """

    def __init__(
        self,
        directory: Path,
        *,
        reactor: IReactorTime | None = None,
        in_thread: InThread | None = None,
        parameters: Mapping[str, str] | None = None,
        smtputf8: bool = True,
        open_errors_are_fatal: bool = False,
    ) -> None:
        self.directory = directory
        self.events: list[Event] = []
        context = TableContext(
            expanded=dict(parameters or {}).get,
            config_directory=directory,
            queue_directory=directory,
            emit=self.events.append,
            smtputf8=smtputf8,
            open_errors_are_fatal=open_errors_are_fatal,
            reactor=reactor,
            in_thread=in_thread,
        )
        self.context = context
        self.tables = TableSet(context)

    @property
    def lines(self) -> list[str]:
        """The log, as ``severity: text``."""
        made = (line_of(event, LogStyle()) for event in self.events)
        return [f"{severity.value}: {text}" for severity, text in made]

    @property
    def changed(self) -> str:
        """Which table, or list, has changed, without its flags; empty if none has."""
        return self.tables.changed().partition("(")[0]

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file."""
        path = self.directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
        return path

    def find(self, spec: str, key: str, flags: TableFlags = ADDRESSES) -> str | None:
        """Look up a key in a table that answers at once."""
        found = self.tables.open(spec, flags).lookup(key)
        assert not isinstance(found, Deferred), "the table does not answer at once"
        assert found is None or isinstance(found, str)
        return found

    def problem(self, spec: str, key: str = "key", flags: TableFlags = ADDRESSES) -> str:
        """What is wrong with a table: the problem of the error that a lookup raises."""
        try:
            found = self.find(spec, key, flags)
        except TableError as error:
            return error.problem
        raise AssertionError(f"{spec} gave {found!r}")


class TablesCase(SynchronousTestCase):
    """A test with a directory and tables.

    Attributes:
        opened: the tables.
    """

    def setUp(self) -> None:
        """Make the directory."""
        directory = Path(mkdtemp(prefix="tables"))
        self.addCleanup(shutil.rmtree, directory)
        self.opened = OpenTables(directory)
        self.addCleanup(lambda: self.opened.tables.close())

    def needs(self, module: str) -> None:
        """Skip unless a library is installed."""
        try:
            import_module(module)
        except ImportError as error:
            raise SkipTest(f"needs {module} ({error})") from None


@implementer(ILookupTable)
class LaterTable:
    """A table that answers when the test says so.

    Attributes:
        waiting: lookups that have no answer yet, by key.
        asked: all keys, in order.
        closed: whether it was closed.
    """

    def __init__(self, name: str, *, by_pattern: bool = False) -> None:
        self.name = name
        self.by_pattern = by_pattern
        self.waiting: dict[str, Deferred[str | None]] = {}
        self.asked: list[str] = []
        self.has_changed = False
        self.closed = False

    def lookup(self, key: str) -> Deferred[str | None]:
        """Wait for `answer`."""
        self.asked.append(key)
        waiting = self.waiting[key] = Deferred()
        return waiting

    def answer(self, key: str, value: str | None) -> None:
        """Give a value."""
        self.waiting.pop(key).callback(value)

    def fail(self, key: str) -> None:
        """Fail a lookup."""
        self.waiting.pop(key).errback(TableError(self.name, "it failed", key))

    def changed(self) -> bool:
        """What the test says."""
        return self.has_changed

    def close(self) -> None:
        """Take note."""
        self.closed = True


@implementer(ILookupTable)
class NowTable:
    """A table that answers at once; the value ``ERROR`` is an error.

    Attributes:
        asked: all keys, in order.
    """

    def __init__(self, name: str, entries: Mapping[str, str], *, by_pattern: bool = False) -> None:
        self.name = name
        self.by_pattern = by_pattern
        self.asked: list[str] = []
        self._entries = entries

    def lookup(self, key: str) -> str | None:
        """The value."""
        self.asked.append(key)
        found = self._entries.get(key)
        if found == "ERROR":
            raise TableError(self.name, "it failed", key)
        return found

    def changed(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """There is nothing to give back."""


class as_nobody:  # noqa: N801 -- used like a function
    """Runs a block without root's privileges, where there are any."""

    def __enter__(self) -> None:
        if os.geteuid() == 0:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        if os.getuid() == 0:
            os.seteuid(0)


class WaitingThreads:
    """Threads that run when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Take work."""
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        return done

    def run(self) -> None:
        """Do the work that came first."""
        work, done = self.waiting.pop(0)
        try:
            result = work()
        except Exception:  # noqa: BLE001 -- as a thread pool does
            done.errback(Failure())
        else:
            done.callback(result)
