"""Lists of patterns, files and tables that a name or an address may match.

Flow: table_set.py opens one for a parameter; whoever the parameter belongs to asks it.
Sources: postconf(5), mydestination, fast_flush_domains, debug_peer_list, parent_domain_matches_subdomains; a running postmap(1).

An item is, behind any number of ``!``, ``/file/name`` whose items take its place, a table ``type:name``, or a pattern. The first
item that matches decides; with an odd number of ``!`` it says no.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from twisted.internet.defer import Deferred

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import logical_lines
from twisted_mta.config.values import split_items
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import Emit, TableProblem, TableWarning
from twisted_mta.model.text import to_text
from twisted_mta.tables.answer import answer
from twisted_mta.tables.files import OpenFile, open_file, read_all
from twisted_mta.tables.keys import Fold, fold_ascii, fold_unicode
from twisted_mta.tables.networks import NetworkError, parse_address, parse_network, without_brackets
from twisted_mta.tables.surrogate import UnavailableTable

_DEEPEST = 20
"""How deep files may name each other, before it is taken for an endless loop."""


class MatchKind(enum.Enum):
    """What the items of a list are compared with."""

    STRING = enum.auto()
    """A text: the whole of it."""
    DOMAIN = enum.auto()
    """A host name, or a parent of it."""
    NAME_OR_ADDRESS = enum.auto()
    """A host name, or a parent of it, or an address."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One item.

    Attributes:
        negated: whether a match means no.
        test: whether a name, folded, or an address matches a pattern; raises TableError.
        table: a table, which is asked in its place.
    """

    negated: bool
    test: Callable[[str, str], bool]
    table: ILookupTable | None = None


class MatchList:
    """A list that names, and addresses, may match; false if nothing is said: one that names an empty file matches nothing."""

    def __init__(
        self,
        parameter: str,
        items: Iterable[str],
        kind: MatchKind,
        open_table: Callable[[str], ILookupTable],
        emit: Emit,
        *,
        parents_match: bool = False,
        utf8: bool = True,
        open_errors_are_fatal: bool = False,
    ) -> None:
        """Read the items, and the files and tables among them.

        Args:
            parameter: for the log; of a table's own list, the file where it stands.
            items: as settings have them.
            kind: what they are compared with.
            open_table: opens a table such that it takes keys as they are; it belongs to whoever gave this.
            emit: takes events.
            parents_match: whether the parameter is named in parent_domain_matches_subdomains: then ``example.com`` stands for
                its subdomains, too; otherwise only ``.example.com`` does, and for nothing else.
            utf8: smtputf8_enable.
            open_errors_are_fatal: daemon_table_open_error_is_fatal.

        Raises:
            ConfigError: an item has nothing behind ``!``, a file cannot be read and that is fatal, or as opening a table may
                raise.
        """
        self._parameter = parameter
        self._kind = kind
        self._emit = emit
        self._open_table = open_table
        self._parents_match = parents_match
        self._open_errors_are_fatal = open_errors_are_fatal
        self._fold: Fold = fold_unicode if utf8 else fold_ascii
        self._files: list[OpenFile | UnavailableTable] = []
        words = tuple(items)
        self._is_there = bool(words)
        self._items = tuple(self._read(words, negated=False, depth=0))

    def __bool__(self) -> bool:
        return self._is_there

    async def matches(self, name: str, address: str = "") -> bool:
        """Whether a name, or its address, matches. Waits for nothing where all tables answer at once.

        Args:
            name: a text or a host name, in any case.
            address: an address as text, for NAME_OR_ADDRESS.

        Raises:
            TableError: a table or a file of the list cannot be read, or a network is malformed; that has been told.
        """
        folded = self._fold(name)
        for item in self._items:
            if item.table is None:
                found = item.test(folded, address)
            else:
                found = await self._in_table(item.table, folded, address)
            if found:
                return not item.negated
        return False

    def test(self, name: str, address: str = "") -> bool | Deferred[bool]:
        """Whether a name, or its address, matches, at once where all tables answer at once.

        Raises:
            TableError: as `matches` raises it; the Deferred fails with the same.
        """
        return answer(self.matches(name, address))

    def changed(self) -> bool:
        """Whether one of the files of the list has changed; its tables tell for themselves."""
        return any(file.changed() for file in self._files)

    def close(self) -> None:
        """Close the files of the list."""
        for file in self._files:
            file.close()

    def _read(self, items: Iterable[str], *, negated: bool, depth: int) -> Iterator[_Item]:
        words = list(items)
        for at, item in enumerate(words):
            if item.startswith("#"):
                rest = " ".join(words[at:])
                self._emit(TableWarning(f"{self._parameter}: #comment after other text is not allowed: {rest}"))
                return
            pattern = item.lstrip("!")
            negative = negated != ((len(item) - len(pattern)) % 2 == 1)
            if not pattern:
                raise ConfigError(f"{self._parameter}: no pattern after '!'", parameter=self._parameter)
            if pattern.startswith("/"):
                yield from self._read_file(pattern, negative, depth + 1)
            elif ":" in pattern and not pattern.startswith("["):
                table = self._open_table(pattern)
                yield _Item(negative, _nothing, table)
            else:
                yield _Item(negative, self._pattern_test(pattern))

    def _read_file(self, path: str, negated: bool, depth: int) -> Iterator[_Item]:
        problem = ""
        try:
            if depth > _DEEPEST:
                raise OSError(0, "files name each other without end")
            file = open_file(path)
            self._files.append(file)
            text = to_text(read_all(file))
        except OSError as error:
            problem = f"open file {path}: {error.strerror}"
        if problem:
            yield _Item(negated, _nothing, self._unavailable(path, problem))
            return
        for line in logical_lines(text, path, self._warn):
            try:
                yield from self._read(split_items(line.text), negated=negated, depth=depth)
            except ConfigError as error:
                if not error.file:
                    error.file, error.line = path, line.number
                raise

    def _unavailable(self, path: str, problem: str) -> ILookupTable:
        """What takes the place of a file that cannot be read, as of a table that cannot be opened."""
        if self._open_errors_are_fatal:
            raise ConfigError(problem, parameter=self._parameter, mended_in=path)
        name = f"non-existent:{path}"
        self._emit(TableProblem(name, problem))
        table = UnavailableTable(name, problem, self._emit, path)
        self._files.append(table)
        return table

    def _warn(self, text: str) -> None:
        self._emit(TableWarning(text))

    def _pattern_test(self, pattern: str) -> Callable[[str, str], bool]:
        literal = self._fold(pattern)
        if self._kind is MatchKind.STRING:
            return lambda name, _: name == literal
        tail = f".{literal}" if self._parents_match else literal if literal.startswith(".") else ""
        if self._kind is MatchKind.DOMAIN:
            return partial(_is_domain, literal, tail)
        is_address = self._address_test(pattern)
        return lambda name, address: _is_domain(literal, tail, name) or is_address(address)

    def _address_test(self, pattern: str) -> Callable[[str], bool]:
        if "/" not in pattern and ":" not in pattern:
            same = pattern.removeprefix("[").removesuffix("]")
            # What stands for no address at all is not matched, either, but by tables.
            return _no_address if parse_address(same) is None else lambda address: address == same
        try:
            network = parse_network(without_brackets(pattern))
        except NetworkError as error:
            problem = str(error)
            return lambda address: parse_address(address) is not None and self._fail(problem)

        def contains(text: str) -> bool:
            address = parse_address(text)
            return address is not None and network.contains(address)

        return contains

    async def _in_table(self, table: ILookupTable, name: str, address: str) -> bool:
        keys = [name] if self._kind is MatchKind.STRING else self._domain_keys(name, table.by_pattern)
        if self._kind is MatchKind.NAME_OR_ADDRESS and address:
            keys = [*keys, address]
        for key in keys:
            try:
                found = table.lookup(key)
                if isinstance(found, Deferred):
                    found = await found
            except TableError:
                self._warn(f"{self._parameter}: {table.name}: table lookup problem")
                raise
            if found is not None:
                return True
        return False

    def _domain_keys(self, name: str, only_whole: bool) -> Sequence[str]:
        """A host name, and its parents as tables have them."""
        if only_whole:
            return (name,)
        labels = name.split(".")
        dot = "" if self._parents_match else "."
        return (name, *(dot + ".".join(labels[at:]) for at in range(1, len(labels))))

    def _fail(self, problem: str) -> NoReturn:
        """Refuse to compare with a malformed pattern; as in Postfix that is told whenever a search comes so far."""
        self._warn(f"{self._parameter}: {problem}")
        raise TableError(self._parameter, problem)


def _nothing(_name: str, _address: str) -> bool:
    return False


def _no_address(_address: str) -> bool:
    return False


def _is_domain(literal: str, tail: str, name: str, _address: str = "") -> bool:
    return name == literal or (tail != "" and name.endswith(tail))
