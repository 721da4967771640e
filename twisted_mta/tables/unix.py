"""``unix:passwd.byname`` and ``unix:group.byname``: the accounts of the system.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "unix"; passwd(5), group(5); a running postmap(1).
"""

import grp
import pwd
from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import InThread, TableRequest


def passwd_line(name: str) -> str | None:
    """The line of an account as in passwd(5); None where there is no such account."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    fields = (entry.pw_name, entry.pw_passwd, entry.pw_uid, entry.pw_gid, entry.pw_gecos, entry.pw_dir, entry.pw_shell)
    return ":".join(map(str, fields))


def group_line(name: str) -> str | None:
    """The line of a group as in group(5); None where there is no such group."""
    try:
        entry = grp.getgrnam(name)
    except (KeyError, ValueError):
        return None
    return f"{entry.gr_name}:{entry.gr_passwd}:{entry.gr_gid}:{','.join(entry.gr_mem)}"


_MAPS: dict[str, Callable[[str], str | None]] = {"passwd.byname": passwd_line, "group.byname": group_line}


@implementer(ILookupTable)
class UnixTable(ConstantTable):
    """Accounts or groups; asked in a thread, as the system may ask a server for them."""

    by_pattern = False

    def __init__(self, name: str, find: Callable[[str], str | None], in_thread: InThread | None) -> None:
        super().__init__(name)
        self._find = find
        self._in_thread = in_thread

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """The line of an account or a group."""
        find = self._find
        return self._in_thread(lambda: find(key)) if self._in_thread else find(key)


def open_unix(request: TableRequest) -> UnixTable:
    """Open ``unix:passwd.byname`` or ``unix:group.byname``.

    Raises:
        TableError: there is no other.
    """
    find = _MAPS.get(request.name)
    if find is None:
        raise request.unusable(f"unknown table: {request.table}")
    return UnixTable(request.table, find, request.context.in_thread)
