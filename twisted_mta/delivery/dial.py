"""From a Candidate to a connected protocol, and from error numbers to the status of mail.

Flow: delivery/factory.py dials one candidate after the other; delivery/connecting.py does the system calls.
Sources: connect(2), bind(2), unix(7); postconf(5) smtp_connect_timeout, smtp_bind_address, smtp_bind_address_enforce,
tcp_windowsize; lmtp(8) for what a path means.
"""

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.delivery.connecting import Address, Attempt, serve_protocol
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Event, SocketNameTooLong
from twisted_mta.routing.candidates import Candidate, Family
from twisted_mta.routing.literal import numeric_address
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
        exhausted: whether this machine has run out of something, such as descriptors.
        event: what else there is to say.
    """

    def __init__(
        self,
        why: DsnStatus,
        *,
        ends_all: bool = False,
        bind_problem: str = "",
        reset: bool = False,
        exhausted: bool = False,
        event: Event | None = None,
    ) -> None:
        """Keep the reason."""
        super().__init__(why.reason)
        self.why = why
        self.ends_all = ends_all
        self.bind_problem = bind_problem
        self.reset = reset
        self.exhausted = exhausted
        self.event = event


@dataclass(frozen=True, slots=True)
class DialSettings:
    """How to connect.

    Attributes:
        time_limit: seconds; None: that of the system.
        bind: the local address for each family, where one is set or implied.
        bind_enforced: the families for which a connection without it is not wanted; never those where it is implied.
        bind_problem: for each family, what is wrong with the parameter.
        window_octets: size of the socket's buffers; 0: that of the system.
        queue_directory: where the path of a local socket begins.
        chroot: whether that is so for absolute paths, too: our entry in master.cf says chroot=y.
    """

    time_limit: float | None = 30.0
    bind: dict[Family, str] | None = None
    bind_enforced: frozenset[Family] = frozenset()
    bind_problem: dict[Family, str] | None = None
    window_octets: int = 0
    queue_directory: str = "/"
    chroot: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, own: OwnAddresses, *, chroot: bool = False) -> "DialSettings":
        """Read the parameters; a malformed address becomes a problem of the connections that need it.

        Args:
            settings: the parameters.
            own: the addresses of this machine.
            chroot: what our entry in master.cf says.
        """
        bind: dict[Family, str] = {}
        given: set[Family] = set()
        problems: dict[Family, str] = {}
        for family, name in ((Family.IPV4, "smtp_bind_address"), (Family.IPV6, "smtp_bind_address6")):
            text = getattr(settings, name)
            if not text:
                implied = own.implied_bind_address(family)
                if implied:
                    bind[family] = implied
                continue
            given.add(family)
            try:
                bind[family] = _numeric(text, settings.parameter_name(name))
            except ConfigError as error:
                problems[family] = error.text
        return cls(
            time_limit=settings.smtp_connect_timeout or None,
            bind=bind,
            bind_enforced=frozenset(given if settings.smtp_bind_address_enforce else ()),
            bind_problem=problems,
            window_octets=settings.tcp_windowsize,
            queue_directory=settings.queue_directory,
            chroot=chroot,
        )


P = TypeVar("P", bound=Protocol)


class Dialer:
    """Makes connections.

    Attributes:
        settings: how.
    """

    def __init__(self, reactor: Any, settings: DialSettings) -> None:
        """Keep what every connection needs.

        Args:
            reactor: watches sockets.
            settings: how.
        """
        self._reactor = reactor
        self.settings = settings

    def bind_enforced(self, family: Family) -> bool:
        """Whether a connection without the local address is not wanted."""
        return family in self.settings.bind_enforced

    def bind_address(self, family: Family) -> str | None:
        """The local address for a family.

        Raises:
            DialError: the parameter cannot be used.
        """
        problem = (self.settings.bind_problem or {}).get(family)
        if problem:
            raise DialError(DsnStatus("4.3.5", problem), ends_all=True)
        return (self.settings.bind or {}).get(family)

    def dial(self, candidate: Candidate, build_protocol: Callable[[], P], bind_address: str | None) -> Deferred[P]:
        """Make a connection.

        Args:
            candidate: to whom.
            build_protocol: makes the protocol once there is a connection.
            bind_address: the local address, or None.

        Returns:
            Fires with the protocol, which has its transport; fails with DialError. Cancelling it ends the attempt.

        Raises:
            DialError: it could not even be tried.
        """
        address = self._address(candidate)
        skt = self._socket(candidate, bind_address)
        attempt: Attempt

        def done(number: int) -> None:
            if number:
                connected.errback(dial_error(candidate, number))
                return
            protocol = build_protocol()
            serve_protocol(skt, protocol, self._reactor, address)
            connected.callback(protocol)

        connected: Deferred[P] = Deferred(lambda _: attempt.cancel())
        attempt = Attempt(self._reactor, skt, address, self.settings.time_limit, done)
        attempt.start()
        return connected

    def serve(self, skt: socket.socket, protocol: Protocol) -> None:
        """Give a protocol a connection that another process has made.

        Args:
            skt: connected; ours from now on.
            protocol: takes it.

        Raises:
            OSError: it is not connected.
        """
        address = skt.getpeername()
        skt.setblocking(False)
        serve_protocol(skt, protocol, self._reactor, address)

    def _address(self, candidate: Candidate) -> Address:
        if candidate.family is not Family.LOCAL:
            return candidate.address, candidate.port
        settings = self.settings
        directory, path = settings.queue_directory, candidate.path
        whole = os.path.join(directory, path.lstrip("/") if settings.chroot else path)
        if _fits(whole):
            return whole
        # The service runs in queue_directory, as Postfix's agents do: from there the way is shorter.
        if _fits(path) and not path.startswith("/") and _runs_in(directory):
            return path
        raise DialError(DsnStatus("4.3.5", "Server configuration error"), event=SocketNameTooLong(path))

    def _socket(self, candidate: Candidate, bind_address: str | None) -> socket.socket:
        """A socket that is ready to connect."""
        family, window = candidate.family, self.settings.window_octets
        try:
            skt = socket.socket(family.number, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as problem:
            raise dial_error(candidate, problem.errno or errno.EMFILE) from problem
        if family is Family.LOCAL:
            return skt
        try:
            if window > 0:
                skt.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)
                skt.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            if family is Family.IPV4:
                skt.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if bind_address:
                if (":" in bind_address) != (family is Family.IPV6):
                    raise OSError(errno.EAFNOSUPPORT, "an address of the other family")
                skt.bind((bind_address, 0))
        except OSError as problem:
            skt.close()
            why = DsnStatus("4.4.0", "server configuration error")
            raise DialError(why, bind_problem=os.strerror(problem.errno or errno.EINVAL)) from problem
        return skt


def _numeric(text: str, parameter: str) -> str:
    """The local address that a parameter holds, of whatever family.

    Raises:
        ConfigError: it holds something else.
    """
    inner = text
    if text.startswith("["):
        if not text.endswith("]"):
            raise ConfigError(f"smtp_connect_addr: malformed {parameter} parameter: {text}", parameter=parameter)
        inner = text[1:-1]
    literal = numeric_address(inner)
    if literal is None:
        problem = f"smtp_connect_addr: bad {parameter} parameter: {inner}: Name or service not known"
        raise ConfigError(problem, parameter=parameter)
    return literal[1]


def _fits(path: str) -> bool:
    """Whether a path has room in the address of a local socket."""
    return len(os.fsencode(path)) <= _SUN_PATH_OCTETS


def _runs_in(directory: str) -> bool:
    """Whether this process has it for its current directory."""
    try:
        return os.path.samefile(os.curdir, directory)
    except OSError:
        return False


def dial_error(candidate: Candidate, number: int) -> DialError:
    """The error of a connection that failed with an error number of connect(2)."""
    if number in _OUT_OF_RESOURCES:
        why = DsnStatus("4.3.0", f"cannot make a connection: {os.strerror(number)}")
        return DialError(why, exhausted=True)
    why = DsnStatus("4.4.1", f"connect to {candidate.relay}: {os.strerror(number)}")
    return DialError(why, reset=number == errno.ECONNRESET)
