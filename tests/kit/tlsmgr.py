"""A tlsmgr(8) in memory, which speaks as the real one was seen to speak.

Flow: tests hand its `answer` to a MemoryService, or let it listen on a socket; tests/interop asks the real one.
Sources: tlsmgr(8), and a running one of Postfix 3.7.
"""

from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from twisted_mta.ipc.attributes import AttributeList, Decoder, Value, encode, encode_data, read_data
from twisted_mta.ipc.version import Greeting, PostfixVersion

POSTFIX_3_7 = PostfixVersion(3, 7)


class Tlsmgr:
    """A service with caches.

    Attributes:
        caches: the sessions of each cache that there is, by key.
        requests: what was asked: the request, the cache and the key.
    """

    def __init__(self, *caches: str) -> None:
        """Begin with empty caches of these names."""
        self.caches: dict[str, dict[str, bytes]] = {name: {} for name in caches or ("smtp",)}
        self.requests: list[tuple[str, str, str]] = []

    def answer(self, request: AttributeList) -> bytes | None:
        """What it says to a request; None: nothing, as to one that it does not know."""
        asked = {name.decode(): value for name, value in request.pairs()}
        verb, name, key = (asked[each].decode("ascii") for each in ("request", "cache_type", "cache_id"))
        self.requests.append((verb, name, key))
        cache = self.caches.get(name)
        if verb == "lookup":
            found = None if cache is None else cache.get(key)
            status = -2 if cache is None else -1 if found is None else 0
            return _reply(("status", status), ("session", encode_data(found or b"")))
        if cache is None:
            return _reply(("status", -2))
        if verb == "update":
            cache[key] = read_data(asked["session"], "session")
            return _reply(("status", 0))
        if verb == "delete":
            return _reply(("status", -1 if cache.pop(key, None) is None else 0))
        return None

    async def listen(self, reactor: Any, path: str) -> Any:
        """Listen on a UNIX-domain socket; gives the port."""
        return await UNIXServerEndpoint(reactor, path).listen(Factory.forProtocol(lambda: _Connection(self)))


def _reply(*attributes: tuple[str, Value]) -> bytes:
    return encode(attributes)


class _Connection(Protocol):
    def __init__(self, service: Tlsmgr) -> None:
        self._service = service
        self._decoder = Decoder()

    def connectionMade(self) -> None:
        """Greet."""
        assert self.transport is not None
        self.transport.write(POSTFIX_3_7.greeting(Greeting.TLS_MANAGER))

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        for request in self._decoder.feed(data):
            if (answer := self._service.answer(request)) is not None:
                self.transport.write(answer)
