"""What processes cost: CPU time and memory, by the kernel's own accounts.

Flow: agents.py says which processes count; bench.py reads their cost before and after.
Sources: proc(5) (/proc/pid/stat, /proc/pid/smaps_rollup); clock_getcpuclockid(3).
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.waiting import BenchmarkError

# The kernel's number for "all CPU time of a process" among the kinds of CPU clocks, as clock_getcpuclockid(3) uses it.
_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """One process, as /proc/PID/stat shows it."""

    pid: int
    parent: int
    name: str


def process_table() -> Iterator[ProcessEntry]:
    """Every process of this PID namespace."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # it has ended since
        # The name stands in parentheses, and may itself have any of these characters.
        before, _, after = text.rpartition(")")
        pid, _, name = before.partition(" (")
        yield ProcessEntry(int(pid), int(after.split()[1]), name)


def children(parent: int, name: str) -> list[int]:
    """The children of a process that run the program `name`."""
    return [entry.pid for entry in process_table() if entry.parent == parent and entry.name == name]


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    by_parent: dict[int, list[int]] = {}
    for entry in process_table():
        by_parent.setdefault(entry.parent, []).append(entry.pid)
    members = [root]
    for pid in members:
        members += by_parent.get(pid, [])
    return members


def read_cpu(pids: Iterable[int]) -> dict[int, float]:
    """The CPU seconds that each process has used, with all its threads, in nanosecond steps.

    The ticks of /proc/PID/stat would lose 5 ms a process: half a second over 100 smtp(8), as much as they use for 2,000 messages.
    """
    seconds = {}
    for pid in pids:
        try:
            seconds[pid] = time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
        except OSError:
            continue  # it has ended since; cpu_between() tells whether that matters
    return seconds


def cpu_between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """The CPU seconds used between two readings; a process that is new in the second counts from its start.

    Raises:
        BenchmarkError: a process ended, and took its account with it.
    """
    if ended := sorted(before.keys() - after.keys()):
        raise BenchmarkError(f"processes ended while they were measured: {ended}")
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def proportional_octets(pids: Iterable[int]) -> int:
    """The memory of processes (PSS): their own pages, and their share of those that they have in common with others.

    Raises:
        BenchmarkError: a process ended, or there is no smaps_rollup for it.
    """
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError as error:
            raise BenchmarkError(f"cannot read the memory of process {pid}: {error.strerror}") from error
        found = re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)
        if not found:
            raise BenchmarkError(f"/proc/{pid}/smaps_rollup has no Pss line")
        total += int(found[1]) * 1024
    return total
