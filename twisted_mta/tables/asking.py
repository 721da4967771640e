"""Ask a table's server over connections that are kept: several at a time, but not without end.

Lookups that find no free connection wait for one. At most one connection is being made at a time, and if that fails, all who wait
fail with it; for a moment thereafter nobody tries again, so that a dead server costs one attempt and not one for each delivery.
Flow: tcp.py, socketmap.py and memcache.py make a Server each; their lookups `ask` it.
Sources: tcp_table(5), socketmap_table(5), memcache_table(5) for time limits.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from twisted_mta.tables.endpoints import connect_problem
from twisted_mta.tables.link import Link
from twisted_mta.tables.reading import ConnectFailedError, DisconnectedError, ReplyReader, TooSlowError

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client of a table's server may take.

    Attributes:
        connections: at the same time, at most.
        idle_seconds: a connection is kept so long without use; None: as long as the server wishes.
        age_seconds: a connection is kept so long altogether; None: as long as the server wishes.
        pause_seconds: after a connection could not be made, nobody tries again for so long.
    """

    connections: int = 8
    idle_seconds: float | None = 10.0
    age_seconds: float | None = 100.0
    pause_seconds: float = 1.0


async def within(seconds: float, clock: IReactorTime, work: Coroutine[Any, Any, T]) -> T:
    """Wait for `work`, but not longer than some seconds.

    Raises:
        TooSlowError: it takes longer; it has been cancelled.
    """
    try:
        return await Deferred.fromCoroutine(work).addTimeout(seconds, clock)
    except TimeoutError:
        raise TooSlowError("timeout") from None


class Server:
    """A table's server.

    Args:
        endpoint: how to connect to it.
        clock: for idle connections and pauses.
        on_refused: called with the reason once for each connection that cannot be made.
        limits: see there.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        on_refused: Callable[[str], None],
        limits: Limits = Limits(),
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._on_refused = on_refused
        self._limits = limits
        self._links: set[Link] = set()
        self._idle: dict[Link, IDelayedCall | None] = {}
        self._waiting: deque[Deferred[Link]] = deque()
        self._dialing: Deferred[Link] | None = None
        self._refused = ConnectFailedError("")
        self._pause_ends = float("-inf")
        self._closed = False

    async def ask(self, request: bytes, reader: Callable[[], ReplyReader[R]]) -> R:
        """Send a request and take its reply; once more over a new connection if a kept one turns out to be dead.

        Args:
            request: may be sent twice.
            reader: makes what reads the reply.

        Raises:
            AskingError: it did not work. There is no time limit here: see `within`.
        """
        link = await self._take(fresh=False)
        try:
            reply = await link.exchange(request, reader())
        except DisconnectedError:
            link = await self._take(fresh=True)
            reply = await link.exchange(request, reader())
        self._give_back(link)
        return reply

    async def ask_once(self, request: bytes, reader: Callable[[], ReplyReader[R]]) -> R:
        """As `ask`, but sends the request once only.

        Raises:
            AskingError: it did not work.
        """
        link = await self._take(fresh=False)
        reply = await link.exchange(request, reader())
        self._give_back(link)
        return reply

    def drop_idle(self) -> None:
        """Drop the connections that nobody uses."""
        for link in list(self._idle):
            link.drop()

    def close(self) -> None:
        """Drop all connections; whoever waits for a reply gets an error."""
        self._closed = True
        if self._dialing is not None:
            self._dialing.cancel()
        self._refuse_waiting(ConnectFailedError("table closed"))
        for link in list(self._links):
            link.connectionLost()

    # ---- lending ----

    async def _take(self, *, fresh: bool) -> Link:
        if self._closed:
            raise ConnectFailedError("table closed")
        if fresh:
            self.drop_idle()
        elif self._idle:
            link, call = self._idle.popitem()
            if call is not None:
                call.cancel()
            return link
        if self._clock.seconds() < self._pause_ends:
            raise self._refused
        waiting: Deferred[Link] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self._dial_if_needed()
        return await waiting

    def _give_back(self, link: Link) -> None:
        limits = self._limits
        age = self._clock.seconds() - link.opened
        if not link.usable:
            return
        if self._closed or (limits.age_seconds is not None and age >= limits.age_seconds):
            link.drop()
        elif self._waiting:
            self._waiting.popleft().callback(link)
        else:
            end = None if limits.idle_seconds is None else self._clock.callLater(limits.idle_seconds, link.drop)
            self._idle[link] = end

    def _lost(self, link: Link) -> None:
        self._links.discard(link)
        call = self._idle.pop(link, None)
        if call is not None and call.active():
            call.cancel()
        self._dial_if_needed()

    # ---- connecting ----

    def _dial_if_needed(self) -> None:
        if self._waiting and self._dialing is None and len(self._links) < self._limits.connections and not self._closed:
            dialing = self._dialing = connectProtocol(self._endpoint, Link(self._clock.seconds(), self._lost))
            dialing.addCallbacks(self._connected, self._not_connected)

    def _connected(self, link: Link) -> None:
        self._dialing = None
        self._links.add(link)
        self._give_back(link)
        self._dial_if_needed()

    def _not_connected(self, failure: Failure) -> None:
        self._dialing = None
        if self._closed and failure.check(CancelledError):
            return
        problem = connect_problem(failure)
        self._refused = ConnectFailedError(problem)
        self._pause_ends = self._clock.seconds() + self._limits.pause_seconds
        self._on_refused(problem)
        self._refuse_waiting(self._refused)

    def _refuse_waiting(self, error: ConnectFailedError) -> None:
        waiting, self._waiting = self._waiting, deque()
        # One by one: whoever hears of it may cancel others that still wait.
        while waiting:
            waiting.popleft().errback(error)
