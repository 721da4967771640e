"""The tables of one generation of the configuration: each opened once, all closed together.

Flow: assembly.py makes one for each generation; whoever has a table parameter opens its tables here.
Sources: postconf(5); daemons open a table with the same name and use once.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from twisted.internet.defer import Deferred

from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ILookupTable, IWritableTable, TableError
from twisted_mta.tables.maps import Maps
from twisted_mta.tables.match_list import MatchKind, MatchList
from twisted_mta.tables.opening import ADDRESSES, LISTED, WRITABLE, TableContext, TableFlags, TableRequest
from twisted_mta.tables.registry import open_table
from twisted_mta.tables.surrogate import Stamp, file_age_seconds, file_stamp
from twisted_mta.tables.writable import open_writable

SETTLING_SECONDS = 1.0
"""A file that is younger may be just being written: what is wrong with it does not count yet."""


class TableSet:
    """Opens tables and shares them."""

    def __init__(self, context: TableContext) -> None:
        self._context = context
        self._tables: dict[tuple[str, TableFlags], ILookupTable] = {}
        self._writable: dict[str, IWritableTable] = {}
        self._lists: dict[str, MatchList] = {}
        self._refused: dict[str, Stamp | None] = {}

    def open(self, spec: str, flags: TableFlags = ADDRESSES) -> ILookupTable:
        """Open a table, or give the one that is already open for the same use.

        Args:
            spec: ``type:name``.
            flags: EXACT, FOLDED, ADDRESSES or LISTED.

        Raises:
            ConfigError: as `open_table` does.
        """
        table = self._tables.get((spec, flags))
        if table is None:
            with self._watching(spec.partition(":")[2]):
                table = open_table(spec, self._context, flags=flags, open_member=partial(self.open, flags=flags))
            self._tables[spec, flags] = table
        return table

    def named(self, parameter: str, spec: str, flags: TableFlags = ADDRESSES) -> ILookupTable:
        """Open the one table that a parameter names.

        Args:
            parameter: its name, as main.cf has it.
            spec: its value: ``type:name``.
            flags: as for `open`.

        Raises:
            ConfigError: as `open_table` does.
        """
        with _concerning(parameter):
            return self.open(spec, flags)

    def open_writable(self, spec: str) -> IWritableTable:
        """Open a table that is to be written to, too.

        Args:
            spec: ``type:name``.

        Raises:
            ConfigError: that cannot be done.
        """
        table = self._writable.get(spec)
        if table is None:
            kind, _, name = spec.partition(":")
            request = TableRequest(kind, name, WRITABLE, self._context, self.open)
            try:
                table = self._writable[spec] = open_writable(request)
            except TableError as error:
                raise ConfigError(error.problem) from error
        return table

    def maps(self, parameter: str, items: Iterable[str], flags: TableFlags = ADDRESSES) -> Maps:
        """Open the tables of a parameter.

        Args:
            parameter: its name, as main.cf has it.
            items: its value: tables ``type:name``.
            flags: EXACT, FOLDED or ADDRESSES.

        Raises:
            ConfigError: as `open_table` does.
        """
        with _concerning(parameter):
            return Maps(parameter, [self.open(spec, flags) for spec in items], self._context.emit)

    def match_list(
        self, parameter: str, items: Iterable[str], kind: MatchKind, *, parents_match: bool = False
    ) -> MatchList:
        """Open the files and tables of a list of patterns; each parameter has one.

        Args:
            parameter: its name, as main.cf has it.
            items: its value.
            kind: what its items are compared with.
            parents_match: whether it is named in parent_domain_matches_subdomains.

        Raises:
            ConfigError: an item is malformed, or as `open_table` does.
        """
        made = self._lists.get(parameter)
        if made is None:
            context = self._context
            with self._watching(), _concerning(parameter):
                made = self._lists[parameter] = MatchList(
                    parameter,
                    items,
                    kind,
                    partial(self.open, flags=LISTED),
                    context.emit,
                    parents_match=parents_match,
                    utf8=context.smtputf8,
                    open_errors_are_fatal=context.open_errors_are_fatal,
                )
        return made

    def is_listed(self, name: str, parameter: str, items: Iterable[str]) -> bool:
        """Whether a list of texts has a name, while the configuration is loaded.

        Args:
            name: for instance that of a parameter.
            parameter: the name of the list, as main.cf has it.
            items: its value.

        Raises:
            ConfigError: the list cannot be used or searched, or only later.
        """
        try:
            found = self.match_list(parameter, items, MatchKind.STRING).test(name)
        except TableError as error:
            raise ConfigError(f"{parameter}: {error.table}: table lookup problem", parameter=parameter) from error
        if isinstance(found, Deferred):
            found.addErrback(lambda _: None)
            found.cancel()
            raise ConfigError(f"{parameter}: there are tables that cannot answer at once", parameter=parameter)
        return found

    def changed(self) -> str:
        """The name of a table or list that must be opened anew because of what it was made from; empty if there is none."""
        changed = (name for name, has_changed in self._watched() if has_changed())
        return next(changed, "")

    def is_settling(self) -> bool:
        """Whether a file that could not be used is so young that it may be just being written."""
        return any(abs(file_age_seconds(path)) < SETTLING_SECONDS for path in self._refused)

    def close(self) -> None:
        """Close all tables and lists; no lookup may follow."""
        for made in self._lists.values():
            made.close()
        for table in reversed(self._tables.values()):
            table.close()
        for writable in self._writable.values():
            writable.close()
        self._lists.clear()
        self._writable.clear()
        self._refused.clear()
        self._tables.clear()

    def _watched(self) -> Iterator[tuple[str, Callable[[], bool]]]:
        for (spec, flags), table in self._tables.items():
            # As Postfix names a table in its log: 0 is O_RDONLY.
            yield f"{spec}(0,{'|'.join(str(flag.name).lower() for flag in flags)})", table.changed
        for parameter, made in self._lists.items():
            yield parameter, made.changed
        for path, stamp in self._refused.items():
            yield path, partial(_differs, path, stamp)

    @contextmanager
    def _watching(self, name: str = "") -> Iterator[None]:
        """Watch the files that have made the configuration unusable, or else nobody would notice that they are mended."""
        folder = self._context.queue_directory
        named = os.path.join(folder, name) if name.startswith(("/", ".")) else ""
        # Seen before it is read: whatever happens to it meanwhile is a change.
        before = file_stamp(named)
        try:
            yield
        except ConfigError as error:
            if named:
                self._refused[named] = before
            for path in (os.path.join(folder, each) for each in (error.file, error.mended_in) if each):
                self._refused.setdefault(path, file_stamp(path))
            raise


@contextmanager
def _concerning(parameter: str) -> Iterator[None]:
    """Have errors say which parameter they concern."""
    try:
        yield
    except ConfigError as error:
        error.parameter = error.parameter or parameter
        raise


def _differs(path: str, stamp: Stamp | None) -> bool:
    now = file_stamp(path)
    return now is not None and now != stamp
