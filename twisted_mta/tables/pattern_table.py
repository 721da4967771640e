"""Tables of regular expressions: the first rule that applies to a key gives its value.

Flow: regexp.py and pcre.py open theirs here.
Sources: regexp_table(5), pcre_table(5).
"""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import TableWarning
from twisted_mta.model.text import to_wire
from twisted_mta.tables.answer import answer
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.pattern_rules import Block, parse_rules
from twisted_mta.tables.patterns import Dialect, Effort, TooHardError, TooMuchError
from twisted_mta.tables.results import LookupFailedError
from twisted_mta.tables.rule_source import RuleLine, RuleSource, read_rules
from twisted_mta.tables.sessions import SessionLimits, Sessions

_NULL = b"\0"

LIMITS = SessionLimits(sessions=2, seconds=60.0)
"""Of lookups by patient rules: nothing can end a thread in which the C library matches."""


class PatientRules:
    """The rules of a table once more, with patterns that take their time; a session, for one thread at a time.

    Args:
        table: its name, for the log.
        lines: the rules, of which all has been told that is wrong with them.
        dialect: how patterns are written.
    """

    def __init__(self, table: str, lines: Sequence[RuleLine], dialect: Dialect) -> None:
        self._table = table
        self._lines = lines
        self._dialect = dialect
        self._effort = Effort(patient=True)
        self._warnings: list[str] = []
        self._rules: Block | None = None

    def find(self, subject: bytes) -> tuple[str | None, list[str]]:
        """The text of the first rule that applies, and what is to be told.

        Raises:
            LookupFailedError: there is no telling.
        """
        if self._rules is None:
            self._rules = parse_rules(self._lines, self._dialect, self._effort, self._warn)
        self._warnings = []
        try:
            return self._rules(subject), self._warnings
        except TooMuchError as error:
            raise LookupFailedError(str(error), f"{self._table}: {error}") from error

    def abort(self) -> None:
        """End as soon as a pattern lets go."""
        self._effort.abandoned = True

    def rest(self) -> None:
        """Give back the memory of the patterns."""
        self._rules = None

    def _warn(self, text: str) -> None:
        self._warnings.append(text)


@implementer(ILookupTable)
class PatternTable:
    """Rules with patterns; keys are never folded.

    Args:
        request: what was to be opened.
        source: the rules.
        dialect: how patterns are written.
    """

    by_pattern = True

    def __init__(self, request: TableRequest, source: RuleSource, dialect: Dialect) -> None:
        self.name = request.table
        self.changed = source.changed
        self._source = source
        self._emit = request.context.emit
        self._quick = parse_rules(source.lines, dialect, Effort(), request.warn)
        context = request.context
        self._patient = Sessions(
            self.name,
            lambda: PatientRules(self.name, source.lines, dialect),
            context.in_thread,
            context.reactor,
            LIMITS,
        )

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """The text of the first rule that applies; a key ends at a null character.

        Raises:
            TableError: there is no telling; the Deferred fails with the same.
        """
        subject = to_wire(key)
        if _NULL in subject:
            subject = subject[: subject.index(_NULL)]
        try:
            return self._quick(subject)
        except TooHardError:
            return answer(self._find(subject, key))

    def close(self) -> None:
        """Give back the file; lookups in threads fail."""
        self._source.close()
        self._patient.close()

    async def _find(self, subject: bytes, key: str) -> str | None:
        """Look up a key that is too hard for quick patterns; in a thread, if there are threads."""
        try:
            running = self._patient.run(lambda rules: rules.find(subject))
            found, warnings = await running if isinstance(running, Deferred) else running
        except LookupFailedError as error:
            if error.warning:
                self._emit(TableWarning(error.warning))
            raise TableError(self.name, error.problem, key) from error
        for warning in warnings:
            self._emit(TableWarning(warning))
        return found


def open_patterns(request: TableRequest, dialect: Dialect) -> PatternTable:
    """Open ``TYPE:FILE`` or ``TYPE:{{rule}, {rule}}``.

    Raises:
        TableError: the rules cannot be read.
    """
    return PatternTable(request, read_rules(request), dialect)
