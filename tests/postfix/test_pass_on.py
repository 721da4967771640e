"""Handing recipients to another transport over its private socket."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from tests.kit.messages import make_request
from tests.kit.requests import COMPLETE, GREETING, TRY_AGAIN
from twisted_mta.delivery.hand_over import HandOverError
from twisted_mta.ipc.client import Service, ServiceClient
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Event, ServiceConfused, ServiceUnreachable
from twisted_mta.model.request import DeliveryRequest, Recipient
from twisted_mta.postfix.delivery_protocol import RequestReader, request_names
from twisted_mta.postfix.pass_on import PrivateTransport

VERSION = PostfixVersion(3, 9)


class PassOnTests(SynchronousTestCase):
    """Another transport."""

    def setUp(self) -> None:
        """A transport that is there."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.events: list[Event] = []
        self.service = MemoryService(GREETING)
        client = ServiceClient(Service("private/other", Greeting.DELIVERY_REQUEST), self.service, VERSION, self.clock)
        self.transport = PrivateTransport("other", "", client, VERSION, self.clock, self.events.append)
        self.client = client

    def start(self, transport: PrivateTransport | None = None, **changes: Any) -> Deferred[bool]:
        """Hand a recipient over."""
        request = make_request("a@d.test", "b@d.test", **changes)
        return Deferred.fromCoroutine((transport or self.transport).hand_over(request, request.recipients[1]))

    def got(self) -> DeliveryRequest:
        """The request that arrived, in one write."""
        (data,) = self.service.connections[-1].transport.writes
        request = RequestReader(request_names(VERSION)).feed(data, 0.0)
        assert request is not None
        return request

    def reason(self, done: Deferred[bool]) -> str:
        """Why nobody knows."""
        error = self.failureResultOf(done, HandOverError).value
        assert isinstance(error, HandOverError)
        self.assertEqual(error.why.status, "4.3.0")
        return error.why.reason

    def test_request(self) -> None:
        """The other agent gets one recipient, and everything else as we got it."""
        self.start()
        self.assertEqual(self.got(), make_request(Recipient("b@d.test")))

    def test_nexthop(self) -> None:
        """best_mx_transport may name a destination."""
        transport = PrivateTransport("other", "local domain", self.client, VERSION, self.clock, self.events.append)
        self.start(transport)
        self.assertEqual(self.got().nexthop, "local domain")

    def test_outcomes(self) -> None:
        """Status 0 is final, any other is not; what the agent says of the destination is passed over."""
        sick = TRY_AGAIN.replace(b"reason\0", b"reason\0sick")
        for reply, final in ((COMPLETE, True), (TRY_AGAIN, False), (sick, False)):
            done = self.start()
            self.service.connections[-1].say(reply)
            self.assertEqual(self.successResultOf(done), final)
        self.assertEqual(self.events, [])

    def test_no_greeting(self) -> None:
        """Before the request was sent, nobody can have delivered it."""
        self.service.greeting = b""
        done = self.start()
        self.service.connections[-1].hang_up()
        self.assertEqual(self.reason(done), "mail transport unavailable")
        self.service.greeting = b"protocol\0other\0\0"
        self.assertEqual(self.reason(self.start()), "mail transport unavailable")
        self.assertTrue(all(isinstance(event, ServiceConfused) for event in self.events))

    def test_no_result(self) -> None:
        """After it, somebody may have."""
        done = self.start()
        self.service.connections[-1].hang_up()
        self.assertEqual(self.reason(done), "unknown mail transport error")
        done = self.start()
        self.service.connections[-1].say(b"status\0000\0\0")
        self.assertEqual(self.reason(done), "unknown mail transport error")

    def test_not_there(self) -> None:
        """A transport that is not there is tried a few times; after that each recipient has one attempt for a while."""
        self.service.refusal = ConnectError(2)
        told = ServiceUnreachable("private/other", "No such file or directory")
        done = self.start()
        self.clock.pump([0.5, 1.0, 2.0])
        self.assertEqual(self.reason(done), "mail transport unavailable")
        self.assertEqual(self.events, [told] * 4)
        self.events.clear()
        self.assertEqual(self.reason(self.start()), "mail transport unavailable")
        self.assertEqual(self.events, [told])
        self.clock.advance(60)
        self.assertNoResult(self.start())

    def test_comes_back(self) -> None:
        """A transport that is restarted in between gets the mail."""
        self.service.refusal = ConnectError(2)
        done = self.start()
        self.service.refusal = None
        self.clock.advance(0.5)
        self.service.connections[-1].say(COMPLETE)
        self.assertTrue(self.successResultOf(done))

    def test_cancelled(self) -> None:
        """Whoever ends the delivery ends the connection."""
        done = self.start()
        done.cancel()
        self.failureResultOf(done)
        self.assertTrue(self.service.connections[-1].transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
