"""``regexp:FILE``: tables of POSIX regular expressions.

Flow: registry.py opens them.
Sources: regexp_table(5); regex(7); a running postmap(1).
"""

from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.pattern_table import PatternTable, open_patterns
from twisted_mta.tables.patterns import Dialect
from twisted_mta.tables.posix_regex import Option, posix_compiler

POSIX = Dialect(
    compiler=posix_compiler,
    options={"i": Option.IGNORE_CASE, "m": Option.NEWLINE, "x": Option.EXTENDED},
    default=Option.EXTENDED | Option.IGNORE_CASE,
    obsolete="",
    second_pattern=True,
    skipping="skipping",
    no_group="out-of-range",
    last_backslash_ends=True,
)


def open_regexp(request: TableRequest) -> PatternTable:
    """Open ``regexp:FILE`` or ``regexp:{{rule}, {rule}}``.

    Raises:
        TableError: the rules cannot be read.
    """
    return open_patterns(request, POSIX)
