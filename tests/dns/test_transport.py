"""Tests of twisted_mta.dns.transport, over loopback."""

import os
import resource
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.dns.driving import Zone
from tests.kit.dns_server import DNSServer
from twisted_mta.dns.client import StubResolver
from twisted_mta.dns.resolution import Ask
from twisted_mta.dns.resolv_conf import Server
from twisted_mta.dns.transport import SocketTransport
from twisted_mta.dns.wire import answers, build_query, read_reply
from twisted_mta.model.answers import LookupResult, RecordType
from twisted_mta.model.events import Event

reactor: Any = global_reactor

ZONE: Zone = {
    "dest.example": {"A": ["192.0.2.1"], "MX": [f"{number} mx{number}.dest.example" for number in range(60)]},
    "silent.example": {"fault": "silence"},
    "garbage.example": {"fault": "garbage"},
    "forged.example": {"fault": "forged-first", "A": ["192.0.2.2"]},
    "cut-off.example": {"fault": "truncated-close", "A": ["192.0.2.3"]},
}


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


class _Chatty(Protocol):
    """Answers whatever comes with these octets, then closes or not."""

    says = b""

    def dataReceived(self, data: bytes) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(self.says)


class TransportTests(TestCase):
    """Queries and replies on real sockets."""

    timeout = 20

    async def setUp(self) -> None:  # type: ignore[override]
        """A name server on loopback."""
        self.server = DNSServer(reactor, ZONE)
        self.addCleanup(self.server.stop)
        self.address = Server(*self.server.start())
        self.transport = SocketTransport(reactor)
        # The reactor opens descriptors of its own when it begins to run.
        await deferLater(reactor, 0)
        self.descriptors = open_descriptors()

    def ask(
        self, name: str, *, by_tcp: bool = False, seconds: float = 10, server: Server | None = None, query_id: int = 7
    ) -> Deferred[bytes | None]:
        """Send a query for an address."""
        query = build_query(query_id, name, RecordType.A)
        return self.transport.exchange(Ask(server or self.address, by_tcp, query, seconds))

    async def test_udp(self) -> None:
        """A reply comes back, and the socket is closed."""
        reply = await self.ask("dest.example")
        assert reply is not None
        self.assertTrue(answers(reply, build_query(7, "dest.example", RecordType.A)))
        self.assertEqual(open_descriptors(), self.descriptors)

    async def test_tcp(self) -> None:
        """So it does by TCP."""
        reply = await self.ask("dest.example", by_tcp=True)
        assert reply is not None
        self.assertTrue(answers(reply, build_query(7, "dest.example", RecordType.A)))
        self.assertTrue(self.server.queries[0].by_tcp)

    async def test_ipv6(self) -> None:
        """A server may have an IPv6 address."""
        server = DNSServer(reactor, ZONE)
        address = Server(*server.start("::1"))
        for by_tcp in (False, True):
            self.assertNotEqual(await self.ask("dest.example", by_tcp=by_tcp, server=address), None)
        await server.stop()

    async def test_ports(self) -> None:
        """Each query comes from another port."""
        for _ in range(20):
            await self.ask("dest.example")
        self.assertGreater(len({query.port for query in self.server.queries}), 15)

    async def test_forgeries(self) -> None:
        """Replies with a wrong id or question are dropped; the right one is still heard."""
        reply = await self.ask("forged.example")
        assert reply is not None
        query = build_query(7, "forged.example", RecordType.A)
        self.assertEqual(len(read_reply(reply, query).answers), 1)

    async def test_time_limit(self) -> None:
        """Silence, or nothing but noise, ends at the time limit."""
        for name in ["silent.example", "garbage.example"]:
            self.assertEqual(await self.ask(name, seconds=0.02), None)
        self.assertEqual(open_descriptors(), self.descriptors)

    async def test_tcp_time_limit(self) -> None:
        """A server that takes a connection and says too little has the same limit."""
        for says in [b"", b"\0", b"\1\0abc"]:
            factory = Factory.forProtocol(type("Chatty", (_Chatty,), {"says": says}))
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
            server = Server("127.0.0.1", port.getHost().port)
            self.assertEqual(await self.ask("dest.example", by_tcp=True, seconds=0.05, server=server), None)
            await port.stopListening()

    async def test_tcp_stray(self) -> None:
        """A message by TCP that does not answer the query is no reply."""
        factory = Factory.forProtocol(type("Chatty", (_Chatty,), {"says": b"\0\4abcd"}))
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        server = Server("127.0.0.1", port.getHost().port)
        self.assertEqual(await self.ask("dest.example", by_tcp=True, server=server), None)
        await port.stopListening()

    async def test_tcp_closed(self) -> None:
        """A connection that the server ends brings no reply."""
        self.assertEqual(await self.ask("cut-off.example", by_tcp=True), None)

    async def test_nobody_there(self) -> None:
        """A port that is not open is known at once."""
        await self.server.stop()
        for by_tcp in (False, True):
            self.assertEqual(await self.ask("dest.example", by_tcp=by_tcp), None)

    async def test_no_route(self) -> None:
        """An address that cannot be reached brings no reply."""
        self.assertEqual(await self.ask("dest.example", server=Server("255.255.255.255")), None)

    async def test_cancel(self) -> None:
        """A query can be given up, by UDP, by TCP, connected or not."""
        for by_tcp in (False, True):
            for seconds in (0, 0.02):
                query = self.ask("silent.example", by_tcp=by_tcp)
                await deferLater(reactor, seconds)
                query.cancel()
                await self.assertFailure(query, CancelledError)
        await deferLater(reactor, 0.02)
        self.assertEqual(open_descriptors(), self.descriptors)

    async def test_limit(self) -> None:
        """No more than so many queries are under way; the others follow in order, and can be given up."""
        self.transport = SocketTransport(reactor, most_sockets=2)
        queries = [self.ask("silent.example", seconds=0.05) for _ in range(2)]
        queries += [self.ask("dest.example", query_id=number) for number in range(5)]
        self.assertEqual(open_descriptors(), self.descriptors + 2)
        queries[4].cancel()
        await self.assertFailure(queries[4], CancelledError)
        replies = [None if query is queries[4] else await query for query in queries]
        self.assertEqual([reply and reply[1] for reply in replies], [None, None, 0, 1, None, 3, 4])
        self.assertEqual(open_descriptors(), self.descriptors)

    async def test_no_descriptors(self) -> None:
        """Without descriptors there are no replies, however many wait; later there are."""
        self.transport = SocketTransport(reactor, most_sockets=2)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        first_free = os.open(os.devnull, os.O_RDONLY)
        os.close(first_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, limits[1]))
        try:
            queries = [self.ask("dest.example", by_tcp=bool(number % 2)) for number in range(2000)]
            replies = [await query for query in queries]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.assertEqual(set(replies), {None})
        self.assertNotEqual(await self.ask("dest.example"), None)

    async def test_resolver(self) -> None:
        """A resolver for given servers: UDP, then TCP for what is too large; and no answer where nobody is."""
        events: list[Event] = []
        resolver = StubResolver.for_servers(reactor, [self.address], events.append)
        answer = await resolver.lookup("dest.example", RecordType.MX)
        self.assertEqual((answer.result, len(answer.records)), (LookupResult.OK, 60))
        self.assertEqual([query.by_tcp for query in self.server.queries], [False, True])
        await self.server.stop()
        answer = await resolver.lookup("dest.example", RecordType.MX)
        self.assertEqual(answer.result, LookupResult.RETRY)
        self.assertEqual(events, [])
