"""The command that spawn(8) starts."""

import os
import socket
import sys

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests.kit.requests import COMPLETE, GREETING
from tests.postfix.test_handoff import HandoffTestCase, queue_manager, reactor
from twisted_mta.model.events import HandoffRefused
from twisted_mta.postfix import spawn_shim


class Command(ProcessProtocol):
    """Waits for the exit status."""

    def __init__(self) -> None:
        self.status: Deferred[int | None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        """Tell it."""
        assert isinstance(reason.value, ProcessDone | ProcessTerminated)
        self.status.callback(reason.value.exitCode)


class ShimTestCase(HandoffTestCase):
    async def run_shim(self, connection: socket.socket, *arguments: str) -> int | None:
        """Start the command as spawn(8) does: the connection is its descriptors 0, 1 and 2.

        Returns:
            Its exit status.
        """
        command = Command()
        descriptor = connection.fileno()
        reactor.spawnProcess(
            command,
            sys.executable,
            [sys.executable, "-I", "-S", spawn_shim.__file__, *arguments],
            env={},
            childFDs={0: descriptor, 1: descriptor, 2: descriptor},
        )
        connection.close()
        return await command.status


class ShimTests(ShimTestCase):
    async def test_connection_is_passed_on(self) -> None:
        """The command is gone before the request comes, and the connection is served."""
        theirs, ours = self.connection()
        self.assertEqual(await self.run_shim(ours, "--control", self.path), os.EX_OK)
        self.assertEqual(await queue_manager(theirs).ended, GREETING + COMPLETE)

    async def test_nobody_listens(self) -> None:
        """Without a service the command fails at once, and the queue manager sees nothing but the end."""
        for path in (self.path + ".missing", "/", "x" * 200, ""):
            theirs, ours = self.connection()
            self.assertEqual(await self.run_shim(ours, "--control", path), os.EX_UNAVAILABLE)
            self.assertEqual(theirs.recv(100), b"")

    async def test_wrong_usage(self) -> None:
        """Wrong arguments are not explained to the queue manager."""
        for arguments in (["--control"], ["--help"], ["--control", self.path, "x"]):
            theirs, ours = self.connection()
            self.assertEqual(await self.run_shim(ours, *arguments), os.EX_USAGE)
            self.assertEqual(theirs.recv(100), b"")


class RefusedShimTests(ShimTestCase):
    sender_uids = frozenset({os.getuid() + 1})

    async def test_refused(self) -> None:
        """A connection that the service does not take is a temporary failure."""
        theirs, ours = self.connection()
        self.assertEqual(await self.run_shim(ours, "--control", self.path), os.EX_TEMPFAIL)
        self.assertEqual(theirs.recv(100), b"")
        self.assertEqual([type(event) for event in self.events], [HandoffRefused])
