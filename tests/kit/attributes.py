"""Private services in memory, which speak the attribute protocol."""

from collections.abc import Callable

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.ipc.attributes import AttributeList, Decoder

Answer = Callable[[AttributeList], bytes | None]
"""What a service says to a request; None: nothing."""


class RecordingTransport(StringTransport):
    """Remembers each write by itself, since Postfix wants one for each list.

    Args:
        written: is told of each write.
    """

    def __init__(self, written: Callable[[bytes], None] = lambda data: None) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self._told = written

    def write(self, data: bytes) -> None:
        """Take one write."""
        super().write(data)
        self.writes.append(data)
        self._told(data)


class ServedConnection:
    """The service's end of one connection."""

    def __init__(self, protocol: IProtocol, greeting: bytes, answer: Answer) -> None:
        self.transport = RecordingTransport(self._written)
        self.protocol = protocol
        self.requests: list[AttributeList] = []
        self.lost = False
        self._greeting = greeting
        self._answer = answer
        self._decoder = Decoder()
        protocol.makeConnection(self.transport)

    def greet(self) -> None:
        """Say who we are."""
        if self._greeting:
            self.say(self._greeting)

    def say(self, data: bytes) -> None:
        """Send bytes to the client."""
        self.protocol.dataReceived(data)

    def hang_up(self) -> None:
        """End the connection."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionLost()))

    def _written(self, data: bytes) -> None:
        for request in self._decoder.feed(data):
            self.requests.append(request)
            if (answer := self._answer(request)) is not None:
                self.say(answer)


@implementer(IStreamClientEndpoint)
class MemoryService:
    """A private service that answers at once.

    Args:
        greeting: what it sends first.
        answer: its reply to a request.
    """

    def __init__(self, greeting: bytes = b"", answer: Answer = lambda request: None) -> None:
        self.greeting = greeting
        self.answer = answer
        self.refusal: Exception | None = None
        self.connections: list[ServedConnection] = []

    @property
    def requests(self) -> list[AttributeList]:
        """All that was asked, over all connections."""
        return [request for connection in self.connections for request in connection.requests]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - the interface's name
        """Make a connection, or refuse it."""
        if self.refusal is not None:
            return fail(self.refusal)
        protocol = protocolFactory.buildProtocol(UNIXAddress(None))
        assert protocol is not None
        connection = ServedConnection(protocol, self.greeting, lambda request: self.answer(request))
        self.connections.append(connection)
        connection.greet()
        return succeed(protocol)
