"""Wait for something to happen, and say what did not.

Flow: every part of the benchmark that starts something waits here until it works.
"""

import time
from collections.abc import Callable

POLL_SECONDS = 0.005


class BenchmarkError(Exception):
    """A measurement cannot be made, or would not be true; the text names the culprit."""


def wait_until(condition: Callable[[], object], what: str, limit_seconds: float) -> None:
    """Return once `condition()` is true.

    Args:
        condition: asked again and again; may raise to give up early.
        what: completes the sentence "waited in vain for ...".
        limit_seconds: how long to wait.

    Raises:
        BenchmarkError: it did not become true in time.
    """
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited in vain for {what} ({limit_seconds:g} seconds)")
        time.sleep(POLL_SECONDS)


def wait_for_count(count: Callable[[], int], target: int, what: str, stall_seconds: float = 30) -> float:
    """Return once `count()` has reached `target`; patient as long as there is progress.

    Args:
        count: a number that only grows; may raise to give up early.
        target: the number to reach.
        what: what is counted, in the plural.
        stall_seconds: how long the number may stay the same.

    Returns:
        When it was reached, by time.perf_counter(), at most POLL_SECONDS late.

    Raises:
        BenchmarkError: the number stays below the target.
    """
    best, deadline = -1, time.monotonic()
    while True:
        now, reached = time.perf_counter(), count()
        if reached >= target:
            return now
        if reached > best:
            best, deadline = reached, time.monotonic() + stall_seconds
        elif time.monotonic() > deadline:
            raise BenchmarkError(f"only {reached} of {target} {what}, and no more for {stall_seconds:g} seconds")
        time.sleep(POLL_SECONDS)
