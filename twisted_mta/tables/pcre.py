"""``pcre:FILE``: tables of Perl-compatible regular expressions.

Flow: registry.py opens them.
Sources: pcre_table(5); pcre2pattern(3); a running postmap(1).
"""

from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.pattern_table import PatternTable, open_patterns
from twisted_mta.tables.patterns import Dialect
from twisted_mta.tables.perl_regex import Option, PerlCompiler

PERL = Dialect(
    compiler=PerlCompiler,
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
