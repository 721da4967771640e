"""Choose among the servers of an SQL table, and go on with another when one fails.

Flow: mysql.py and pgsql.py make ServerSessions, which Sessions lends to threads.
Sources: mysql_table(5) and pgsql_table(5), hosts, retry_interval, idle_interval; a running postmap(1).
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from twisted_mta.config.values import SEPARATORS, split_words
from twisted_mta.tables.results import LookupFailedError, Results, Warn
from twisted_mta.tables.sessions import SessionLimits
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.templates import KeyParts, Template

RETRY_SECONDS = 60
"""The default of retry_interval: a server that has failed is left alone for so long."""

IDLE_SECONDS = 60
"""The default of idle_interval."""

LOOKUP_SECONDS = 60.0
"""For a lookup, with all servers that are tried; Postfix has no limit."""

CONNECT_SECONDS = 10
"""For a connection."""


class SqlError(Exception):
    """A server cannot be reached, or its answer is no result.

    Attributes:
        problem: what is wrong.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Connection(Protocol):
    """A connection to a server."""

    def quote(self, text: str) -> str:
        """A text as it stands between single quotes.

        Raises:
            SqlError: it cannot stand there.
        """

    def query(self, statement: str) -> list[str]:
        """The values that a statement finds, row by row.

        Raises:
            SqlError: it does not work.
        """

    def abort(self) -> None:
        """End the connection at once, from another thread."""

    def close(self) -> None:
        """End the connection."""


@dataclass(slots=True, eq=False)
class _Server:
    """A server; `rank` is lower where it is to be tried before others."""

    name: str
    rank: int
    connection: Connection | None = None
    failed_until: float = float("-inf")


@dataclass(frozen=True, slots=True)
class SqlDialect:
    """What differs among kinds of servers.

    Attributes:
        connect: makes a connection to a server by its name; raises SqlError.
        rank: of a server by its name.
        connect_failed: the warning about a server that cannot be reached, with ``{server}`` and ``{problem}``.
        query_failed: the warning about a query that does not work, with the same.
    """

    connect: Callable[[str], Connection]
    rank: Callable[[str], int]
    connect_failed: str
    query_failed: str


class ServerSession:
    """Connections to the servers of a table, for one thread at a time.

    Args:
        servers: their names. One alone counts twice, so that a connection that has died is made anew at once.
        dialect: see there.
        retry_seconds: how long a server that has failed is left alone.
        choose: one of several equally good servers.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        servers: Sequence[str],
        dialect: SqlDialect,
        retry_seconds: float,
        *,
        choose: Callable[[Sequence[_Server]], _Server] = random.choice,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        names = [*servers, *servers] if len(servers) == 1 else servers
        self._servers = [_Server(name, dialect.rank(name)) for name in names]
        self._dialect = dialect
        self._retry_seconds = retry_seconds
        self._choose = choose
        self._now = now
        self._used: _Server | None = None
        self._aborted = False

    def ask(self, template: Template, key: KeyParts, warn: Warn) -> list[str]:
        """Ask servers until one answers.

        Raises:
            LookupFailedError: none did.
        """
        while not self._aborted and (server := self._next(warn)) is not None:
            connection = self._used_connection(server)
            try:
                return connection.query(template.fill(key, connection.quote) or "")
            except SqlError as error:
                warn(self._dialect.query_failed.format(server=server.name, problem=error.problem))
                self._fail(server)
            finally:
                self._used = None
        raise LookupFailedError("no server answers")

    def abort(self) -> None:
        """Break off what is under way."""
        self._aborted = True
        used = self._used
        if used is not None and used.connection is not None:
            used.connection.abort()

    def rest(self) -> None:
        """Close all connections."""
        for server in self._servers:
            self._close(server)

    def _used_connection(self, server: _Server) -> Connection:
        self._used = server
        assert server.connection is not None
        return server.connection

    def _next(self, warn: Warn) -> _Server | None:
        """A server with a connection; None if there is none to be had."""
        if connected := self._best(server for server in self._servers if server.connection is not None):
            return connected
        while not self._aborted:
            now = self._now()
            server = self._best(server for server in self._servers if server.failed_until <= now)
            if server is None:
                return None
            try:
                server.connection = self._dialect.connect(server.name)
            except SqlError as error:
                warn(self._dialect.connect_failed.format(server=server.name, problem=error.problem))
                self._fail(server)
            else:
                return server
        return None

    def _best(self, servers: Iterable[_Server]) -> _Server | None:
        candidates = list(servers)
        if not candidates:
            return None
        rank = min(server.rank for server in candidates)
        return self._choose([server for server in candidates if server.rank == rank])

    def _fail(self, server: _Server) -> None:
        self._close(server)
        server.failed_until = self._now() + self._retry_seconds

    @staticmethod
    def _close(server: _Server) -> None:
        connection, server.connection = server.connection, None
        if connection is not None:
            with suppress(Exception):  # it may be broken in any way
                connection.close()


@dataclass(frozen=True, slots=True)
class SqlParameters:
    """The parameters that all tables with SQL servers have."""

    servers: tuple[str, ...]
    user: str
    password: str
    database: str
    retry_seconds: float
    limits: SessionLimits

    @classmethod
    def read(cls, parameters: SourceParameters) -> "SqlParameters":
        """Read them.

        Raises:
            ConfigError: one makes no sense.
        """
        return cls(
            servers=split_words(parameters.text("hosts"), SEPARATORS) or ("localhost",),
            user=parameters.text("user"),
            password=parameters.text("password"),
            database=parameters.text("dbname", shortest=1),
            retry_seconds=parameters.integer("retry_interval", RETRY_SECONDS, minimum=1),
            limits=SessionLimits(
                seconds=LOOKUP_SECONDS, idle_seconds=parameters.integer("idle_interval", IDLE_SECONDS, minimum=1)
            ),
        )


class ServerQuery:
    """Asks a ServerSession for a key."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def __call__(self, session: ServerSession, /, *, key: KeyParts, results: Results, warn: Warn) -> None:
        """Add what is found to the results.

        Raises:
            LookupFailedError: no server answers.
        """
        results.add_all(session.ask(self._template, key, warn))
