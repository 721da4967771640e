"""A scache(8) of a test's own, over real socket pairs: what is left with it is a real descriptor.

Flow: tests of twisted_mta.postfix.scache connect to it as to an endpoint, and turn the reactor.
Sources: scache(8); unix(7) (SCM_RIGHTS).
"""

import os
import socket
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReadDescriptor, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from twisted_mta.ipc.attributes import Decoder, encode
from twisted_mta.model.text import to_text

GREETING = encode([("protocol", "connection_cache_protocol")])
DUMMY = encode([("dummy", "")])


class _Made(Factory[Any]):
    """Remembers what it was asked for."""

    noisy = False

    def __init__(self, inner: IProtocolFactory) -> None:
        self._inner = inner
        self.protocol_made: Any = None

    def buildProtocol(self, addr: Any) -> Any:
        """The protocol."""
        self.protocol_made = self._inner.buildProtocol(addr)
        return self.protocol_made


@implementer(IStreamClientEndpoint)
class FakeScache:
    """Keeps descriptors as scache(8) does, or plays a fault.

    Attributes:
        sessions: properties and descriptors, by the name of the address; the oldest first.
        bindings: properties and names of addresses, by the name of the destination.
        requests: what was asked: the name of the request and the values.
        fault: what goes wrong with the next requests: ``silence``, ``hang up``, ``junk``, ``no descriptor``, ``no socket``,
            ``two descriptors``, ``refuse``; empty: nothing.
        refusal: why no connection can be made; None: one can.
        connections: how many were made.
    """

    def __init__(self, reactor: Any) -> None:
        self.sessions: dict[str, deque[tuple[str, int]]] = {}
        self.bindings: dict[str, list[tuple[str, str]]] = {}
        self.requests: list[tuple[str, ...]] = []
        self.fault = ""
        self.refusal: Exception | None = None
        self.connections = 0
        self._reactor = reactor
        self._open: list[_Connection] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - the interface's name
        """Make a connection, or refuse it."""
        if self.refusal is not None:
            return fail(self.refusal)
        self.connections += 1
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        made = _Made(protocolFactory)
        self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, made)
        ours.close()
        connection = _Connection(self, theirs, self._reactor)
        self._open.append(connection)
        connection.say(GREETING)
        return succeed(made.protocol_made)

    def close(self) -> None:
        """Give everything back."""
        for connection in self._open:
            connection.hang_up()
        for sessions in self.sessions.values():
            for _, descriptor in sessions:
                os.close(descriptor)
        self.sessions.clear()

    def find(self, label: str) -> tuple[str, int] | None:
        """The oldest session with an address."""
        sessions = self.sessions.get(label)
        return sessions.popleft() if sessions else None

    def find_bound(self, label: str) -> tuple[str, str, int] | None:
        """A session with the first address of a destination that has one."""
        for properties, endpoint in self.bindings.get(label, ()):
            if found := self.find(endpoint):
                return properties, *found
        return None


@implementer(IReadDescriptor)
class _Connection:
    """One connection of a client."""

    def __init__(self, cache: FakeScache, end: socket.socket, reactor: Any) -> None:
        self._cache = cache
        self._socket = end
        self._reactor = reactor
        self._decoder = Decoder()
        self._found: int | None = None  # a descriptor that the client gets when it is ready
        self._saving: tuple[str, str] | None = None  # a session whose descriptor comes next
        reactor.addReader(self)

    def fileno(self) -> int:
        """For the reactor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """For the reactor."""
        return "scache"

    def connectionLost(self, reason: Any) -> None:
        """For the reactor."""
        self.hang_up()

    def hang_up(self) -> None:
        """End it."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()
        if self._found is not None:
            os.close(self._found)
            self._found = None

    def say(self, data: bytes) -> None:
        """Send octets."""
        self._socket.send(data)

    def doRead(self) -> None:
        """Take what has come."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 65536, 4)
        if not data:
            self.hang_up()
        elif self._saving is not None:
            assert data == b"\0" and len(descriptors) == 1
            label, properties = self._saving
            self._saving = None
            if self._cache.fault == "refuse":
                os.close(descriptors[0])
                self._status(2)
            else:
                self._cache.sessions.setdefault(label, deque()).append((properties, descriptors[0]))
                self._status(0)
        else:
            for found in self._decoder.feed(data):
                self._take(found.names, tuple(to_text(value) for value in found.values))

    def _take(self, names: tuple[bytes, ...], values: tuple[str, ...]) -> None:
        if names == (b"dummy",):
            self._ready()
            return
        assert names[0] == b"request", names
        self._cache.requests.append(values)
        match self._cache.fault:
            case "silence":
                return
            case "hang up":
                self.hang_up()
                return
            case "junk":
                self.say(encode([("stratus", 0)]))
                return
        match values:
            case "find_endp", label:
                found = self._cache.find(label)
                self._answer(() if found is None else found[:1], 1, found and found[-1])
            case "find_dest", label:
                bound = self._cache.find_bound(label)
                self._answer(() if bound is None else bound[:2], 2, bound and bound[-1])
            case "save_endp", _, label, properties:
                self._saving = (label, properties)
                self.say(DUMMY)
            case "save_dest", _, label, properties, endpoint:
                self._cache.bindings.setdefault(label, []).append((properties, endpoint))
                self._status(2 if self._cache.fault == "refuse" else 0)
            case _:
                raise AssertionError(values)

    def _answer(self, properties: Any, count: int, descriptor: Any) -> None:
        texts = tuple(properties) or ("",) * count
        self.say(encode([("status", 0 if properties else 2), *(("property", text) for text in texts)]))
        self._found = descriptor

    def _ready(self) -> None:
        """The client is ready for the descriptor, or has it."""
        if self._found is None:
            return  # it has said that it has the last one
        found, self._found = self._found, None
        descriptors = [found]
        match self._cache.fault:
            case "no descriptor":
                descriptors = []
            case "no socket":
                descriptors = [os.open(os.devnull, os.O_RDONLY)]
            case "two descriptors":
                descriptors = [found, found]
        if descriptors:
            socket.send_fds(self._socket, [b"\0"], descriptors)
        else:
            self.say(b"\0")
        for descriptor in {found, *descriptors}:
            os.close(descriptor)

    def _status(self, status: int) -> None:
        self.say(encode([("status", status)]))
