"""What content costs on its way out: plain, converted, checked and rewritten; beside smtp(8), and beside reading it alone.

Each row delivers large messages with smtp(8) and with the service, in turns, and shows MB for each second of CPU time that the
agent used, and the ratio: medians of several runs. Then the same queue file is read in this process, without a network: by the
loop that only parses its records, and on the whole way of content to the wire. At the end, the most memory that a fresh service
ever had, after a small message and after a very large one.

Run ``python benchmarks/content.py`` as root; ``--quick`` does little of each. Exit status 1: something could not be measured.
Sources: smtp(8); postconf(5) smtp_body_checks, smtp_header_checks, smtp_generic_maps, smtp_discard_ehlo_keywords; proc(5).
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    # What is measured is this checkout, from whatever directory the file is run and whatever is installed.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import sinks
from benchmarks.agents import OUR_COMMAND, SERVICE, CommandAgent, PostfixAgent
from benchmarks.bench import Scale, measure
from benchmarks.messages import MessageMaker, base64_message, text_message
from benchmarks.namespace import SINK_ADDRESS, furnish, run_inside
from benchmarks.postfix_instance import PostfixInstance, installation
from benchmarks.rows import CPU_PER_GIGABYTE, DOMAIN, SINK_NEXTHOP, DeliveryRow
from benchmarks.waiting import BenchmarkError, wait_for_count
from tests.kit.queue_file import records
from twisted_mta.config.settings import load_settings
from twisted_mta.content.lines import Lines
from twisted_mta.ipc.rewrite import complete_locally
from twisted_mta.postfix.records import decode_content
from twisted_mta.session.body import Body
from twisted_mta.session.content_rules import ContentRules
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet

OCTETS, QUICK_OCTETS = 50_000_000, 2_000_000
SMALL_OCTETS, LARGE_OCTETS, QUICK_LARGE_OCTETS = 5_000, 200_000_000, 20_000_000
RUNS = 5

_LINE_LIMIT = 998
_PIECE_OCTETS = 1_000_000
_PORT = 25
_RULES = "regexp:{ {/^X-Spam-Flag: YES/ WARN} {/^Subject:.*viagra/ WARN} {/unsubscribe here now/ WARN} }"
_NO_CACHE = {"smtp_connection_cache_on_demand": "no"}
_CONVERT = {"smtp_discard_ehlo_keywords": "8bitmime, smtputf8"}


def large(make_message: MessageMaker, octets: int) -> bytes:
    """A message whose body is the same piece of text over and over: to make all of it anew would take minutes."""
    header, _, body = make_message(min(octets, _PIECE_OCTETS)).partition(b"\n\n")
    return header + b"\n\n" + body * max(1, octets // len(body))


def eight_bit_message(octets: int) -> bytes:
    """A text with umlauts, labelled 8bit."""
    text = text_message(octets).replace(b"us-ascii", b"utf-8").replace(b"Encoding: 7bit", b"Encoding: 8bit")
    header, _, body = text.partition(b"\n\n")
    return header + b"\n\n" + body.replace(b"ea", "ä".encode())


@dataclass(frozen=True, slots=True)
class ContentRow:
    """One kind of content, and what is done with it.

    Attributes:
        name: what `--only` calls it.
        title: what the report calls it.
        make_message: makes the message.
        main_cf: what is done.
        converts: whether the server takes 7bit only.
    """

    name: str
    title: str
    make_message: MessageMaker = text_message
    main_cf: Mapping[str, str] = field(default_factory=dict)
    converts: bool = False


ROWS = (
    ContentRow("base64", "plain, lines of one length", base64_message),
    ContentRow("text", "plain, lines of all lengths"),
    ContentRow("converted", "8bit to quoted-printable", eight_bit_message, _CONVERT, converts=True),
    ContentRow("header-checks", "headers checked", main_cf={"smtp_header_checks": _RULES}),
    ContentRow("body-checks", "lines checked", main_cf={"smtp_body_checks": _RULES}),
    ContentRow(
        "generic", "addresses replaced", main_cf={"smtp_generic_maps": "inline:{ recipient@bench.example=a@b }"}
    ),
)


# ---- with a Postfix ----


def delivered_rate(row: ContentRow, agent: PostfixAgent | CommandAgent, octets: int, directory: Path) -> float:
    """MB for each second of CPU time, of an agent that delivers."""
    delivery = DeliveryRow(
        name=row.name,
        title=row.title,
        octets=octets,
        make_message=partial(large, row.make_message),
        main_cf={**_NO_CACHE, **row.main_cf},
    )
    figures = measure(delivery, agent, Scale(messages=2, concurrency=2, is_quick=True), directory / "run")
    return 1000 / figures[CPU_PER_GIGABYTE.key]


def delivered_rates(row: ContentRow, octets: int, directory: Path) -> tuple[float, float]:
    """The same for smtp(8), and right after it for the service, so that what else the machine does concerns both."""
    theirs = delivered_rate(row, PostfixAgent(), octets, directory)
    return theirs, delivered_rate(row, CommandAgent(OUR_COMMAND), octets, directory)


def peak_octets(octets: int, directory: Path) -> int:
    """The most memory that a fresh service has had when it has delivered a message of this size."""
    place = directory / f"peak-{octets}"
    place.mkdir()
    settings = {**_NO_CACHE, "default_transport": f"{SERVICE}:{SINK_NEXTHOP}"}
    postfix = PostfixInstance(place / "postfix", settings, "")
    with (
        sinks.counting_sink(place, SINK_ADDRESS, _PORT, sessions=2) as sink,
        postfix.running(),
        CommandAgent(OUR_COMMAND).joined(postfix) as agent,
    ):
        postfix.pause()
        queue_file = postfix.make_queue_file(large(text_message, octets), [f"user@{DOMAIN}"])
        postfix.fill(queue_file, 1)
        postfix.resume()
        wait_for_count(sink.count, 1, "messages")
        postfix.wait_for_empty_queue()
        return sum(_high_water_mark(pid) for pid in agent.processes())


def _high_water_mark(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if not found:
        raise BenchmarkError(f"/proc/{pid}/status has no VmHWM line")
    return int(found[1]) * 1024


# ---- in this process ----


def chunks_of(queue_file: bytes) -> Lines:
    """Parse the records of a queue file."""
    return Lines(
        lambda line_end: decode_content(
            lambda offset, octets: queue_file[offset : offset + octets], 0, lambda: None, line_end=line_end
        )
    )


def rules_of(row: ContentRow) -> ContentRules:
    """The rules of the service for a row."""
    settings = load_settings(None, overrides=list(row.main_cf.items()))
    here = Path("/")
    tables = TableSet(TableContext(settings.expanded, here, here, print))
    return ContentRules.from_settings(
        settings, tables, frozenset[str]().__contains__, complete_locally("bench.example")
    )


def send(queue_file: bytes, rules: ContentRules, *, converts: bool) -> None:
    """The way of content, to the octets for the wire."""
    body = Body(rules.treat(chunks_of(queue_file), "BENCH", print, convert=converts), _LINE_LIMIT)
    while not body.is_over:
        body.next_piece()


def rate(work: Callable[[], object], octets: int) -> float:
    """MB for each second of CPU time, at best."""
    seconds = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return octets / 1e6 / min(seconds)


def parse(queue_file: bytes) -> None:
    """Parse the records, and do nothing with them."""
    for _ in chunks_of(queue_file):
        pass


# ---- the report ----


def report(rows: Sequence[ContentRow], directory: Path, *, is_quick: bool) -> None:
    """Measure and print.

    Raises:
        BenchmarkError: something could not be measured.
    """
    octets = QUICK_OCTETS if is_quick else OCTETS
    print(f"Postfix {installation()['mail_version']}, messages of {octets:,} octets; MB for each second of CPU time\n")
    print(f"{'':30}{'delivered by':>24}{'':>8}{'in memory':>24}")
    print(f"{'':30}{'smtp(8)':>12}{'service':>12}{'ratio':>8}{'records':>12}{'content':>12}{'ratio':>8}")
    for row in rows:
        message = large(row.make_message, octets)
        queue_file = records([*(("N", line) for line in message.split(b"\n")[:-1]), ("X", b"")])
        rules = rules_of(row)
        pairs = [delivered_rates(row, octets, directory) for _ in range(1 if is_quick else RUNS)]
        theirs, ours, ratio = map(statistics.median, zip(*((*pair, pair[1] / pair[0]) for pair in pairs), strict=True))
        reading = rate(partial(parse, queue_file), len(message))
        sending = rate(
            partial(send, queue_file, rules, converts=row.converts),
            len(message),
        )
        figures = f"{theirs:12,.0f}{ours:12,.0f}{ratio:8.2f}{reading:12,.0f}{sending:12,.0f}"
        print(f"{row.title:30}{figures}{sending / reading:8.2f}", flush=True)
    large_octets = QUICK_LARGE_OCTETS if is_quick else LARGE_OCTETS
    small_peak, large_peak = (peak_octets(octets, directory) for octets in (SMALL_OCTETS, large_octets))
    more = (large_peak - small_peak) / 1024**2
    print(
        f"\npeak memory after {SMALL_OCTETS:,} octets: {small_peak / 1024**2:.1f} MiB, after {large_octets:,}: {more:+.1f} MiB"
    )


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; the first argument inside the namespaces is a directory."""
    parser = argparse.ArgumentParser(prog="benchmarks/content.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small messages: to see that it works, not how fast")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="ROW", help="some rows only")
    parser.add_argument("directory", nargs="?", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.directory is None:
            return run_inside("benchmarks.content", arguments)
        furnish(options.directory)
        rows = [row for row in ROWS if not options.only or row.name in options.only]
        report(rows, options.directory, is_quick=options.quick)
    except BenchmarkError as error:
        print(f"content.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
