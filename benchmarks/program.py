"""Check the command line, then start the comparison in namespaces of its own.

Flow: throughput.py runs this; comparison.py does the work inside.
"""

import signal
import sys
from types import FrameType

from benchmarks.namespace import run_inside
from benchmarks.options import parse_options
from benchmarks.waiting import BenchmarkError

_INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """Run the benchmark.

    Returns:
        The exit status.
    """
    parse_options(sys.argv[1:])
    signal.signal(signal.SIGTERM, _end)
    try:
        return run_inside("benchmarks.comparison", sys.argv[1:])
    except BenchmarkError as error:
        print(f"throughput.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave through the `finally` clauses, which end what was started."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
