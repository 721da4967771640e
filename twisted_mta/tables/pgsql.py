"""``pgsql:FILE``: a query to PostgreSQL servers.

Flow: registry.py opens it.
Sources: pgsql_table(5); a running postmap(1); the documentation of libpq, and of psycopg's ``pq`` module, which is libpq itself.
"""

import os
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.errors import Error as PsycopgError
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.database import DatabaseTable, QueryRules, open_with_parameters, query_template
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.pgsql_connecting import connect, wait_for, waiting_octets
from twisted_mta.tables.results import LARGEST_REPLY, LONGEST_RESULT
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.sql_servers import (
    CONNECT_SECONDS,
    LOOKUP_SECONDS,
    ServerQuery,
    ServerSession,
    SqlDialect,
    SqlError,
    SqlParameters,
)

_URIS = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class PgsqlParameters:
    """How to connect.

    Attributes:
        sql: servers, user, database.
        encoding: of the connection.
    """

    sql: SqlParameters
    encoding: str

    @classmethod
    def read(cls, parameters: SourceParameters) -> "PgsqlParameters":
        """Read them.

        Raises:
            ConfigError: one makes no sense.
        """
        return cls(SqlParameters.read(parameters), parameters.text("encoding", "UTF8", shortest=1))

    def connection_text(self, server: str) -> str:
        """What libpq is to be told about a server.

        Raises:
            SqlError: a URI is malformed.
        """
        try:
            if server.startswith(_URIS):
                asked = urlsplit(server).query
                limit = {} if "connect_timeout" in asked else {"connect_timeout": CONNECT_SECONDS}
                return make_conninfo(server, **limit)
            host, port = _split(server)
            return make_conninfo(
                "",
                host=host,
                port=port or None,
                user=self.sql.user or None,
                password=self.sql.password or None,
                dbname=self.sql.database,
                connect_timeout=CONNECT_SECONDS,
            )
        except (PsycopgError, ValueError) as error:
            raise SqlError(str(error)) from error


def _split(server: str) -> tuple[str, str]:
    """Host and port of a server; a path has no port."""
    host = server.removeprefix("unix:").removeprefix("inet:")
    if host.startswith("/"):
        return host, ""
    name, _, port = host.rpartition(":") if ":" in host else (host, "", "")
    return name, port


class PgsqlConnection:
    """A connection to a server.

    Args:
        parameters: how to connect.
        server: as hosts has it.

    Raises:
        SqlError: there is no connection.
    """

    def __init__(self, parameters: PgsqlParameters, server: str) -> None:
        self._server = server
        self._connection = connect(parameters.connection_text(server))
        self._socket = os.dup(self._connection.socket)
        try:
            self._run(b"SET client_encoding TO '" + self._quoted(parameters.encoding) + b"'")
        except SqlError:
            self.close()
            raise

    def quote(self, text: str) -> str:
        """A text as it stands between single quotes.

        Raises:
            SqlError: it does not fit the encoding of the connection.
        """
        return to_text(self._quoted(text))

    def query(self, statement: str) -> list[str]:
        """The values that a statement finds; NULL is an empty text. Of several statements, those of the last.

        Raises:
            SqlError: it does not work.
        """
        return self._run(to_wire(statement))

    def abort(self) -> None:
        """Break the connection, so that whoever waits for it gets an error."""
        with suppress(OSError), socket.socket(fileno=os.dup(self._socket)) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self._connection.finish()
        with suppress(OSError):
            os.close(self._socket)

    def _quoted(self, text: str) -> bytes:
        try:
            return pq.Escaping(self._connection).escape_string(to_wire(text))
        except PsycopgError as error:
            raise SqlError(f"cannot escape the input string: {error}") from error

    def _run(self, statement: bytes) -> list[str]:
        ends = time.monotonic() + LOOKUP_SECONDS
        values: list[str] = []
        length = 0
        complete = False
        try:
            self._connection.send_query(statement)
            self._connection.set_single_row_mode()
            while self._connection.flush():
                self._wait(select.POLLIN | select.POLLOUT, ends)
                self._connection.consume_input()
            while (result := self._next_result(ends)) is not None:
                if complete:
                    values, length, complete = [], 0, False
                complete = result.status != pq.ExecStatus.SINGLE_TUPLE
                self._refuse_error(result)
                found = [_text_at(result, row, at) for row in range(result.ntuples) for at in range(result.nfields)]
                result.clear()
                values += found
                length += sum(map(len, found))
                if length > LONGEST_RESULT:
                    raise SqlError(f"the result is longer than {LONGEST_RESULT} characters")
        except PsycopgError as error:
            raise SqlError(str(error)) from error
        return values

    def _next_result(self, ends: float) -> pq.abc.PGresult | None:
        received = 0
        while self._connection.is_busy():
            self._wait(select.POLLIN, ends)
            received += waiting_octets(self._connection.socket)
            if received > LARGEST_REPLY:
                raise SqlError(f"a row of the result is longer than {LARGEST_REPLY} octets")
            self._connection.consume_input()
        return self._connection.get_result()

    def _wait(self, events: int, ends: float) -> None:
        if not wait_for(self._connection.socket, events, ends):
            raise SqlError(f"no reply within {LOOKUP_SECONDS:g} seconds")

    def _refuse_error(self, result: pq.abc.PGresult) -> None:
        if result.status in (pq.ExecStatus.SINGLE_TUPLE, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            return
        words = "fatal error" if result.status == pq.ExecStatus.FATAL_ERROR else "unexpected result"
        raise SqlError(f"{words} from host {self._server}: {to_text(result.error_message)}")


def _text_at(result: pq.abc.PGresult, row: int, column: int) -> str:
    value = result.get_value(row, column)
    return to_text(value) if value is not None else ""


def rank(server: str) -> int:
    """UNIX sockets are tried first, URIs last."""
    if server.startswith(_URIS):
        return 2
    return 0 if server.removeprefix("unix:").startswith("/") else 1


@implementer(ILookupTable)
class PgsqlTable(DatabaseTable[ServerSession]):
    """A table that is a query to PostgreSQL servers."""

    def __init__(self, request: TableRequest, parameters: SourceParameters) -> None:
        own = PgsqlParameters.read(parameters)
        template = query_template(parameters, has_function=True)
        dialect = SqlDialect(
            connect=lambda server: PgsqlConnection(own, server),
            rank=rank,
            connect_failed="connect to pgsql server {server}: {problem}",
            query_failed="pgsql query failed: {problem}",
        )
        super().__init__(
            request,
            parameters,
            QueryRules(request, parameters),
            templates=(template,),
            make_session=lambda: ServerSession(own.sql.servers, dialect, own.sql.retry_seconds),
            query=ServerQuery(template),
            too_many=f"dict_pgsql_lookup: {parameters.source}: Expansion limit exceeded for key:",
            limits=own.sql.limits,
        )


def open_pgsql(request: TableRequest) -> ILookupTable:
    """Open ``pgsql:FILE``; connects when the first key is looked up.

    Raises:
        TableError: the file with the parameters cannot be read.
        ConfigError: a parameter makes no sense.
    """
    return open_with_parameters(request, PgsqlTable)
