"""Where the rules of pattern tables come from: a file, or the name itself, ``{{rule}, {rule}}``.

Flow: pattern_table.py and cidr.py read their rules here.
Sources: regexp_table(5), pcre_table(5), cidr_table(5), "INLINE SPECIFICATION"; a running postmap(1).
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.config.main_cf import logical_lines
from twisted_mta.config.values import split_items
from twisted_mta.model.text import to_text
from twisted_mta.tables.braces import WHITESPACE, BracesError, inner_text
from twisted_mta.tables.files import OpenFile, read_text_table
from twisted_mta.tables.opening import TableRequest

_COMMENT = "#"
"""Begins a rule that is none, in a name as in a file."""


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule as it is written.

    Attributes:
        text: without white space at its ends.
        place: where it stands: ``TYPE map FILE, line N``.
    """

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class RuleSource:
    """The rules of a table.

    Attributes:
        lines: in order.
        file: the file they come from; None where they are in the table's name.
    """

    lines: tuple[RuleLine, ...]
    file: OpenFile | None

    @property
    def changed(self) -> Callable[[], bool]:
        """What tells whether the rules have changed."""
        return self.file.changed if self.file else _never

    @property
    def close(self) -> Callable[[], None]:
        """What gives back the file."""
        return self.file.close if self.file else _nothing


def read_rules(request: TableRequest) -> RuleSource:
    """Read the rules of a table.

    Raises:
        TableError: the file cannot be read, or the braces do not match.
    """
    where = f"{request.type} map {request.name}"
    if request.name.startswith("{"):
        try:
            texts = [inner_text(item) for item in split_items(inner_text(request.name))]
        except BracesError as error:
            raise request.unusable(f"{request.type} map: {error.problem}") from None
        lines = ((n, text) for n, text in enumerate(texts, 1) if text and not text.startswith(_COMMENT))
        return RuleSource(tuple(RuleLine(text, f"{where}, line {n}") for n, text in lines), None)
    file, data = read_text_table(request)
    found = logical_lines(to_text(data), file.path, request.warn)
    return RuleSource(
        tuple(RuleLine(line.text.strip(WHITESPACE), f"{where}, line {line.number}") for line in found), file
    )


def _never() -> bool:
    return False


def _nothing() -> None:
    return None
