"""Listen on a UNIX socket with a name that others count on: private/NAME, or a control socket.

Flow: resident.py starts a PrivateSocket with the factory of postfix/requests.py or postfix/handoff.py; a supervisor of several
workers takes `bind_socket` and SocketWatch instead, and gives each worker a copy of the socket for its Acceptor.
Sources: unix(7); master(8); qmgr(8); postconf(5) transport_retry_time, master_service_disable.

The queue manager holds all mail of a transport back for a minute when its socket is missing or nobody listens on it. Therefore a
socket is bound and listening before it gets its name, and its name is looked after: an upgrade or a tidy administrator may
remove it.
"""

import errno
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorFDSet, IReactorTime

from twisted_mta.model.events import Emit, Event, SocketLost, SocketRestored, SocketTaken
from twisted_mta.postfix.accepting import Acceptor

BACKLOG = 4096
"""Connections that may wait to be accepted: the queue manager connects without patience. The system may allow fewer."""

EVERYBODY = 0o666
"""The mode of the sockets that master(8) makes: what protects them is their directory."""

_LONGEST_PATH = 107  # octets in sockaddr_un of unix(7), less the final NUL
_SOMEBODY_LISTENS = frozenset({0, errno.EAGAIN, errno.EINPROGRESS, errno.EPROTOTYPE})
_NOBODY_LISTENS = frozenset({errno.ECONNREFUSED, errno.ENOENT})


class ListenError(Exception):
    """A socket cannot be bound; the text names it and says why, and what to do."""


class SocketInUseError(ListenError):
    """Somebody listens on the socket already."""


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A listening socket and the identity of its name.

    Attributes:
        socket: non-blocking.
        path: its name.
        device: where the name is.
        inode: what the name stood for when it was made.
    """

    socket: socket.socket
    path: str
    device: int
    inode: int

    def is_named(self) -> bool:
        """Whether the name still stands for this socket.

        Raises:
            OSError: that cannot be seen, or there is no such name (FileNotFoundError).
        """
        found = os.lstat(self.path)
        return (found.st_dev, found.st_ino) == (self.device, self.inode)

    def remove_name(self) -> None:
        """Remove the name, if it is still that of this socket."""
        try:
            if self.is_named():
                os.unlink(self.path)
        except OSError:
            pass  # gone, or out of reach: nothing of ours is left to remove


def bind_socket(path: str, mode: int = EVERYBODY) -> BoundSocket:
    """Make a listening socket, and only then give it its name, in place of a stale one.

    Args:
        path: absolute.
        mode: of the name, whatever the umask.

    Raises:
        SocketInUseError: somebody listens there.
        ListenError: it cannot be made, or something that is no socket stands there.
    """
    _refuse_if_in_use(path)
    directory, name = os.path.split(path)
    temporary = f"{directory}/.{name}.{os.getpid()}"
    if len(os.fsencode(temporary)) > _LONGEST_PATH:
        raise ListenError(f"{path}: the name is too long for a socket, choose a shorter directory")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_left_over(temporary)
        listening.bind(temporary)
        os.chmod(temporary, mode)
        listening.listen(BACKLOG)
        made = os.lstat(temporary)
        os.rename(temporary, path)
    except OSError as error:
        listening.close()
        raise ListenError(f"{path}: cannot listen here: {error.strerror}{_advice(error)}") from error
    return BoundSocket(listening, path, made.st_dev, made.st_ino)


def make_directory(path: str) -> None:
    """Make the directory that a socket is to be in, if it is missing and its own directory is there; others may enter it."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        try:
            os.mkdir(directory)
            os.chmod(directory, 0o755)
        except OSError:
            pass  # what follows from it is told when the socket is made


def _refuse_if_in_use(path: str) -> None:
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}{_advice(error)}") from error
    if not is_socket:
        raise ListenError(f"{path} exists and is not a socket: remove it, or choose another name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        outcome = probe.connect_ex(path)
    if outcome in _SOMEBODY_LISTENS:
        raise SocketInUseError(
            f"{path}: another process listens here already: stop it, or, if it is master(8), list the entry in"
            " master_service_disable"
        )
    if outcome not in _NOBODY_LISTENS:
        raise ListenError(f"{path}: cannot tell whether somebody listens here: {os.strerror(outcome)}")


def _remove_left_over(temporary: str) -> None:
    """A process with our number may have died between making its socket and naming it."""
    try:
        if stat.S_ISSOCK(os.lstat(temporary).st_mode):
            os.unlink(temporary)
    except FileNotFoundError:
        pass


def _advice(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return " (run this as root or as the owner of the directory)"
    if error.errno == errno.ENOENT:
        return " (make its directory first)"
    return ""


class SocketWatch:
    """Sees to it that a socket keeps its name.

    Args:
        clock: when to look.
        bound: the socket.
        emit: takes events.
        restored: is called with another socket that has taken its place; the old one may still hold connections.
        mode: of a new name.
        check_seconds: how often to look.
    """

    def __init__(
        self,
        clock: IReactorTime,
        bound: BoundSocket,
        emit: Emit,
        restored: Callable[[BoundSocket], None],
        *,
        mode: int = EVERYBODY,
        check_seconds: float = 1.0,
    ) -> None:
        self._clock = clock
        self._bound = bound
        self._emit = emit
        self._restored = restored
        self._mode = mode
        self._check_seconds = check_seconds
        self._told: Event | None = None
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._next = self._clock.callLater(self._check_seconds, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        self.start()
        path = self._bound.path
        try:
            if self._has_its_name():
                self._told = None
                return
            bound = bind_socket(path, self._mode)
        except SocketInUseError:
            self._tell_once(SocketTaken(path))
        except (ListenError, OSError) as error:
            self._tell_once(SocketLost(path, str(error)))
        else:
            self._bound = bound
            self._told = None
            self._emit(SocketRestored(path))
            self._restored(bound)

    def _has_its_name(self) -> bool:
        try:
            return self._bound.is_named()
        except FileNotFoundError:
            return False

    def _tell_once(self, event: Event) -> None:
        if self._told != event:
            self._told = event
            self._emit(event)


class PrivateSocket:
    """Listens on a named socket and keeps the name.

    Args:
        reactor: watches the socket.
        clock: for all pauses.
        path: absolute.
        factory: makes a protocol for each connection.
        emit: takes events.
        mode: of the name.
        check_seconds: how often to look whether the name is still there.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        path: str,
        factory: IProtocolFactory,
        emit: Emit,
        *,
        mode: int = EVERYBODY,
        check_seconds: float = 1.0,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._path = path
        self._factory = factory
        self._emit = emit
        self._mode = mode
        self._check_seconds = check_seconds
        self._bound: BoundSocket | None = None
        self._acceptor: Acceptor | None = None
        self._watch: SocketWatch | None = None
        self._former: dict[Acceptor, IDelayedCall] = {}

    def start(self) -> None:
        """Begin to listen.

        Raises:
            SocketInUseError: somebody else does.
            ListenError: it is not possible here.
        """
        bound = bind_socket(self._path, self._mode)
        self._serve(bound)
        self._watch = SocketWatch(
            self._clock, bound, self._emit, self._serve, mode=self._mode, check_seconds=self._check_seconds
        )
        self._watch.start()

    def stop(self) -> None:
        """Listen no more; the name goes too, unless it belongs to somebody else by now."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._bound is not None:
            self._bound.remove_name()
            self._bound = None
        for former, call in self._former.items():
            call.cancel()
            former.stop()
        self._former.clear()
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None

    def _serve(self, bound: BoundSocket) -> None:
        if self._acceptor is not None:
            # Connections that came before the name was lost are still to be taken.
            self._former[self._acceptor] = self._clock.callLater(self._check_seconds, self._retire, self._acceptor)
        self._bound = bound
        self._acceptor = Acceptor(self._reactor, self._clock, bound.socket, self._factory, self._emit, self._path)
        self._acceptor.start()

    def _retire(self, former: Acceptor) -> None:
        del self._former[former]
        former.stop()
