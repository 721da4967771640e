"""What a library of regular expressions must give to pattern tables.

A hostile text can make a pattern work for hours. So each table has its patterns twice: quick ones, which the reactor waits for
and which refuse what takes them too long; and patient ones, which do in a thread what Postfix would do.

Flow: posix_regex.py and perl_regex.py implement it; pattern_rules.py uses it.
Sources: regexp_table(5), pcre_table(5).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from twisted_mta.tables.replacement import Groups


class PatternError(Exception):
    """A pattern that is malformed, or a match that was too much for the library: the rule does not apply, as in Postfix."""


class TooHardError(Exception):
    """A quick pattern would take too long for a text: a patient one must do it."""


class TooMuchError(Exception):
    """A patient pattern is not allowed what a text needs, or nobody waits for it any more: there is no telling."""


@dataclass(slots=True, eq=False)
class Effort:
    """What the patterns of a table may take.

    Attributes:
        patient: whether they are patient.
        abandoned: whether nobody waits for them any more; may be set in another thread.
    """

    patient: bool = False
    abandoned: bool = False


class Pattern(Protocol):
    """A compiled pattern; for one thread at a time, as all patterns of one effort."""

    @property
    def groups(self) -> int:
        """How many groups it has."""

    def test(self, subject: bytes) -> bool:
        """Whether it matches somewhere in a text.

        Raises:
            PatternError, TooHardError, TooMuchError: see there.
        """

    def search(self, subject: bytes) -> Groups | None:
        """The groups of the first match in a text; None if there is no match.

        Raises:
            PatternError, TooHardError, TooMuchError: see there.
        """


Compile = Callable[[bytes, int], Pattern]
"""Compiles a pattern with options; raises PatternError."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the patterns of a type of tables are written.

    Attributes:
        compiler: gives what compiles the patterns of one effort.
        options: the letters behind a pattern, each with the option that it turns around.
        default: the options of a pattern without letters.
        obsolete: letters that are ignored with a warning.
        second_pattern: whether ``!/pattern/`` may follow directly.
        skipping: what happens to a rule whose pattern does not end, in words.
        no_group: what a group is that there cannot be, in words.
        last_backslash_ends: whether a backslash at the end of the line ends a pattern, as if it were the delimiter.
    """

    compiler: Callable[[Effort], Compile]
    options: Mapping[str, int]
    default: int
    obsolete: str
    second_pattern: bool
    skipping: str
    no_group: str = "out of range"
    last_backslash_ends: bool = False
