"""Serve the queue manager: one connection, one delivery request, one reply.

Flow: postfix/listening.py and postfix/handoff.py bring connections; each request goes, with its content and reporter, to the
IDeliveryAgent; its FinalStatus becomes the reply.
Sources: Postfix's delivery request protocol, as qmgr(8) speaks it; postconf(5) daemon_timeout, ipc_timeout.

A connection is WAITING (accepted, greeting withheld), READING (greeted, request not complete), DELIVERING, and REPLIED (until the
queue manager closes it), in this order; it may be lost in each. The queue manager chooses a message only once it is greeted, so
the greeting is the valve: at `max_deliveries` requests in flight it is withheld. In flight is what was greeted and is neither
lost while READING nor delivered. A queue manager that waits too long for anything ends itself, and all other mail waits with it:
therefore a greeting is withheld for a sixth of daemon_timeout at most and then given all the same (it keeps but two such
connections for a transport, so this exceeds the limit by two deliveries in 50 minutes; to hang up instead would hold all mail
of the transport back for a minute), and a delivery without result is cancelled a minute before daemon_timeout.
"""

import enum
import traceback
from collections.abc import Callable
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.interfaces import IDeliveryAgent, IMessageContent, IRequestSource, IStatusReporter
from twisted_mta.ipc.attributes import IpcError, encode
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import (
    DeliveryFailedUnexpectedly,
    Emit,
    QueueFileUnusable,
    RequestMalformed,
    RequestOverdue,
)
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.result import FinalStatus
from twisted_mta.postfix.deadlines import DeadlineQueue
from twisted_mta.postfix.delivery_protocol import TRY_AGAIN, RequestReader, encode_reply, request_names
from twisted_mta.postfix.queue_file import LockBusyError, QueueFileError

_LOCK_ATTEMPTS = 10
_LOCK_PAUSE_SECONDS = 0.5
_OVERDUE_MARGIN_SECONDS = 60.0
_GREETING_SHARE = 6  # of daemon_timeout


class Work(Shape):
    """What a delivery needs beside its request: open from the request to the reply."""

    @property
    def content(self) -> IMessageContent:
        """The message."""

    @property
    def reporter(self) -> IStatusReporter:
        """Takes the fates of the recipients."""

    def close(self) -> None:
        """Give the queue file and its lock back."""


OpenWork = Callable[[DeliveryRequest], Work]
"""Opens what a request needs; raises QueueFileError, LockBusyError where trying again soon may help."""


class Listening(Shape):
    """Something that brings connections."""

    def stop(self) -> object:
        """Bring no more."""


@implementer(IRequestSource)
class DeliveryListener(Factory):
    """Takes delivery requests from the queue manager.

    Args:
        agent: delivers.
        open_work: opens a request's queue file and makes its reporter.
        version: of the Postfix that sends the requests.
        clock: where time comes from.
        emit: takes events.
        max_deliveries: requests in flight, at most.
        ipc_timeout_seconds: how long the queue manager may take to send its request, and to hang up.
        daemon_timeout_seconds: how long the queue manager waits before it ends itself.

    Attributes:
        accepted: connections so far.
        in_flight: greeted connections that still cost something.
        before_request: called before each request is begun: the last chance to `use` something else for it.
        connection_came: called with the transport of each connection.
    """

    noisy = False

    def __init__(
        self,
        agent: IDeliveryAgent,
        open_work: OpenWork,
        version: PostfixVersion,
        clock: IReactorTime,
        emit: Emit,
        *,
        max_deliveries: int,
        ipc_timeout_seconds: float = 3600.0,
        daemon_timeout_seconds: float = 18000.0,
    ) -> None:
        self.accepted = 0
        self.in_flight = 0
        self._agent = agent
        self._open_work = open_work
        self._names = request_names(version)
        self._clock = clock
        self._emit = emit
        self._max_deliveries = max_deliveries
        self._reply_limit_seconds = max(daemon_timeout_seconds - _OVERDUE_MARGIN_SECONDS, daemon_timeout_seconds / 2)
        # The first list that the queue manager expects, of Postfix 3.5 too.
        self._greeting = version.greeting(Greeting.DELIVERY_REQUEST) or encode([("status", 0)])
        self._waiting = DeadlineQueue[_Connection](clock, daemon_timeout_seconds / _GREETING_SHARE, self._greet)
        self._reading = DeadlineQueue[_Connection](clock, ipc_timeout_seconds, self._silent)
        self._delivering = DeadlineQueue[_Connection](clock, self._reply_limit_seconds, self._overdue)
        self._replied = DeadlineQueue[_Connection](clock, ipc_timeout_seconds, _hang_up)
        self._sources: list[Listening] = []
        self._stopping = False
        self._held = False
        self.before_request: Callable[[], object] = _nothing
        self.connection_came: Callable[[ITransport], object] = _nothing
        self._grace: IDelayedCall | None = None
        self._ends: list[Deferred[None]] = []

    # ---- for resident.py ----

    @property
    def waiting(self) -> int:
        """Connections whose greeting is withheld."""
        return len(self._waiting)

    @property
    def max_deliveries(self) -> int:
        """Requests in flight, at most; may be changed, for example when descriptors run out."""
        return self._max_deliveries

    @max_deliveries.setter
    def max_deliveries(self, limit: int) -> None:
        self._max_deliveries = limit
        self._greet_waiting()

    def hold(self, held: bool) -> None:
        """Withhold greetings, whatever is in flight, as long as something else is overloaded."""
        self._held = held
        self._greet_waiting()

    def use(self, agent: IDeliveryAgent, open_work: OpenWork) -> None:
        """Deliver further requests with these; requests that have been read keep what they began with."""
        self._agent, self._open_work = agent, open_work

    def brought_by(self, source: Listening) -> None:
        """Remember who brings connections, to stop it first."""
        self._sources.append(source)

    def stop(self, grace_seconds: float) -> Deferred[None]:
        """Take no more requests but those of connections that wait to be greeted.

        To hang up on these would make the queue manager hold all mail of the transport back for a minute; it keeps two at most.

        A delivery that outlasts the grace is left alone: it ends by itself, or with the process, and its mail is tried again.
        May be called again, to shorten the grace.

        Returns:
            Fires when no request is in flight, or `grace_seconds` have passed.
        """
        end: Deferred[None] = Deferred()
        self._ends.append(end)
        if not self._stopping:
            self._stopping = True
            for source in self._sources:
                source.stop()
            while self._waiting:
                self._greet(self._waiting.pop())
            for replied in self._replied:
                replied.transport.loseConnection()
            self._grace = self._clock.callLater(grace_seconds, self._stopped)
        elif self._grace is not None and self._grace.active():
            if self._grace.getTime() - self._clock.seconds() > grace_seconds:
                self._grace.reset(grace_seconds)
        else:
            self._stopped()
        self._stop_if_done()
        return end

    # ---- connections ----

    def buildProtocol(self, addr: IAddress | None) -> "_Connection | None":
        """A connection came; None refuses it."""
        return None if self._stopping else _Connection(self)

    def connected(self, connection: "_Connection") -> None:
        """Greet a new connection, or let it wait for its turn."""
        self.accepted += 1
        self.connection_came(connection.transport)
        if self.in_flight < self._max_deliveries and not self._waiting and not self._held:
            self._greet(connection)
        else:
            self._waiting.add(connection)

    def received(self, connection: "_Connection", data: bytes) -> None:
        """Take what the queue manager sent."""
        if connection.state is not _State.READING:
            if connection.state is _State.WAITING:
                self._waiting.discard(connection)
                self._emit(RequestMalformed("the peer speaks before it was greeted"))
                _hang_up(connection)
            return  # nothing may follow a request; the queue manager ignores such input too
        try:
            request = connection.reader.feed(data, self._clock.seconds())
        except IpcError as error:
            self._reading.discard(connection)
            self._emit(RequestMalformed(str(error)))
            self._reply(connection, TRY_AGAIN)
            self._release()
            return
        if request is not None:
            self._reading.discard(connection)
            connection.state = _State.DELIVERING
            connection.queue_id = request.queue_id
            self._delivering.add(connection)
            self.before_request()
            self._begin(connection, request, self._agent, self._open_work, 1)

    def lost(self, connection: "_Connection") -> None:
        """The queue manager hung up; a delivery goes on, since what it has done cannot be undone."""
        state, connection.state = connection.state, _State.LOST
        if state is _State.REPLIED:
            self._replied.discard(connection)
            self._stop_if_done()
        elif state is _State.DELIVERING:
            self._delivering.discard(connection)
        elif state is _State.WAITING:
            self._waiting.discard(connection)
        elif state is _State.READING:
            self._reading.discard(connection)
            if connection.reader.begun:
                self._emit(RequestMalformed("connection lost within a request"))
            self._release()

    def _greet(self, connection: "_Connection") -> None:
        self.in_flight += 1
        connection.state = _State.READING
        connection.reader = RequestReader(self._names)
        self._reading.add(connection)
        connection.transport.write(self._greeting)

    def _greet_waiting(self) -> None:
        while self._waiting and self.in_flight < self._max_deliveries and not self._held:
            self._greet(self._waiting.pop())

    def _silent(self, connection: "_Connection") -> None:
        self._emit(RequestMalformed("the peer was greeted and sends no complete request"))
        _hang_up(connection)
        self._release()

    # ---- a request ----

    def _begin(
        self,
        connection: "_Connection",
        request: DeliveryRequest,
        agent: IDeliveryAgent,
        open_work: OpenWork,
        attempt: int,
    ) -> None:
        try:
            work = open_work(request)
        except LockBusyError as error:
            if attempt < _LOCK_ATTEMPTS:  # the queue manager holds the lock only while it reads the file
                pause = _LOCK_PAUSE_SECONDS
                self._clock.callLater(pause, self._begin, connection, request, agent, open_work, attempt + 1)
            else:
                self._refuse(connection, request, error)
        except QueueFileError as error:
            self._refuse(connection, request, error)
        except Exception:  # noqa: BLE001 - whatever is wrong there, the mail must be tried again
            self._defect(request, traceback.format_exc())
            self._end(connection, TRY_AGAIN)
        else:
            self._deliver(connection, request, agent, work)

    def _refuse(self, connection: "_Connection", request: DeliveryRequest, error: QueueFileError) -> None:
        self._emit(QueueFileUnusable(request.queue_id, str(error)))
        self._end(connection, TRY_AGAIN)

    def _deliver(self, connection: "_Connection", request: DeliveryRequest, agent: IDeliveryAgent, work: Work) -> None:
        try:
            delivered = agent.deliver(request, work.content, work.reporter)
        except Exception:  # noqa: BLE001 - as above
            self._delivered(Failure(), connection, request, work)
        else:
            connection.delivery = delivered
            delivered.addBoth(self._delivered, connection, request, work)

    def _delivered(
        self, outcome: FinalStatus | Failure, connection: "_Connection", request: DeliveryRequest, work: Work
    ) -> None:
        reply = TRY_AGAIN
        try:
            work.close()  # before the reply, upon which the queue manager may want the lock
            if isinstance(outcome, Failure):
                self._defect(request, outcome.getTraceback())
            else:
                reply = encode_reply(outcome)
        except Exception:  # noqa: BLE001 - as above
            self._defect(request, traceback.format_exc())
        self._end(connection, reply)

    def _end(self, connection: "_Connection", reply: bytes) -> None:
        if connection.state is _State.DELIVERING:
            self._delivering.discard(connection)
            self._reply(connection, reply)
        self._release()

    def _reply(self, connection: "_Connection", reply: bytes) -> None:
        connection.state = _State.REPLIED
        self._replied.add(connection)
        connection.transport.write(reply)
        if self._stopping:
            connection.transport.loseConnection()

    def _overdue(self, connection: "_Connection") -> None:
        self._emit(RequestOverdue(connection.queue_id, int(self._reply_limit_seconds)))
        if connection.delivery is not None:
            connection.delivery.cancel()
        if connection.state is _State.DELIVERING:
            # Its reports may take a moment, but not for ever.
            self._clock.callLater(_OVERDUE_MARGIN_SECONDS / 2, self._long_overdue, connection)

    def _long_overdue(self, connection: "_Connection") -> None:
        if connection.state is _State.DELIVERING:
            self._reply(connection, TRY_AGAIN)  # the delivery keeps its place and its lock until it ends

    def _release(self) -> None:
        self.in_flight -= 1
        if self._waiting:
            self._greet_waiting()
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        """End stopping once all is delivered and every reply is out."""
        if self._stopping and self.in_flight == 0 and not self._replied:
            self._stopped()

    def _stopped(self) -> None:
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        for connection in self._reading:
            self._reading.discard(connection)
            _hang_up(connection)
            self.in_flight -= 1
        for deadlines in (self._waiting, self._reading, self._delivering, self._replied):
            deadlines.clear()
        ends, self._ends = self._ends, []
        for end in ends:
            end.callback(None)

    def _defect(self, request: DeliveryRequest, told: str) -> None:
        self._emit(DeliveryFailedUnexpectedly(request.queue_id, told))


class _State(enum.Enum):
    WAITING = enum.auto()
    READING = enum.auto()
    DELIVERING = enum.auto()
    REPLIED = enum.auto()
    LOST = enum.auto()


class _Connection(Protocol):
    """A connection of the queue manager; the listener decides."""

    transport: ITransport
    reader: RequestReader
    queue_id = ""
    delivery: Deferred[FinalStatus] | None = None

    def __init__(self, listener: DeliveryListener) -> None:
        self._listener = listener
        self.state = _State.WAITING

    def connectionMade(self) -> None:
        """It is there."""
        self._listener.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """It sent something."""
        self._listener.received(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._listener.lost(self)


def _nothing(*_: object) -> None:
    """Nobody wants to know of requests."""


def _hang_up(connection: _Connection) -> None:
    connection.state = _State.LOST
    connection.transport.loseConnection()
