"""Ask proxymap(8) for keys of tables, and let it write them.

Flow: tables/proxy.py looks keys up with it, and writes them.
Sources: proxymap(8); postconf(5) proxy_read_maps, proxy_write_maps, proxymap_service_name, proxywrite_service_name; a running
proxymap(8).
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from twisted_mta.ipc.attributes import AttributeList, IpcError, Value, encode, expect, read_int, read_texts
from twisted_mta.ipc.client import PersistentClient, Read
from twisted_mta.ipc.version import PostfixVersion

T = TypeVar("T")

_REPLY = (b"status", b"value")
_REPLY_WITH_FLAGS = (b"status", b"flags", b"value")
_DONE = (b"status",)
_DONE_WITH_FLAGS = (b"status", b"flags")


class ProxyStatus(enum.IntEnum):
    """What became of a request."""

    OK = 0
    NO_KEY = 1
    RETRY = 2
    BAD_REQUEST = 3
    DENIED = 4
    MISCONFIGURED = 5


@dataclass(frozen=True, slots=True)
class ProxyReply:
    """What proxymap(8) says about a key; the value is empty unless the status is OK."""

    status: ProxyStatus
    value: str


class ProxyMap:
    """A proxymap(8) service, asked over several connections: each takes one request after the other.

    Args:
        connect: makes a client; it connects when it is first asked.
        version: says what a request looks like.
        connections: how many there may be.
    """

    def __init__(self, connect: Callable[[], PersistentClient], version: PostfixVersion, connections: int = 4) -> None:
        self._clients: Sequence[PersistentClient] = [connect() for _ in range(connections)]
        self._busy = [0] * connections
        self._has_instance_flags = version.tables_have_instance_flags
        self._reply = _REPLY_WITH_FLAGS if self._has_instance_flags else _REPLY
        self._done = _DONE_WITH_FLAGS if self._has_instance_flags else _DONE

    async def lookup(self, table: str, flags: int, key: str) -> ProxyReply:
        """Look up a key.

        Args:
            table: ``type:name``, without ``proxy:``.
            flags: how the table is used.
            key: what to look up.

        Raises:
            IpcError: the service cannot be asked, or its reply makes no sense.
        """
        return await self._ask([("request", "lookup"), *self._about(table, flags), ("key", key)], self._read)

    async def update(self, table: str, flags: int, key: str, value: str) -> ProxyStatus:
        """Give a key a value; the arguments are those of `lookup`.

        Raises:
            IpcError: the service cannot be asked, or its reply makes no sense.
        """
        request = [("request", "update"), *self._about(table, flags), ("key", key), ("value", value)]
        return await self._ask(request, self._read_done)

    async def delete(self, table: str, flags: int, key: str) -> ProxyStatus:
        """Take a key away; the arguments are those of `lookup`.

        Raises:
            IpcError: the service cannot be asked, or its reply makes no sense.
        """
        return await self._ask([("request", "delete"), *self._about(table, flags), ("key", key)], self._read_done)

    def close(self) -> None:
        """Keep no connections."""
        for client in self._clients:
            client.close()

    def _about(self, table: str, flags: int) -> list[tuple[str, Value]]:
        """What every request says of the table."""
        how: list[tuple[str, Value]] = [("instance_flags", flags)] if self._has_instance_flags else []
        return [("table", table), *how, ("flags", flags)]

    async def _ask(self, request: list[tuple[str, Value]], read: Read[T]) -> T:
        encoded = encode(request)
        # The first that is idle, so that with few requests there are few connections.
        chosen = min(range(len(self._busy)), key=self._busy.__getitem__)
        self._busy[chosen] += 1
        try:
            return await self._clients[chosen].ask(encoded, read)
        finally:
            self._busy[chosen] -= 1

    def _read(self, reply: AttributeList) -> ProxyReply:
        values = expect(reply, self._reply)
        return ProxyReply(_status(values[0]), read_texts(values[-1:])[0])

    def _read_done(self, reply: AttributeList) -> ProxyStatus:
        return _status(expect(reply, self._done)[0])


def _status(value: bytes) -> ProxyStatus:
    number = read_int(value, "status")
    try:
        return ProxyStatus(number)
    except ValueError:
        raise IpcError(f"attribute status: {number} means nothing") from None
