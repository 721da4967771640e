"""``nis:MAP``: a map of the Network Information Service, where Python still has a client for it (before 3.13).

Flow: registry.py opens it.
Sources: DATABASE_README(5), "nis"; a running postmap(1).
"""

import warnings

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import Emit, TableWarning
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import InThread, TableRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import nis

_NO_SUCH_KEY = "No such key in map"


@implementer(ILookupTable)
class NisTable(ConstantTable):
    """A map of the default domain; asked in a thread, as the server may not answer. Without a domain nothing is found."""

    by_pattern = False

    def __init__(self, name: str, map_name: str, domain: str, emit: Emit, in_thread: InThread | None) -> None:
        super().__init__(name)
        self._map = map_name
        self._domain = domain
        self._emit = emit
        self._in_thread = in_thread

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Ask the server.

        Raises:
            TableError: it does not answer; the Deferred fails with the same.
        """
        if not self._domain:
            return None
        if self._in_thread is not None:
            return self._in_thread(lambda: self._match(key)).addErrback(self._failed, key)
        try:
            return self._match(key)
        except nis.error as error:
            raise self._problem(error, key) from None

    def _match(self, key: str) -> str | None:
        try:
            found: str = nis.match(key, self._map, self._domain)
        except nis.error as error:
            if _NO_SUCH_KEY in str(error):
                return None
            raise
        return found

    def _failed(self, failure: Failure, key: str) -> None:
        failure.trap(nis.error)
        raise self._problem(failure.value, key)

    def _problem(self, error: BaseException | None, key: str) -> TableError:
        problem = f"lookup {key}, NIS domain {self._domain}, map {self._map}: {error}"
        self._emit(TableWarning(problem))
        return TableError(self.name, problem, key)


def open_nis(request: TableRequest) -> NisTable:
    """Open ``nis:MAP`` in the default domain."""
    domain = default_domain()
    if not domain:
        request.warn("dict_nis_init: NIS domain name not set - NIS lookups disabled")
    return NisTable(request.table, request.name, domain, request.context.emit, request.context.in_thread)


def default_domain() -> str:
    """The NIS domain of this machine; empty if there is none."""
    try:
        domain: str = nis.get_default_domain()
    except nis.error:
        return ""
    return "" if domain == "(none)" else domain
