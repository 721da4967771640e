"""Figures into text or JSON: medians of the runs, and ratios to smtp(8).

Flow: comparison.py collects the results and prints what comes from here.
"""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from benchmarks.bench import Figures
from benchmarks.options import Options
from benchmarks.postfix_instance import installation
from benchmarks.rows import Metric, Row

_TITLE_WIDTH, _METRIC_WIDTH, _FIGURE_WIDTH = 42, 24, 12
_RATIO, _SPREAD = "ratio", "spread"


@dataclass(slots=True)
class AgentResult:
    """What came out for one agent in one row.

    Args:
        name: the agent's.
        runs: the figures of each run.
        error: why there are no more runs; empty if all went well.
    """

    name: str
    runs: list[Figures] = field(default_factory=list)
    error: str = ""

    def median(self, metric: Metric) -> float | None:
        """The median of a figure over the runs, or None: an agent that failed once is not to be trusted."""
        return None if self.error or not self.runs else statistics.median(run[metric.key] for run in self.runs)

    def spread(self, metric: Metric) -> float | None:
        """How far the runs are apart, in parts of their median; None if there are not two."""
        median = self.median(metric)
        figures = [run[metric.key] for run in self.runs]
        return (max(figures) - min(figures)) / median if median and len(figures) > 1 else None


@dataclass(frozen=True, slots=True)
class RowResult:
    """What came out in one row, the agent to compare with first."""

    row: Row
    agents: Sequence[AgentResult]

    @property
    def is_complete(self) -> bool:
        """Whether every agent has its figures."""
        return not any(agent.error for agent in self.agents)

    def ratio(self, metric: Metric) -> float | None:
        """The last agent's figure as a multiple of the first's, if there are two and both have one."""
        first, last = self.agents[0].median(metric), self.agents[-1].median(metric)
        return None if len(self.agents) < 2 or not first or last is None else last / first

    def spread(self, metric: Metric) -> float | None:
        """The larger of the agents' spreads: a ratio says no more than that."""
        return max((spread for agent in self.agents if (spread := agent.spread(metric)) is not None), default=None)


def environment(options: Options) -> dict[str, str | int]:
    """What the figures depend on.

    Raises:
        BenchmarkError: there is no Postfix.
    """
    return {
        "postfix": installation()["mail_version"],
        "python": platform.python_version(),
        "twisted": metadata.version("Twisted"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count() or 1,
        "messages": options.scale.messages,
        "repeat": options.repeat,
        "concurrency": options.scale.concurrency,
    }


def heading(environment: Mapping[str, str | int], options: Options) -> str:
    """The lines above the table."""
    names = [agent.name for agent in options.agents]
    columns = names + [_RATIO] * (len(names) > 1) + [_SPREAD]
    return "\n".join(
        (
            "Postfix {postfix}, Python {python}, Twisted {twisted}, {system}, {processors} processors".format_map(
                environment
            ),
            "{messages} messages of 5 KB, {concurrency} deliveries at a time, medians of {repeat}".format_map(
                environment
            ),
            "",
            " " * (_TITLE_WIDTH + _METRIC_WIDTH) + "".join(f"{name:>{_FIGURE_WIDTH}}" for name in columns),
        )
    )


def row_text(result: RowResult) -> str:
    """The lines of one row, one a metric, and one for each agent that failed."""
    titles = [result.row.title] + [""] * len(result.row.metrics)
    lines = []
    for title, metric in zip(titles, result.row.metrics, strict=False):
        figures = [_figure(agent.median(metric), metric.digits) for agent in result.agents]
        if len(result.agents) > 1:
            figures.append(_figure(result.ratio(metric), 2))
        spread = result.spread(metric)
        figures.append("-" if spread is None else f"{spread:.0%}")
        columns = "".join(f"{figure:>{_FIGURE_WIDTH}}" for figure in figures)
        lines.append(f"{title:<{_TITLE_WIDTH}}{metric.title:<{_METRIC_WIDTH}}{columns}")
    lines += [f"  {agent.name} failed: {agent.error}" for agent in result.agents if agent.error]
    return "\n".join(lines)


def closing(results: Sequence[RowResult]) -> str:
    """The last line of the table."""
    failed = sum(not result.is_complete for result in results)
    return f"\n{len(results) - failed} rows measured, {failed} failed"


def as_json(environment: Mapping[str, str | int], results: Sequence[RowResult]) -> str:
    """All of it for programs, with the figures of each run."""
    return json.dumps({"environment": environment, "rows": [_row_values(result) for result in results]}, indent=2)


def _row_values(result: RowResult) -> dict[str, object]:
    metrics = result.row.metrics
    return {
        "row": result.row.name,
        "title": result.row.title,
        "agents": {
            agent.name: {
                "median": {metric.key: agent.median(metric) for metric in metrics},
                "runs": [{metric.key: run[metric.key] for metric in metrics} for run in agent.runs],
                "error": agent.error or None,
            }
            for agent in result.agents
        },
        "ratio": {metric.key: result.ratio(metric) for metric in metrics},
    }


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
