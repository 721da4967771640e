"""Ends of processes that tests have started."""

import os
import signal
from contextlib import suppress


def kill_group(pid: int) -> None:
    """End what is left of a process and its children, if anything; it was started in a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
