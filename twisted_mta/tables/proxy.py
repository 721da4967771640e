"""``proxy:TYPE:NAME``: a table that proxymap(8) opens and reads.

Flow: registry.py opens it.
Sources: proxymap(8), DATABASE_README(5), "proxy"; postconf(5) proxy_read_maps; a running postmap(1).
"""

import os
import re

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import read_seconds
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.ipc.attributes import IpcError
from twisted_mta.ipc.client import PersistentClient, Service, ServiceError, ServiceUnreachableError
from twisted_mta.ipc.proxymap import ProxyMap, ProxyStatus
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.tables.endpoints import reactor_of
from twisted_mta.tables.network import NetworkTable
from twisted_mta.tables.opening import TableFlags, TableRequest

SECONDS = 100.0
"""For a whole lookup. Postfix waits up to ipc_timeout, an hour, and without end if proxymap(8) breaks off."""

TRIES = 3
PAUSE_SECONDS = 1.0

PATTERN_TYPES = frozenset({"regexp", "pcre", "cidr", "tcp", "socketmap", "randmap", "fail"})
"""Types whose tables are asked for whole keys only. proxymap(8) would say so itself, but only where it is running already."""

_FIRST_TYPE = re.compile(r"(?:proxy:|(?:pipemap|unionmap):\{\s*)*([^:\s]*):")

_DEFAULTS = {
    "proxymap_service_name": "proxymap",
    "mail_version": "3.9.14",
    "ipc_timeout": "3600s",
    "ipc_idle": "5s",
    "ipc_ttl": "1000s",
}


def is_by_pattern(table: str) -> bool:
    """Whether a table ``type:name`` is asked for whole keys only; tables made of others count as the first of these."""
    found = _FIRST_TYPE.match(table)
    return found is not None and found[1] in PATTERN_TYPES


@implementer(ILookupTable)
class ProxyTable(NetworkTable):
    """A table behind proxymap(8).

    Args:
        request: what was to be opened.
        service: answers.
        clock: for the time limit and pauses.
    """

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
        for attempt in range(1, TRIES + 1):
            if attempt > 1:
                await deferLater(self._clock, PAUSE_SECONDS)
            try:
                reply = await self._service.lookup(self._table, self._flags, key)
            except IpcError as error:
                problem = self._told(error, attempt)
                continue
            if reply.status is ProxyStatus.OK:
                return reply.value
            if reply.status is ProxyStatus.NO_KEY:
                return None
            raise TableError(self.name, self._refusal(reply.status, key), key)
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
        self.warn(f"{problem}; see proxy_read_maps" if status is ProxyStatus.DENIED else problem)
        return problem


def open_proxy(request: TableRequest) -> ProxyTable:
    """Open ``proxy:TYPE:NAME``; connects when the first key is looked up.

    Raises:
        TableError: there is no network to be used, or the version of Postfix is not known.
        ConfigError: a time limit makes no sense.
    """
    reactor = reactor_of(request)

    def setting(name: str) -> str:
        found = request.context.expanded(name)
        return _DEFAULTS[name] if found is None else found

    def seconds(name: str) -> float:
        return read_seconds(name, setting(name))

    path = os.path.join("private", setting("proxymap_service_name"))
    try:
        version = PostfixVersion.parse(setting("mail_version"))
    except IpcError as error:
        raise ConfigError(str(error)) from error
    endpoint = UNIXClientEndpoint(reactor, os.path.join(request.context.queue_directory, path))
    limits = {
        "timeout_seconds": min(seconds("ipc_timeout"), SECONDS),
        "idle_seconds": seconds("ipc_idle"),
        "ttl_seconds": seconds("ipc_ttl"),
    }

    def connect() -> PersistentClient:
        return PersistentClient(Service(path, Greeting.TABLE_PROXY), endpoint, version, reactor, **limits)

    return ProxyTable(request, ProxyMap(connect, version), reactor)
