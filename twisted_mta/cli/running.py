"""Running one coroutine in the reactor, from a command.

Flow: cli/lookup.py, cli/send.py and others hand over what is to be done.
Sources: twisted.internet.task.react, which this resembles; it returns the status instead of leaving the process.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def run_in_reactor(job: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """Run a job to its end; only once in a process.

    Args:
        job: takes the reactor, gives the exit status.

    Returns:
        The exit status; 70 (EX_SOFTWARE) if the job failed, with the traceback on stderr.

    Raises:
        SystemExit: the job raised it.
    """
    from twisted.internet import reactor

    running: Any = reactor
    outcome: list[int | Failure] = []

    def ended(result: int | Failure) -> None:
        outcome.append(result)
        running.stop()

    running.callWhenRunning(lambda: Deferred.fromCoroutine(job(running)).addBoth(ended))
    running.run()
    result = outcome[0] if outcome else 130  # stopped from outside, as by Ctrl-C
    if isinstance(result, Failure):
        if isinstance(result.value, SystemExit):
            raise result.value
        result.printTraceback(sys.stderr)
        return 70
    return result
