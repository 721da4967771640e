"""Connections in memory, with the flow control of Twisted's TCP client.

What is written waits in `unsent` until somebody drains it, which stands for the moment when the system takes it.

Flow: tests of twisted_mta.session drain and feed a MemoryTransport by hand; tests/kit/network.py joins two of them.
Sources: twisted.internet.abstract.FileDescriptor and twisted.internet.tcp, whose order of calls this follows.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet import error
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.python.failure import Failure


class MemoryTransport:
    """One end of a connection.

    Attributes:
        unsent: octets that the system has not taken.
        sent: octets that it has, as far as nobody took them away.
        peak_unsent: the most octets that ever waited.
        ended: how this end was closed: ``closed``, ``dropped``, ``aborted``, or ``lost``; empty as long as it is open.
        on_write: called when there is something to drain.
        on_read: called when it reads again after a pause.
        on_end: called when this end is closed, with the word of `ended`.
        on_half_close: called when this end will say no more.
    """

    def __init__(self, protocol: Any, clock: IReactorTime) -> None:
        self.protocol = protocol
        self.unsent = bytearray()
        self.sent = bytearray()
        self.peak_unsent = 0
        self.ended = ""
        self.disconnecting = False
        self.reading = True
        self.on_write: Callable[[], None] = lambda: None
        self.on_read: Callable[[], None] = lambda: None
        self.on_end: Callable[[str], None] = lambda _: None
        self.on_half_close: Callable[[], None] = lambda: None
        self._clock = clock
        self._stopped = False
        self._producer: Any = None
        self._streaming = False

    @property
    def is_open(self) -> bool:
        """Whether this end has not been closed."""
        return not self.ended

    # ---- what a protocol calls ----

    def write(self, data: bytes) -> None:
        """Put octets behind those that wait."""
        if not self.is_open or not data:
            return
        self.unsent += data
        self.peak_unsent = max(self.peak_unsent, len(self.unsent))
        self.on_write()

    def unsentOctets(self) -> int:
        """How many octets wait."""
        return len(self.unsent)

    def hasInput(self) -> bool:
        """Whether octets wait to be read: they never do."""
        return not self.is_open

    def loseConnection(self) -> None:
        """Close when everything has left; this makes even a transport that was to be dropped write again."""
        if self.is_open and not self.disconnecting:
            self.disconnecting = True
            self._stopped = False
            self._clock.callLater(0, self._close_if_empty)

    def dropConnection(self) -> None:
        """Close in the next turn of the reactor; what waits never leaves."""
        if self.is_open:
            self._stopped = True
            self._clock.callLater(0, self._end, "dropped", error.ConnectionDone())

    def loseWriteConnection(self) -> None:
        """Close this side alone; what comes from the other one is still read."""
        if self.is_open:
            self.on_half_close()

    def abortConnection(self) -> None:
        """Reset."""
        if self.is_open:
            self._clock.callLater(0, self._end, "aborted", error.ConnectionAborted())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A pull producer is asked at once, and whenever nothing waits."""
        assert self._producer is None
        if not self.is_open:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Nothing more will come from it."""
        self._producer = None
        if self.disconnecting:
            self._clock.callLater(0, self._close_if_empty)

    def pauseProducing(self) -> None:
        """Read nothing for now."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        self.reading = True
        self.on_read()

    # ---- what the system does ----

    def drain(self, octets: int | None = None) -> None:
        """The system takes octets; None: all that wait now."""
        if not self.is_open or self._stopped or not self.unsent:
            return
        count = len(self.unsent) if octets is None else min(octets, len(self.unsent))
        if hasattr(self.protocol, "wrote"):
            self.protocol.wrote(count)
        self.sent += self.unsent[:count]
        del self.unsent[:count]
        if self.unsent:
            return
        if self._producer is not None and not self._streaming:
            self._producer.resumeProducing()
        elif self.disconnecting:
            self._end("closed", error.ConnectionDone())

    def drain_all(self) -> bytes:
        """Drain until nothing is left and no producer adds to it; returns what left since the last call."""
        while self.unsent and self.is_open and not self._stopped:
            self.drain()
        return self.take_sent()

    def take_sent(self) -> bytes:
        """Take away what has left."""
        sent = bytes(self.sent)
        self.sent.clear()
        return sent

    def receive(self, data: bytes) -> None:
        """Octets come from the other end."""
        if self.is_open and not self._stopped:
            self.protocol.dataReceived(data)

    def receive_end(self) -> None:
        """The other end has closed its side."""
        if not self.is_open or self._stopped:
            return
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self._end("lost", error.ConnectionDone())

    def lose(self) -> None:
        """The connection is reset by the other end, or found to be gone."""
        if self.is_open:
            self._end("lost", error.ConnectionLost())

    def _close_if_empty(self) -> None:
        if self.is_open and not self.unsent and self._producer is None:
            self._end("closed", error.ConnectionDone())

    def _end(self, how: str, reason: Exception) -> None:
        if not self.is_open:
            return
        self.ended = how
        self.unsent.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.on_end(how)
        self.protocol.connectionLost(Failure(reason))
