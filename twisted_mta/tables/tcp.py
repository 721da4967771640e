"""``tcp:host:port``: a server that is asked one line a key.

Flow: registry.py opens it.
Sources: tcp_table(5); a running postmap(1).
"""

import re

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.asking import Limits, Server
from twisted_mta.tables.endpoints import inet_endpoint, reactor_of
from twisted_mta.tables.network import NetworkTable
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.reading import AskingError, ConnectFailedError, LineReader, MalformedReplyError

SECONDS = 100.0
"""For a whole lookup. Postfix takes so long for each read, and up to ten times: no delivery should hang for that long."""

TRIES = 10
PAUSE_SECONDS = 1.0

LONGEST_REPLY = 4096
"""Octets, the end of the line included."""

_TO_QUOTE = re.compile(rb"[^!-$&-~]")
_REPLY = re.compile(rb"([0-9]{3})[ \t\r\v\f](.*)", re.DOTALL)
_QUOTED = re.compile(rb"%([0-9A-Fa-f]{2})?")


class _BadReplyError(AskingError):
    """A reply that makes no sense, so that asking again would not help; or the server said that it has a problem."""


def quote(key: str) -> bytes:
    """A key as it stands in a request: blanks, ``%`` and all that is not printable ASCII as ``%XX``."""
    return _TO_QUOTE.sub(lambda found: b"%%%02X" % found[0][0], to_wire(key))


def unquote(text: bytes) -> bytes:
    """The text of a reply.

    Raises:
        ValueError: there is a ``%`` without two hexadecimal digits.
    """

    def octet(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            raise ValueError("malformed % sequence")
        return bytes((int(found[1], 16),))

    return _QUOTED.sub(octet, text)


class _Reader:
    """Reads a reply: the value, or empty-handed."""

    def __init__(self) -> None:
        self._line = LineReader(LONGEST_REPLY, "text longer than 4096")

    def feed(self, data: bytes) -> tuple[str | None] | None:
        line = self._line.feed(data)
        return None if line is None else (read_reply(line.partition(b"\0")[0]),)


def read_reply(line: bytes) -> str | None:
    """Read a reply without its LF.

    Returns:
        The value, or None if there is none for the key.

    Raises:
        AskingError: the server has a problem, or the line is no reply; `problem` is empty if the server said so.
    """
    found = _REPLY.fullmatch(line)
    try:
        text = unquote(found[2]) if found else b""
    except ValueError:
        found = None
    if found is None:
        raise _BadReplyError(f"malformed reply: {to_text(line[:100])}")
    match found[1][:1]:
        case b"2":
            return to_text(text)
        case b"5":
            return None
        case b"4":
            raise _BadReplyError("")
    raise _BadReplyError(f"bad status code: {to_text(line[:100])}")


@implementer(ILookupTable)
class TcpTable(NetworkTable):
    """A table that is a TCP server.

    Args:
        request: what was to be opened.
        endpoint: where the server is.
        clock: for time limits and pauses.
    """

    def __init__(self, request: TableRequest, endpoint: IStreamClientEndpoint, clock: IReactorTime) -> None:
        super().__init__(request, clock, SECONDS)
        self._address = request.name
        self._server = Server(endpoint, clock, self._refused, Limits(idle_seconds=None, age_seconds=None))

    def close(self) -> None:
        """Drop the connections."""
        self._server.close()

    async def _find(self, key: str) -> str | None:
        request = b"get %b\n" % quote(key)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                await deferLater(self._clock, PAUSE_SECONDS)
            try:
                (value,) = await self._server.ask(request, _Reader)
            except ConnectFailedError as error:
                problem = error.problem
            except _BadReplyError as error:
                if error.problem:
                    self.warn(self._too_slow(error.problem))
                raise TableError(self.name, error.problem or "the server has a problem", key) from error
            except AskingError as error:
                problem = error.problem if isinstance(error, MalformedReplyError) else "unexpected EOF"
                self.warn(self._too_slow(problem))
            else:
                return value
        raise TableError(self.name, problem, key)

    def _refused(self, problem: str) -> None:
        self.warn(f"connect to TCP map {self._address}: {problem}")

    def _too_slow(self, problem: str) -> str:
        return f"read TCP map reply from {self._address}: {problem}"


def open_tcp(request: TableRequest) -> TcpTable:
    """Open ``tcp:host:port``; connects when the first key is looked up.

    Raises:
        TableError: it is malformed.
    """
    return TcpTable(request, inet_endpoint(request, request.name, SECONDS), reactor_of(request))
