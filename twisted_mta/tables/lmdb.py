"""``lmdb:FILE``: LMDB files ``FILE.lmdb`` that postmap(1) made.

Flow: registry.py opens them.
Sources: DATABASE_README(5), "lmdb"; lmdb_table(5); postmap(1); a running postmap(1).

Updates are transactions, which an open file shows at once. postmap(1) turns LMDB's own locks off; fcntl(2) locks take their
place.
"""

import os
from typing import ClassVar

import lmdb
from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.model.text import to_wire
from twisted_mta.tables.files import OpenFile, open_database
from twisted_mta.tables.locked import LockedTable, TrailingNull
from twisted_mta.tables.locks import FcntlLock
from twisted_mta.tables.opening import TableRequest

_SUFFIX = ".lmdb"

_PAGE = os.sysconf("SC_PAGE_SIZE")
_FEWEST_PAGES = 2
_NO_LMDB = "MDB_INVALID: File is not an LMDB file"
_CUT_SHORT = "file was cut short"

_MOST_RESIZINGS = 5
"""Times that one lookup follows the growth of the file: more than one means that it grew just then."""


class _Environment:
    """An LMDB environment; there must be no more than one for each file in a process, so tables share it."""

    _open: ClassVar[dict[tuple[int, int], "_Environment"]] = {}

    def __init__(self, path: str, inode: tuple[int, int]) -> None:
        self._inode = inode
        self._users = 0
        self._lmdb = lmdb.open(path, subdir=False, readonly=True, lock=False, create=False)

    @property
    def octets(self) -> int:
        """How long the file must be at least."""
        return int((self._lmdb.info()["last_pgno"] + 1) * self._lmdb.stat()["psize"])

    @classmethod
    def of(cls, file: OpenFile) -> "_Environment":
        """The environment of a file, for one more user.

        Raises:
            lmdb.Error: it is no LMDB file.
        """
        status = os.fstat(file.descriptor)
        inode = (status.st_dev, status.st_ino)
        environment = cls._open.get(inode)
        if environment is None:
            if 0 < status.st_size < _FEWEST_PAGES * _PAGE:
                raise lmdb.InvalidError(_NO_LMDB)
            environment = cls._open[inode] = cls(file.path, inode)
        environment._users += 1
        if environment.octets > status.st_size:
            environment.close()
            raise lmdb.InvalidError(_CUT_SHORT)
        return environment

    def get(self, key: bytes) -> bytes | None:
        """Look up a key as it is.

        Raises:
            lmdb.Error: the file is damaged.
        """
        for _ in range(_MOST_RESIZINGS):
            try:
                with self._lmdb.begin() as transaction:
                    found: bytes | None = transaction.get(key)
                    return found
            except lmdb.MapResizedError:
                self._lmdb.set_mapsize(0)
            except lmdb.BadValsizeError:
                return None  # no key may be empty, or as long as this
        raise lmdb.MapResizedError("grows all the time")

    def close(self) -> None:
        """One user less."""
        self._users -= 1
        if not self._users:
            self._lmdb.close()
            del self._open[self._inode]


@implementer(ILookupTable)
class LmdbTable(LockedTable):
    """A table in an LMDB file."""

    def __init__(self, request: TableRequest, file: OpenFile, environment: _Environment) -> None:
        super().__init__(request)
        self._file = file
        self._file_lock = FcntlLock(file.descriptor)
        self._environment = environment
        self._keys = TrailingNull()
        self._octets = environment.octets

    @property
    def _lock(self) -> FcntlLock:
        return self._file_lock

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up a key, at once unless there is a writer.

        Raises:
            TableError: the file cannot be read; the Deferred fails with the same.
        """
        lock = self._file_lock
        try:
            if not lock.acquire():
                return self._later(key)
            try:
                # The file is mapped: to read where it ends no more would end the process. It never gets shorter by itself.
                octets = os.fstat(self._file.descriptor).st_size
                if octets < self._octets:
                    raise lmdb.InvalidError(_CUT_SHORT)
                self._octets = octets
                return self._keys.find(self._environment.get, to_wire(key))
            finally:
                lock.release()
        except (OSError, lmdb.Error) as error:
            raise self._problem(key, f"error reading {self._file.path}: {_reason(error)}") from None

    def changed(self) -> bool:
        """Whether the file has been removed or replaced; what is written to it is seen at once."""
        return self._file.replaced()

    def close(self) -> None:
        """Close the file; lookups that wait for a writer fail."""
        super().close()
        self._environment.close()
        self._file.close()


def open_lmdb(request: TableRequest) -> LmdbTable:
    """Open ``lmdb:FILE``.

    Raises:
        TableError: there is no FILE.lmdb, or it is no LMDB file.
    """
    file = open_database(request, _SUFFIX)
    lock = FcntlLock(file.descriptor)
    try:
        lock.wait()
        environment = _Environment.of(file)
        lock.release()
    except (OSError, lmdb.Error) as error:
        file.close()
        raise request.unusable(f"open database {file.path}: {_reason(error)}", file.path) from None
    return LmdbTable(request, file, environment)


def _reason(error: Exception) -> str:
    """What the library says of an error, without the file's name in front."""
    return str(error.strerror) if isinstance(error, OSError) else str(error).rpartition(f"{_SUFFIX}: ")[2]
