"""Accept connections on a listening UNIX socket without ever touching its name.

Flow: postfix/listening.py, a worker that inherited a socket, or a child of master(8) lends the socket; each connection goes to a
protocol factory, that of postfix/requests.py or postfix/handoff.py.
Sources: unix(7); accept(2); master(8).

The reactor's own UNIX port is not used, since it sets the mode of the socket's name when it starts, removes that name when it
stops (it may belong to master(8), or to the next generation by then), and hangs up on connections where descriptors have run
out. The queue manager takes a hang-up for a broken transport and holds all its mail back; in the backlog a connection just waits.
"""

import errno
import os
import socket
from collections.abc import Iterable

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.internet.unix import Server
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.model.events import AcceptFailed, Emit

_MOST_AT_ONCE = 64
_PAUSE_SECONDS = 1.0
_NOTHING_TO_ACCEPT = frozenset({errno.EAGAIN, errno.ECONNABORTED, errno.EINTR, errno.EPERM})
_log = Logger()
_NOWHERE = UNIXAddress(None)


@implementer(IReadDescriptor)
class Acceptor:
    """Gives the connections of a listening socket to a protocol factory.

    Args:
        reactor: watches the socket.
        clock: for a pause when descriptors have run out.
        listening: bound, listening and non-blocking; closed by `stop`.
        factory: makes a protocol for each connection, or refuses it with None.
        emit: takes events.
        name: the socket, in events.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        listening: socket.socket,
        factory: IProtocolFactory,
        emit: Emit,
        name: str,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._socket = listening
        self._factory = factory
        self._emit = emit
        self._name = name
        self._at_once = 1
        self._resume: IDelayedCall | None = None
        self._number = 0
        self._failing = False

    def start(self) -> None:
        """Begin to accept."""
        self._factory.doStart()
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more, and close the socket."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            if self._resume is not None:
                self._resume.cancel()
                self._resume = None
            self._socket.close()
            self._factory.doStop()

    def fileno(self) -> int:
        """The descriptor of the socket; -1 once it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """The socket, in Twisted's log."""
        return self._name

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, or cannot watch the socket."""
        self.stop()

    def doRead(self) -> None:
        """Connections wait: take some."""
        # As many as came together the last time, and more if they keep coming: an accept that finds nothing is a wasted call.
        for accepted in range(self._at_once):
            if not self._accept_one():
                self._at_once = max(accepted, 1)
                return
        self._at_once = min(2 * self._at_once, _MOST_AT_ONCE)

    def _accept_one(self) -> bool:
        try:
            connection, _ = self._socket.accept()
        except OSError as error:
            if error.errno not in _NOTHING_TO_ACCEPT:
                self._pause(error)
            return False
        self._failing = False
        connection.setblocking(False)
        self._number += 1
        try:
            adopt(connection, self._factory, self._reactor, self._number)
        except Exception:  # noqa: BLE001 - a connection that goes wrong must not end the listening
            _log.failure("A connection on {name} could not be served", name=self._name)
            connection.close()
        return self._socket.fileno() >= 0

    def _pause(self, error: OSError) -> None:
        """Descriptors or memory have run out: look again later, instead of turning in circles."""
        if not self._failing:
            self._failing = True
            self._emit(AcceptFailed(self._name, os.strerror(error.errno or 0)))
        self._reactor.removeReader(self)
        self._resume = self._clock.callLater(_PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._resume = None
        self._reactor.addReader(self)


def adopt(connection: socket.socket, factory: IProtocolFactory, reactor: IReactorFDSet, number: int = 0) -> bool:
    """Serve a connection with a protocol of the factory.

    The reactor's adoptStreamConnection does the same in 7 microseconds more: it makes a second descriptor, and asks for addresses
    that a UNIX client does not have.

    Args:
        connection: non-blocking; belongs to the transport afterwards, or is closed.
        factory: makes the protocol.
        reactor: watches the connection.
        number: tells connections apart in Twisted's log.

    Returns:
        Whether the factory took it.
    """
    protocol = factory.buildProtocol(_NOWHERE)
    if protocol is None:
        connection.close()
        return False
    transport = _PromptServer(connection, protocol, None, None, number, reactor)  # type: ignore[no-untyped-call] # Twisted's
    protocol.makeConnection(transport)
    return True


class _PromptServer(Server):
    """A transport that sends what fits at once.

    Twisted's waits until the reactor has found out that the socket can be written to. With the short lists that are exchanged
    here it always can, and the detour costs as much as reading a request and answering it. Not for who passes descriptors.
    """

    _prompt = True

    def write(self, data: bytes) -> None:
        """Send, and leave to the reactor what does not fit or meets an error."""
        if self._prompt and self.connected and not self.disconnecting:
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0
            if sent == len(data):
                return
            self._prompt = False  # from now on there may be something in the reactor's hands, which must go first
            data = data[sent:]
        super().write(data)  # type: ignore[no-untyped-call] # Twisted's

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer hung up; no protocol here goes on with half a connection, so Twisted need not find out."""
        self.connectionLost(reason)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send all of it."""
        self.write(b"".join(iovec))
