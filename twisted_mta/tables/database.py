"""What the lookups of all database tables have in common: which keys are asked for, and what is made of what is found.

Flow: sqlite.py, mysql.py, pgsql.py, ldap.py and mongodb.py build their tables on it.
Sources: mysql_table(5), ldap_table(5) and their likes: query, result_format, domain, expansion_limit; a running postmap(1).
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import split_items
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import TableWarning
from twisted_mta.tables.answer import answer
from twisted_mta.tables.keys import is_utf8
from twisted_mta.tables.match_list import MatchKind, MatchList
from twisted_mta.tables.opening import LISTED, TableRequest
from twisted_mta.tables.results import LookupFailedError, Results, Warn
from twisted_mta.tables.sessions import DEFAULT_LIMITS, Session, SessionLimits, Sessions
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.templates import KeyParts, Template, parse_template

S = TypeVar("S", bound=Session)
S_contra = TypeVar("S_contra", contravariant=True)


class Query(Protocol[S_contra]):
    """Asks for a key."""

    def __call__(self, session: S_contra, /, *, key: KeyParts, results: Results, warn: Warn) -> None:
        """Add to the results what is found, in a thread.

        Raises:
            LookupFailedError: the database cannot be asked.
        """


class DomainFilter:
    """The domains whose keys a table is asked for.

    Args:
        request: opens the tables of the list.
        source: where the list comes from.
        domains: the list; empty: all keys are asked for.
    """

    def __init__(self, request: TableRequest, source: str, domains: str) -> None:
        self._takes_all = not domains
        self._list = MatchList(
            source,
            split_items(domains),
            MatchKind.STRING,
            partial(request.open_member, flags=LISTED),
            request.context.emit,
            utf8=request.context.smtputf8,
            open_errors_are_fatal=request.context.open_errors_are_fatal,
        )

    async def accepts(self, key: KeyParts) -> bool:
        """Whether to ask for a key: it has a user and one of the domains, which may be empty, or there is no list.

        Raises:
            TableError: the list cannot be searched.
        """
        if self._takes_all:
            return True
        return "@" in key.whole and key.user is not None and await self._list.matches(key.domain or "")

    def changed(self) -> bool:
        """Whether a file of the list has changed."""
        return self._list.changed()

    def close(self) -> None:
        """Close the files of the list."""
        self._list.close()


class QueryRules:
    """The parameters that all database tables have.

    Args:
        request: what is to be opened.
        parameters: its parameters.
        expansion_limit: the default of that.
        most_results: the largest value of that; 0: any.
        result_format: the text, where it has another name.

    Attributes:
        source: where the parameters come from.

    Raises:
        ConfigError: a parameter makes no sense.
    """

    def __init__(
        self,
        request: TableRequest,
        parameters: SourceParameters,
        *,
        expansion_limit: int = 0,
        most_results: int = 0,
        result_format: str = "%s",
    ) -> None:
        self.source = parameters.source
        text = parameters.text("result_format", result_format, shortest=1)
        self.result_format = parse_template(text, self.source, "result")
        self.expansion_limit = parameters.integer("expansion_limit", expansion_limit, maximum=most_results)
        self.domains = DomainFilter(request, self.source, parameters.text("domain"))


def query_template(parameters: SourceParameters, *, has_function: bool = False) -> Template:
    """The SQL query of a table, from its ``query`` or from the parameters that it was made of in former times.

    Args:
        parameters: of the table.
        has_function: whether there is ``select_function``.

    Raises:
        ConfigError: a parameter is missing, or the query is malformed.
    """
    query = parameters.text("query")
    if not query and has_function and (function := parameters.text("select_function")):
        query = f"SELECT {function}('%s')"
    if not query:
        table, field, where = (parameters.text(name, shortest=1) for name in ("table", "select_field", "where_field"))
        query = f"SELECT {field} FROM {table} WHERE {where}='%s' {parameters.text('additional_conditions')}"
    return parse_template(query, parameters.source, "query")


class DatabaseTable(Generic[S]):
    """A table that is asked in threads.

    Args:
        request: what was to be opened.
        parameters: closed with the table.
        rules: what all such tables have.
        templates: keys are asked for only if these can be filled in.
        make_session: makes a session.
        query: asks for a key.
        too_many: the warning about too many results, but for the key at its end.
        limits: of the sessions.
        only_utf8: whether other keys are not asked for.
    """

    by_pattern = False

    def __init__(
        self,
        request: TableRequest,
        parameters: SourceParameters,
        rules: QueryRules,
        *,
        templates: tuple[Template, ...],
        make_session: Callable[[], S],
        query: Query[S],
        too_many: str,
        limits: SessionLimits = DEFAULT_LIMITS,
        only_utf8: bool = False,
    ) -> None:
        self.name = request.table
        self._emit = request.context.emit
        self._parameters = parameters
        self._rules = rules
        self._templates = templates
        self._query = query
        self._too_many = too_many
        self._only_utf8 = only_utf8
        context = request.context
        self._sessions = Sessions(request.table, make_session, context.in_thread, context.reactor, limits)

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up a key; in a thread if there are threads.

        Raises:
            TableError: the database cannot be asked; a Deferred fails with the same.
        """
        return answer(self._find(key))

    def changed(self) -> bool:
        """Whether a file with parameters has changed."""
        return self._parameters.changed() or self._rules.domains.changed()

    def close(self) -> None:
        """Close the connections, at once or when their threads end."""
        self._sessions.close()
        self._parameters.close()
        self._rules.domains.close()

    async def _find(self, text: str) -> str | None:
        if self._only_utf8 and not is_utf8(text):
            return None
        key = KeyParts(text)
        rules = self._rules
        if not await rules.domains.accepts(key):
            return None
        # What the result says of the key is known before it is asked for; if that is not there, there will be no result.
        if not rules.result_format.fits(key, "SUD123456789") or not all(each.fits(key) for each in self._templates):
            return None
        warnings: list[str] = []
        results = Results(self.name, key, rules.result_format, rules.expansion_limit, self._too_many, warnings.append)
        try:
            running = self._sessions.run(partial(self._query, key=key, results=results, warn=warnings.append))
            if isinstance(running, Deferred):
                await running
        except LookupFailedError as error:
            self._tell(warnings, error.warning)
            raise TableError(self.name, error.problem, text) from error
        self._tell(warnings)
        return results.joined()

    def _tell(self, warnings: list[str], last: str = "") -> None:
        for warning in [*warnings, last]:
            if warning:
                self._emit(TableWarning(warning))


def open_with_parameters(
    request: TableRequest, open_table: Callable[[TableRequest, SourceParameters], ILookupTable]
) -> ILookupTable:
    """Read the parameters of a table and open it; if that fails, the parameters are closed again.

    Raises:
        TableError: the table cannot be opened.
        ConfigError: a parameter makes no sense.
    """
    parameters = SourceParameters(request)
    try:
        return open_table(request, parameters)
    except BaseException:
        parameters.close()
        raise


def unknown_value(source: str, name: str, value: str) -> ConfigError:
    """The error for a parameter that has none of its possible values."""
    return ConfigError(f"{source}: unsupported parameter value: {name} = {value}", parameter=name)
