"""What happens to keys before a table sees them: folding, and the check that they are UTF-8.

Flow: registry.py wraps what an opener gives; types that load their keys fold them with the same functions.
Sources: postconf(5) smtputf8_enable; SMTPUTF8_README; a running postmap(1).
"""

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import Emit, TableWarning
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.opening import TableRequest

Fold = Callable[[str], str]
"""Makes equal what is to count as equal."""

_MALFORMED = "malformed UTF-8 or invalid codepoint"

_SUFFIXES = {"hash": ".db", "btree": ".db", "cdb": ".cdb"}
"""Types of tables that Postfix calls by the name of their file when it has something to say of a key."""


def keep(key: str) -> str:
    """The key as it is."""
    return key


def fold_ascii(key: str) -> str:
    """A to Z become a to z; all other bytes stay."""
    return key.lower() if key.isascii() else to_text(to_wire(key).lower())


def fold_unicode(key: str) -> str:
    """The default case folding of Unicode, as ICU does it: ``Straße`` and ``STRASSE`` become one."""
    return key.lower() if key.isascii() else key.casefold()


def is_utf8(text: str) -> bool:
    """Whether a text came from bytes that were UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def folding(request: TableRequest) -> Fold:
    """How keys of a table with fixed keys are folded."""
    if not request.folds:
        return keep
    return fold_unicode if request.utf8 else fold_ascii


def prepared(table: ILookupTable, request: TableRequest) -> ILookupTable:
    """The table, such that callers need not care about folding and encodings."""
    fold = keep if table.by_pattern else folding(request)
    if request.utf8:
        kind = KnownValuesTable if isinstance(table, InMemory) else Utf8Table
        return kind(table, fold, request.context.emit, request.table + _SUFFIXES.get(request.type, ""))
    return table if fold is keep else FoldedTable(table)


class InMemory:
    """What tables have in common whose keys and values are in memory, and have been checked, as far as that is wanted.

    Args:
        name: ``type:name``.
        entries: the values by keys, which are folded.

    Attributes:
        lookup: finds a key that is already folded.
    """

    by_pattern = False
    lookup: Callable[[str], str | None]

    def __init__(self, name: str, entries: Mapping[str, str]) -> None:
        self.name = name
        self.lookup = entries.get  # without a frame of Python's in between: this is all there is to do


@implementer(ILookupTable)
class FoldedTable:
    """A table whose keys are in lower case, ASCII only."""

    def __init__(self, table: ILookupTable) -> None:
        self._lookup = table.lookup
        self.name = table.name
        self.by_pattern = table.by_pattern
        self.changed = table.changed
        self.close = table.close

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up the folded key."""
        return self._lookup(key.lower() if key.isascii() else fold_ascii(key))


@implementer(ILookupTable)
class Utf8Table:
    """A table whose keys and values are UTF-8; its keys may be folded.

    Args:
        table: takes the keys.
        fold: makes equal those that are to count as equal.
        emit: takes events.
        shown: how the table is called when something is wrong with a key or a value; empty: by its name.
    """

    def __init__(self, table: ILookupTable, fold: Fold, emit: Emit, shown: str = "") -> None:
        self._lookup = table.lookup
        self._shown = shown or table.name
        self._folds = fold is not keep
        self._emit = emit
        self.name = table.name
        self.by_pattern = table.by_pattern
        self.changed = table.changed
        self.close = table.close

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up the folded key; one that is not UTF-8 is not found, and told.

        Raises:
            TableError: the table's own, or the value is not UTF-8; a Deferred fails with the same.
        """
        if key.isascii():
            found = self._lookup(key.lower() if self._folds else key)
        else:
            found = self._find_beyond_ascii(key)
        if found is None:
            return None
        if isinstance(found, str):
            return found if found.isascii() else self._check(found, key)
        return found.addCallback(self._check, key)

    def _find_beyond_ascii(self, key: str) -> str | Deferred[str | None] | None:
        if is_utf8(key):
            return self._lookup(key.casefold() if self._folds else key)
        self._emit(TableWarning(f'{self._shown}: non-UTF-8 key "{key}": {_MALFORMED}'))
        return None

    def _check(self, value: str | None, key: str) -> str | None:
        if value is None or is_utf8(value):
            return value
        problem = f'key "{key}": non-UTF-8 value "{value}": {_MALFORMED}'
        self._emit(TableWarning(f"{self._shown}: {problem}"))
        raise TableError(self.name, problem, key)


class KnownValuesTable(Utf8Table):
    """The same for a table whose values have been checked already."""

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Look up the folded key; one that is not UTF-8 is not found, and told."""
        if key.isascii():
            return self._lookup(key.lower() if self._folds else key)
        return self._find_beyond_ascii(key)
