"""``nis:MAP``: a map of the Network Information Service, where Python still has a client for it (before 3.13).

Flow: registry.py opens it.
Sources: DATABASE_README(5), "nis"; a running postmap(1).
"""

import warnings
from functools import partial

from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.results import LookupFailedError
from twisted_mta.tables.system_table import SystemTable

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import nis

_NO_SUCH_KEY = "No such key in map"


def match(map_name: str, domain: str, key: str) -> str | None:
    """What the server of a domain finds in a map.

    Raises:
        LookupFailedError: it does not answer.
    """
    try:
        found: str = nis.match(key, map_name, domain)
    except nis.error as error:
        if _NO_SUCH_KEY in str(error):
            return None
        problem = f"lookup {key}, NIS domain {domain}, map {map_name}: {error}"
        raise LookupFailedError(problem, problem) from error
    return found


def open_nis(request: TableRequest) -> SystemTable:
    """Open ``nis:MAP`` in the default domain; without one nothing is found."""
    domain = default_domain()
    if not domain:
        request.warn("dict_nis_init: NIS domain name not set - NIS lookups disabled")
        return SystemTable(request, lambda key: None)
    return SystemTable(request, partial(match, request.name, domain))


def default_domain() -> str:
    """The NIS domain of this machine; empty if there is none."""
    try:
        domain: str = nis.get_default_domain()
    except nis.error:
        return ""
    return "" if domain == "(none)" else domain
