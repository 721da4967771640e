"""Descriptors that a shim passes."""

import os
import socket
import tempfile
from typing import cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.kit.requests import COMPLETE, GREETING, ToldAgent, wire_request
from tests.postfix.test_requests import MemoryWork
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Event, HandoffRefused
from twisted_mta.model.result import FinalStatus
from twisted_mta.postfix.handoff import HandoffListener
from twisted_mta.postfix.listening import ListenError
from twisted_mta.postfix.requests import DeliveryListener

reactor = cast(EPollReactor, global_reactor)


class Shim(Protocol):
    """Passes descriptors as soon as it is connected, and collects what is answered."""

    def __init__(self, *descriptors: int) -> None:
        self.descriptors = descriptors
        self.answer = b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Pass them."""
        assert self.transport is not None
        for descriptor in self.descriptors:
            self.transport.sendFileDescriptor(descriptor)  # type: ignore[attr-defined]
            self.transport.write(b"\0")

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self.answer += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the answer."""
        self.ended.callback(self.answer)


class HandoffTestCase(TestCase):
    """A control socket in a directory of its own, in front of a listener whose agent answers at once."""

    sender_uids = frozenset({os.getuid()})
    shim_uids: frozenset[int] | None = None
    wait_seconds = 10.0

    def setUp(self) -> None:
        """Start it."""
        base = tempfile.mkdtemp()
        self.addCleanup(FilePath(base).remove)
        self.path = f"{base}/run/handoff.sock"
        self.events: list[Event] = []
        self.agent = ToldAgent(FinalStatus(True))
        self.listener = DeliveryListener(
            self.agent,
            lambda request: MemoryWork(object(), object(), []),  # type: ignore[arg-type] # nobody looks
            PostfixVersion(3, 7),
            reactor,
            self.events.append,
            max_deliveries=2,
        )
        self.handoff = HandoffListener(
            reactor,
            reactor,
            self.path,
            self.listener,
            self.events.append,
            sender_uids=self.sender_uids,
            shim_uids=self.shim_uids,
            wait_seconds=self.wait_seconds,
        )
        self.listener.brought_by(self.handoff)
        self.handoff.start()
        self.addCleanup(self.listener.stop, 1)

    def connection(self) -> tuple[socket.socket, socket.socket]:
        """The two ends of a connection: the queue manager's, and that which spawn(8) has accepted."""
        ends = socket.socketpair()
        for end in ends:
            self.addCleanup(end.close)
        return ends

    async def pass_on(self, *descriptors: int) -> bytes:
        """Be a shim.

        Returns:
            What was answered.
        """
        shim = Shim(*descriptors)
        await connectProtocol(UNIXClientEndpoint(reactor, self.path), shim)
        return await shim.ended


class QueueManager(Protocol):
    """The queue manager's end: sends a request when it is greeted, hangs up when it has the reply."""

    def __init__(self) -> None:
        self.got = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Take greeting and reply."""
        assert self.transport is not None
        self.got += data
        if self.got == GREETING:
            self.transport.write(wire_request())
        elif len(self.got) == len(GREETING + COMPLETE):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell what came."""
        self.ended.callback(self.got)


def queue_manager(end: socket.socket) -> QueueManager:
    """A queue manager at its end of a connection."""
    protocol = QueueManager()
    end.setblocking(False)
    factory = Factory.forProtocol(lambda: protocol)
    factory.noisy = False
    reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
    end.close()
    return protocol


def open_sockets() -> int:
    """How many sockets this process has."""
    paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(path).startswith("socket:") for path in paths if os.path.lexists(path))


class HandoffTests(HandoffTestCase):
    def test_interface(self) -> None:
        """A control connection takes descriptors."""
        verifyObject(IFileDescriptorReceiver, self.handoff.buildProtocol(None))

    def test_impossible_place(self) -> None:
        """Only the last directory is made; a place that cannot be is an error that names it, and so is one in use."""
        for path, text in [
            (f"{self.path}.d/deep/er/s", "(make its directory first)"),
            (self.path, "listens here already"),
        ]:
            other = HandoffListener(reactor, reactor, path, self.listener, self.events.append, sender_uids=[0])
            self.assertIn(f"{path}: ", message := str(self.assertRaises(ListenError, other.start)))
            self.assertIn(text, message)
            other.stop()

    async def test_passed_connection_is_served(self) -> None:
        """A connection is served like one of private/NAME, after the shim has closed its copy."""
        theirs, ours = self.connection()
        self.assertEqual(await self.pass_on(ours.fileno()), b"\0")
        ours.close()
        self.assertEqual(await queue_manager(theirs).ended, GREETING + COMPLETE)
        self.assertEqual((len(self.agent.requests), self.events), (1, []))

    async def test_one_connection_for_a_shim(self) -> None:
        """A second descriptor is closed."""
        theirs, ours = self.connection()
        other_end, other = self.connection()
        self.assertEqual(await self.pass_on(ours.fileno(), other.fileno()), b"\0")
        other.close()
        other_end.setblocking(False)
        self.assertEqual(await queue_manager(other_end).ended, b"")
        ours.close()
        self.assertEqual(await queue_manager(theirs).ended, GREETING + COMPLETE)

    async def test_what_is_no_connection(self) -> None:
        """A file, a listening socket, a datagram socket and a network socket are refused."""
        with (
            open(os.devnull) as file,
            socket.socket(socket.AF_UNIX) as unconnected,
            socket.socket(socket.AF_INET) as network,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
        ):
            for descriptor, text in [
                (file.fileno(), "not a socket: Socket operation on non-socket"),
                (unconnected.fileno(), "not a connection: Transport endpoint is not connected"),
                (network.fileno(), "not a UNIX stream socket"),
                (datagram.fileno(), "not a UNIX stream socket"),
            ]:
                self.assertEqual(await self.pass_on(descriptor), b"")
                self.assertEqual(self.events.pop(), HandoffRefused(self.path, text))
        self.assertEqual(self.listener.accepted, 0)

    async def test_no_descriptor_leaks(self) -> None:
        """Every received descriptor is closed in the end, served or refused."""
        before = open_sockets()
        for _ in range(3):
            theirs, ours = self.connection()
            await self.pass_on(ours.fileno())
            ours.close()
            await queue_manager(theirs).ended
            with open(os.devnull) as file:
                await self.pass_on(file.fileno())
        await self.listener.stop(1)
        self.assertLessEqual(open_sockets(), before)

    async def test_stopping(self) -> None:
        """A service that stops removes its socket and takes nothing more."""
        await self.listener.stop(1)
        self.assertFalse(os.path.exists(self.path))
        theirs, ours = self.connection()
        control = self.handoff.buildProtocol(None)
        self.handoff.passed(control, os.dup(ours.fileno()))
        ours.close()
        self.assertEqual(theirs.recv(1), b"")


class OtherSenderTests(HandoffTestCase):
    sender_uids = frozenset({os.getuid() + 1})

    async def test_connection_of_somebody_else(self) -> None:
        """A connection whose other end is not the queue manager's is refused."""
        theirs, ours = self.connection()
        self.assertEqual(await self.pass_on(ours.fileno()), b"")
        ours.close()
        self.assertEqual(theirs.recv(1), b"")
        problem = f"its other end belongs to user id {os.getuid()}, not to the queue manager"
        self.assertEqual(self.events, [HandoffRefused(self.path, problem)])


class OtherShimTests(HandoffTestCase):
    shim_uids = frozenset({os.getuid() + 1})

    async def test_shim_of_somebody_else(self) -> None:
        """Where the users are listed, nobody else may pass anything."""
        theirs, ours = self.connection()
        self.assertEqual(await self.pass_on(ours.fileno()), b"")
        ours.close()
        self.assertEqual(theirs.recv(1), b"")
        self.assertEqual(self.events, [HandoffRefused(self.path, f"user id {os.getuid()} may not pass connections")])


class SlowShimTests(HandoffTestCase):
    shim_uids = frozenset({os.getuid()})
    wait_seconds = 0.01

    async def test_shim_that_passes_nothing(self) -> None:
        """A shim that stays silent is hung up on."""
        self.assertEqual(await self.pass_on(), b"")
        self.assertEqual(self.events, [])
