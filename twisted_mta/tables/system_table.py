"""What tables have in common that ask the system, which may ask a server in turn: in a thread, and not for ever.

Flow: unix.py and nis.py build on it.
Sources: nsswitch.conf(5); DATABASE_README(5).
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import TableWarning
from twisted_mta.tables.answer import answer
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.results import LookupFailedError
from twisted_mta.tables.sessions import Sessions

Find = Callable[[str], str | None]
"""Gives the value for a key, or None; may block; raises LookupFailedError."""


class _Nothing:
    """The session of a table that keeps nothing from one lookup to the next."""

    def abort(self) -> None:
        """The system cannot be interrupted."""

    def rest(self) -> None:
        """There is nothing to give back."""


@implementer(ILookupTable)
class SystemTable(ConstantTable):
    """A table of the system's.

    Args:
        request: what was to be opened.
        find: asks the system.
    """

    by_pattern = False

    def __init__(self, request: TableRequest, find: Find) -> None:
        super().__init__(request.table)
        self._find = find
        self._emit = request.context.emit
        self._sessions = Sessions(request.table, _Nothing, request.context.in_thread, request.context.reactor)

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Ask the system; in a thread if there are threads.

        Raises:
            TableError: it does not answer; the Deferred fails with the same.
        """
        return answer(self._ask(key))

    def close(self) -> None:
        """Lookups that wait for a thread fail."""
        self._sessions.close()

    async def _ask(self, key: str) -> str | None:
        try:
            found = self._sessions.run(lambda _: self._find(key))
            return await found if isinstance(found, Deferred) else found
        except LookupFailedError as error:
            if error.warning:
                self._emit(TableWarning(error.warning))
            raise TableError(self.name, error.problem, key) from error
