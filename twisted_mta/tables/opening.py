"""What a table type is given when one of its tables is opened: the seam between the registry and the types.

Flow: table_set.py holds a TableContext; registry.py makes a TableRequest of it and calls the Opener of the type.
Sources: postconf(5), DATABASE_README(5) for the forms of names; proxymap(8) for the numbers of the flags.

An opener opens at once all that only root may read, as it runs before privileges are dropped. It gives the table back, or raises
TableError (then a table that answers nothing but errors takes its place) or ConfigError (then the configuration is unusable).
A table emits what is wrong before it raises TableError from a lookup: whoever asked says only what follows from it.
"""

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Emit, Event, TableWarning

T = TypeVar("T")


class TableFlags(enum.IntFlag):
    """How a table is used; the values are those of requests to proxymap(8)."""

    LOCK = 64
    DUP_REPLACE = 128
    SYNC_UPDATE = 256
    FOLD_FIX = 16384
    UTF8_REQUEST = 524288


EXACT = TableFlags.LOCK
"""Keys as they are: header and body checks, EHLO keyword and PIX maps, delivery status filter."""

FOLDED = TableFlags.LOCK | TableFlags.FOLD_FIX
"""Keys in lower case, ASCII only: reply filters."""

ADDRESSES = FOLDED | TableFlags.UTF8_REQUEST
"""Keys without regard to case, in UTF-8 if smtputf8_enable: generic, password and TLS policy maps."""

LISTED = TableFlags.LOCK | TableFlags.UTF8_REQUEST
"""Keys as they are, in UTF-8 if smtputf8_enable: tables in lists of patterns, which fold what they look up themselves."""

WRITABLE = TableFlags.DUP_REPLACE | TableFlags.SYNC_UPDATE | TableFlags.UTF8_REQUEST
"""Keys as they are, in UTF-8 if smtputf8_enable; what is written takes the place of what was there, and is safe at once."""


class InThread(Protocol):
    """Runs blocking work in a thread."""

    def __call__(self, work: Callable[[], T]) -> Deferred[T]:
        """Call `work` in a thread; fires with what it returns, or fails with what it raises."""


@dataclass(frozen=True, slots=True)
class TableContext:
    """What all tables of a configuration generation have in common.

    Attributes:
        expanded: the expanded value of a parameter by its name in main.cf; None where it is not defined.
        config_directory: where main.cf is.
        queue_directory: what relative table names are relative to.
        emit: takes events; only to be called in the reactor's thread.
        smtputf8: smtputf8_enable.
        open_errors_are_fatal: daemon_table_open_error_is_fatal.
        reactor: for types that use the network; None where only local types are wanted.
        in_thread: for work that blocks; None: the caller may be blocked, too, as in a command.
        postfix_version: tells of the Postfix whose services are asked, or raises ConfigError; None: mail_version does.
    """

    expanded: Callable[[str], str | None]
    config_directory: Path
    queue_directory: Path
    emit: Emit
    smtputf8: bool = True
    open_errors_are_fatal: bool = False
    reactor: Any = None
    in_thread: InThread | None = None
    postfix_version: Callable[[], PostfixVersion] | None = None


class OpenMember(Protocol):
    """Opens, or shares, another table."""

    def __call__(self, spec: str, *, flags: TableFlags = ...) -> ILookupTable:
        """Open ``type:name``, with the flags of the table that asks if no others are given."""


class UnusableTableError(TableError):
    """A table cannot be opened.

    Attributes:
        path: the file that is concerned; empty if none is.
    """

    def __init__(self, table: str, problem: str, path: str = "") -> None:
        """Keep what is known."""
        super().__init__(table, problem)
        self.path = path


@dataclass(frozen=True, slots=True)
class TableRequest:
    """One table that is to be opened.

    Attributes:
        type: what stands before the first colon.
        name: what stands behind it; never empty.
        flags: how the table is used.
        context: the generation's.
        open_member: opens, or shares, another table; whoever made the request closes it.
    """

    type: str
    name: str
    flags: TableFlags
    context: TableContext
    open_member: OpenMember

    @property
    def table(self) -> str:
        """The table as it was configured: ``type:name``."""
        return f"{self.type}:{self.name}"

    @property
    def folds(self) -> bool:
        """Whether keys are compared without regard to case, by tables of fixed keys."""
        return TableFlags.FOLD_FIX in self.flags

    @property
    def utf8(self) -> bool:
        """Whether keys and values must be UTF-8."""
        return TableFlags.UTF8_REQUEST in self.flags and self.context.smtputf8

    def path(self, suffix: str = "") -> str:
        """The file that the name means, with a suffix such as ``.db``."""
        return os.path.join(self.context.queue_directory, self.name + suffix)

    def unusable(self, problem: str, path: str = "") -> UnusableTableError:
        """The error that an opener raises.

        Args:
            problem: the whole line of the log.
            path: the file that is concerned: when that changes, another try makes sense.
        """
        return UnusableTableError(self.table, problem, path)

    def warn(self, text: str) -> None:
        """Emit a warning about what the table is made from."""
        self.context.emit(TableWarning(text))

    def emit(self, event: Event) -> None:
        """Emit any event."""
        self.context.emit(event)


Opener = Callable[[TableRequest], ILookupTable]
"""Opens tables of one type; raises TableError or ConfigError."""
