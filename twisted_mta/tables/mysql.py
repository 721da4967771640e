"""``mysql:FILE``: a query to MySQL or MariaDB servers.

Flow: registry.py opens it.
Sources: mysql_table(5); a running postmap(1); the documentation of PyMySQL.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pymysql
from pymysql.constants import CLIENT, CR
from pymysql.cursors import SSCursor
from pymysql.protocol import MysqlPacket
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.database import DatabaseTable, QueryRules, open_with_parameters, query_template
from twisted_mta.tables.my_cnf import DEFAULT_FILES, read_options
from twisted_mta.tables.mysql_tls import MysqlTls, tls_problem
from twisted_mta.tables.opening import TableRequest
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

DEFAULT_SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")
"""Where the local server listens, if no options file says it."""

DEFAULT_PORT = 3306

_CHUNK = 100


@dataclass(frozen=True, slots=True)
class MysqlParameters:
    """How to connect, and what to expect.

    Attributes:
        sql: servers, user, database.
        charset: of the connection.
        require_result_set: whether a query that has no result at all is an error.
        options: of the options file, by their names.
        tls: what is wanted of it.
    """

    sql: SqlParameters
    charset: str
    require_result_set: bool
    options: Mapping[str, str] = field(repr=False)
    tls: MysqlTls = field(default_factory=MysqlTls)

    @classmethod
    def read(cls, parameters: SourceParameters) -> "MysqlParameters":
        """Read them.

        Raises:
            ConfigError: one makes no sense.
        """
        file, group = parameters.text("option_file"), parameters.text("option_group", "client")
        options = read_options([file] if file else DEFAULT_FILES, group) if file or group else {}
        return cls(
            SqlParameters.read(parameters),
            parameters.text("charset", "utf8mb4", shortest=1),
            parameters.boolean("require_result_set", True),
            options,
            MysqlTls.read(parameters, options),
        )

    def arguments(self, server: str) -> dict[str, Any]:
        """What PyMySQL is to be called with for a server.

        Raises:
            OSError: a file for TLS cannot be used.
        """
        user = self.sql.user or self.options.get("user", "")
        password = self.sql.password or self.options.get("password", "")
        arguments: dict[str, Any] = {
            **self._address(server),
            "user": user or None,
            "password": password,
            "database": self.sql.database,
            "charset": self.charset,
            "use_unicode": False,
            "conv": {},
            "client_flag": CLIENT.MULTI_RESULTS,
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": LOOKUP_SECONDS,
            "write_timeout": LOOKUP_SECONDS,
            "autocommit": True,
            "cursorclass": SSCursor,
            "defer_connect": True,
        }
        if self.tls.is_wanted:
            arguments["ssl"] = self.tls.context()
        else:
            arguments["ssl_disabled"] = True
        return arguments

    def _address(self, server: str) -> dict[str, Any]:
        if server.startswith("unix:"):
            return {"unix_socket": server.removeprefix("unix:")}
        host, _, port = server.removeprefix("inet:").partition(":")
        if host == "localhost":
            known = [self.options["socket"]] if "socket" in self.options else DEFAULT_SOCKETS
            return {"unix_socket": next((path for path in known if os.path.exists(path)), known[0])}
        text = port or self.options.get("port", "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else DEFAULT_PORT
        return {"host": host or "localhost", "port": number}


class _BoundedConnection(pymysql.connections.Connection):
    """Does not take all that a server may send.

    The library keeps a row in memory, however long it is, and reads a result to its end, even if nobody wants it any more.
    It gives no other way in, and has no annotations for this one.
    """

    _received = 0
    _result: Any
    _force_close: Any

    def break_off(self) -> None:
        """End the connection at once, whatever the server still has to say."""
        if self._result is not None:
            self._result.unbuffered_active = self._result.has_next = False
        self._force_close()

    def _read_packet(self, packet_type: Any = MysqlPacket) -> Any:
        self._received = 0
        return super()._read_packet(packet_type)  # type: ignore[no-untyped-call]

    def _read_bytes(self, num_bytes: int) -> bytes:
        self._received += num_bytes
        if self._received > LARGEST_REPLY:
            problem = f"a row of the result is longer than {LARGEST_REPLY} octets"
            raise pymysql.OperationalError(CR.CR_NET_PACKET_TOO_LARGE, problem)
        octets: bytes = super()._read_bytes(num_bytes)  # type: ignore[misc]
        return octets


class MysqlConnection:
    """A connection to a server.

    Args:
        parameters: how to connect.
        server: as hosts has it.

    Raises:
        SqlError: there is no connection.
    """

    def __init__(self, parameters: MysqlParameters, server: str) -> None:
        self._require_result_set = parameters.require_result_set
        try:
            arguments = parameters.arguments(server)
        except OSError as error:
            raise SqlError(tls_problem(error)) from error
        try:
            self._connection: Any = _BoundedConnection(**arguments)
            self._connection.connect()
        except Exception as error:
            raise SqlError(_problem(error)) from error

    def quote(self, text: str) -> str:
        """A text as it stands between single quotes, as the server's mode wants it.

        Raises:
            SqlError: it is no text in the character set of the connection.
        """
        encoding = self._connection.encoding
        try:
            # A byte of a longer character may look like a quote: only whole characters can be made harmless. In UTF-8 none does.
            octets = to_wire(text)
            known = octets.decode(encoding, "surrogateescape" if encoding.startswith("utf8") else "strict")
            quoted: str = self._connection.escape(known)[1:-1]
            return to_text(quoted.encode(encoding, "surrogateescape"))
        except UnicodeError as error:
            raise SqlError(f"the key does not fit the character set: {error}") from error

    def query(self, statement: str) -> list[str]:
        """The values that a statement finds; all columns of all rows of the one result that has any.

        Raises:
            SqlError: it does not work, has several results, or none where one is required.
        """
        cursor = self._connection.cursor()
        try:
            cursor.execute(to_wire(statement))
            values = self._values(cursor)
        except Exception as error:
            self._connection.break_off()
            raise error if isinstance(error, SqlError) else SqlError(_problem(error)) from error
        cursor.close()
        return values

    def abort(self) -> None:
        """Break the connection, so that whoever reads from it gets an error."""
        with suppress(OSError, AttributeError):
            self._connection._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _values(self, cursor: Any) -> list[str]:
        values: list[str] = []
        results = 0
        length = 0
        while True:
            if cursor.description is not None:
                results += 1
                if results > 1:
                    raise SqlError("multiple result sets returning data are not supported")
                while rows := cursor.fetchmany(_CHUNK):
                    found = [to_text(value) for row in rows for value in row if value is not None]
                    values += found
                    length += sum(map(len, found))
                    if length > LONGEST_RESULT:
                        raise SqlError(f"the result is longer than {LONGEST_RESULT} characters")
            if not cursor.nextset():
                break
        if not results and self._require_result_set:
            raise SqlError("query returned no result set(require_result_set = yes)")
        return values


def _problem(error: Exception) -> str:
    """The server's own words where there are any."""
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLError):
        return tls_problem(cause)
    if isinstance(error, pymysql.Error) and error.args[:1] == (CR.CR_SSL_CONNECTION_ERROR,):
        return "TLS/SSL error: SSL is required, but the server does not support it"
    if isinstance(error, pymysql.Error) and len(error.args) > 1:
        return str(error.args[1])
    return str(error)


def rank(server: str) -> int:
    """UNIX sockets are tried first."""
    host = server.removeprefix("inet:").partition(":")[0]
    return 0 if host in ("unix", "localhost") else 1


@implementer(ILookupTable)
class MysqlTable(DatabaseTable[ServerSession]):
    """A table that is a query to MySQL servers."""

    def __init__(self, request: TableRequest, parameters: SourceParameters) -> None:
        own = MysqlParameters.read(parameters)
        template = query_template(parameters)
        dialect = SqlDialect(
            connect=lambda server: MysqlConnection(own, server),
            rank=rank,
            connect_failed="connect to mysql server {server}: {problem}",
            query_failed=f"{request.table.replace('{', '{{').replace('}', '}}')}: query failed: {{problem}}",
        )
        super().__init__(
            request,
            parameters,
            QueryRules(request, parameters),
            templates=(template,),
            make_session=lambda: ServerSession(own.sql.servers, dialect, own.sql.retry_seconds),
            query=ServerQuery(template),
            too_many=f"dict_mysql_lookup: {parameters.source}: Expansion limit exceeded for key:",
            limits=own.sql.limits,
        )


def open_mysql(request: TableRequest) -> ILookupTable:
    """Open ``mysql:FILE``; connects when the first key is looked up.

    Raises:
        TableError: the file with the parameters cannot be read.
        ConfigError: a parameter makes no sense.
    """
    return open_with_parameters(request, MysqlTable)
