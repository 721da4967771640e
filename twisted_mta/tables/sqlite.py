"""``sqlite:FILE``: a query to an SQLite database.

Flow: registry.py opens it.
Sources: sqlite_table(5); a running postmap(1); the documentation of Python's sqlite3, "threadsafety".
"""

import math
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, suppress
from functools import partial
from urllib.parse import quote

from zope.interface import implementer

from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ILookupTable
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.database import DatabaseTable, QueryRules, open_with_parameters, query_template
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.results import LARGEST_REPLY, LookupFailedError, Results, Warn
from twisted_mta.tables.sessions import SessionLimits
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.templates import KeyParts, Template


class SqliteSession:
    """An open database: opened once, while that may be permitted to root only, and used by one thread at a time.

    Args:
        path: the file.

    Raises:
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        # Read-only: with a mistake in its name, a new database would be made.
        address = f"file:{quote(to_wire(path))}?mode=ro"
        self._connection = sqlite3.connect(address, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        self._connection.text_factory = to_text
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_REPLY)

    def first_column(self, statement: str) -> Generator[str, None, None]:
        """The first column of what a query finds, as text; NULL is left out.

        Raises:
            sqlite3.Error: from the iterator: the query does not work.
            ValueError: from the iterator: the query is not UTF-8.
        """
        cursor = self._connection.cursor()
        try:
            for row in cursor.execute(statement):
                if row[0] is not None:
                    yield as_text(row[0])
        finally:
            cursor.close()

    def abort(self) -> None:
        """Break off the query that runs."""
        with suppress(sqlite3.Error):
            self._connection.interrupt()

    def rest(self) -> None:
        """Nothing: the file may not be opened again later."""

    def close(self) -> None:
        """Close the file, or leave that to whatever still runs."""
        with suppress(sqlite3.Error):
            self._connection.close()


def as_text(value: object) -> str:
    """A value as SQLite itself would turn it into text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return to_text(value)
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value).capitalize()
    mantissa, exponent, power = f"{value + 0.0:.15g}".partition("e")
    return (mantissa if "." in mantissa else mantissa + ".0") + exponent + power


def quoted(text: str) -> str:
    """A text as it stands between single quotes."""
    return text.replace("'", "''")


def first_statement(text: str) -> str:
    """The first statement of a text: what follows it is left out."""
    end = text.find(";")
    while end >= 0:
        if sqlite3.complete_statement(text[: end + 1]):
            return text[: end + 1]
        end = text.find(";", end + 1)
    return text


@implementer(ILookupTable)
class SqliteTable(DatabaseTable[SqliteSession]):
    """A table that is an SQLite database."""

    def __init__(self, request: TableRequest, parameters: SourceParameters) -> None:
        path = os.path.join(request.context.queue_directory, parameters.text("dbpath", shortest=1))
        self._statement = query_template(parameters)
        self._source = parameters.source
        rules = QueryRules(request, parameters)
        try:
            self._session = SqliteSession(path)
        except sqlite3.Error as error:
            raise ConfigError(f"{request.table}: Can't open database: {error}", mended_in=path) from error
        super().__init__(
            request,
            parameters,
            rules,
            templates=(self._statement,),
            make_session=lambda: self._session,
            query=partial(_query, self._statement, parameters.source),
            too_many=f"dict_sqlite_lookup: {parameters.source}: Expansion limit exceeded for key",
            limits=SessionLimits(sessions=1),
            only_utf8=True,
        )

    def close(self) -> None:
        """Close the database."""
        super().close()
        self._session.abort()
        self._session.close()


def _query(
    template: Template, source: str, session: SqliteSession, *, key: KeyParts, results: Results, warn: Warn
) -> None:
    statement = first_statement(template.fill(key, quoted) or "")
    try:
        with closing(session.first_column(statement)) as found:
            results.add_all(found)
    except (sqlite3.Error, ValueError) as error:
        during = "SQL prepare failed" if _is_mistake(error) else f"SQL step failed for query '{statement}'"
        problem = f"dict_sqlite_lookup: {source}: {during}: {error}"
        raise LookupFailedError(problem, problem) from error


def _is_mistake(error: Exception) -> bool:
    """Whether the query itself is wrong, and not something for the moment."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR


def open_sqlite(request: TableRequest) -> ILookupTable:
    """Open ``sqlite:FILE``.

    Raises:
        TableError: the file with the parameters cannot be read.
        ConfigError: a parameter makes no sense, or the database cannot be opened.
    """
    return open_with_parameters(request, SqliteTable)
