"""``pcre:FILE``: tables of Perl-compatible regular expressions.

Flow: registry.py opens them.
Sources: pcre_table(5); pcre2pattern(3), pcre2api(3); a running postmap(1).

The library's own limit on matching (ten million steps) bounds the time that a hostile text can take.
"""

import enum

import pcre2

from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.pattern_table import PatternTable, open_patterns
from twisted_mta.tables.patterns import Dialect, PatternError
from twisted_mta.tables.replacement import Groups


class Option(enum.IntFlag):
    """Options of pcre2_compile(3) by their numbers; the library takes ANCHORED as a way to search alone."""

    CASELESS = 0x8
    DOLLAR_ENDONLY = 0x10
    DOTALL = 0x20
    EXTENDED = 0x80
    MULTILINE = 0x400
    UNGREEDY = 0x40000
    ANCHORED = 0x80000000


class PcrePattern:
    """A compiled pattern.

    Attributes:
        groups: how many groups it has.
    """

    __slots__ = ("_search", "groups")

    def __init__(self, pattern: bytes, options: Option) -> None:
        """Compile a pattern.

        Raises:
            PatternError: it is malformed.
        """
        try:
            # Without the just-in-time compiler, as in Postfix: its small stack makes other texts too much for it.
            compiled = pcre2.compile(pattern, int(options & ~Option.ANCHORED), jit=False)
        except pcre2.PatternError as error:
            raise PatternError(f"error in regex at offset {error.pos}: {error.msg.partition('; ')[2]}") from None
        self._search = compiled.match if Option.ANCHORED in options else compiled.search
        self.groups: int = compiled.groups

    def test(self, subject: bytes) -> bool:
        """Whether the pattern matches somewhere.

        Raises:
            PatternError: there is no telling.
        """
        try:
            return self._search(subject) is not None
        except pcre2.LibraryError as error:
            raise PatternError(str(error)) from None

    def search(self, subject: bytes) -> Groups | None:
        """The groups of the first match; None if there is none.

        Raises:
            PatternError: there is no telling.
        """
        try:
            match = self._search(subject)
        except pcre2.LibraryError as error:
            raise PatternError(str(error)) from None
        if match is None:
            return None
        groups: Groups = match.group
        return groups


PERL = Dialect(
    compile=lambda pattern, options: PcrePattern(pattern, Option(options)),
    options={
        "i": Option.CASELESS,
        "m": Option.MULTILINE,
        "s": Option.DOTALL,
        "x": Option.EXTENDED,
        "A": Option.ANCHORED,
        "E": Option.DOLLAR_ENDONLY,
        "U": Option.UNGREEDY,
    },
    default=Option.CASELESS | Option.DOTALL,
    obsolete="X",
    second_pattern=False,
    skipping="ignoring",
)


def open_pcre(request: TableRequest) -> PatternTable:
    """Open ``pcre:FILE`` or ``pcre:{{rule}, {rule}}``.

    Raises:
        TableError: the rules cannot be read.
    """
    return open_patterns(request, PERL)
