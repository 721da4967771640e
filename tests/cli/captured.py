"""What a command writes, and how it ends.

Flow: a test case runs words of the command line with `run_command`, or any function with `captured`.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Generic, TypeVar

from twisted_mta.cli import main

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Captured(Generic[T]):
    """What came of a call.

    Attributes:
        result: what it returned; of a command, the exit status.
        octets: what it wrote to stdout.
        complaints: the lines that it wrote to stderr, without the name of the program.
    """

    result: T
    octets: bytes
    complaints: list[str]

    @property
    def lines(self) -> list[str]:
        """The lines on stdout."""
        return self.octets.decode().splitlines()


def captured(call: Callable[[], T]) -> Captured[T]:
    """Call something."""
    octets, stderr = io.BytesIO(), io.StringIO()
    stdout = io.TextIOWrapper(octets)  # kept until the end: with it goes what it wraps
    with redirect_stdout(stdout), redirect_stderr(stderr):
        result = call()
    stdout.flush()
    complaints = [line.removeprefix("smtpdeliver: ") for line in stderr.getvalue().splitlines()]
    return Captured(result, octets.getvalue(), complaints)


def run_command(*words: object) -> Captured[int]:
    """Run ``smtpdeliver`` with some words."""
    return captured(lambda: main([str(word) for word in words]))
