"""The table that takes the place of one that cannot be opened: every lookup is an error, so that mail is deferred.

Flow: registry.py makes it of a TableError.
Sources: postconf(5) daemon_table_open_error_is_fatal.
"""

from typing import NoReturn

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import Emit, TableUnavailable
from twisted_mta.tables.constant import ConstantTable


@implementer(ILookupTable)
class UnavailableTable(ConstantTable):
    """A table that could not be opened.

    Counts as a table of patterns: it is asked for whole keys only.
    """

    by_pattern = True

    def __init__(self, name: str, reason: str, emit: Emit) -> None:
        super().__init__(name)
        self._reason = reason
        self._emit = emit

    def lookup(self, key: str) -> NoReturn:
        """Fail.

        Raises:
            TableError: always.
        """
        self._emit(TableUnavailable(self.name, self._reason))
        raise TableError(self.name, self._reason, key)
