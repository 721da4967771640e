"""Child processes that never outlive the block that needs them.

Flow: sinks.py, agents.py and postfix_instance.py start theirs here.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.waiting import BenchmarkError


@contextlib.contextmanager
def running(
    command: Sequence[str],
    output: Path,
    *,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    grace_seconds: float = 0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as the leader of a process group of its own, and end the whole group with the block.

    Args:
        command: the program and its arguments.
        output: the file that takes what it prints.
        user: whose rights it gets, without further groups; None for ours.
        environment: None for ours.
        grace_seconds: how long it may take to end by itself after SIGTERM, before SIGKILL.

    Raises:
        BenchmarkError: it cannot be started.
    """
    try:
        with output.open("wb") as stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=output.parent,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
    except OSError as error:
        raise BenchmarkError(f"cannot run {command[0]} as user {user or 'root'}: {error.strerror}") from error
    try:
        yield process
        if grace_seconds and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace_seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def check_alive(process: subprocess.Popen[bytes], output: Path, name: str) -> None:
    """See that a process still runs.

    Raises:
        BenchmarkError: it has ended; with the last that it printed.
    """
    if process.poll() is not None:
        said = last_line(output) or "nothing"
        raise BenchmarkError(f"{name} ended by itself with status {process.returncode}; the last that it said: {said}")


def last_line(path: Path, octets: int = 1500) -> str:
    """The last line of a text file that is not blank, made printable; empty if there is none."""
    try:
        text = path.read_bytes()[-octets:].decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    lines = text.strip().splitlines()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in lines[-1].strip()) if lines else ""
