"""``cdb:FILE``: constant databases ``FILE.cdb`` that postmap(1) made.

Flow: registry.py opens them.
Sources: DATABASE_README(5), "cdb"; cdb(5); a running postmap(1).

The file begins with 256 pairs (position, slots) of hash tables. Each slot is a pair (hash, position of a record). A record is
the lengths of key and value, the key, and the value. All numbers have 32 bits, the lowest octet first. postmap(1) replaces the
file by a new one, so an open one stays as it was. It is read, not mapped: nothing breaks if somebody cuts it all the same.
What is asked again and again is kept in memory, up to a limit: a small file as a whole, of a large one the slots.
"""

import os
import struct
import sys
from array import array
from collections.abc import Callable
from functools import partial
from typing import Protocol

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import TableWarning
from twisted_mta.tables.files import OpenFile, open_database
from twisted_mta.tables.locked import TrailingNull
from twisted_mta.tables.opening import TableRequest

_SUFFIX = ".cdb"
_TABLES = 256
_PAIR = struct.Struct("<II")
_HEADER = struct.Struct(f"<{2 * _TABLES}I")
_SLOT = "Q"
"""The type of arrays of slots: of the 64 bits of each, the upper half is the position, which is 0 in an empty one."""
_LOWER_HALF = 0xFFFFFFFF
_RUN = 8
"""Slots that are read at a time where they are not kept: chains are short, as half of the slots are empty."""
_MOST_SLOTS_IN_MEMORY = 2**23
"""Slots that are kept, in 64 MiB; a table has two for each of its entries."""
_USUAL_VALUE = 128
"""Octets of a value that are read along with the key."""
_LARGEST_IN_MEMORY = 2**24
"""Octets of a file that is read into memory as a whole."""
_LARGEST_VALUE = 2**24
"""Octets of a value: more cannot be meant."""
_AT_A_TIME = 64
"""Octets of a key that are hashed before the hash is cut to its size."""


def cdb_hash(key: bytes) -> int:
    """The hash of a key."""
    value = 5381
    # What grows beyond 32 bits does not matter to those below: it is cut off now and then, which is faster than each time.
    if len(key) <= _AT_A_TIME:
        for octet in key:
            value = value * 33 ^ octet
        return value & 0xFFFFFFFF
    for start in range(0, len(key), _AT_A_TIME):
        for octet in key[start : start + _AT_A_TIME]:
            value = value * 33 ^ octet
        value &= 0xFFFFFFFF
    return value


class _Slots(Protocol):
    """The slots of a hash table."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int, /) -> int: ...


class _DamagedError(Exception):
    """The file is not what it should be."""


@implementer(ILookupTable)
class CdbTable:
    """A table in a constant database."""

    by_pattern = False

    def __init__(self, request: TableRequest, file: OpenFile) -> None:
        """Read the positions of the hash tables.

        Raises:
            OSError: the file cannot be read.
            _DamagedError: it is too short.
        """
        self.name = request.table
        self._emit = request.context.emit
        self._file = file
        self._find = TrailingNull().find
        self._some = _reader(file)
        numbers = _HEADER.unpack(self._read(_HEADER.size, 0))
        self._tables = list(zip(numbers[::2], numbers[1::2], strict=True))
        self._slots: list[_Slots | None] = [None] * _TABLES
        self._keeps_slots = sum(numbers[1::2]) <= _MOST_SLOTS_IN_MEMORY
        self.changed = file.changed
        self.close = file.close
        size = os.fstat(file.descriptor).st_size
        if any(position + slots * _PAIR.size > size for position, slots in self._tables):
            raise _DamagedError

    def lookup(self, key: str) -> str | None:
        """Look up a key.

        Raises:
            TableError: the file cannot be read, or is damaged.
        """
        try:
            return self._find(self._get, key.encode("utf-8", "surrogateescape"))  # as to_wire, without a further call
        except OSError as error:
            problem = f"error reading {self._file.path}: {error.strerror}"
        except _DamagedError:
            problem = f"error reading {self._file.path}: file is damaged"
        self._emit(TableWarning(f"{self.name}: {problem}"))
        raise TableError(self.name, problem, key)

    def _get(self, key: bytes) -> bytes | None:
        hashed = cdb_hash(key)
        number = hashed & 0xFF
        slots = self._slots[number]
        if slots is None:
            slots = self._slots[number] = self._slots_of(number)
        if not slots:
            return None
        first = at = (hashed >> 8) % len(slots)
        while (slot := slots[at]) > _LOWER_HALF:
            if slot & _LOWER_HALF == hashed:
                value = self._value(slot >> 32, key)
                if value is not None:
                    return value
            at += 1
            if at == len(slots):
                at = 0
            if at == first:
                break
        return None

    def _slots_of(self, number: int) -> _Slots:
        """The slots of a hash table."""
        position, slots = self._tables[number]
        if self._keeps_slots:
            return _slots(self._read(slots * _PAIR.size, position))
        return _SlotsInFile(self._read, position, slots)

    def _value(self, position: int, key: bytes) -> bytes | None:
        """The value of a record if it has this key."""
        head = _PAIR.size + len(key)
        record = self._some(head + _USUAL_VALUE, position)
        if len(record) < _PAIR.size:
            raise _DamagedError
        key_length, value_length = _PAIR.unpack_from(record)
        if key_length != len(key) or record[_PAIR.size : head] != key:
            return None
        if head + value_length <= len(record):
            return record[head : head + value_length]
        if value_length > _LARGEST_VALUE:
            raise _DamagedError
        return self._read(value_length, position + head)

    def _read(self, octets: int, position: int) -> bytes:
        data = self._some(octets, position)
        if len(data) != octets:
            raise _DamagedError
        return data


class _SlotsInFile:
    """The slots of a hash table that are read from the file when somebody asks for one, some at a time."""

    def __init__(self, read: Callable[[int, int], bytes], position: int, length: int) -> None:
        self._read = read
        self._position = position
        self._length = length
        self._run: _Slots = array(_SLOT)
        self._begins = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, at: int, /) -> int:
        """One slot, and a few behind it, which are likely to be asked for next."""
        if not 0 <= at - self._begins < len(self._run):
            octets = min(_RUN, self._length - at) * _PAIR.size
            self._run = _slots(self._read(octets, self._position + at * _PAIR.size))
            self._begins = at
        return self._run[at - self._begins]


def _slots(data: bytes) -> _Slots:
    """The slots that some octets of the file stand for."""
    slots = array(_SLOT, data)
    if sys.byteorder == "big":
        slots.byteswap()
    return slots


def _reader(file: OpenFile) -> Callable[[int, int], bytes]:
    """What reads so many octets from a position, fewer at the end of the file."""
    size = os.fstat(file.descriptor).st_size
    if size > _LARGEST_IN_MEMORY:
        return partial(os.pread, file.descriptor)
    data = os.pread(file.descriptor, size, 0)
    return lambda octets, position: data[position : position + octets]


def open_cdb(request: TableRequest) -> CdbTable:
    """Open ``cdb:FILE``.

    Raises:
        TableError: there is no FILE.cdb, or it is no constant database.
    """
    file = open_database(request, _SUFFIX)
    try:
        return CdbTable(request, file)
    except OSError as error:
        problem = f"open database {file.path}: {error.strerror}"
    except _DamagedError:
        problem = f"open database {file.path}: not a constant database"
    file.close()
    raise request.unusable(problem, file.path)
