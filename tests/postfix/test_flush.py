"""Tests of twisted_mta.postfix.flush."""

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from twisted_mta.interfaces import TableError
from twisted_mta.ipc.attributes import encode
from twisted_mta.ipc.client import Service, ServiceClient
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Event, ServiceFailed, ServiceUnreachable
from twisted_mta.postfix.flush import FlushService

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

    def test_table_that_fails(self) -> None:
        """Where nobody knows whether the domain is in the list, that is a failure, and nothing is asked."""

        def failing(domain: str) -> bool:
            raise TableError("fail:x", "lookups always fail", domain)

        client = ServiceClient(SERVICE, self.endpoint, VERSION, Clock())
        flush = FlushService("flush", client, failing, self.events.append)
        self.successResultOf(flush.add("a@b.example", "Q1"))
        self.assertEqual(self.events, [ServiceFailed("Q1", "flush")])
        self.assertEqual(self.endpoint.connections, [])

    def test_table_that_takes_time(self) -> None:
        """A list may have to ask somebody."""
        found: Deferred[bool] = Deferred()
        client = ServiceClient(SERVICE, self.endpoint, VERSION, Clock())
        flush = FlushService("flush", client, lambda domain: found, self.events.append)
        added = Deferred.fromCoroutine(flush.add("a@b.example", "Q1"))
        self.assertNoResult(added)
        found.callback(True)
        self.successResultOf(added)
        self.assertEqual(len(self.endpoint.connections), 1)
