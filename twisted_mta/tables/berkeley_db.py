"""``hash:FILE`` and ``btree:FILE``: Berkeley DB files ``FILE.db`` that postmap(1) made.

Flow: registry.py opens them.
Sources: DATABASE_README(5), "hash" and "btree"; postmap(1); a running postmap(1).

postmap(1) writes into the file in place. An open database would then answer from a mixture of old and new pages, and not find
what is there. So each lookup sees whether the file was written to, under the lock that keeps writers out, and opens it anew then.
Where only root may open it, and root's rights have been given up since, a copy is opened: the descriptor can still be read.
"""

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from fcntl import LOCK_UN, flock
from os import fstat

from berkeleydb import db
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.files import OpenFile, open_again, open_database
from twisted_mta.tables.locked import LockedTable, TrailingNull
from twisted_mta.tables.locks import TRY_SHARED, FlockLock
from twisted_mta.tables.opening import TableRequest

_SUFFIX = ".db"
_REOPENINGS = range(5)
"""Times that one lookup opens the file anew: more than one means that it was replaced just then."""


class _ChangedError(Exception):
    """The file has been written to."""


class _Database:
    """One state of the file."""

    def __init__(self, file: OpenFile, kind: int) -> None:
        self.file = file
        self.lock = FlockLock(file.descriptor)
        self._descriptor = file.descriptor
        self._kind = kind
        self._find = TrailingNull().find
        self._modified_ns = file.modified_ns
        self._parts: list[db.DB | db.DBEnv] = []
        self._get: Callable[[bytes], bytes | None] | None = None
        self._close_copy: Callable[[], object] = _nothing

    def open(self) -> None:
        """Open the database; to be called with the lock held.

        Raises:
            DBError: it is no such database.
        """
        # Without an environment of its own, the library would read a DB_CONFIG in the current directory, and print on stderr.
        environment = db.DBEnv()
        database = db.DB(environment)
        self._parts = [environment, database]
        path = self.file.path if os.access(self.file.path, os.R_OK, effective_ids=True) else self._copy()
        try:
            environment.open(os.path.dirname(path), db.DB_CREATE | db.DB_PRIVATE | db.DB_INIT_MPOOL)
            database.open(path, dbtype=self._kind, flags=db.DB_RDONLY)
        except db.DBError:
            self._close_parts()
            raise
        self._get = database.get

    def _copy(self) -> str:
        """Copy the file into memory; gives a name that the copy has for this process."""
        copy = os.memfd_create("table", os.MFD_CLOEXEC)
        self._close_copy = weakref.finalize(self, os.close, copy)
        size = os.fstat(self._descriptor).st_size
        done = 0
        while done < size and (sent := os.sendfile(copy, self._descriptor, done, size - done)):
            done += sent
        return f"/proc/self/fd/{copy}"

    def find(self, key: bytes) -> str | None:
        """Look up a key.

        Raises:
            BlockingIOError: there is a writer.
            _ChangedError: there was a writer since the file was opened.
            OSError: there can be no lock.
            DBError: the file is damaged.
        """
        descriptor = self._descriptor
        flock(descriptor, TRY_SHARED)
        try:
            # As content_changed says, but in most cases without a further call: this runs for each lookup.
            status = fstat(descriptor)
            if status.st_mtime_ns != self._modified_ns or (not status.st_nlink and self.file.content_changed()):
                raise _ChangedError
            if self._get is None:
                self.open()
                assert self._get is not None
            return self._find(self._get, key)
        finally:
            flock(descriptor, LOCK_UN)

    def close(self) -> None:
        """Close all."""
        self._get = None
        self._close_parts()
        self._close_copy()
        self.file.close()

    def _close_parts(self) -> None:
        while self._parts:
            # After an error the library may refuse even this; it has let go of its memory and its descriptor all the same.
            with suppress(db.DBError):
                self._parts.pop().close()


@implementer(ILookupTable)
class BerkeleyDBTable(LockedTable):
    """A table in a Berkeley DB file."""

    def __init__(self, request: TableRequest, database: _Database, kind: int) -> None:
        super().__init__(request)
        self._database = database
        self._kind = kind

    @property
    def _lock(self) -> FlockLock:
        return self._database.lock

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up a key, at once unless there is a writer.

        Raises:
            TableError: the file cannot be read; the Deferred fails with the same.
        """
        wire = key.encode("utf-8", "surrogateescape")  # as to_wire, without a further call
        try:
            for _ in _REOPENINGS:
                try:
                    return self._database.find(wire)
                except BlockingIOError:
                    return self._later(key)
                except _ChangedError:
                    self._reopen()
        except OSError as error:
            raise self._problem(key, f"open database {self._database.file.path}: {error.strerror}") from None
        except db.DBError as error:
            raise self._problem(key, f"error reading {self._database.file.path}: {_reason(error)}") from None
        raise self._problem(key, f"{self._database.file.path} changes all the time")

    def _reopen(self) -> None:
        old = self._database
        self._database = _Database(open_again(old.file), self._kind)
        old.close()

    def changed(self) -> bool:
        """Whether the file has been written to, removed or replaced; not before whoever writes it has finished."""
        database = self._database
        try:
            return database.file.changed() and database.lock.is_free()
        except OSError:
            return True

    def close(self) -> None:
        """Close the file; lookups that wait for a writer fail."""
        super().close()
        self._database.close()


def open_hash(request: TableRequest) -> BerkeleyDBTable:
    """Open ``hash:FILE``.

    Raises:
        TableError: there is no FILE.db, or it is no hash.
    """
    return _open(request, db.DB_HASH)


def open_btree(request: TableRequest) -> BerkeleyDBTable:
    """Open ``btree:FILE``.

    Raises:
        TableError: there is no FILE.db, or it is no btree.
    """
    return _open(request, db.DB_BTREE)


def _open(request: TableRequest, kind: int) -> BerkeleyDBTable:
    file = open_database(request, _SUFFIX)
    database = _Database(file, kind)
    problem = f"open database {file.path}: "
    try:
        database.lock.wait()
        database.open()
        database.lock.release()
    except db.DBError as error:
        database.close()
        raise request.unusable(problem + _reason(error), file.path) from None
    except OSError as error:
        database.close()
        raise request.unusable(problem + str(error.strerror), file.path) from None
    return BerkeleyDBTable(request, database, kind)


def _nothing() -> None:
    """There is no copy."""


def _reason(error: db.DBError) -> str:
    """What the library says of an error, without its number and the advice behind it."""
    return str(error.args[-1]).partition(" -- ")[0] if error.args else type(error).__name__
