"""The table that takes the place of one that cannot be opened: every lookup is an error, so that mail is deferred.

Flow: registry.py makes it of a TableError.
Sources: postconf(5) daemon_table_open_error_is_fatal.
"""

import os
import time
from typing import NoReturn

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import Emit, TableUnavailable
from twisted_mta.tables.constant import ConstantTable

Stamp = tuple[int, ...]
"""What tells a file from others, and from itself at other times; empty: there is none."""


def file_stamp(path: str) -> Stamp | None:
    """What tells a file from others, and from itself at other times.

    Returns:
        The stamp, empty if there is no such file; None if that cannot be seen.
    """
    try:
        status = os.stat(path)
    except PermissionError:
        return None
    except (OSError, ValueError):
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def file_age_seconds(path: str) -> float:
    """How long ago a file was changed; endless if there is none, or that cannot be seen."""
    try:
        return time.time() - os.stat(path).st_mtime
    except (OSError, ValueError):
        return float("inf")


@implementer(ILookupTable)
class UnavailableTable(ConstantTable):
    """A table that could not be opened.

    Counts as a table of patterns: it is asked for whole keys only.
    """

    by_pattern = True

    def __init__(self, name: str, reason: str, emit: Emit, path: str = "") -> None:
        """Take the place of a table.

        Args:
            name: ``type:name``.
            reason: why it cannot be opened.
            emit: takes events.
            path: the file that is concerned; empty if none is.
        """
        super().__init__(name)
        self._reason = reason
        self._emit = emit
        self._path = path
        self._stamp = file_stamp(path)

    def lookup(self, key: str) -> NoReturn:
        """Fail.

        Raises:
            TableError: always.
        """
        self._emit(TableUnavailable(self.name, self._reason))
        raise TableError(self.name, self._reason, key)

    def changed(self) -> bool:
        """Whether the file that could not be used is another one now, or is there at last."""
        stamp = file_stamp(self._path)
        # Privileges may have been dropped since: another try would be of no use, and there would be one for every request.
        return stamp is not None and stamp != self._stamp
