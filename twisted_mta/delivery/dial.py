"""Connecting: from a Candidate to a transport, and from Twisted's errors to Postfix's.

Twisted's own clients are not quite enough: buffer sizes must be set before the connection is made, it must be known what has
left, to time the peer and to distrust a reply that comes too early, and a connection must be dropped without a reset.

Flow: delivery/factory.py dials one candidate after the other.
Sources: connect(2), socket(7), tcp(7); postconf(5) smtp_connect_timeout, smtp_bind_address, smtp_bind_address_enforce,
tcp_windowsize; twisted.internet.tcp.
"""

import errno
import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.internet import error, tcp, unix
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from twisted_mta.config.settings import Settings
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.routing.own_addresses import OwnAddresses

_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_SUN_PATH_OCTETS = 107


class DialError(Exception):
    """No connection.

    Attributes:
        why: the status of the mail, if no other host takes it.
        ends_all: whether it would fail with every host: the configuration is at fault.
        bind_problem: why the local address could not be used; empty if that is not what failed.
        reset: whether the server took the connection, and reset it at once.
        namaddr: ``host[address]`` of the server.
    """

    def __init__(
        self,
        why: DsnStatus,
        *,
        ends_all: bool = False,
        bind_problem: str = "",
        reset: bool = False,
        namaddr: str = "",
    ) -> None:
        """Keep the reason."""
        super().__init__(why.reason)
        self.why = why
        self.ends_all = ends_all
        self.bind_problem = bind_problem
        self.reset = reset
        self.namaddr = namaddr


@dataclass(frozen=True, slots=True)
class DialSettings:
    """How to connect.

    Attributes:
        time_limit: seconds; None: that of the system.
        bind: the local address for each family, where one is set or implied.
        bind_enforced: whether a connection without it is not wanted.
        bind_problem: for each family, what is wrong with the parameter.
        window_octets: size of the socket's buffers; 0: that of the system.
        queue_directory: where the path of a local socket begins.
    """

    time_limit: float | None = 30.0
    bind: dict[Family, str] | None = None
    bind_enforced: bool = False
    bind_problem: dict[Family, str] | None = None
    window_octets: int = 0
    queue_directory: str = "/"

    @classmethod
    def from_settings(cls, settings: Settings, own: OwnAddresses) -> "DialSettings":
        """Read the parameters; a malformed address becomes a problem of the connections that need it."""
        bind: dict[Family, str] = {}
        problems: dict[Family, str] = {}
        for family, name in ((Family.IPV4, "smtp_bind_address"), (Family.IPV6, "smtp_bind_address6")):
            text = getattr(settings, name)
            if not text:
                implied = own.implied_bind_address(family)
                if implied:
                    bind[family] = implied
                continue
            address = text.removeprefix("[").removesuffix("]")
            try:
                if ip_address(address).version != (4 if family is Family.IPV4 else 6):
                    raise ValueError("Address family for hostname not supported")
            except ValueError:
                shown = settings.parameter_name(name)
                problems[family] = f"smtp_connect_addr: bad {shown} parameter: {text}: Name or service not known"
            else:
                bind[family] = address
        return cls(
            time_limit=settings.smtp_connect_timeout or None,
            bind=bind,
            bind_enforced=settings.smtp_bind_address_enforce,
            bind_problem=problems,
            window_octets=settings.tcp_windowsize,
            queue_directory=settings.queue_directory,
        )


class _Watched:
    """What both kinds of transport have beyond Twisted's."""

    def writeSomeData(self: Any, data: bytes) -> Any:
        """Tell the protocol what leaves."""
        written = super().writeSomeData(data)  # type: ignore[misc] # the mixed-in transport has it
        if isinstance(written, int) and written > 0:
            self.protocol.wrote(written)
        return written

    def unsentOctets(self: Any) -> int:
        """How many octets wait here for the system to take them."""
        unsent: int = len(self.dataBuffer) - self.offset + self._tempDataLen
        return unsent

    def dropConnection(self: Any) -> None:
        """Close now, whatever waits to be sent; the peer sees an orderly end, not a reset."""
        if self.disconnected or not self.connected:
            return
        self.stopReading()
        self.stopWriting()
        self.reactor.callLater(0, self.connectionLost, Failure(error.ConnectionDone()))


class _TcpTransport(_Watched, tcp.Client):
    """A connection over TCP."""

    window_octets = 0

    def createInternetSocket(self) -> socket.socket:
        """Set what must be set before the connection is made."""
        skt: socket.socket = super().createInternetSocket()
        window = self.connector.window_octets
        if window > 0:
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if self.addressFamily == socket.AF_INET:
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return skt


class _TcpConnector(tcp.Connector):
    window_octets = 0

    def _makeTransport(self) -> tcp.Client:
        return _TcpTransport(self.host, self.port, self.bindAddress, self, self.reactor)


class _UnixTransport(_Watched, unix.Client):
    """A connection over a UNIX-domain socket."""


class _UnixConnector(unix.Connector):
    def _makeTransport(self) -> Any:
        return _UnixTransport(self.address, self, self.reactor, self.checkPID)


class Dialer:
    """Starts connections."""

    def __init__(self, reactor: IReactorTime, settings: DialSettings) -> None:
        """Keep what every connection needs.

        Args:
            reactor: makes connections.
            settings: how.
        """
        self._reactor = reactor
        self._settings = settings

    @property
    def bind_enforced(self) -> bool:
        """Whether a connection without the local address is not wanted."""
        return self._settings.bind_enforced

    def bind_address(self, family: Family) -> str | None:
        """The local address for a family.

        Raises:
            DialError: the parameter cannot be used.
        """
        problem = (self._settings.bind_problem or {}).get(family)
        if problem:
            raise DialError(DsnStatus("4.3.5", problem), ends_all=True)
        return (self._settings.bind or {}).get(family)

    def dial(self, candidate: Candidate, factory: ClientFactory[Any], bind_address: str | None) -> Any:
        """Start a connection; the factory hears how it went.

        Args:
            candidate: to whom.
            factory: builds the protocol.
            bind_address: the local address, or None.

        Returns:
            The connector.

        Raises:
            DialError: it could not even be tried.
        """
        settings = self._settings
        connector: Any
        if candidate.family is Family.LOCAL:
            path = os.path.join(settings.queue_directory, candidate.path)
            if len(os.fsencode(path)) > _SUN_PATH_OCTETS:
                raise DialError(DsnStatus("4.3.5", "Server configuration error"))
            connector = _UnixConnector(path, factory, settings.time_limit, self._reactor, 0)
        else:
            bind = (bind_address, 0) if bind_address else None
            # Twisted takes None for no limit of its own; its annotation does not know.
            limit: Any = settings.time_limit
            connector = _TcpConnector(candidate.address, candidate.port, factory, limit, bind, self._reactor)
            connector.window_octets = settings.window_octets
        try:
            connector.connect()
        except OSError as problem:
            raise dial_error(candidate, problem.errno or 0) from problem
        return connector


def dial_error(candidate: Candidate, number: int) -> DialError:
    """The error of a connection that failed with an error number of connect(2)."""
    if number in _OUT_OF_RESOURCES:
        return DialError(DsnStatus("4.3.0", f"cannot connect: {os.strerror(number)}"))
    why = DsnStatus("4.4.1", f"connect to {candidate.relay}: {os.strerror(number)}")
    return DialError(why, reset=number == errno.ECONNRESET, namaddr=candidate.namaddr)


def translate(candidate: Candidate, failure: Failure) -> DialError:
    """Make a DialError of what Twisted says of a failed connection."""
    problem = failure.value
    assert problem is not None
    if isinstance(problem, error.TimeoutError):
        return dial_error(candidate, errno.ETIMEDOUT)
    number = _error_number(problem)
    # Twisted says that binding failed also where no socket could be had.
    if isinstance(problem, error.ConnectBindError) and number not in _OUT_OF_RESOURCES:
        return DialError(DsnStatus("4.4.0", "server configuration error"), bind_problem=os.strerror(number))
    return dial_error(candidate, number)


def _error_number(problem: BaseException) -> int:
    for number in (getattr(problem, "osError", None), *problem.args[:1]):
        if isinstance(number, int):
            return number
    return errno.ECONNREFUSED
