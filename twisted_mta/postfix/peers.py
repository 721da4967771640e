"""Notice that another queue manager connects than before: Postfix has been reloaded, or started anew.

``postfix reload`` replaces the queue manager, but does not reach a service that master(8) has not started.

Flow: requests.py shows each new connection; resident.py reads the configuration again when there is a new queue manager.
Sources: postfix(1) reload; qmgr(8), oqmgr(8); unix(7) SO_PEERCRED; proc(5).
"""

import socket
import struct
from collections.abc import Callable
from pathlib import Path

QUEUE_MANAGERS = frozenset({"qmgr", "oqmgr", "nqmgr"})
"""Their programs: qmgr(8), oqmgr(8) and the former name of the first."""

_CREDENTIALS = struct.Struct("3i")


def peer_process(transport: object) -> int:
    """The process at the other end of a local connection; 0 where nobody can say, as beyond a container."""
    get_handle = getattr(transport, "getHandle", None)
    connection = get_handle() if get_handle is not None else None
    if not isinstance(connection, socket.socket):
        return 0
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return 0
    process: int = _CREDENTIALS.unpack(credentials)[0]
    return process


def program_of(process: int) -> str:
    """The name of the program that a process runs; empty where that cannot be seen."""
    try:
        return Path(f"/proc/{process}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


class QueueManagerWatch:
    """Knows the queue manager by its process.

    Others may connect, too, as delivery agents do that pass mail on; and after a reload, the former queue manager for a while.

    Args:
        program: gives the name of a process's program.
    """

    def __init__(self, program: Callable[[int], str] = program_of) -> None:
        self._program = program
        self._known = 0
        self._former = 0

    def is_new(self, process: int) -> bool:
        """Whether a process that connects is a queue manager that has taken the place of the one before."""
        if process in (0, self._known, self._former) or self._program(process) not in QUEUE_MANAGERS:
            return False
        self._former, self._known = self._known, process
        return self._former != 0
