"""Measure every row with every agent, and report.

Run as `python -m benchmarks.comparison DIRECTORY OPTIONS...` in fresh namespaces.

Flow: namespace.py starts this for program.py; bench.py measures; report.py prints.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.bench import measure
from benchmarks.namespace import furnish
from benchmarks.options import Options, parse_options
from benchmarks.report import AgentResult, RowResult
from benchmarks.rows import Row
from benchmarks.waiting import BenchmarkError


def main(arguments: Sequence[str]) -> int:
    """Run the comparison.

    Returns:
        The exit status: 0, or 1 if something could not be measured.
    """
    directory, options = Path(arguments[0]), parse_options(arguments[1:])
    try:
        furnish(directory)
        environment = report.environment(options)
    except BenchmarkError as error:
        print(f"throughput.py: {error}", file=sys.stderr)
        return 1
    if not options.as_json:
        print(report.heading(environment, options), flush=True)
    results = []
    for row in options.rows:
        result = _compare(row, options, directory)
        results.append(result)
        if not options.as_json:
            print(report.row_text(result), flush=True)
    print(report.as_json(environment, results) if options.as_json else report.closing(results))
    return 0 if all(result.is_complete for result in results) else 1


def _compare(row: Row, options: Options, directory: Path) -> RowResult:
    """Measure a row with all agents in turn, as often as is wanted: what disturbs the machine for a while hits them all."""
    agents = {agent: AgentResult(agent.name) for agent in options.agents}
    for number in range(1, options.repeat + 1):
        for agent, result in agents.items():
            if result.error:
                continue
            _show_progress(f"{row.name}, {agent.name}, {number} of {options.repeat} ...")
            try:
                result.runs.append(measure(row, agent, options.scale, directory / "run"))
            except BenchmarkError as error:
                result.error = str(error)
    _show_progress("")
    return RowResult(row, list(agents.values()))


def _show_progress(text: str) -> None:
    """Replace the line that says what is being done, for whoever watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
