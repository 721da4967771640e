"""The command line of the benchmark.

Flow: program.py reads it to check it; comparison.py, inside the namespaces, reads it again to follow it.
"""

import argparse
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.agents import COMMAND_WORDS, OUR_COMMAND, Agent, CommandAgent, PostfixAgent
from benchmarks.bench import Scale
from benchmarks.rows import ROWS, Row

_MESSAGES = 5_000
_QUICK_MESSAGES = 300
_REPEAT = 3
_WORDS = ", ".join(f"{{{word}}}" for word in COMMAND_WORDS)
# Postfix's default_destination_concurrency_limit.
_CONCURRENCY = 20
# The active queue holds that many; with more the queue manager would read files all the time.
_MOST_MESSAGES = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """What to do.

    Args:
        rows: what to measure.
        agents: with whom; the first is what the other is compared with.
        scale: how much.
        repeat: how often; the medians are shown.
        as_json: whether the report is for programs.
    """

    rows: tuple[Row, ...]
    agents: tuple[Agent, ...]
    scale: Scale
    repeat: int
    as_json: bool


def parse_options(arguments: Sequence[str]) -> Options:
    """Read the command line; help and errors end the program, as argparse does."""
    given = _parser().parse_args(arguments)
    agents: tuple[Agent, ...] = (PostfixAgent(), CommandAgent(given.agent))
    if given.only_postfix:
        agents = agents[:1]
    elif given.only_agent:
        agents = agents[1:]
    return Options(
        rows=tuple(row for row in ROWS if not given.only or row.name in given.only),
        agents=agents,
        scale=Scale(
            messages=given.messages or (_QUICK_MESSAGES if given.quick else _MESSAGES),
            concurrency=given.concurrency,
            is_quick=given.quick,
        ),
        repeat=given.repeat or (1 if given.quick else _REPEAT),
        as_json=given.json,
    )


def _parser() -> argparse.ArgumentParser:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="benchmarks/throughput.py",
        description="Measure our delivery agent and Postfix's smtp(8) under the same queue manager, against the same servers.",
        epilog="Must run as root on Linux. Exit status: 0, or 1 if something could not be measured.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, once: to see that it works, not how fast"
    )
    parser.add_argument(
        "--messages",
        type=_between(1, _MOST_MESSAGES),
        metavar="N",
        help=f"messages of 5 KB; of larger ones fewer (default: {_MESSAGES:,}, --quick: {_QUICK_MESSAGES})",
    )
    parser.add_argument(
        "--repeat", type=_between(1, 1000), metavar="K", help=f"show medians of K runs (default: {_REPEAT}, --quick: 1)"
    )
    parser.add_argument(
        "--concurrency",
        type=_between(1, 1000),
        default=_CONCURRENCY,
        metavar="N",
        help="deliveries under way at a time (default: %(default)s, as is Postfix's)",
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="ROW", help=f"some rows only: {', '.join(names)}")
    parser.add_argument(
        "--agent",
        type=_template,
        default=OUR_COMMAND,
        metavar="COMMAND",
        help=f"our agent's command line, with {_WORDS} (default: %(default)s)",
    )
    single = parser.add_mutually_exclusive_group()
    single.add_argument("--only-postfix", action="store_true", help="measure smtp(8) alone")
    single.add_argument("--only-agent", action="store_true", help="measure our agent alone")
    parser.add_argument(
        "--json", action="store_true", help="print the report for programs, with the figures of each run"
    )
    return parser


def _between(low: int, high: int) -> Callable[[str], int]:
    """A reader of numbers within limits."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:,} to {high:,}")
        return int(text)

    return read


def _template(text: str) -> str:
    """A command line whose words in braces are known."""
    try:
        unknown = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None} - set(COMMAND_WORDS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    if unknown:
        raise argparse.ArgumentTypeError(f"{text!r} has unknown words in braces: {', '.join(sorted(unknown))}")
    return text
