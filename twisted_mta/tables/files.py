"""Files that tables are made from: open for as long as the table, and watched.

Flow: the types that have a file open it with `open_file`, and ask it whether it has changed.
Sources: postconf(5); DATABASE_README(5); stat(2).
"""

import os
import time
import weakref

from twisted_mta.tables.opening import TableRequest

LARGEST_TEXT = 2**30
"""Octets of a text table: more must be a device, or a mistake."""

_CHUNK = 2**20

SOURCE_GRACE_SECONDS = 100
"""How long a source may be newer than what postmap(1) makes of it before that is told."""


class OpenFile:
    """A file of a table, open for reading.

    Attributes:
        path: its name.
        descriptor: lasts until `close`.
        modified_ns: when it had been changed as it was opened.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        status = os.fstat(descriptor)
        self.modified_ns = status.st_mtime_ns
        self._was_removed = not status.st_nlink
        self._inode = (status.st_dev, status.st_ino)

    def content_changed(self) -> bool:
        """Whether the file has been written to, or removed, since it was opened; one system call."""
        status = os.fstat(self.descriptor)
        return status.st_mtime_ns != self.modified_ns or (not status.st_nlink and not self._was_removed)

    def changed(self) -> bool:
        """Whether the file has been written to, removed or replaced since it was opened."""
        return self.replaced(or_written=True)

    def replaced(self, *, or_written: bool = False) -> bool:
        """Whether another file, or none, has the name now."""
        try:
            status = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            # Privileges may have been dropped since: the name cannot be seen any more, the descriptor can.
            status = os.fstat(self.descriptor)
            if not status.st_nlink:
                return True
        if (status.st_dev, status.st_ino) != self._inode:
            return True
        return or_written and status.st_mtime_ns != self.modified_ns

    def read(self, octets: int, position: int) -> bytes:
        """Read a part of the file; shorter at its end.

        Raises:
            OSError: it cannot be read.
        """
        return os.pread(self.descriptor, octets, position)

    def close(self) -> None:
        """Close the descriptor; may be called again."""
        self._close()


def open_file(path: str) -> OpenFile:
    """Open a file for reading, at once even if it is a pipe.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        return OpenFile(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except ValueError as error:  # a null character in the name
        raise FileNotFoundError(0, str(error), path) from None


def open_again(file: OpenFile) -> OpenFile:
    """Open whatever has the name of a file now; where that is not permitted any more, the same file as before.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        return open_file(file.path)
    except PermissionError:
        return OpenFile(file.path, os.dup(file.descriptor))


def open_database(request: TableRequest, suffix: str) -> OpenFile:
    """Open a file that postmap(1) made, and warn if what it was made from is newer.

    Raises:
        TableError: it cannot be opened.
    """
    path = request.path(suffix)
    try:
        file = open_file(path)
    except OSError as error:
        raise request.unusable(f"open database {path}: {error.strerror}", path) from None
    warn_if_outdated(request, file)
    return file


def warn_if_outdated(request: TableRequest, file: OpenFile) -> None:
    """Warn if the text that a file was made from is newer, and not just being edited."""
    try:
        source = os.stat(request.path())
    except (OSError, ValueError):
        return
    if source.st_mtime > os.fstat(file.descriptor).st_mtime and source.st_mtime < time.time() - SOURCE_GRACE_SECONDS:
        request.warn(f"database {file.path} is older than source file {request.path()}")


def read_all(file: OpenFile) -> bytes:
    """The whole of a text file.

    Raises:
        OSError: it cannot be read, or is larger than LARGEST_TEXT.
    """
    parts: list[bytes] = []
    total = 0
    while chunk := os.read(file.descriptor, _CHUNK):
        parts.append(chunk)
        total += len(chunk)
        if total > LARGEST_TEXT:
            raise OSError(0, f"more than {LARGEST_TEXT} octets")
    return b"".join(parts)


def read_text_table(request: TableRequest, open_problem: str = "open") -> tuple[OpenFile, bytes]:
    """Open and read the text file of a table.

    Args:
        request: names the file.
        open_problem: how the text begins that says why it cannot be opened.

    Raises:
        TableError: it cannot be opened or read.
    """
    path = request.path()
    try:
        file = open_file(path)
    except OSError as error:
        raise request.unusable(f"{open_problem} {path}: {error.strerror}", path) from None
    try:
        return file, read_all(file)
    except OSError as error:
        file.close()
        raise request.unusable(f"read {path}: {error.strerror}", path) from None
