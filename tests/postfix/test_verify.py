"""Tests of twisted_mta.postfix.verify."""

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from twisted_mta.ipc.attributes import encode
from twisted_mta.ipc.client import PersistentClient, Service
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Event, ServiceUnreachable
from twisted_mta.model.request import Recipient
from twisted_mta.postfix.verify import ProbeOutcome, VerifyService

VERSION = PostfixVersion(3, 9)
SERVICE = Service("private/verify", Greeting.ADDRESS_VERIFICATION)


class VerifyServiceTests(SynchronousTestCase):
    """Outcomes of probes."""

    def setUp(self) -> None:
        """A verify(8) that takes everything."""
        self.clock = Clock()
        self.events: list[Event] = []
        self.status = 0
        self.endpoint = MemoryService(
            VERSION.greeting(Greeting.ADDRESS_VERIFICATION), lambda request: encode([("status", self.status)])
        )
        client = PersistentClient(SERVICE, self.endpoint, VERSION, self.clock)
        self.verify = VerifyService("verify", client, self.clock, self.events.append)
        self.addCleanup(client.close)

    def update(self, recipient: Recipient, reason: str = "250 Ok") -> Deferred[bool]:
        """Tell an outcome."""
        return Deferred.fromCoroutine(self.verify.update(recipient, ProbeOutcome.BOUNCE, reason))

    def test_both_addresses(self) -> None:
        """First the address that was asked about, then the one that it became, over one connection."""
        self.assertTrue(self.successResultOf(self.update(Recipient("real@b", "alias@a"))))
        (connection,) = self.endpoint.connections
        self.assertEqual(
            connection.transport.writes,
            [
                b"request\0update\0address\0%b\0recipient_status\x002\0reason\x00250 Ok\0\0" % address
                for address in (b"alias@a", b"real@b")
            ],
        )

    def test_one_address(self) -> None:
        """Equal addresses are told once, an empty one not at all; those that differ by case are two."""
        for original, count in (("r@b", 1), ("", 1), ("R@b", 2)):
            before = len(self.endpoint.requests)
            self.assertTrue(self.successResultOf(self.update(Recipient("r@b", original))))
            self.assertEqual(len(self.endpoint.requests) - before, count)

    def test_refused(self) -> None:
        """A refusal is final, and the second address is not told any more."""
        self.status = -1
        self.assertFalse(self.successResultOf(self.update(Recipient("real@b", "alias@a"))))
        self.assertEqual(len(self.endpoint.requests), 1)

    def test_comes_back(self) -> None:
        """A service that is not there is asked again a second later."""
        self.endpoint.refusal = ConnectError(2)
        updated = self.update(Recipient("r@b"), "a\0b")
        self.clock.advance(1)
        self.endpoint.refusal = None
        self.clock.advance(1)
        self.assertTrue(self.successResultOf(updated))
        self.assertEqual(self.events, [ServiceUnreachable("private/verify", "No such file or directory")] * 2)
        self.assertEqual(self.endpoint.requests[0].values[-1], b"a?b")

    def test_stays_away(self) -> None:
        """It is not asked for ever."""
        self.endpoint.refusal = ConnectError(2)
        updated = self.update(Recipient("r@b"))
        self.clock.pump([1] * 10)
        self.assertFalse(self.successResultOf(updated))
        self.assertEqual(len(self.events), 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])
