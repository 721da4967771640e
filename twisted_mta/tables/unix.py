"""``unix:passwd.byname`` and ``unix:group.byname``: the accounts of the system.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "unix"; passwd(5), group(5); a running postmap(1).
"""

import grp
import pwd

from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.system_table import Find, SystemTable


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


_MAPS: dict[str, Find] = {"passwd.byname": passwd_line, "group.byname": group_line}


def open_unix(request: TableRequest) -> SystemTable:
    """Open ``unix:passwd.byname`` or ``unix:group.byname``.

    Raises:
        TableError: there is no other.
    """
    find = _MAPS.get(request.name)
    if find is None:
        raise request.unusable(f"unknown table: {request.table}")
    return SystemTable(request, find)
