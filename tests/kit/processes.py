"""Processes that tests have started: their ends, and their memory."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path


def kill_group(pid: int) -> None:
    """End what is left of a process and its children, if anything; it was started in a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def peak_memory(pid: int) -> int:
    """The most memory that a process has had so far, in octets (proc(5), VmHWM)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
