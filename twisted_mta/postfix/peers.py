"""Notice that another queue manager connects than before: Postfix has been reloaded, or started anew.

``postfix reload`` replaces the queue manager, but does not reach a service that master(8) has not started.

Flow: requests.py shows each new connection; service.py reads the configuration again when there is a new queue manager.
Sources: postfix(1) reload; qmgr(8); unix(7) SO_PEERCRED.
"""

import os
import socket
import struct
from collections.abc import Callable

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


def is_running(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is somebody else's
    return True


class QueueManagerWatch:
    """Knows the queue manager by its process.

    Args:
        runs: whether a process is still there.
    """

    def __init__(self, runs: Callable[[int], bool] = is_running) -> None:
        self._runs = runs
        self._known = 0

    def is_new(self, process: int) -> bool:
        """Whether a process that connects has taken the place of the one that did so before.

        Others may connect, too, as delivery agents do that pass mail on: as long as the queue manager that is known is there,
        they are not taken for another.
        """
        if process in (0, self._known) or (self._known and self._runs(self._known)):
            return False
        replaced, self._known = self._known != 0, process
        return replaced
