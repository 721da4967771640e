"""Connections of the queue manager."""

from dataclasses import dataclass, field
from itertools import pairwise

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.attributes import RecordingTransport
from tests.kit.requests import COMPLETE, GREETING, TRY_AGAIN, ToldAgent, wire_recipient, wire_request
from twisted_mta.interfaces import IDeliveryAgent, IMessageContent, IRequestSource, IStatusReporter
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import (
    DeliveryFailedUnexpectedly,
    Event,
    QueueFileUnusable,
    RequestMalformed,
    RequestOverdue,
)
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.result import FinalStatus
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.postfix.queue_file import LockBusyError, QueueFileError
from twisted_mta.postfix.requests import DeliveryListener, Work


@dataclass
class MemoryWork:
    """What a delivery needs, without a file; tells when it is closed."""

    content: IMessageContent
    reporter: IStatusReporter
    told: list[str]
    fault: Exception | None = None

    def close(self) -> None:
        """Remember it."""
        self.told.append("closed")
        if self.fault is not None:
            raise self.fault


@implementer(IDeliveryAgent)
class BrokenAgent:
    """Does what an agent never should: raises."""

    def deliver(
        self, request: DeliveryRequest, content: IMessageContent, reporter: IStatusReporter
    ) -> Deferred[FinalStatus]:
        """Raise."""
        raise ZeroDivisionError("a defect")


@dataclass
class Peer:
    """The queue manager's end of a connection."""

    protocol: Protocol
    told: list[str] = field(default_factory=list)
    transport: RecordingTransport = field(init=False)

    def __post_init__(self) -> None:
        """Connect."""
        self.transport = RecordingTransport(lambda data: self.told.append("wrote"))
        self.protocol.makeConnection(self.transport)

    @property
    def got(self) -> list[bytes]:
        """Each write of the agent."""
        return self.transport.writes

    @property
    def hung_up(self) -> bool:
        """Whether the agent closed the connection."""
        return self.transport.disconnecting

    def send(self, *pieces: bytes) -> None:
        """Send a request, or parts of it."""
        for piece in pieces or (wire_request(),):
            self.protocol.dataReceived(piece)

    def close(self) -> None:
        """Hang up."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


@dataclass
class PortInMemory:
    """Something that brings connections."""

    stopped: bool = False

    def stop(self) -> None:
        """Bring no more."""
        self.stopped = True


class ListenerTestCase(SynchronousTestCase):
    max_deliveries = 2

    def setUp(self) -> None:
        """A listener with an agent that answers when it is told to."""
        self.clock = Clock()
        self.clock.advance(1_700_000_002.5)
        self.events: list[Event] = []
        self.told: list[str] = []
        self.faults: list[Exception] = []
        self.close_fault: Exception | None = None
        self.agent = ToldAgent()
        self.listener = self.make_listener(PostfixVersion(3, 7))

    def make_listener(self, version: PostfixVersion) -> DeliveryListener:
        """A listener for a version of Postfix."""
        return DeliveryListener(
            self.agent,
            self.open_work,
            version,
            self.clock,
            self.events.append,
            max_deliveries=self.max_deliveries,
            ipc_timeout_seconds=3600,
            daemon_timeout_seconds=18000,
        )

    def open_work(self, request: DeliveryRequest) -> Work:
        """Open a queue file, unless a fault is to happen first."""
        self.told.append(f"opened {request.queue_name}/{request.queue_id}")
        if self.faults:
            raise self.faults.pop(0)
        return MemoryWork(object(), object(), self.told, self.close_fault)  # type: ignore[arg-type] # nobody looks

    def connect(self) -> Peer:
        """A connection of the queue manager."""
        protocol = self.listener.buildProtocol(UNIXAddress(None))
        assert protocol is not None
        return Peer(protocol, self.told)

    def requesting(self) -> Peer:
        """A connection whose request is being delivered."""
        peer = self.connect()
        peer.send()
        return peer

    def lines(self) -> list[str]:
        """What the log says."""
        return [line_of(event, LogStyle())[1] for event in self.events]


class RequestTests(ListenerTestCase):
    def test_interface(self) -> None:
        """The listener is a request source."""
        verifyObject(IRequestSource, self.listener)

    def test_one_request(self) -> None:
        """Greeting, request, reply, each in one write; the file is closed before the reply, the connection by the peer."""
        peer = self.connect()
        self.assertEqual(peer.got, [GREETING])
        peer.send()
        self.assertEqual(peer.got, [GREETING])
        self.agent.pending[0].callback(FinalStatus(True))
        self.assertEqual(peer.got, [GREETING, COMPLETE])
        self.assertEqual(self.told, ["wrote", "opened active/1E2404A2B3", "closed", "wrote"])
        self.assertFalse(peer.hung_up)
        peer.close()
        self.assertEqual((self.listener.accepted, self.listener.in_flight, self.listener.waiting), (1, 0, 0))
        self.assertEqual(self.events, [])

    def test_request_as_the_agent_sees_it(self) -> None:
        """The agent gets the request with the moment it was read."""
        self.requesting()
        (request,) = self.agent.requests
        self.assertEqual((request.queue_id, request.nexthop), ("1E2404A2B3", "example.net"))
        self.assertEqual(request.stats.agent_handoff, 1_700_000_002_500_000)

    def test_cut_anywhere(self) -> None:
        """However the request arrives, it is delivered once."""
        wire = wire_request([wire_recipient("b@example.net"), wire_recipient("c@example.net")])
        peer = self.connect()
        peer.send(*[wire[start:end] for start, end in pairwise(range(len(wire) + 1))])
        self.assertEqual([len(request.recipients) for request in self.agent.requests], [2])

    def test_old_queue_manager(self) -> None:
        """Postfix 3.5 expects a status as the greeting."""
        self.listener = self.make_listener(PostfixVersion(3, 5))
        self.assertEqual(self.connect().got, [b"status\x000\0\0"])

    def test_new_queue_manager(self) -> None:
        """Postfix 3.10 sends other options; everything else is the same."""
        self.listener = self.make_listener(PostfixVersion(3, 10))
        peer = self.connect()
        peer.send(wire_request(sendopts=3))
        self.assertEqual(peer.got, [GREETING])
        self.assertEqual(len(self.agent.requests), 1)

    def test_sick_destination(self) -> None:
        """The hop status is in the reply."""
        peer = self.requesting()
        self.agent.pending[0].callback(FinalStatus(False, DsnStatus("4.4.1", "connect to mx: Connection refused")))
        self.assertIn(b"reason\0connect to mx: Connection refused\0status\x004294967295\0\0", peer.got[1])

    def test_agent_that_answers_at_once(self) -> None:
        """An answer may be there before `deliver` returns."""
        self.agent.status = FinalStatus(True)
        self.assertEqual(self.requesting().got, [GREETING, COMPLETE])

    def test_nothing_to_do(self) -> None:
        """A queue manager that hangs up upon the greeting is normal: no line, no delivery, the place is free."""
        peer = self.connect()
        self.assertEqual(self.listener.in_flight, 1)
        peer.close()
        self.assertEqual((self.listener.in_flight, self.events, self.agent.requests), (0, [], []))

    def test_connection_lost_within_the_request(self) -> None:
        """Half a request is told, and delivers nothing."""
        peer = self.connect()
        peer.send(wire_request()[:-1])
        peer.close()
        self.assertEqual(self.events, [RequestMalformed("connection lost within a request")])
        self.assertEqual((self.listener.in_flight, self.agent.requests), (0, []))

    def test_connection_lost_while_delivering(self) -> None:
        """The delivery goes on, its file is closed in the end, and nobody is answered."""
        peer = self.requesting()
        peer.close()
        self.assertEqual(self.listener.in_flight, 1)
        self.agent.pending[0].callback(FinalStatus(True))
        self.assertEqual(peer.got, [GREETING])
        self.assertEqual(self.told[-1], "closed")
        self.assertEqual(self.listener.in_flight, 0)

    def test_malformed_request(self) -> None:
        """What is no request is answered with try again, once, and told; the rest of it is ignored."""
        peer = self.connect()
        peer.send(wire_request(queue_id="../../x"), b"and more")
        self.assertEqual(peer.got, [GREETING, TRY_AGAIN])
        self.assertEqual(self.lines(), ['delivery request: "../../x" cannot be a queue id'])
        self.assertEqual((self.listener.in_flight, self.agent.requests), (0, []))
        peer.close()
        self.assertEqual(len(self.events), 1)

    def test_malformed_text_is_printable_in_the_log(self) -> None:
        """Foreign bytes do not reach the log."""
        self.connect().send(b"fl\nags\x1b\0\xff\0\0")
        self.assertEqual(self.lines(), ['delivery request: attribute "fl?ags?" stands where "flags" belongs'])

    def test_speaking_out_of_turn(self) -> None:
        """A peer that sends before it was greeted is no queue manager."""
        self.requesting(), self.requesting()
        peer = self.connect()
        peer.send(b"EHLO\r\n")
        self.assertTrue(peer.hung_up)
        self.assertEqual(self.listener.waiting, 0)
        self.assertEqual(self.events, [RequestMalformed("the peer speaks before it was greeted")])
        peer.close()

    def test_requests_keep_their_configuration(self) -> None:
        """A new agent gets what is read from now on; what was read stays with the old one."""
        peer = self.requesting()
        other = ToldAgent(FinalStatus(False))
        self.listener.use(other, self.open_work)
        self.assertEqual(self.requesting().got[-1], TRY_AGAIN)
        self.agent.pending[0].callback(FinalStatus(True))
        self.assertEqual(peer.got[-1], COMPLETE)
        self.assertEqual((len(self.agent.requests), len(other.requests)), (1, 1))


class FaultTests(ListenerTestCase):
    def test_queue_file_that_cannot_be_used(self) -> None:
        """The queue manager shall try again, and the log says why."""
        self.faults = [QueueFileError("open active/1E2404A2B3: No such file or directory")]
        self.assertEqual(self.requesting().got, [GREETING, TRY_AGAIN])
        self.assertEqual(
            self.events,
            [QueueFileUnusable("1E2404A2B3", "open active/1E2404A2B3: No such file or directory")],
        )
        self.assertEqual(self.listener.in_flight, 0)

    def test_lock_that_is_busy_for_a_moment(self) -> None:
        """The queue manager may still be reading the file: the lock is tried again."""
        self.faults = [LockBusyError("locked")] * 3
        peer = self.requesting()
        self.clock.pump([0.5] * 3)
        self.assertEqual(len(self.agent.requests), 1)
        self.assertEqual((peer.got, self.events), ([GREETING], []))

    def test_lock_that_stays_busy(self) -> None:
        """After some seconds the queue manager shall try again later."""
        self.faults = [LockBusyError("active/1E2404A2B3 is locked by another process")] * 100
        peer = self.requesting()
        self.clock.pump([0.5] * 20)
        self.assertEqual(peer.got, [GREETING, TRY_AGAIN])
        self.assertEqual(self.lines(), ["1E2404A2B3: active/1E2404A2B3 is locked by another process"])
        self.assertEqual(len(self.faults), 90)

    def test_defects(self) -> None:
        """Whatever goes wrong unforeseen, the answer is try again, and the traceback is told."""
        for agent, fault, close_fault in [
            (self.agent, ZeroDivisionError("a defect"), None),
            (BrokenAgent(), None, None),
            (ToldAgent(FinalStatus(True)), None, ZeroDivisionError("a defect")),
            (ToldAgent(FinalStatus(True, DsnStatus("4.0.0", "\ud800"))), None, None),
        ]:
            self.events.clear()
            self.faults = [fault] if fault else []
            self.close_fault = close_fault
            self.listener.use(agent, self.open_work)
            self.assertEqual(self.requesting().got, [GREETING, TRY_AGAIN])
            (event,) = self.events
            assert isinstance(event, DeliveryFailedUnexpectedly)
            self.assertEqual(event.queue_id, "1E2404A2B3")
            self.assertIn("Traceback", event.traceback)
            self.assertEqual(self.listener.in_flight, 0)

    def test_agent_that_fails(self) -> None:
        """A failure in place of a status is a defect too, and the file is closed."""
        peer = self.requesting()
        self.agent.pending[0].errback(ZeroDivisionError("a defect"))
        self.assertEqual(peer.got, [GREETING, TRY_AGAIN])
        self.assertEqual(self.told[-2:], ["closed", "wrote"])
        self.assertIn("1E2404A2B3: delivery ended by a defect, mail is deferred", self.lines()[0])


class TimeLimitTests(ListenerTestCase):
    def test_request_that_does_not_come(self) -> None:
        """A greeted peer that stays silent loses its place after ipc_timeout."""
        peer = self.connect()
        self.clock.advance(3600)
        self.assertTrue(peer.hung_up)
        self.assertEqual(self.events, [RequestMalformed("the peer was greeted and sends no complete request")])
        peer.close()
        self.assertEqual(self.listener.in_flight, 0)

    def test_peer_that_does_not_hang_up(self) -> None:
        """A peer that stays after the reply is closed after ipc_timeout."""
        self.agent.status = FinalStatus(True)
        peer = self.requesting()
        self.clock.advance(3599)
        self.assertFalse(peer.hung_up)
        self.clock.advance(1)
        self.assertTrue(peer.hung_up)
        self.assertEqual(self.events, [])

    def test_overdue_delivery(self) -> None:
        """A delivery is cancelled a minute before the queue manager would die, and what comes of that is the answer."""
        peer = self.requesting()
        self.clock.advance(18000 - 61)
        self.assertEqual(peer.got, [GREETING])
        self.clock.advance(1)
        self.assertEqual(peer.got, [GREETING, TRY_AGAIN])
        self.assertEqual(self.events, [RequestOverdue("1E2404A2B3", 17940)])
        self.assertEqual((self.listener.in_flight, self.told[-2:]), (0, ["closed", "wrote"]))

    def test_delivery_without_end(self) -> None:
        """One that does not end then is answered for; it keeps its place and its file."""
        reports: Deferred[None] = Deferred()

        async def deaf(delivery: Deferred[None]) -> FinalStatus:
            try:
                await delivery
            except CancelledError:
                await reports
            return FinalStatus(True)

        self.agent.answer = lambda: Deferred.fromCoroutine(deaf(Deferred()))
        peer = self.requesting()
        self.clock.advance(18000 - 60)
        self.assertEqual(peer.got, [GREETING])
        self.clock.advance(30)
        self.assertEqual(peer.got, [GREETING, TRY_AGAIN])
        self.assertEqual(self.listener.in_flight, 1)
        self.assertNotIn("closed", self.told)
        peer.close()
        reports.callback(None)
        self.assertEqual(peer.got, [GREETING, TRY_AGAIN])
        self.assertEqual((self.listener.in_flight, self.told[-1]), (0, "closed"))


class CapacityTests(ListenerTestCase):
    def test_greetings_are_withheld(self) -> None:
        """At the limit nobody is greeted until a delivery ends; then first come, first served."""
        busy = [self.requesting(), self.requesting()]
        third, fourth = self.connect(), self.connect()
        self.assertEqual((self.listener.in_flight, self.listener.waiting), (2, 2))
        self.assertEqual((third.got, fourth.got), ([], []))
        self.agent.pending[0].callback(FinalStatus(True))
        self.assertEqual(busy[0].got, [GREETING, COMPLETE])
        self.assertEqual((third.got, fourth.got), ([GREETING], []))
        third.close()
        self.assertEqual(fourth.got, [GREETING])
        self.assertEqual((self.listener.in_flight, self.listener.waiting, self.listener.accepted), (2, 0, 4))

    def test_held(self) -> None:
        """While greetings are held nobody is greeted, whatever is in flight; deliveries go on."""
        busy = self.requesting()
        self.listener.hold(True)
        second, third = self.connect(), self.connect()
        self.agent.pending[0].callback(FinalStatus(True))
        self.assertEqual((busy.got, second.got, third.got), ([GREETING, COMPLETE], [], []))
        self.listener.hold(False)
        self.assertEqual((second.got, third.got), ([GREETING], [GREETING]))

    def test_waiting_peer_leaves(self) -> None:
        """Who hangs up while waiting is not greeted."""
        self.requesting(), self.requesting()
        third, fourth = self.connect(), self.connect()
        third.close()
        self.agent.pending[0].callback(FinalStatus(True))
        self.assertEqual((third.got, fourth.got), ([], [GREETING]))
        self.assertEqual(self.events, [])

    def test_nobody_waits_too_long(self) -> None:
        """After a sixth of daemon_timeout a peer is greeted all the same, lest the queue manager dies."""
        self.requesting(), self.requesting()
        third = self.connect()
        self.clock.advance(2999)
        self.assertEqual(third.got, [])
        self.clock.advance(1)
        self.assertEqual(third.got, [GREETING])
        third.send()
        self.assertEqual((len(self.agent.requests), self.listener.in_flight), (3, 3))
        fourth = self.connect()
        self.agent.pending[0].callback(FinalStatus(True))
        self.assertEqual(fourth.got, [])
        self.agent.pending[1].callback(FinalStatus(True))
        self.assertEqual(fourth.got, [GREETING])

    def test_limit_may_change(self) -> None:
        """A lower limit holds from the next connection on; a higher one greets who waits."""
        self.listener.max_deliveries = 0
        first, second = self.connect(), self.connect()
        self.assertEqual((first.got, second.got), ([], []))
        self.listener.max_deliveries = 1
        self.assertEqual((first.got, second.got, self.listener.max_deliveries), ([GREETING], [], 1))


class StopTests(ListenerTestCase):
    def test_idle(self) -> None:
        """With nothing in flight stopping is immediate, and further connections are refused."""
        port = PortInMemory()
        self.listener.brought_by(port)
        self.successResultOf(self.listener.stop(10))
        self.assertTrue(port.stopped)
        self.assertIsNone(self.listener.buildProtocol(UNIXAddress(None)))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.listener.stop(10))

    def test_what_is_in_flight_ends(self) -> None:
        """Deliveries finish and their replies go out first; who waits is greeted: to hang up would hold all mail back."""
        first, second, third = self.requesting(), self.requesting(), self.connect()
        stopped, again = self.listener.stop(10), self.listener.stop(10)
        self.assertEqual((third.got, third.hung_up), ([GREETING], False))
        third.close()
        self.agent.pending[0].callback(FinalStatus(True))
        self.agent.pending[1].callback(FinalStatus(True))
        self.assertEqual((first.got, second.got), ([GREETING, COMPLETE], [GREETING, COMPLETE]))
        self.assertTrue(first.hung_up)
        first.close()
        self.assertNoResult(stopped)
        second.close()
        self.successResultOf(stopped)
        self.successResultOf(again)
        self.assertEqual((self.events, self.clock.getDelayedCalls()), ([], []))

    def test_shorter_grace(self) -> None:
        """Who stops at leisure may be told to hurry; not the other way round."""
        self.requesting()
        stopped = self.listener.stop(1000)
        hurried, again = self.listener.stop(10), self.listener.stop(1000)
        self.clock.advance(9)
        self.assertNoResult(stopped)
        self.clock.advance(1)
        for each in (stopped, hurried, again, self.listener.stop(10)):
            self.successResultOf(each)

    def test_peer_that_lingers(self) -> None:
        """A peer that has its reply is not waited for."""
        self.agent.status = FinalStatus(True)
        peer = self.requesting()
        stopped = self.listener.stop(10)
        self.assertTrue(peer.hung_up)
        peer.close()
        self.successResultOf(stopped)

    def test_grace(self) -> None:
        """A delivery that takes longer than the grace is not waited for, nor a request that does not come."""
        self.requesting()
        silent = self.connect()
        stopped = self.listener.stop(10)
        self.clock.advance(9)
        self.assertNoResult(stopped)
        self.assertFalse(silent.hung_up)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertTrue(silent.hung_up)
        self.assertEqual((self.listener.in_flight, self.clock.getDelayedCalls()), (1, []))

    def test_greeted_peer_is_served(self) -> None:
        """A request that was invited before the stop is delivered."""
        peer = self.connect()
        stopped = self.listener.stop(10)
        self.agent.status = FinalStatus(True)
        peer.send()
        self.assertEqual(peer.got, [GREETING, COMPLETE])
        peer.close()
        self.successResultOf(stopped)
