"""Which types of tables there are, and how one is opened.

Flow: table_set.py calls `open_table`, which imports the module of the type and calls its opener.
Sources: postconf(5); DATABASE_README(5), "Postfix lookup table types"; the texts are those of a running Postfix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import TableProblem
from twisted_mta.tables.keys import prepared
from twisted_mta.tables.opening import Opener, OpenMember, TableContext, TableFlags, TableRequest, UnusableTableError
from twisted_mta.tables.surrogate import UnavailableTable


@dataclass(frozen=True, slots=True)
class TableType:
    """A type of tables.

    Attributes:
        opener: ``function`` in a module of this package, as ``module:function``; imported when the first table is opened.
        extra: what to install where a library that the module imports is absent: ``pip install "twisted_mta[EXTRA]"``.
    """

    opener: str
    extra: str = ""


TYPES: Mapping[str, TableType] = {
    "btree": TableType("berkeley_db:open_btree", extra="hash"),
    "cdb": TableType("cdb:open_cdb"),
    "cidr": TableType("cidr:open_cidr"),
    "environ": TableType("environ:open_environ"),
    "fail": TableType("fail:open_fail"),
    "hash": TableType("berkeley_db:open_hash", extra="hash"),
    "inline": TableType("inline:open_inline"),
    "internal": TableType("internal:open_internal"),
    "ldap": TableType("ldap:open_ldap", extra="ldap"),
    "lmdb": TableType("lmdb:open_lmdb", extra="lmdb"),
    "memcache": TableType("memcache:open_memcache"),
    "mongodb": TableType("mongodb:open_mongodb", extra="mongodb"),
    "mysql": TableType("mysql:open_mysql", extra="mysql"),
    "nis": TableType("nis:open_nis"),
    "pcre": TableType("pcre:open_pcre"),
    "pgsql": TableType("pgsql:open_pgsql", extra="pgsql"),
    "pipemap": TableType("pipemap:open_pipemap"),
    "proxy": TableType("proxy:open_proxy"),
    "randmap": TableType("randmap:open_randmap"),
    "regexp": TableType("regexp:open_regexp"),
    "socketmap": TableType("socketmap:open_socketmap"),
    "sqlite": TableType("sqlite:open_sqlite"),
    "static": TableType("static:open_static"),
    "tcp": TableType("tcp:open_tcp"),
    "texthash": TableType("texthash:open_texthash"),
    "unionmap": TableType("unionmap:open_unionmap"),
    "unix": TableType("unix:open_unix"),
}
"""All types. Others that Postfix has on some systems (dbm, sdbm, netinfo, nisplus) have no library here."""


def open_table(
    spec: str,
    context: TableContext,
    *,
    flags: TableFlags,
    open_member: OpenMember,
    types: Mapping[str, TableType] = TYPES,
) -> ILookupTable:
    """Open a table.

    Args:
        spec: ``type:name``.
        context: what the tables of a generation have in common.
        flags: how the table is used: EXACT, FOLDED, ADDRESSES or LISTED.
        open_member: opens the tables that this one is made of.
        types: the types there are.

    Returns:
        The table; where it cannot be opened, that is emitted, and each lookup in it is a TableError.

    Raises:
        ConfigError: it is not in ``type:name`` form, has parameters that make no sense, or cannot be opened and
            daemon_table_open_error_is_fatal says that this is fatal.
    """
    kind, _, name = spec.partition(":")
    if not kind or not name:
        raise ConfigError(f'open dictionary: expecting "type:name" form instead of "{spec}"')
    request = TableRequest(kind, name, flags, context, open_member)
    try:
        return prepared(_opener(request, types)(request), request)
    except TableError as error:
        reason = error.problem
        path = error.path if isinstance(error, UnusableTableError) else ""
    except RecursionError:
        reason, path = f"{kind}: tables are nested too deeply", ""
    if context.open_errors_are_fatal:
        raise ConfigError(reason, mended_in=path)
    context.emit(TableProblem(spec, reason))
    return UnavailableTable(spec, reason, context.emit, path)


def _opener(request: TableRequest, types: Mapping[str, TableType]) -> Opener:
    problem = f"unsupported dictionary type: {request.type}"
    row = types.get(request.type)
    if row is None:
        raise request.unusable(problem)
    module, _, function = row.opener.partition(":")
    try:
        opener: Opener = getattr(import_module(f"{__package__}.{module}"), function)
    except ImportError as error:
        advice = f'; pip install "twisted_mta[{row.extra}]"' if row.extra else ""
        raise request.unusable(f"{problem} ({error}{advice})") from error
    return opener
