"""One connection to a table's server: a request there, a reply back, one after the other.

Flow: asking.py opens Links, lends them to lookups, and keeps them.
Sources: tcp_table(5), socketmap_table(5), memcache_table(5): none of these protocols allows requests to be pipelined.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from twisted_mta.tables.reading import AskingError, DisconnectedError, ReplyReader

R = TypeVar("R")


class Link(Protocol):
    """A connection.

    Attributes:
        opened: when it was made.
        on_lost: called once, when the connection is no more.
    """

    transport: ITCPTransport

    def __init__(self, opened: float, on_lost: Callable[["Link"], None]) -> None:
        self.opened = opened
        self.on_lost = on_lost
        self._reader: ReplyReader[Any] | None = None
        self._reply: Deferred[Any] = Deferred()
        self._lost = False

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        return not self._lost

    async def exchange(self, request: bytes, reader: ReplyReader[R]) -> R:
        """Send a request and wait for its reply.

        Raises:
            AskingError: the connection is lost, or the reply makes no sense; then the connection has been dropped.
        """
        if self._lost:
            raise DisconnectedError("unexpected disconnect")
        self._reader, self._reply = reader, Deferred()
        self.transport.write(request)
        try:
            reply: R = await self._reply
        except BaseException:
            # Also when cancelled: a reply that comes later must never be taken for that of the next request.
            self.drop()
            raise
        return reply

    def drop(self) -> None:
        """End the connection at once; nothing that it still brings is of interest."""
        self._reader = None
        if not self._lost:
            self._lost = True
            self.transport.abortConnection()
            self.on_lost(self)

    def dataReceived(self, data: bytes) -> None:
        """Take what the server sends."""
        if self._lost:
            return
        if self._reader is None:  # nobody has asked for anything
            self.drop()
            return
        try:
            reply = self._reader.feed(data)
        except AskingError as error:
            self._fail(error)
            return
        if reply is not None:
            self._reader = None
            self._reply.callback(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits."""
        self._fail(DisconnectedError("unexpected disconnect"))

    def _fail(self, error: AskingError) -> None:
        waits = self._reader is not None
        self.drop()
        if waits:
            self._reply.errback(error)
