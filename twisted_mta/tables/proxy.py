"""``proxy:TYPE:NAME``: a table that proxymap(8) opens and reads, or writes.

Flow: registry.py opens it, for reading; table_set.py opens it where something is to be written.
Sources: proxymap(8), DATABASE_README(5), "proxy"; postconf(5) proxy_read_maps, proxy_write_maps; a running postmap(1).
"""

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import read_seconds
from twisted_mta.interfaces import ILookupTable, IWritableTable, TableError
from twisted_mta.ipc.attributes import IpcError
from twisted_mta.ipc.client import PersistentClient, Service, ServiceError, ServiceUnreachableError
from twisted_mta.ipc.proxymap import ProxyMap, ProxyStatus
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.tables.endpoints import reactor_of
from twisted_mta.tables.network import NetworkTable
from twisted_mta.tables.opening import TableFlags, TableRequest

T = TypeVar("T")

SECONDS = 100.0
"""For a whole lookup. Postfix waits up to ipc_timeout, an hour, and without end if proxymap(8) breaks off."""

TRIES = 3
PAUSE_SECONDS = 1.0

PATTERN_TYPES = frozenset({"regexp", "pcre", "cidr", "tcp", "socketmap", "randmap", "fail"})
"""Types whose tables are asked for whole keys only. proxymap(8) would say so itself, but only where it is running already."""

_FIRST_TYPE = re.compile(r"(?:proxy:|(?:pipemap|unionmap):\{\s*)*([^:\s]*):")

_DEFAULTS = {
    "proxymap_service_name": "proxymap",
    "proxywrite_service_name": "proxywrite",
    "mail_version": "3.9.14",
    "ipc_timeout": "3600s",
    "ipc_idle": "5s",
    "ipc_ttl": "1000s",
}


def is_by_pattern(table: str) -> bool:
    """Whether a table ``type:name`` is asked for whole keys only; tables made of others count as the first of these."""
    found = _FIRST_TYPE.match(table)
    return found is not None and found[1] in PATTERN_TYPES


@dataclass(frozen=True, slots=True)
class _Service:
    """Which of the two services, and the parameter that lists the tables it may open."""

    parameter: str
    permits: str


_READING = _Service("proxymap_service_name", "proxy_read_maps")
_WRITING = _Service("proxywrite_service_name", "proxy_write_maps")


@implementer(ILookupTable)
class ProxyTable(NetworkTable):
    """A table behind proxymap(8).

    Args:
        request: what was to be opened.
        service: answers.
        clock: for the time limit and pauses.
    """

    _kind = _READING

    def __init__(self, request: TableRequest, service: ProxyMap, clock: IReactorTime) -> None:
        super().__init__(request, clock, SECONDS)
        self._table = request.name
        while self._table.startswith("proxy:"):
            self._table = self._table.removeprefix("proxy:")
        self.by_pattern = is_by_pattern(self._table)
        self._service = service
        self._flags = int(request.flags)
        if not request.context.smtputf8:
            self._flags &= ~int(TableFlags.UTF8_REQUEST)

    def close(self) -> None:
        """Keep no connections."""
        self._service.close()

    async def _find(self, key: str) -> str | None:
        reply = await self._persist(lambda: self._service.lookup(self._table, self._flags, key), key)
        if reply.status is ProxyStatus.OK:
            return reply.value
        if reply.status is ProxyStatus.NO_KEY:
            return None
        raise TableError(self.name, self._refusal(reply.status, key), key)

    async def _persist(self, ask: Callable[[], Awaitable[T]], key: str) -> T:
        """Ask until there is a reply, but not for ever.

        Raises:
            TableError: there is none.
        """
        for attempt in range(1, TRIES + 1):
            if attempt > 1:
                await deferLater(self._clock, PAUSE_SECONDS)
            try:
                return await ask()
            except IpcError as error:
                problem = self._told(error, attempt)
        raise TableError(self.name, problem, key)

    def _told(self, error: IpcError, attempt: int) -> str:
        """Warn that the service could not be asked; gives the reason."""
        problem = error.problem if isinstance(error, ServiceError) else str(error)
        service = error.service if isinstance(error, ServiceError) else "proxymap"
        if isinstance(error, ServiceUnreachableError):
            self.warn(f"connect #{attempt} to subsystem {service}: {problem}")
        else:
            self.warn(f"{service} service error: {problem}")
        return problem

    def _refusal(self, status: ProxyStatus, key: str) -> str:
        """Why there is no answer; what is wrong here is told, what is wrong there proxymap(8) has told itself."""
        match status:
            case ProxyStatus.DENIED:
                problem = f'proxymap service is not configured for table "{self._table}"'
            case ProxyStatus.BAD_REQUEST:
                problem = f"proxymap lookup failed for table {self._table} key {key}: invalid request"
            case _:
                return "table lookup problem; the log of proxymap(8) says more"
        self.warn(f"{problem}; see {self._kind.permits}" if status is ProxyStatus.DENIED else problem)
        return problem


@implementer(IWritableTable)
class WritableProxyTable(ProxyTable):
    """A table behind proxymap(8) in its service proxywrite, which alone may write; the arguments are those of ProxyTable."""

    _kind = _WRITING

    def update(self, key: str, value: str) -> Deferred[None]:
        """Give a key a value (IWritableTable)."""
        return self._write(key, lambda: self._service.update(self._table, self._flags, key, value))

    def delete(self, key: str) -> Deferred[None]:
        """Take a key away (IWritableTable)."""
        return self._write(key, lambda: self._service.delete(self._table, self._flags, key))

    def _write(self, key: str, ask: Callable[[], Awaitable[ProxyStatus]]) -> Deferred[None]:
        return Deferred.fromCoroutine(self.in_time(self._written(key, ask), key))

    async def _written(self, key: str, ask: Callable[[], Awaitable[ProxyStatus]]) -> None:
        status = await self._persist(ask, key)
        if status not in (ProxyStatus.OK, ProxyStatus.NO_KEY):
            raise TableError(self.name, self._refusal(status, key), key)


def open_proxy(request: TableRequest) -> ProxyTable:
    """Open ``proxy:TYPE:NAME``; connects when the first key is looked up.

    Raises:
        TableError: there is no network to be used.
        ConfigError: a time limit makes no sense, or the version of Postfix is not known.
    """
    return ProxyTable(request, _service(request, _READING), reactor_of(request))


def open_writable_proxy(request: TableRequest) -> WritableProxyTable:
    """Open ``proxy:TYPE:NAME`` for reading and writing; raises what `open_proxy` does."""
    return WritableProxyTable(request, _service(request, _WRITING), reactor_of(request))


def _service(request: TableRequest, kind: _Service) -> ProxyMap:
    reactor = reactor_of(request)

    def setting(name: str) -> str:
        found = request.context.expanded(name)
        return _DEFAULTS[name] if found is None else found

    def seconds(name: str) -> float:
        return read_seconds(name, setting(name))

    path = os.path.join("private", setting(kind.parameter))
    ask = request.context.postfix_version
    try:
        version = ask() if ask is not None else PostfixVersion.parse(setting("mail_version"))
    except IpcError as error:
        raise ConfigError(str(error)) from error
    endpoint = UNIXClientEndpoint(reactor, os.path.join(request.context.queue_directory, path))
    timeout_seconds = min(seconds("ipc_timeout"), SECONDS)
    idle_seconds, ttl_seconds = seconds("ipc_idle"), seconds("ipc_ttl")

    def connect() -> PersistentClient:
        return PersistentClient(
            Service(path, Greeting.TABLE_PROXY),
            endpoint,
            version,
            reactor,
            timeout_seconds=timeout_seconds,
            idle_seconds=idle_seconds,
            ttl_seconds=ttl_seconds,
        )

    return ProxyMap(connect, version)
