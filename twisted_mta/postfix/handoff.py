"""Take the queue manager's connections from spawn(8), descriptor by descriptor.

Flow: postfix/spawn_shim.py passes its connection over a control socket; it is served by the same factory as those of
postfix/listening.py, that of postfix/requests.py.
Sources: spawn(8); unix(7) (SCM_RIGHTS, SO_PEERCRED).

Whoever may connect to the control socket could pass any descriptor. What is served must be a stream whose other end belongs to
the queue manager: only that end can send requests, and it was made by a process that the kernel vouches for.
"""

import os
import socket
import struct
from collections.abc import Collection

from twisted.internet.interfaces import (
    IAddress,
    IFileDescriptorReceiver,
    IProtocolFactory,
    IReactorFDSet,
    IReactorTime,
    IUNIXTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.model.events import Emit, HandoffRefused
from twisted_mta.postfix.accepting import adopt
from twisted_mta.postfix.deadlines import DeadlineQueue
from twisted_mta.postfix.listening import EVERYBODY, PrivateSocket, make_directory

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid
_ACCEPTED = b"\0"


class HandoffListener(Factory):
    """The control socket.

    Args:
        reactor: watches sockets.
        clock: for time limits.
        path: of the control socket; its directory is made if it is missing.
        factory: serves what is passed.
        emit: takes events.
        sender_uids: whose connections are served: mail_owner, root.
        shim_uids: who may pass them: the users of the spawn(8) entries; None: anybody who can reach the socket.
        mode: of the control socket.
        wait_seconds: how long a shim may take.
    """

    noisy = False

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        path: str,
        factory: IProtocolFactory,
        emit: Emit,
        *,
        sender_uids: Collection[int],
        shim_uids: Collection[int] | None = None,
        mode: int = EVERYBODY,
        wait_seconds: float = 10.0,
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._emit = emit
        self._path = path
        self._sender_uids = frozenset(sender_uids)
        self._shim_uids = None if shim_uids is None else frozenset(shim_uids)
        self._open = DeadlineQueue[_Control](clock, wait_seconds, _Control.hang_up)
        self._socket = PrivateSocket(reactor, clock, path, self, emit, mode=mode)

    def start(self) -> None:
        """Begin to listen.

        Raises:
            ListenError: it is not possible there, or somebody else listens.
        """
        make_directory(self._path)
        self._socket.start()

    def stop(self) -> None:
        """Listen no more."""
        self._socket.stop()
        for control in self._open:
            control.hang_up()
        self._open.clear()

    def buildProtocol(self, addr: IAddress | None) -> "_Control":
        """A shim connects."""
        return _Control(self)

    def connected(self, control: "_Control") -> None:
        """Look who it is."""
        self._open.add(control)
        if self._shim_uids is not None:
            uid = _peer_uid(control.handle())
            if uid not in self._shim_uids:
                self._refuse(control, f"user id {uid} may not pass connections")

    def passed(self, control: "_Control", descriptor: int) -> None:
        """Serve a descriptor, or close it."""
        try:
            connection = _as_socket(descriptor)
        except OSError as error:
            os.close(descriptor)
            self._refuse(control, f"not a socket: {error.strerror}")
            return
        if control not in self._open:  # refused already, or the second descriptor of one shim
            connection.close()
        elif problem := self._problem_of(connection):
            connection.close()
            self._refuse(control, problem)
        elif adopt(connection, self._factory, self._reactor):
            control.transport.write(_ACCEPTED)
            self._hang_up(control)
        else:
            self._hang_up(control)  # stopping: without our answer the shim reports failure

    def lost(self, control: "_Control") -> None:
        """A shim is gone."""
        self._open.discard(control)

    def _problem_of(self, connection: socket.socket) -> str:
        if connection.family != socket.AF_UNIX or connection.type != socket.SOCK_STREAM:
            return "not a UNIX stream socket"
        try:
            connection.getpeername()
            uid = _peer_uid(connection)
        except OSError as error:
            return f"not a connection: {error.strerror}"
        if uid not in self._sender_uids:
            return f"its other end belongs to user id {uid}, not to the queue manager"
        return ""

    def _refuse(self, control: "_Control", problem: str) -> None:
        if control in self._open:
            self._emit(HandoffRefused(self._path, problem))
            self._hang_up(control)

    def _hang_up(self, control: "_Control") -> None:
        self._open.discard(control)
        control.hang_up()


@implementer(IFileDescriptorReceiver)
class _Control(Protocol):
    """A connection of a shim; the listener decides."""

    transport: IUNIXTransport

    def __init__(self, listener: HandoffListener) -> None:
        self._listener = listener

    def connectionMade(self) -> None:
        """It is there."""
        self._listener.connected(self)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """It passed something."""
        self._listener.passed(self, descriptor)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._listener.lost(self)

    def handle(self) -> socket.socket:
        """Its socket."""
        handle = self.transport.getHandle()  # type: ignore[attr-defined] # ISystemHandle, which UNIX transports provide
        assert isinstance(handle, socket.socket)
        return handle

    def hang_up(self) -> None:
        """Close it, once what was written is out."""
        self.transport.loseConnection()


def _as_socket(descriptor: int) -> socket.socket:
    """The socket behind a received descriptor.

    Raises:
        OSError: it is none; the descriptor is still open.
    """
    os.set_inheritable(descriptor, False)
    connection = socket.socket(fileno=descriptor)
    connection.setblocking(False)  # the shim's and spawn(8)'s copies share this; they only close theirs
    return connection


def _peer_uid(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    return uid
