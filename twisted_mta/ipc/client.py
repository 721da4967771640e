"""Clients of Postfix's private services: one list there, one list back.

A ServiceClient makes a connection for each request, as bounce(8), defer(8), trace(8) and flush(8) want it; a PersistentClient
keeps its connection, as verify(8), tlsmgr(8), proxymap(8) and trivial-rewrite(8) allow.
Flow: postfix/ and the lower rooms `ask`; they emit the event of a ServiceError and decide what follows from it.
Sources: the private protocols of Postfix; postconf(5) ipc_timeout, ipc_idle, ipc_ttl.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from twisted_mta.ipc.attributes import AttributeList, Decoder, IpcError, expect, read_int
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Event, ServiceConfused, ServiceUnreachable
from twisted_mta.model.text import to_text

S = TypeVar("S")
T = TypeVar("T")
Read = Callable[[AttributeList], T]
"""Turns a reply into what the caller wants; raises IpcError where it makes no sense."""

Say = Callable[[tuple[bytes, ...]], bytes]
"""Makes a request of what the greeting said besides the name of the protocol."""

_PROTOCOL = (b"protocol",)
_STATUS = (b"status",)


class ServiceError(IpcError):
    """A private service could not be asked, or gave no usable reply.

    Attributes:
        service: the socket, as ``private/bounce``.
        problem: what went wrong.
    """

    def __init__(self, service: str, problem: str) -> None:
        super().__init__(f"{service}: {problem}")
        self.service = service
        self.problem = problem

    @property
    def event(self) -> Event:
        """What the caller should emit."""
        return ServiceConfused(self.service, self.problem)


class ServiceUnreachableError(ServiceError):
    """There is no connection to the service."""

    @property
    def event(self) -> Event:
        """What the caller should emit."""
        return ServiceUnreachable(self.service, self.problem)


@dataclass(frozen=True, slots=True)
class Service:
    """A private service.

    Attributes:
        path: its socket below queue_directory, such as ``private/bounce``; names it in the log.
        protocol: what its greeting must say.
        also_greets_with: names of the attributes that follow in its greeting, whatever the version.
    """

    path: str
    protocol: Greeting
    also_greets_with: tuple[bytes, ...] = ()


def read_status(reply: AttributeList) -> int:
    """The reply of services that say nothing but a status.

    Raises:
        IpcError: it is something else.
    """
    (status,) = expect(reply, _STATUS)
    return read_int(status, "status")


class ServiceClient:
    """Asks a service, with a connection for each request.

    Args:
        service: whom to ask.
        endpoint: how to connect to it.
        version: says whether the service greets.
        clock: for the time limit.
        timeout_seconds: for connection, request and reply together.
    """

    def __init__(
        self,
        service: Service,
        endpoint: IStreamClientEndpoint,
        version: PostfixVersion,
        clock: IReactorTime,
        *,
        timeout_seconds: float = 3600.0,
    ) -> None:
        self._dialer = _Dialer(service, endpoint, version)
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    async def ask(self, request: bytes, read: Read[T]) -> T:
        """Send one list and take one back.

        Args:
            request: an encoded list.
            read: what to make of the reply.

        Raises:
            ServiceError: no connection, no reply in time, or not the one that was expected.
        """
        return await self.answer_greeting(lambda _: request, read)

    async def answer_greeting(self, say: Say, read: Read[T]) -> T:
        """As `ask`, with a request that depends on the greeting.

        Args:
            say: makes the request.
            read: what to make of the reply.

        Raises:
            ServiceError: as above.
        """
        return await _within(self._timeout_seconds, self._clock, self._dialer.service, self._ask(say, read))

    async def _ask(self, say: Say, read: Read[T]) -> T:
        link = await self._dialer.dial()
        try:
            return read(await link.exchange(say(link.greeting)))
        except IpcError as error:
            raise self._dialer.confused(error) from error
        finally:
            link.close()


class PersistentClient:
    """Asks a service over a connection that is kept, one request after the other.

    A kept connection that turns out dead is replaced once; a new one that fails is an error.

    Args:
        service: whom to ask.
        endpoint: how to connect to it.
        version: says whether the service greets.
        clock: for all time limits.
        timeout_seconds: for a request and its reply, the wait for its turn included.
        idle_seconds: how long a connection is kept unused (ipc_idle).
        ttl_seconds: how old a connection may get (ipc_ttl).
        link: makes connections, where plain ones will not do.
    """

    def __init__(
        self,
        service: Service,
        endpoint: IStreamClientEndpoint,
        version: PostfixVersion,
        clock: IReactorTime,
        *,
        timeout_seconds: float = 3600.0,
        idle_seconds: float = 5.0,
        ttl_seconds: float = 1000.0,
        link: "Callable[[], Link] | None" = None,
    ) -> None:
        self._dialer = _Dialer(service, endpoint, version, link)
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._idle_seconds = idle_seconds
        self._ttl_seconds = ttl_seconds
        self._turn = DeferredLock()
        self._kept: Link | None = None
        self._opened = 0.0
        self._idle: IDelayedCall | None = None
        self._closed = False

    async def ask(self, request: bytes, read: Read[T]) -> T:
        """Send one list and take one back; requests are sent in the order of the calls.

        Args:
            request: an encoded list. It may be sent twice, if the first connection is lost without a reply.
            read: what to make of the reply.

        Raises:
            ServiceError: no connection, no reply in time, or not the one that was expected.
        """
        return await self.converse(lambda link: link.exchange(request), read)

    async def converse(self, steps: Callable[[Any], Coroutine[Any, Any, S]], read: Callable[[S], T]) -> T:
        """The same, where one list there and one back is not all.

        Args:
            steps: what is said and heard on a Link. It may be called twice, if the first connection is lost without a reply.
            read: what to make of the outcome; raises IpcError where it makes no sense.

        Raises:
            ServiceError: as above.
        """
        return await _within(self._timeout_seconds, self._clock, self._dialer.service, self._converse(steps, read))

    def close(self) -> None:
        """Keep no connection from now on; a request that is under way still gets its reply."""
        self._closed = True
        self._stop_idling()
        self._hang_up()

    async def _converse(self, steps: Callable[[Any], Coroutine[Any, Any, S]], read: Callable[[S], T]) -> T:
        async with self._turn:
            self._stop_idling()
            link, self._kept = self._kept, None
            try:
                outcome, link = await self._exchange(link, steps)
                answer = read(outcome)
            except IpcError as error:
                if link is not None:
                    link.close()
                raise self._dialer.confused(error) from error
            self._keep(link)
            return answer

    async def _exchange(self, kept: "Link | None", steps: Callable[[Any], Coroutine[Any, Any, S]]) -> tuple[S, "Link"]:
        """Ask over the kept connection if it still works, else over a new one."""
        if kept is not None:
            try:
                if kept.usable:
                    return await self._over(kept, steps), kept
            except _LinkLostError:
                pass  # the service ended between two requests, as it may at any time
            kept.close()
        opened = self._clock.seconds()
        link = await self._dialer.dial()
        self._opened = opened
        return await self._over(link, steps), link

    @staticmethod
    async def _over(link: "Link", steps: Callable[[Any], Coroutine[Any, Any, S]]) -> S:
        try:
            return await steps(link)
        except BaseException:
            # Also when cancelled: a reply that comes later must never be taken for that of the next request.
            link.close()
            raise

    def _keep(self, link: "Link") -> None:
        if self._closed or not link.usable or self._clock.seconds() - self._opened >= self._ttl_seconds:
            link.close()
            return
        self._kept = link
        self._idle = self._clock.callLater(self._idle_seconds, self._hang_up)

    def _hang_up(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _stop_idling(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        self._idle = None


async def _within(
    seconds: float, clock: IReactorTime, service: Service, work: Coroutine[Deferred[object], object, T]
) -> T:
    """Give up on `work` after some time."""
    try:
        return await Deferred.fromCoroutine(work).addTimeout(seconds, clock)
    except TimeoutError as error:
        raise ServiceError(service.path, f"no reply within {seconds:g} seconds") from error


class _Dialer:
    """Connects to a service and takes its greeting."""

    __slots__ = ("_endpoint", "_greeting", "_link", "_names_protocol", "service")

    def __init__(
        self,
        service: Service,
        endpoint: IStreamClientEndpoint,
        version: PostfixVersion,
        link: "Callable[[], Link] | None" = None,
    ) -> None:
        self.service = service
        self._link = link or Link
        self._endpoint = endpoint
        self._names_protocol = version.greets
        self._greeting = (*(_PROTOCOL if version.greets else ()), *service.also_greets_with)

    async def dial(self) -> "Link":
        """A new connection, greeted.

        Raises:
            ServiceError: there is none.
        """
        link = self._link()
        try:
            await self._endpoint.connect(_LinkFactory(link))
        except (ConnectError, OSError) as error:
            raise ServiceUnreachableError(self.service.path, _words_of(error)) from error
        if self._greeting:
            try:
                link.greeting = self._read_greeting(await link.next_list("the greeting"))
            except IpcError as error:
                link.close()
                raise self.confused(error) from error
            except BaseException:
                link.close()
                raise
        return link

    def confused(self, error: IpcError) -> ServiceError:
        """The same error with the name of the service."""
        return error if isinstance(error, ServiceError) else ServiceError(self.service.path, str(error))

    def _read_greeting(self, greeting: AttributeList) -> tuple[bytes, ...]:
        """What it says besides the name of the protocol."""
        values = expect(greeting, self._greeting)
        if not self._names_protocol:
            return values
        protocol, *more = values
        if protocol != self.service.protocol.encode("ascii"):
            raise IpcError(f'greets with protocol "{to_text(protocol[:60])}" instead of "{self.service.protocol}"')
        return tuple(more)


def _words_of(error: ConnectError | OSError) -> str:
    """Why there is no connection, in the words of the system."""
    number = error.osError if isinstance(error, ConnectError) else error.errno
    if isinstance(error, ConnectError) and error.args and isinstance(error.args[0], Failure):
        # The queue of the service's socket is full. Twisted waits for the connection all the same, and finds that there is none.
        number = errno.EAGAIN
    return os.strerror(number) if isinstance(number, int) else str(error)


class _LinkLostError(IpcError):
    """The connection ended; no reply had begun."""


class Link(Protocol):
    """One connection to a service: a list comes only when one is waited for.

    Attributes:
        greeting: what the service said first, besides the name of its protocol.
        failure: why it cannot be used any more; None: it can.
    """

    transport: ITransport
    greeting: tuple[bytes, ...] = ()

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._arrived: deque[AttributeList] = deque()
        self._waiting: Deferred[AttributeList] | None = None
        self._waiting_for = ""
        self.failure: IpcError | None = None

    @property
    def usable(self) -> bool:
        """Whether a request can be sent: connected, and nothing has come that nobody asked for."""
        return self.failure is None and not self._arrived and not self._decoder.unfinished

    async def exchange(self, request: bytes) -> AttributeList:
        """Write a list, wait for one."""
        if self.failure is None and not self.usable:
            self.fail(IpcError("sent more than was asked for"))
        if self.failure is None:
            self.transport.write(request)
        return await self.next_list("the reply")

    def next_list(self, what: str) -> Deferred[AttributeList]:
        """Wait for a list; `what` names it in the error."""
        self._waiting_for = what
        waiting: Deferred[AttributeList] = Deferred()
        if self._arrived:
            waiting.callback(self._arrived.popleft())
        elif self.failure is not None:
            waiting.errback(self.failure)
        else:
            self._waiting = waiting
        return waiting

    def close(self) -> None:
        """End the connection; nobody waits any more."""
        self._waiting = None
        self.failure = self.failure or _LinkLostError("connection closed")
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take what the service sends."""
        if self.failure is not None:
            return
        try:
            lists = self._decoder.feed(data)
        except IpcError as error:
            self.fail(error)
            return
        self._arrived.extend(lists)
        if len(self._arrived) > 1:  # one may come before it is waited for, a greeting; two never
            self.fail(IpcError("sent more than was asked for"))
        elif self._waiting is not None and self._arrived:
            waiting, self._waiting = self._waiting, None
            waiting.callback(self._arrived.popleft())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits."""
        if self._decoder.unfinished:
            self.fail(IpcError(f"connection lost within {self._waiting_for or 'an attribute list'}"))
        else:
            self.fail(_LinkLostError(f"connection lost while waiting for {self._waiting_for or 'a request'}"))

    def fail(self, error: IpcError) -> None:
        """Nothing can be understood any more: tell who waits, and end the connection."""
        if self.failure is None:
            self.failure = error
            self._arrived.clear()
            self.transport.loseConnection()
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.errback(error)


class _LinkFactory(Factory[Link]):
    """Gives out one link, and makes no noise."""

    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: object) -> Link:
        """The link."""
        return self._link
