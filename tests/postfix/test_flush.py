"""Tests of twisted_mta.postfix.flush."""

from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from twisted_mta.ipc.attributes import encode
from twisted_mta.ipc.client import Service, ServiceClient
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import ConfigurationProblem, Event, ServiceFailed, ServiceUnreachable
from twisted_mta.postfix.flush import DomainMatch, FlushService, literal_domains

VERSION = PostfixVersion(3, 9)
SERVICE = Service("public/flush", Greeting.QUEUE_FLUSH)


class FlushServiceTests(SynchronousTestCase):
    """Telling flush(8)."""

    def setUp(self) -> None:
        """A flush(8) that takes everything for one domain."""
        self.events: list[Event] = []
        self.status = 0
        self.endpoint = MemoryService(
            VERSION.greeting(Greeting.QUEUE_FLUSH), lambda request: encode([("status", self.status)])
        )
        client = ServiceClient(SERVICE, self.endpoint, VERSION, Clock())
        self.flush = FlushService("flush", client, lambda domain: domain == "b.example", self.events.append)

    def add(self, address: str) -> None:
        """Mail to this address waits."""
        self.successResultOf(self.flush.add(address, "Q1"))

    def test_added(self) -> None:
        """The domain of the recipient, and the message."""
        self.add("a@b@b.example")
        self.assertEqual(
            self.endpoint.connections[0].transport.writes, [b"request\0add\0site\0b.example\0queue_id\0Q1\0\0"]
        )

    def test_not_added(self) -> None:
        """Other domains, and addresses without one, are not told."""
        for address in ("a@c.example", "a", "a@", ""):
            self.add(address)
        self.assertEqual(self.endpoint.connections, [])

    def test_denied(self) -> None:
        """A service with another opinion of the domain is right."""
        self.status = 4
        self.add("a@b.example")
        self.assertEqual(self.events, [])

    def test_failed(self) -> None:
        """Everything else is told."""
        self.status = -1
        self.add("a@b.example")
        self.endpoint.refusal = ConnectError(111)
        self.add("a@b.example")
        failed = ServiceFailed("Q1", "flush")
        self.assertEqual(self.events, [failed, ServiceUnreachable("public/flush", "Connection refused"), failed])


class LiteralDomainsTests(SynchronousTestCase):
    """fast_flush_domains without tables."""

    def matcher(self, text: str, *, parents_match: bool = True) -> DomainMatch:
        """Items separated by blanks; problems are in `events`."""
        self.events: list[Event] = []
        return literal_domains(
            text.split(), parents_match=parents_match, parameter="fast_flush_domains", emit=self.events.append
        )

    def test_subdomains(self) -> None:
        """A domain stands for its subdomains, in any case."""
        matches = self.matcher("Example.com b.org")
        for domain in ("example.com", "EXAMPLE.com", "a.b.example.com", "x.b.org"):
            self.assertTrue(matches(domain), domain)
        for domain in ("anexample.com", "com", "org", "example.com.org", ""):
            self.assertFalse(matches(domain), domain)

    def test_dots(self) -> None:
        """Otherwise a dot in front says so."""
        matches = self.matcher("example.com .b.org", parents_match=False)
        self.assertTrue(matches("example.com"))
        self.assertTrue(matches("x.b.org"))
        self.assertFalse(matches("x.example.com"))
        self.assertFalse(matches("b.org"))

    def test_first_item_decides(self) -> None:
        """Items with ! are exceptions, if they stand in front of the rule."""
        matches = self.matcher("!not.example.com example.com !late.example.com !!twice.org")
        self.assertFalse(matches("not.example.com"))
        self.assertFalse(matches("a.not.example.com"))
        self.assertTrue(matches("late.example.com"))
        self.assertTrue(matches("twice.org"))

    def test_empty(self) -> None:
        """An empty list has no domain."""
        self.assertFalse(self.matcher("")("example.com"))

    def test_tables(self) -> None:
        """Files and tables are told, once, and match nothing."""
        matches = self.matcher("hash:/etc/postfix/x !/etc/domains example.com [::1]")
        self.assertTrue(matches("example.com"))
        self.assertFalse(matches("hash:/etc/postfix/x"))
        self.assertEqual(
            self.events,
            [
                ConfigurationProblem(
                    f"fast_flush_domains: {item}: files and tables are not supported here and match nothing"
                )
                for item in ("hash:/etc/postfix/x", "!/etc/domains")
            ],
        )
