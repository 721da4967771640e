"""What a database table makes of the values that it finds: each in its format, all of them joined.

Flow: database.py collects results with it, ldap.py and mongodb.py, too.
Sources: mysql_table(5) result_format, expansion_limit; the texts are those of a running Postfix.
"""

from collections.abc import Callable, Iterable

from twisted_mta.tables.templates import KeyParts, Template

LONGEST_RESULT = 1 << 20
"""Characters of a joined result; Postfix has no limit, but nothing that is longer can be meant."""

LARGEST_REPLY = 1 << 24
"""Octets that a server may send at a time: the libraries keep all of it in memory before a result can be refused."""

Warn = Callable[[str], None]


class LookupFailedError(Exception):
    """A lookup in a database did not work.

    Attributes:
        problem: what is wrong.
        warning: what to warn about; empty if all has been said.
    """

    def __init__(self, problem: str, warning: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.warning = warning


class Results:
    """Collects the results of one lookup.

    Args:
        table: ``type:name``.
        key: what is looked up.
        result_format: of each value.
        limit: how many there may be; 0: as many as there are.
        too_many: the warning about more, but for the key at its end.
        warn: takes warnings.
    """

    def __init__(
        self, table: str, key: KeyParts, result_format: Template, limit: int, too_many: str, warn: Warn
    ) -> None:
        self._table = table
        self._key = key
        self._format = result_format
        self._limit = limit
        self._too_many = too_many
        self._warn = warn
        self._texts: list[str] = []
        self._length = 0

    def add(self, value: str, too_many: str = "") -> None:
        """Take a value.

        Args:
            value: as it was found; an empty one is left out, with a warning.
            too_many: the warning if it is one too many, where that depends on the place.

        Raises:
            LookupFailedError: there are too many now, or they are too long.
        """
        value = value.partition("\0")[0]
        if not value:
            self._warn(f'table "{self._table}": empty lookup result for: "{self._key.whole}" -- ignored')
            return
        text = self._format.fill_result(self._key, KeyParts(value))
        if text is None:
            return
        self._texts.append(text)
        self._length += len(text) + 1
        if 0 < self._limit < len(self._texts):
            raise LookupFailedError("expansion limit exceeded", f"{too_many or self._too_many} '{self._key.whole}'")
        if self._length > LONGEST_RESULT:
            problem = f"the result is longer than {LONGEST_RESULT} characters"
            raise LookupFailedError(problem, f"{self._table}: key '{self._key.whole}': {problem}")

    def add_all(self, values: Iterable[str]) -> None:
        """Take several values; see `add`."""
        for value in values:
            self.add(value)

    def clear(self) -> None:
        """Forget what was added."""
        self._texts.clear()
        self._length = 0

    def joined(self) -> str | None:
        """All results with commas between them; None if there is none."""
        return ",".join(self._texts) or None
