"""One queue file, open and locked for as long as one request delivers from it.

Flow: postfix/requests.py opens it for a request; the delivery reads its content; postfix/reporter.py marks recipients in it.
Sources: qmgr(8); postconf(5) hash_queue_names, hash_queue_depth, enable_long_queue_ids; postsuper(1); flock(2).
"""

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from zope.interface import implementer

from twisted_mta.content.lines import Lines
from twisted_mta.interfaces import ContentError, CorruptContentError, IMessageContent
from twisted_mta.model.events import (
    BadContentRecord,
    Emit,
    QueueFileCorrupt,
    QueueFileUnusable,
    RecordDamaged,
    StrayLineEnds,
)
from twisted_mta.postfix.records import PIECE_OCTETS, DamagedRecordError, decode_content

_QUEUE_NAME = re.compile(r"[A-Za-z0-9]{1,100}")
_QUEUE_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_DIGITS = {digit: value for value, digit in enumerate("0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz")}
_LONG_ID_TIME_DIGITS = 10  # at least six for the seconds, four for the microseconds
_OPEN_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_NOT_IN_FILE = -1


class QueueFileError(Exception):
    """A queue file cannot be used now; the text says which one and why."""


class LockBusyError(QueueFileError):
    """Somebody holds the exclusive lock: the queue manager is reading the file, or a delivery goes on."""


@dataclass(frozen=True, slots=True)
class QueueLayout:
    """Where the files of a queue are.

    Attributes:
        directory: queue_directory.
        hashed: the names in hash_queue_names, in lower case.
        depth: hash_queue_depth.
    """

    directory: str
    hashed: frozenset[str] = frozenset({"deferred", "defer"})
    depth: int = 1

    def path(self, queue_name: str, queue_id: str) -> str:
        """The path of a queue file.

        Raises:
            QueueFileError: these cannot be the names of a queue and of a message.
        """
        if not _QUEUE_NAME.fullmatch(queue_name) or not _QUEUE_ID.fullmatch(queue_id):
            raise QueueFileError(f"invalid name of a queue file: {queue_name[:100]}/{queue_id[:255]}")
        if queue_name.lower() not in self.hashed:
            return f"{self.directory}/{queue_name}/{queue_id}"
        spread = _spreading_part(queue_id)[: self.depth].ljust(self.depth, "_")
        return "/".join((self.directory, queue_name, *spread, queue_id))


def _spreading_part(queue_id: str) -> str:
    """The characters that name the subdirectories: microseconds in hexadecimal digits, which a short id begins with."""
    end = queue_id.rfind("z")
    if end < _LONG_ID_TIME_DIGITS:
        return queue_id
    microseconds = 0
    for digit in queue_id[end - 4 : end]:
        if digit not in _DIGITS:
            return queue_id
        microseconds = microseconds * len(_DIGITS) + _DIGITS[digit]
    return f"{microseconds:05X}"


class QueueFile:
    """A queue file, open for reading and for marking recipients, with a shared lock that says it is being delivered.

    Attributes:
        name: ``active/QUEUEID``, as log lines have it.
    """

    __slots__ = ("_emit", "_fd", "_kept", "_layout", "_queue_id", "_queue_name", "_size", "_stray_told", "name")

    def __init__(self, fd: int, layout: QueueLayout, queue_name: str, queue_id: str, size: int, emit: Emit) -> None:
        self._fd = fd
        self._size = size
        self._layout = layout
        self._emit = emit
        self._queue_name = queue_name
        self._queue_id = queue_id
        self.name = f"{queue_name}/{queue_id}"
        self._stray_told = self._kept = False

    @classmethod
    def open(cls, layout: QueueLayout, queue_name: str, queue_id: str, emit: Emit) -> "QueueFile":
        """Open and lock a queue file.

        Raises:
            LockBusyError: trying again soon may help.
            QueueFileError: there is no such file, or it is not what it should be.
        """
        name = f"{queue_name}/{queue_id}"
        try:
            fd = os.open(layout.path(queue_name, queue_id), _OPEN_FLAGS)
        except OSError as error:
            raise QueueFileError(f"open {name}: {error.strerror}") from error
        try:
            size = _check_and_lock(fd, name)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, layout, queue_name, queue_id, size, emit)

    def close(self) -> None:
        """Close the file, which gives up the lock; further calls do nothing."""
        # A content iterator may outlive the request: it must not find the descriptor of some other file behind the number.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def content(self, offset: int) -> "QueueFileContent":
        """The message content that begins at `offset`."""
        return QueueFileContent(self, offset)

    def read_at(self, offset: int, octets: int) -> bytes:
        """Read; less than `octets` only at the end of the file.

        Raises:
            ContentError: reading failed, or the file is closed.
        """
        try:
            data = os.pread(self._fd, octets, offset)
            # Damage is final, so the end of the file must be certain: a short read alone does not prove it.
            while len(data) < octets and (more := os.pread(self._fd, octets - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise ContentError(f"read {self.name}: {error.strerror}") from error
        return data

    def mark_done(self, offset: int) -> None:
        """Mark a recipient so that it is not delivered to again.

        Args:
            offset: of the recipient's record; -1: there is none in this file.

        Raises:
            QueueFileError: there is no recipient record, or writing failed.
        """
        if offset == _NOT_IN_FILE:
            return
        if offset <= 0:
            raise QueueFileError(f"{self.name}: impossible offset of a recipient: {offset}")
        try:
            found = os.pread(self._fd, 1, offset)
            if found == b"R":
                os.pwrite(self._fd, b"D", offset)
            elif found != b"D":
                raise QueueFileError(f"{self.name}: no recipient record at offset {offset}")
        except OSError as error:
            raise QueueFileError(f"mark recipient in {self.name}: {error.strerror}") from error

    def stray_line_ends(self) -> None:
        """Say, once, that the content has line ends inside of its lines."""
        if not self._stray_told:
            self._stray_told = True
            self._emit(StrayLineEnds(self._queue_id))

    def damaged(self, damage: DamagedRecordError) -> ContentError:
        """Say what is wrong with the content, and keep the file: what is to be raised."""
        if self._is_cut_off():
            return ContentError(f"{self.name} was cut off while it was read")
        if damage.problem:
            self._emit(RecordDamaged(self.name, damage.problem))
        self._emit(BadContentRecord(self._queue_id, damage.record_type))
        if not self._kept:
            self._kept = True
            self._link_into_corrupt()
            self._emit(QueueFileCorrupt(self.name))
        return CorruptContentError(f"{self.name}: {damage}")

    def _is_cut_off(self) -> bool:
        """Whether the file has become shorter since it was opened: then damage in it says nothing about the message."""
        try:
            return os.fstat(self._fd).st_size < self._size
        except OSError:
            return True

    def _link_into_corrupt(self) -> None:
        # Another name, instead of the mode that Postfix sets: with that mode bounce(8) could not tell the sender.
        source = self._layout.path(self._queue_name, self._queue_id)
        target = self._layout.path("corrupt", self._queue_id)
        try:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # kept by an earlier attempt
                os.link(source, target)
        except OSError as error:
            self._emit(QueueFileUnusable(self._queue_id, f"cannot keep the corrupt file as {target}: {error.strerror}"))


def _check_and_lock(fd: int, name: str) -> int:
    """Lock a queue file; its size in octets."""
    try:
        status = os.fstat(fd)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            raise QueueFileError(f"{name} is not a regular file")
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            raise QueueFileError(f"{name} has mode {stat.S_IMODE(mode):04o} instead of 0700: not complete, or corrupt")
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockBusyError(f"{name} is locked by another process") from error
    except OSError as error:
        raise QueueFileError(f"lock {name}: {error.strerror}") from error
    return status.st_size


@implementer(IMessageContent)
class QueueFileContent:
    """The message content of an open queue file."""

    __slots__ = ("_file", "_offset", "_piece_octets")

    def __init__(self, file: QueueFile, offset: int, piece_octets: int = PIECE_OCTETS) -> None:
        self._file = file
        self._offset = offset
        self._piece_octets = piece_octets

    def chunks(self) -> Lines:
        """Read the content from its start (see IMessageContent)."""
        return Lines(self._decode)

    def _decode(self, line_end: bytes) -> Iterator[bytes]:
        file = self._file
        try:
            yield from decode_content(file.read_at, self._offset, file.stray_line_ends, self._piece_octets, line_end)
        except DamagedRecordError as damage:
            raise file.damaged(damage) from damage
