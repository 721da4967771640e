"""Tables of regular expressions: the first rule that applies to a key gives its value.

Flow: regexp.py and pcre.py open theirs here.
Sources: regexp_table(5), pcre_table(5).
"""

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.model.text import to_wire
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.pattern_rules import Block, parse_rules
from twisted_mta.tables.patterns import Dialect
from twisted_mta.tables.rule_source import RuleSource, read_rules

_NULL = b"\0"


@implementer(ILookupTable)
class PatternTable:
    """Rules with patterns; keys are never folded."""

    by_pattern = True

    def __init__(self, name: str, rules: Block, source: RuleSource) -> None:
        self.name = name
        self._rules = rules
        self.changed = source.changed
        self.close = source.close

    def lookup(self, key: str) -> str | None:
        """The text of the first rule that applies; a key ends at a null character."""
        subject = to_wire(key)
        if _NULL in subject:
            subject = subject[: subject.index(_NULL)]
        return self._rules(subject)


def open_patterns(request: TableRequest, dialect: Dialect) -> PatternTable:
    """Open ``TYPE:FILE`` or ``TYPE:{{rule}, {rule}}``.

    Raises:
        TableError: the rules cannot be read.
    """
    source = read_rules(request)
    return PatternTable(request.table, parse_rules(source.lines, dialect, request.warn), source)
