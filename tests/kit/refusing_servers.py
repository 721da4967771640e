"""Servers that speak just enough of a database's protocol to refuse a client, in the words ``go away``, or to flood it.

They run in the reactor, which answers only as long as nothing stops it: not even a library that waits for them in a thread.

Flow: tests/interop/test_tables.py lets tables ask them.
Sources: PostgreSQL, "Message Formats"; MariaDB, "ERR_Packet"; RFC 4511 section 4.2.2.
"""

from collections.abc import Callable

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol

WORDS = b"go away"

Answer = Callable[[bytes], bytes]
"""What to say to what a client says; it says nothing, first, when it has connected."""


def postgres(said: bytes) -> bytes:
    """No encryption, and no session."""
    if len(said) == 8:
        return b"N"
    fields = b"SFATAL\0C28000\0M" + WORDS + b"\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields if said else b""


def mysql(said: bytes) -> bytes:
    """An error before any greeting."""
    error = b"\xff" + (1130).to_bytes(2, "little") + b"#HY000" + WORDS
    return b"" if said else len(error).to_bytes(3, "little") + b"\0" + error


def ldap(said: bytes) -> bytes:
    """Wrong credentials, whatever they are (49)."""
    if not said:
        return b""
    result = b"\x0a\1\x31\4\0\4" + bytes([len(WORDS)]) + WORDS
    number = said[2:5]  # of the message: it is short, so its length takes one octet
    content = number + b"\x61" + bytes([len(result)]) + result
    return b"\x30" + bytes([len(content)]) + content


def endless_ldap(said: bytes) -> bytes:
    """Any login will do; and then an entry of a gigabyte, of which this is the beginning."""
    if not said:
        return b""
    is_bind = said[5:6] == b"\x60"
    result = b"\x0a\1\0\4\0\4\0"
    return (
        b"\x30\x0c" + said[2:5] + b"\x61\7" + result if is_bind else b"\x30\x84\x40\0\0\0" + said[2:5] + bytes(1 << 20)
    )


class _Refusal(Protocol):
    transport: ITCPTransport

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def connectionMade(self) -> None:
        self.transport.write(self._answer(b""))

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self._answer(data))


class RefusingServer(Factory):
    """A server that refuses.

    Args:
        answer: in the words of which protocol.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._sessions: list[_Refusal] = []
        self._port: IListeningPort | None = None

    def buildProtocol(self, address: object) -> _Refusal:
        """A session for a connection."""
        session = _Refusal(self._answer)
        self._sessions.append(session)
        return session

    async def listen(self, endpoint: IStreamServerEndpoint) -> None:
        """Listen at an endpoint."""
        self._port = await endpoint.listen(self)

    async def stop(self) -> None:
        """End all connections, listen no more."""
        for session in self._sessions:
            session.transport.abortConnection()
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
