"""``memcache:FILE``: a memcached server, and a table behind it.

Flow: registry.py opens it.
Sources: memcache_table(5); the text protocol of memcached (protocol.txt); a running postmap(1).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.asking import Server, within
from twisted_mta.tables.database import DomainFilter, open_with_parameters
from twisted_mta.tables.endpoints import endpoint_of, reactor_of
from twisted_mta.tables.network import NetworkTable
from twisted_mta.tables.opening import TableRequest, UnusableTableError
from twisted_mta.tables.reading import AskingError, ConnectFailedError, LineReader, MalformedReplyError, ReplyReader
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.templates import KeyParts, Template, parse_template

R = TypeVar("R")

BACKUP_SECONDS = 100.0
"""For the table behind the server, in addition to what the server may take."""

_VALUE = re.compile(rb"VALUE +[^ ]+ +[0-9]+ +([0-9]{1,10})(?: .*)?")
_SHOWN = 30
"""Octets of a strange reply that are told."""

_BLANK = re.compile(r"[ \t\n\v\f\r]")


class GetReader:
    """Reads the reply to ``get``: a value, or none.

    Args:
        longest_line: octets, at most.
        longest_value: octets, at most.
    """

    def __init__(self, longest_line: int, longest_value: int) -> None:
        self._longest_line = longest_line
        self._longest_value = longest_value
        self._received = bytearray()
        self._value_at = -1
        self._value_ends = -1

    def feed(self, data: bytes) -> tuple[bytes | None] | None:
        """Take bytes; gives the value, or None in its place."""
        self._received += data
        if self._value_at < 0 and not self._read_first_line():
            return None
        if self._value_at == 0:
            return (None,)
        return self._read_value()

    def _read_first_line(self) -> bool:
        end = self._received.find(b"\n")
        if (end if end >= 0 else len(self._received)) > self._longest_line:
            raise MalformedReplyError("the reply is too long")
        if end < 0:
            return False
        line = bytes(self._received[:end]).rstrip(b"\r")
        found = _VALUE.fullmatch(line)
        if line == b"END":
            self._value_at = 0
        elif found is None or int(found[1]) > self._longest_value:
            raise MalformedReplyError(f"unexpected memcache server reply: {to_text(line[:_SHOWN])}")
        else:
            self._value_at = end + 1
            self._value_ends = self._value_at + int(found[1])
        return True

    def _read_value(self) -> tuple[bytes | None] | None:
        behind = bytes(self._received[self._value_ends :])
        if b"\r\nEND\r\n".startswith(behind[:7]):
            return (bytes(self._received[self._value_at : self._value_ends]),) if len(behind) >= 7 else None
        raise MalformedReplyError("unexpected memcache server reply behind the value")


@dataclass(frozen=True, slots=True)
class MemcacheParameters:
    """The parameters of a memcache table; a time limit of 0 is none."""

    service: str
    backup: str
    flags: int
    ttl: int
    key_format: Template
    tries: int
    pause_seconds: int
    timeout_seconds: int
    longest_line: int
    longest_value: int

    @classmethod
    def read(cls, parameters: SourceParameters) -> "MemcacheParameters":
        """Read them.

        Raises:
            ConfigError: one makes no sense.
        """
        return cls(
            service=parameters.text("memcache", "inet:localhost:11211"),
            backup=parameters.text("backup"),
            flags=parameters.integer("flags", 0),
            ttl=parameters.integer("ttl", 3600),
            key_format=parse_template(parameters.text("key_format", "%s"), parameters.source, "query"),
            tries=parameters.integer("max_try", 2, minimum=1),
            pause_seconds=parameters.integer("retry_pause", 1, minimum=1),
            timeout_seconds=max(parameters.integer("timeout", 2), 0),
            longest_line=parameters.integer("line_size_limit", 1024, minimum=1),
            longest_value=parameters.integer("data_size_limit", 10240, minimum=1),
        )

    @property
    def seconds(self) -> float:
        """The longest that a lookup may take, the backup included."""
        once = (self.timeout_seconds or BACKUP_SECONDS) + self.pause_seconds
        return 2 * self.tries * once + (BACKUP_SECONDS if self.backup else 0)


@implementer(ILookupTable)
class MemcacheTable(NetworkTable):
    """A table that is a memcached server, and perhaps a table that it caches."""

    by_pattern = False

    def __init__(
        self,
        request: TableRequest,
        parameters: SourceParameters,
        own: MemcacheParameters,
        endpoint: IStreamClientEndpoint,
        address: str,
        clock: IReactorTime,
    ) -> None:
        super().__init__(request, clock, own.seconds)
        self._source = parameters.source
        self._parameters = parameters
        self._own = own
        self._address = address
        self._seconds_a_try = own.timeout_seconds or BACKUP_SECONDS
        self._domains = DomainFilter(request, parameters.source, parameters.text("domain"))
        self._backup = request.open_member(own.backup) if own.backup else None
        self._server = Server(endpoint, clock, self._refused)

    def changed(self) -> bool:
        """Whether a file with parameters has changed."""
        return self._parameters.changed() or self._domains.changed()

    def close(self) -> None:
        """Drop the connections; the table behind belongs to whoever opened it."""
        self._server.close()
        self._parameters.close()
        self._domains.close()

    async def _find(self, key: str) -> str | None:
        wire_key = await self._wire_key(key)
        if wire_key is None:
            return None
        problem = ""
        try:
            found = await self._get(wire_key)
        except AskingError as error:
            problem = error.problem or "the server cannot be asked"
        else:
            if found is not None:
                return to_text(found.partition(b"\0")[0])
        if self._backup is None:
            if problem:
                raise TableError(self.name, problem, key)
            return None
        value = self._backup.lookup(key)
        if isinstance(value, Deferred):
            value = await value
        if value is not None and not problem:
            await self._set(wire_key, to_wire(value))
        return value

    async def _wire_key(self, key: str) -> bytes | None:
        """The key as the server has it; None if it is not asked for."""
        parts = KeyParts(key)
        if not await self._domains.accepts(parts):
            return None
        filled = self._own.key_format.fill(parts, str)
        return to_wire(filled) if filled and not _BLANK.search(filled) else None

    async def _get(self, wire_key: bytes) -> bytes | None:
        own = self._own
        (value,) = await self._repeatedly(
            b"get %b\r\n" % wire_key, lambda: GetReader(own.longest_line, own.longest_value)
        )
        return value

    async def _set(self, wire_key: bytes, value: bytes) -> None:
        """Store what the table behind had; if that does not work, it is just not stored."""
        own = self._own
        request = b"set %b %d %d %d\r\n%b\r\n" % (wire_key, own.flags, own.ttl, len(value), value)
        try:
            reply = await self._repeatedly(request, lambda: LineReader(own.longest_line, "the reply is too long"))
        except AskingError:
            return
        if reply.rstrip(b"\r") != b"STORED":
            self.warn(f"{self._source}: update failed: {to_text(reply[:100])}")

    async def _repeatedly(self, request: bytes, reader: Callable[[], ReplyReader[R]]) -> R:
        last: AskingError | None = None
        for attempt in range(self._own.tries):
            if attempt:
                await deferLater(self._clock, self._own.pause_seconds)
            try:
                return await within(self._seconds_a_try, self._clock, self._server.ask(request, reader))
            except ConnectFailedError:
                raise  # told already, and not tried again
            except AskingError as error:
                last = error
        assert last is not None
        is_reply = isinstance(last, MalformedReplyError)
        self.warn(f"{self._source}: {last.problem}" if is_reply else f"database {self.name}: I/O error: {last.problem}")
        raise last

    def _refused(self, problem: str) -> None:
        self.warn(f"connect to {self._address}: {problem}")

    def _too_slow(self, problem: str) -> str:
        return f"database {self.name}: {problem}"


def open_memcache(request: TableRequest) -> ILookupTable:
    """Open ``memcache:FILE``; connects when the first key is looked up.

    Raises:
        TableError: the file with the parameters cannot be read, or the address of the server is malformed.
        ConfigError: a parameter makes no sense.
    """
    return open_with_parameters(request, _open)


def _open(request: TableRequest, parameters: SourceParameters) -> MemcacheTable:
    own = MemcacheParameters.read(parameters)
    try:
        endpoint, address = endpoint_of(request, own.service, own.timeout_seconds or BACKUP_SECONDS)
    except UnusableTableError as error:
        raise request.unusable(f"{parameters.source}: {error.problem}", request.path()) from error
    return MemcacheTable(request, parameters, own, endpoint, address, reactor_of(request))
