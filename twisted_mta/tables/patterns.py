"""What a library of regular expressions must give to pattern tables.

Flow: posix_regex.py and pcre.py implement it; pattern_rules.py uses it.
Sources: regexp_table(5), pcre_table(5).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from twisted_mta.tables.replacement import Groups


class PatternError(Exception):
    """A pattern that is malformed, or a match that was too much for the library."""


class Pattern(Protocol):
    """A compiled pattern."""

    @property
    def groups(self) -> int:
        """How many groups it has."""

    def test(self, subject: bytes) -> bool:
        """Whether it matches somewhere in a text.

        Raises:
            PatternError: there is no telling.
        """

    def search(self, subject: bytes) -> Groups | None:
        """The groups of the first match in a text; None if there is no match.

        Raises:
            PatternError: there is no telling.
        """


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the patterns of a type of tables are written.

    Attributes:
        compile: compiles a pattern with options; raises PatternError.
        options: the letters behind a pattern, each with the option that it turns around.
        default: the options of a pattern without letters.
        obsolete: letters that are ignored with a warning.
        second_pattern: whether ``!/pattern/`` may follow directly.
        skipping: what happens to a rule whose pattern does not end, in words.
    """

    compile: Callable[[bytes, int], Pattern]
    options: Mapping[str, int]
    default: int
    obsolete: str
    second_pattern: bool
    skipping: str
