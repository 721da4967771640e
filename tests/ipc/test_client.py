"""Clients of private services."""

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from twisted_mta.ipc.attributes import AttributeList, encode, expect, read_texts
from twisted_mta.ipc.client import (
    PersistentClient,
    Service,
    ServiceClient,
    ServiceError,
    ServiceUnreachableError,
    read_status,
)
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import ServiceConfused, ServiceUnreachable

V35, V37 = PostfixVersion(3, 5), PostfixVersion(3, 7)
BOUNCE = Service("private/bounce", Greeting.DELIVERY_STATUS)
VERIFY = Service("private/verify", Greeting.ADDRESS_VERIFICATION)
DONE = encode([("status", 0)])


def done(request: AttributeList) -> bytes:
    """The answer of a service to which nothing is wrong."""
    return DONE


def read_echo(reply: AttributeList) -> str:
    """The reply of `echo`."""
    return read_texts(expect(reply, (b"n",)))[0]


def echo(request: AttributeList) -> bytes:
    """The answer of a service that gives back what it got."""
    return encode([("n", request.values[0])])


class ServiceClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A service in memory."""
        self.clock = Clock()
        self.service = MemoryService(V37.greeting(Greeting.DELIVERY_STATUS), done)
        self.client = ServiceClient(BOUNCE, self.service, V37, self.clock, timeout_seconds=100)

    def ask(self) -> Deferred[int]:
        """Send a request."""
        return Deferred.fromCoroutine(self.client.ask(encode([("nrequest", 0)]), read_status))

    def test_one_list_each_way(self) -> None:
        """Greeting, one request in one write, one reply, and the connection is closed."""
        self.assertEqual(self.successResultOf(self.ask()), 0)
        (connection,) = self.service.connections
        self.assertEqual(connection.transport.writes, [b"nrequest\x000\0\0"])
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_connection_for_each_request(self) -> None:
        """A second request gets a connection of its own."""
        self.successResultOf(self.ask())
        self.successResultOf(self.ask())
        self.assertEqual(len(self.service.connections), 2)

    def test_nothing_is_sent_before_the_greeting(self) -> None:
        """The accepting side speaks first, in however many pieces."""
        self.service.greeting = b""
        asked = self.ask()
        (connection,) = self.service.connections
        greeting = V37.greeting(Greeting.DELIVERY_STATUS)
        for position in range(len(greeting) - 1):
            connection.say(greeting[position : position + 1])
        self.assertEqual(connection.transport.writes, [])
        connection.say(greeting[-1:])
        self.assertEqual(self.successResultOf(asked), 0)

    def test_old_services_do_not_greet(self) -> None:
        """With Postfix 3.5 the client writes at once."""
        service = MemoryService(b"", done)
        client = ServiceClient(BOUNCE, service, V35, self.clock)
        self.assertEqual(self.successResultOf(client.ask(b"\0", read_status)), 0)

    def test_unreachable(self) -> None:
        """A connection that cannot be made is told as Postfix does."""
        for refusal, problem in [
            (error.ConnectError(osError=2, string="whatever"), "No such file or directory"),
            (error.ConnectionRefusedError(osError=111), "Connection refused"),
            (OSError(24, "x"), "Too many open files"),
            (error.ConnectError(string=Failure(error.ConnectionDone())), "Resource temporarily unavailable"),
        ]:
            self.service.refusal = refusal
            failure = self.failureResultOf(self.ask(), ServiceUnreachableError).value
            self.assertEqual(failure.event, ServiceUnreachable("private/bounce", problem))

    def confusion(self, asked: Deferred[int]) -> str:
        """The problem of a request that failed."""
        failure = self.failureResultOf(asked, ServiceError).value
        self.assertEqual(failure.event, ServiceConfused("private/bounce", failure.problem))
        self.assertTrue(all(c.transport.disconnecting for c in self.service.connections))
        return str(failure.problem)

    def test_greeting_of_another_protocol(self) -> None:
        """A socket that belongs to another service is not asked anything."""
        self.service.greeting = V37.greeting(Greeting.CLEANUP)
        self.assertIn('"cleanup_protocol" instead of "delivery_status_protocol"', self.confusion(self.ask()))
        self.assertEqual(self.service.requests, [])

    def test_reply_of_another_shape(self) -> None:
        """A reply with another attribute is an error that names it."""
        self.service.answer = lambda request: encode([("statsu", 0)])
        self.assertIn('"statsu" stands where "status" belongs', self.confusion(self.ask()))

    def test_reply_without_end(self) -> None:
        """A service cannot fill the memory."""
        self.service.answer = lambda request: b"x" * (2 << 20)
        self.assertIn("longer than", self.confusion(self.ask()))

    def test_connection_lost(self) -> None:
        """An early end says what was missing: greeting, reply, or its rest."""
        self.service.answer = lambda request: None
        self.service.greeting = b""
        for steps, text in [
            ([], "while waiting for the greeting"),
            ([b"proto"], "within the greeting"),
            ([V37.greeting(Greeting.DELIVERY_STATUS)], "while waiting for the reply"),
            ([V37.greeting(Greeting.DELIVERY_STATUS), b"status\0"], "within the reply"),
        ]:
            asked = self.ask()
            for step in steps:
                self.service.connections[-1].say(step)
            self.service.connections[-1].hang_up()
            self.assertIn(text, self.confusion(asked))

    def test_no_reply_in_time(self) -> None:
        """ipc_timeout bounds the whole exchange, and the connection goes."""
        self.service.answer = lambda request: None
        asked = self.ask()
        self.clock.advance(99)
        self.assertNoResult(asked)
        self.clock.advance(1)
        self.assertEqual(self.confusion(asked), "no reply within 100 seconds")

    def test_cancelled_before_the_greeting(self) -> None:
        """Who loses interest early ends the connection too."""
        self.service.greeting = b""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.service.connections[0].transport.disconnecting)

    def test_cancelled(self) -> None:
        """Who loses interest ends the connection."""
        self.service.answer = lambda request: None
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.service.connections[0].transport.disconnecting)
        self.service.connections[0].hang_up()


class PersistentClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A service in memory."""
        self.clock = Clock()
        self.service = MemoryService(V37.greeting(Greeting.ADDRESS_VERIFICATION), echo)
        self.client = PersistentClient(
            VERIFY, self.service, V37, self.clock, timeout_seconds=100, idle_seconds=5, ttl_seconds=30
        )

    def ask(self, n: int) -> Deferred[str]:
        """Send a request with a number in it."""
        return Deferred.fromCoroutine(self.client.ask(encode([("n", n)]), read_echo))

    def test_connection_is_kept(self) -> None:
        """Several requests travel over one connection, greeted once."""
        for n in range(3):
            self.assertEqual(self.successResultOf(self.ask(n)), str(n))
            self.clock.advance(4)
        self.assertEqual(len(self.service.connections), 1)
        self.assertFalse(self.service.connections[0].transport.disconnecting)
        self.client.close()

    def test_one_at_a_time_in_order(self) -> None:
        """A request waits until the one before it has its reply."""
        self.service.answer = lambda request: None
        first, second = self.ask(1), self.ask(2)
        (connection,) = self.service.connections
        self.assertEqual(len(connection.requests), 1)
        connection.say(encode([("n", "a")]))
        self.assertEqual(self.successResultOf(first), "a")
        self.assertEqual(len(connection.requests), 2)
        connection.say(encode([("n", "b")]))
        self.assertEqual(self.successResultOf(second), "b")
        self.client.close()

    def test_idle_connection_is_closed(self) -> None:
        """After ipc_idle the connection goes, and the next request gets a new one."""
        self.successResultOf(self.ask(1))
        self.clock.advance(5)
        self.assertTrue(self.service.connections[0].transport.disconnecting)
        self.successResultOf(self.ask(2))
        self.assertEqual(len(self.service.connections), 2)
        self.client.close()

    def test_old_connection_is_closed(self) -> None:
        """A connection in constant use goes after ipc_ttl."""
        for n in range(12):
            self.successResultOf(self.ask(n))
            self.clock.advance(3)
        self.assertEqual([c.transport.disconnecting for c in self.service.connections], [True, False])
        self.client.close()

    def test_dead_connection_is_replaced(self) -> None:
        """A kept connection that the service closed meanwhile is noticed, before or after the request is written."""
        self.successResultOf(self.ask(1))
        self.service.connections[0].hang_up()
        self.assertEqual(self.successResultOf(self.ask(2)), "2")
        self.service.answer = lambda request: None
        asked = self.ask(3)
        self.service.answer = echo
        self.service.connections[1].hang_up()
        self.assertEqual(self.successResultOf(asked), "3")
        self.assertEqual(len(self.service.connections), 3)
        self.client.close()

    def test_new_connection_is_not_replaced(self) -> None:
        """A service that ends on each request is an error, not a loop."""
        self.service.answer = lambda request: None
        asked = self.ask(1)
        self.service.connections[0].hang_up()
        self.failureResultOf(asked, ServiceError)
        self.assertEqual(len(self.service.connections), 1)

    def test_half_a_reply_is_not_asked_again(self) -> None:
        """A reply that broke off is an error also on a kept connection."""
        self.successResultOf(self.ask(1))
        self.service.answer = lambda request: b"n\0"
        asked = self.ask(2)
        self.service.connections[0].hang_up()
        self.failureResultOf(asked, ServiceError)
        self.assertEqual(len(self.service.connections), 1)

    def test_replies_are_never_mixed_up(self) -> None:
        """A reply that comes too late, or twice, is not taken for that of the next request."""
        self.service.answer = lambda request: None
        late = self.ask(1)
        self.clock.advance(100)
        self.failureResultOf(late, ServiceError)
        self.service.connections[0].say(encode([("n", "late")]))
        self.service.answer = lambda request: echo(request) * 2
        self.failureResultOf(self.ask(2), ServiceError)
        self.service.answer = echo
        self.assertEqual(self.successResultOf(self.ask(3)), "3")
        self.assertEqual(len(self.service.connections), 3)
        self.client.close()

    def test_unasked_data_ends_the_kept_connection(self) -> None:
        """What comes while nothing was asked makes the connection unusable."""
        self.successResultOf(self.ask(1))
        self.service.connections[0].say(encode([("n", "unasked")]))
        self.assertEqual(self.successResultOf(self.ask(2)), "2")
        self.assertEqual(len(self.service.connections), 2)
        self.assertTrue(self.service.connections[0].transport.disconnecting)
        self.client.close()

    def test_error_frees_the_turn(self) -> None:
        """A request that fails does not hold up the others."""
        self.service.refusal = error.ConnectionRefusedError(osError=111)
        self.failureResultOf(self.ask(1), ServiceUnreachableError)
        self.service.refusal = None
        self.assertEqual(self.successResultOf(self.ask(2)), "2")
        self.client.close()

    def test_waiting_request_can_be_cancelled(self) -> None:
        """A request that lost interest before its turn is never sent."""
        self.service.answer = lambda request: None
        first, second, third = self.ask(1), self.ask(2), self.ask(3)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.service.connections[0].say(encode([("n", "a")]))
        self.service.connections[0].say(encode([("n", "c")]))
        self.assertEqual((self.successResultOf(first), self.successResultOf(third)), ("a", "c"))
        self.assertEqual([r.values for r in self.service.requests], [(b"1",), (b"3",)])
        self.client.close()

    def test_close(self) -> None:
        """Closing ends the kept connection and its timer; a request under way still gets its reply."""
        self.successResultOf(self.ask(1))
        self.service.answer = lambda request: None
        asked = self.ask(2)
        self.client.close()
        self.service.connections[0].say(encode([("n", "2")]))
        self.assertEqual(self.successResultOf(asked), "2")
        self.assertTrue(self.service.connections[0].transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
