"""What finding the way costs: routes to domains with 5 mail exchangers and 10 addresses, beside dnspython's own resolver.

Run ``python -m benchmarks.routing``; it needs no rights. A name server of the benchmark's own, a process on the loopback
interface, answers at once. dnspython asks the same 11 questions, one after the other, and does nothing with the answers; our
router sorts and shuffles them, looks for itself among them, and balances address families. Each figure is the median of several
runs, ours and dnspython's in turn; CPU time is that of the asking process alone.

Sources: RFC 5321 section 5.1 for what a route is; dns.resolver and dns.asyncresolver of dnspython.
"""

import argparse
import asyncio
import contextlib
import functools
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver
import dns.rrset
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from twisted_mta.dns.cache import CachingClient
from twisted_mta.dns.client import StubResolver
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.events import Event
from twisted_mta.routing.destination import parse_nexthop
from twisted_mta.routing.own_addresses import OwnAddresses
from twisted_mta.routing.router import Router
from twisted_mta.routing.settings import RoutingSettings

EXCHANGERS = 5
ADDRESSES = 2 * EXCHANGERS
TTL = 3600
ADDRESS = "127.0.0.1"
CONCURRENCY = 20
_domains = count()


# ---- the name server ----


def answer(query: bytes) -> bytes:
    """The reply to a query, both without the id: every name has 5 exchangers, and an address of each family."""
    message = dns.message.from_wire(b"\0\0" + query)
    reply = dns.message.make_response(message, recursion_available=True)
    question = message.question[0]
    rdtype = dns.rdatatype.to_text(question.rdtype)
    data = {
        "MX": [f"{number} mx{number}.{question.name}" for number in range(EXCHANGERS)],
        "A": ["192.0.2.1"],
        "AAAA": ["2001:db8::1"],
    }.get(rdtype, [])
    if data:
        reply.answer.append(dns.rrset.from_text_list(question.name, TTL, "IN", rdtype, data))
    return reply.to_wire()[2:]


def serve() -> None:
    """Answer for ever; the port is the first line that is printed."""
    # What is asked again, in another run, costs nothing any more.
    replies = functools.lru_cache(maxsize=None)(answer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, 0))
        print(server.getsockname()[1], flush=True)
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(query[:2] + replies(query[2:]), client)


@contextlib.contextmanager
def name_server() -> Iterator[int]:
    """Start the name server; gives its port."""
    command = [sys.executable, "-m", "benchmarks.routing", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


# ---- the sides ----


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run took, for a route.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of this process.
    """

    seconds: float
    cpu_seconds: float


def warm_up(domains: list[str], port: int) -> None:
    """Let the name server make its replies before anybody is measured."""
    resolver = dnspython(dns.resolver.Resolver(configure=False), port)
    for domain in domains:
        route_by_dnspython(resolver, domain)


def dnspython(resolver: Any, port: int) -> Any:
    """A resolver of dnspython, with our server."""
    resolver.nameservers, resolver.port = [ADDRESS], port
    return resolver


def route_by_dnspython(resolver: dns.resolver.Resolver, domain: str) -> None:
    """The look-ups of a route."""
    addresses = 0
    for record in resolver.resolve(dns.name.from_text(domain), "MX"):
        for rdtype in ("A", "AAAA"):
            addresses += len(resolver.resolve(record.exchange, rdtype))
    assert addresses == ADDRESSES, addresses


async def route_by_async_dnspython(resolver: dns.asyncresolver.Resolver, domain: str) -> None:
    """The same with dnspython's asynchronous resolver."""
    addresses = 0
    for record in await resolver.resolve(dns.name.from_text(domain), "MX"):
        for rdtype in ("A", "AAAA"):
            addresses += len(await resolver.resolve(record.exchange, rdtype))
    assert addresses == ADDRESSES, addresses


class OurSide:
    """A router that asks our server."""

    def __init__(self, reactor: Any, port: int, *, cached: bool) -> None:
        client: IDNSClient = StubResolver.for_servers(reactor, [(ADDRESS, port)], _complain)
        if cached:
            client = CachingClient(client, reactor)
        self._settings = RoutingSettings(address_limit=ADDRESSES)
        own = OwnAddresses(["198.51.100.1"])
        self._router = Router(self._settings, client, _NoNative(), own, _complain, random.Random(1))

    async def route(self, domain: str) -> None:
        """Find a route."""
        (destination,) = parse_nexthop(domain, self._settings)
        route = await self._router.route(destination)
        assert len(route.candidates) == ADDRESSES, route

    async def routes(self, domains: list[str], at_a_time: int) -> None:
        """Find routes, so many at a time."""
        waiting = iter(domains)

        async def work() -> None:
            for domain in waiting:
                await self.route(domain)

        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(at_a_time)])


class _NoNative:
    """Nothing is looked up natively."""

    async def lookup(self, host: str, families: object) -> Any:
        """Never."""
        raise AssertionError(host)


def _complain(event: Event) -> None:
    raise AssertionError(event)


# ---- measuring ----

Side = Callable[[list[str]], Coroutine[Any, Any, None]]


async def measure(side: Side, domains: list[str]) -> Figures:
    """One run."""
    began, cpu_began = time.perf_counter(), time.process_time()
    await side(domains)
    return Figures((time.perf_counter() - began) / len(domains), (time.process_time() - cpu_began) / len(domains))


@dataclass(frozen=True, slots=True)
class Row:
    """Two sides that do the same.

    Attributes:
        name: what they do.
        ours: our side.
        other: dnspython's.
    """

    name: str
    ours: Side
    other: Side


def rows(reactor: Any, port: int) -> list[Row]:
    """What is measured."""
    plain, cached = (OurSide(reactor, port, cached=cached) for cached in (False, True))
    remembering = dnspython(dns.resolver.Resolver(configure=False), port)
    remembering.cache = dns.resolver.LRUCache()

    async def other(domains: list[str], resolver: Any = None) -> None:
        resolver = resolver or dnspython(dns.resolver.Resolver(configure=False), port)
        for domain in domains:
            route_by_dnspython(resolver, domain)

    async def others_at_a_time(domains: list[str]) -> None:
        # asyncio and our reactor cannot share a thread while one of them waits.
        asyncio.new_event_loop().run_until_complete(_many(domains, port))

    return [
        Row("one at a time", lambda domains: plain.routes(domains, 1), other),
        Row(f"{CONCURRENCY} at a time", lambda domains: plain.routes(domains, CONCURRENCY), others_at_a_time),
        Row("remembered", lambda domains: cached.routes(domains, 1), lambda domains: other(domains, remembering)),
    ]


async def _many(domains: list[str], port: int) -> None:
    resolver = dnspython(dns.asyncresolver.Resolver(configure=False), port)
    waiting = iter(domains)

    async def work() -> None:
        for domain in waiting:
            await route_by_async_dnspython(resolver, domain)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def compare(reactor: Any, port: int, routes: int, runs: int) -> None:
    """Measure all rows, and show them."""
    domains = [f"d{next(_domains)}.example" for _ in range(routes)]
    warm_up(domains, port)
    print(
        f"{'routes':16} {'ours/s':>9} {'dnspython/s':>12} {'ratio':>6}   {'CPU us ours':>12} {'dnspython':>10} {'ratio':>6}"
    )
    for row in rows(reactor, port):
        # What is to be remembered must have been asked for.
        for side in (row.ours, row.other):
            await side(domains)
        figures = [(await measure(row.ours, domains), await measure(row.other, domains)) for _ in range(runs)]
        ours, others = ([pair[place] for pair in figures] for place in (0, 1))
        speed = [1 / statistics.median(run.seconds for run in side) for side in (ours, others)]
        cpu = [1e6 * statistics.median(run.cpu_seconds for run in side) for side in (ours, others)]
        print(
            f"{row.name:16} {speed[0]:9,.0f} {speed[1]:12,.0f} {speed[0] / speed[1]:6.2f}   "
            f"{cpu[0]:12,.0f} {cpu[1]:10,.0f} {cpu[0] / cpu[1]:6.2f}"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__.splitlines()[0])
    parser.add_argument("--routes", type=int, default=300, metavar="N", help="domains in a run (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=5, metavar="K", help="show medians of K runs (default: %(default)s)"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
    with name_server() as port:
        react(lambda reactor: Deferred.fromCoroutine(compare(reactor, port, given.routes, given.runs)))


if __name__ == "__main__":
    main()
