"""``socketmap:inet:host:port:name`` and ``socketmap:unix:path:name``: a server that is asked a netstring a key.

Flow: registry.py opens it.
Sources: socketmap_table(5); a running postmap(1).
"""

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.asking import Server
from twisted_mta.tables.endpoints import endpoint_of, reactor_of
from twisted_mta.tables.network import NetworkTable
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.reading import AskingError, NetstringReader

SECONDS = 100.0
"""For a whole lookup."""

LONGEST_REPLY = 100_000
"""Octets within the netstring."""

_PROBLEMS = {b"TEMP": "temporary", b"TIMEOUT": "timeout", b"PERM": "permanent"}


def _reader() -> NetstringReader:
    return NetstringReader(LONGEST_REPLY)


@implementer(ILookupTable)
class SocketmapTable(NetworkTable):
    """A table that is a socketmap server.

    Args:
        request: what was to be opened.
        endpoint: where the server is.
        address: the same, for the log.
        map_name: what the table is called there.
        clock: for time limits.
    """

    def __init__(
        self, request: TableRequest, endpoint: IStreamClientEndpoint, address: str, map_name: str, clock: IReactorTime
    ) -> None:
        super().__init__(request, clock, SECONDS)
        self._address = address
        self._map_name = to_wire(map_name)
        self._server = Server(endpoint, clock, self._refused)

    def close(self) -> None:
        """Drop the connections."""
        self._server.close()

    async def _find(self, key: str) -> str | None:
        request = b"%b %b" % (self._map_name, to_wire(key))
        try:
            reply = await self._server.ask(b"%d:%b," % (len(request), request), _reader)
        except AskingError as error:
            self.warn(self._too_slow(error.problem))
            raise TableError(self.name, error.problem, key) from error
        word, space, rest = reply.partition(b"\0")[0].partition(b" ")
        if word == b"OK":
            return to_text(rest) if space else None
        if word == b"NOTFOUND":
            return None
        problem = f"socketmap server {_PROBLEMS.get(word, 'unknown')} error"
        if rest:
            problem += f": {to_text(rest[:1000])}"
        self.warn(f"{self.name} {problem}")
        raise TableError(self.name, problem, key)

    def _refused(self, problem: str) -> None:
        self.warn(f"connect to {self._address}: {problem}")


def open_socketmap(request: TableRequest) -> SocketmapTable:
    """Open ``socketmap:SERVER:NAME``; connects when the first key is looked up.

    Raises:
        ConfigError: it does not say what kind of socket that is.
        TableError: it is malformed otherwise.
    """
    service, colon, map_name = request.name.rpartition(":")
    if not colon:
        raise request.unusable("socketmap requires server:socketmap argument")
    endpoint, address = endpoint_of(request, service, SECONDS)
    return SocketmapTable(request, endpoint, address, map_name, reactor_of(request))
