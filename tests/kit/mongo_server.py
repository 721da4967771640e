"""A server that speaks as much of MongoDB's wire protocol as a client needs for reading.

Flow: tests/interop/test_tables.py lets PyMongo ask it.
Sources: MongoDB wire protocol, OP_MSG and OP_QUERY (the first "hello"); the commands hello and find.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import bson
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013

Document = Mapping[str, Any]


class _Session(Protocol):
    transport: ITCPTransport

    def __init__(self, server: "MongoServer") -> None:
        self._server = server
        self._received = b""

    def connectionMade(self) -> None:
        self._server.sessions.append(self)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEADER.size:
            length, request_id, _, operation = _HEADER.unpack_from(self._received)
            if len(self._received) < length:
                return
            body, self._received = self._received[_HEADER.size : length], self._received[length:]
            self._take(request_id, operation, body)

    def _take(self, request_id: int, operation: int, body: bytes) -> None:
        if operation == _OP_QUERY:
            at = body.index(b"\0", 4) + 1 + 8
            answer = bson.encode(self._server.answer(bson.decode(body[at:])))
            reply = struct.pack("<iqii", 0, 0, 0, 1) + answer
            self._send(request_id, _OP_REPLY, reply)
        elif operation == _OP_MSG:
            answer = bson.encode(self._server.answer(bson.decode(body[5:])))
            self._send(request_id, _OP_MSG, struct.pack("<iB", 0, 0) + answer)

    def _send(self, request_id: int, operation: int, body: bytes) -> None:
        self.transport.write(_HEADER.pack(_HEADER.size + len(body), 0, request_id, operation) + body)


class MongoServer(Factory):
    """A server with one collection.

    Args:
        documents: what is found for a value of the field ``k``.

    Attributes:
        filters: of all queries, in order.
        projections: of the same.
    """

    def __init__(self, documents: Mapping[str, Sequence[Document]]) -> None:
        self.filters: list[Document] = []
        self.projections: list[Document] = []
        self.sessions: list[_Session] = []
        self._documents = documents
        self._port: IListeningPort | None = None

    def buildProtocol(self, address: object) -> _Session:
        """A session for a connection."""
        return _Session(self)

    async def listen(self, endpoint: IStreamServerEndpoint) -> None:
        """Listen at an endpoint."""
        self._port = await endpoint.listen(self)

    async def stop(self) -> None:
        """End all connections, listen no more."""
        for session in self.sessions:
            session.transport.abortConnection()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)

    def answer(self, command: Document) -> Document:
        """The answer to a command."""
        if "find" in command:
            self.filters.append(command["filter"])
            self.projections.append(command.get("projection", {}))
            wanted = command.get("projection", {})
            found = [
                {name: value for name, value in document.items() if wanted.get(name)}
                for document in self._documents.get(command["filter"].get("k"), [])
            ]
            return {"ok": 1.0, "cursor": {"id": 0, "ns": f"d.{command['find']}", "firstBatch": found}}
        return {
            "ok": 1.0,
            "helloOk": True,
            "ismaster": True,
            "isWritablePrimary": True,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "maxBsonObjectSize": 16777216,
            "maxMessageSizeBytes": 48000000,
            "maxWriteBatchSize": 100000,
            "readOnly": False,
        }
