"""The experiments: one row with one agent, from an empty queue to the figures.

Flow: program.py calls `measure` for each row, agent and repetition; report.py takes the figures.
Sources: qmgr(8); postconf(5) default_destination_concurrency_limit, initial_destination_concurrency.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import rows, sinks
from benchmarks.agents import SERVICE, Agent, RunningAgent
from benchmarks.measure import cpu_between, proportional_octets, read_cpu
from benchmarks.messages import text_message
from benchmarks.namespace import NAME_SERVER_ADDRESS, SINK_ADDRESS
from benchmarks.postfix_instance import PostfixInstance
from benchmarks.rows import DOMAIN, SINK_NEXTHOP, DeliveryRow, MemoryRow, Row
from benchmarks.sinks import Sink
from benchmarks.waiting import BenchmarkError, wait_for_count

_SMTP_PORT = 25
_FEWEST_MESSAGES = 2
_WARM_UP_PORT = 2525
_WARM_UP_DOMAIN = "warm-up.example"
_WARM_UP_OCTETS = 5_000
_SETTLE_SECONDS = 1.0

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done.

    Args:
        messages: how many of 5 KB; rows of larger ones take their share.
        concurrency: how many deliveries are under way at a time.
        is_quick: whether to hold few sessions only.
    """

    messages: int
    concurrency: int
    is_quick: bool


def measure(row: Row, agent: Agent, scale: Scale, place: Path) -> Figures:
    """Measure a row with an agent, below an empty directory that is gone afterwards.

    Returns:
        The figures by their metrics' keys.

    Raises:
        BenchmarkError: something did not work, so that the figures would not be true.
    """
    place.mkdir()
    try:
        if isinstance(row, MemoryRow):
            return _hold(row, agent, scale, place)
        return _deliver(row, agent, scale, place)
    finally:
        shutil.rmtree(place)


def _deliver(row: DeliveryRow, agent: Agent, scale: Scale, place: Path) -> Figures:
    """Deliver a queue full of messages.

    The clock begins when the queue manager goes on, with a full queue, and ends with the sink's last message; the CPU time is
    read once nothing is left to do.
    """
    with contextlib.ExitStack() as stack:
        if row.tls:
            sink = stack.enter_context(sinks.tls_sink(place, SINK_ADDRESS, _SMTP_PORT))
        else:
            # Kept connections count as sessions, too.
            sessions = 2 * scale.concurrency
            sink = stack.enter_context(sinks.counting_sink(place, SINK_ADDRESS, _SMTP_PORT, sessions))
        if row.ttl is not None:
            stack.enter_context(sinks.name_server(place, NAME_SERVER_ADDRESS, DOMAIN, SINK_ADDRESS, row.ttl))
        bench = stack.enter_context(_bench(agent, row.nexthop, scale.concurrency, row.main_cf, place))
        bench.warm_up(scale.concurrency, place)

        messages = max(_FEWEST_MESSAGES, round(row.share * scale.messages))
        message = row.make_message(row.octets)
        bench.postfix.pause()
        bench.postfix.fill(bench.postfix.make_queue_file(message, _recipients(row.recipients, DOMAIN)), messages)
        before, helpers_before = read_cpu(bench.agent.processes()), read_cpu(bench.agent.helpers())
        began = time.perf_counter()
        bench.postfix.resume()
        seconds = bench.wait_for(sink, messages, "messages") - began
        bench.postfix.wait_for_empty_queue()
        cpu = cpu_between(before, read_cpu(bench.agent.processes()))
        helpers_cpu = cpu_between(helpers_before, read_cpu(bench.agent.helpers()))
    octets = messages * len(message)
    return {
        rows.MESSAGES_PER_SECOND.key: messages / seconds,
        rows.CPU_PER_1000_MESSAGES.key: cpu / messages * 1000,
        rows.HELPERS_CPU_PER_1000_MESSAGES.key: helpers_cpu / messages * 1000,
        rows.MEGABYTES_PER_SECOND.key: octets / 1e6 / seconds,
        rows.CPU_PER_GIGABYTE.key: cpu / octets * 1e9,
    }


def _hold(row: MemoryRow, agent: Agent, scale: Scale, place: Path) -> Figures:
    """Hold few sessions open, then many; what the difference takes, and what is left for none."""
    few, many = (row.quick_sessions if scale.is_quick else row.sessions)[agent.name]
    with (
        sinks.holding_sink(place, SINK_ADDRESS, _SMTP_PORT) as sink,
        _bench(agent, SINK_NEXTHOP, many, {}, place) as bench,
    ):
        bench.postfix.pause()
        queue_file = bench.postfix.make_queue_file(text_message(row.octets), _recipients(1, DOMAIN))
        bench.postfix.resume()
        taken = []
        for more, total in ((few, few), (many - few, many)):
            bench.postfix.fill(queue_file, more)
            bench.wait_for(sink, total, "sessions")
            time.sleep(_SETTLE_SECONDS)
            taken.append(proportional_octets(bench.agent.processes()))
            if bench.postfix.active_messages() != total:
                raise BenchmarkError(f"{bench.postfix.active_messages()} deliveries are under way, not {total}")
        sink.release()
        bench.postfix.wait_for_empty_queue()
    per_session = (taken[1] - taken[0]) / (many - few)
    return {
        rows.KIB_PER_SESSION.key: per_session / 1024,
        rows.BASE_MIB.key: (taken[0] - few * per_session) / 1024**2,
    }


@dataclass(frozen=True, slots=True)
class _Bench:
    """A Postfix and the agent that takes its mail."""

    postfix: PostfixInstance
    agent: RunningAgent

    def wait_for(self, sink: Sink, target: int, what: str) -> float:
        """Return once the sink has counted so many.

        Returns:
            When that was, by time.perf_counter().

        Raises:
            BenchmarkError: it does not get so far; with the reason, if the log has one.
        """

        def count() -> int:
            self.agent.check()
            return sink.count()

        try:
            return wait_for_count(count, target, what)
        except BenchmarkError:
            self.postfix.check_log()
            raise

    def warm_up(self, concurrency: int, place: Path) -> None:
        """See that every process that will be needed is there, and has delivered a message.

        A quick server would leave most of them unborn, and their start in the account of the measurement.
        """
        with sinks.holding_sink(place, SINK_ADDRESS, _WARM_UP_PORT) as sink:
            self.postfix.pause()
            message = text_message(_WARM_UP_OCTETS)
            self.postfix.fill(self.postfix.make_queue_file(message, _recipients(1, _WARM_UP_DOMAIN)), concurrency)
            self.postfix.resume()
            self.wait_for(sink, concurrency, "messages to warm up")
            sink.release()
            self.postfix.wait_for_empty_queue()


@contextlib.contextmanager
def _bench(agent: Agent, nexthop: str, concurrency: int, main_cf: Mapping[str, str], place: Path) -> Iterator[_Bench]:
    """Run a Postfix, the same for all agents, whose mail goes to this one."""
    settings = {
        "default_transport": f"{SERVICE}:{nexthop}",
        "transport_maps": f"inline:{{ {_WARM_UP_DOMAIN}={SERVICE}:{SINK_NEXTHOP}:{_WARM_UP_PORT} }}",
        "default_destination_concurrency_limit": str(concurrency),
        "initial_destination_concurrency": str(concurrency),
        **main_cf,
    }
    postfix = PostfixInstance(place / "postfix", settings, agent.master_entry(concurrency))
    with postfix.running(), agent.joined(postfix) as running:
        yield _Bench(postfix, running)


def _recipients(count: int, domain: str) -> list[str]:
    return [f"user{number}@{domain}" for number in range(count)]
