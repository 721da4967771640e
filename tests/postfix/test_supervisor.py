"""Tests of twisted_mta.postfix.supervisor."""

import socket
from collections.abc import Mapping, Sequence

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.events import Event, WorkerLost
from twisted_mta.postfix.supervisor import (
    CHANGED,
    FIRST_SOCKET_FD,
    READY,
    RELOADED,
    RETIRE,
    STATUS_FD,
    Supervisor,
    worker_command,
)


class Process:
    """A worker process in memory, and its transport."""

    def __init__(
        self, protocol: ProcessProtocol, command: Sequence[str], descriptors: Mapping[int, int | str], pid: int
    ) -> None:
        self.protocol = protocol
        self.command = command
        self.descriptors = descriptors
        self.pid = pid
        self.signals: list[str | int] = []
        self.ended = False

    def signalProcess(self, name: str | int) -> None:
        """Take a signal."""
        if self.ended:
            raise ProcessExitedAlready
        self.signals.append(name)

    def say(self, word: bytes) -> None:
        """Say something on the status pipe."""
        self.protocol.childDataReceived(STATUS_FD, word)

    def end(self, *, badly: bool = False) -> None:
        """End."""
        self.ended = True
        self.protocol.processEnded(Failure(ProcessTerminated(1) if badly else ProcessDone(0)))


class ProcessReactor(Clock):
    """Spawns processes in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []

    def spawnProcess(
        self,
        protocol: ProcessProtocol,
        executable: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        childFDs: Mapping[int, int | str],  # noqa: N803 - Twisted's name
    ) -> None:
        """Start one."""
        process = Process(protocol, arguments, childFDs, len(self.processes) + 100)
        self.processes.append(process)
        protocol.makeConnection(process)


class SupervisorTests(SynchronousTestCase):
    """Workers come and go."""

    def setUp(self) -> None:
        """A supervisor with one socket."""
        self.reactor = ProcessReactor()
        self.events: list[Event] = []
        self.listening, other = socket.socketpair()
        other.close()
        self.addCleanup(self.listening.close)
        self.supervisor = Supervisor(self.reactor, lambda count: ["worker", str(count)], self.events.append)
        self.supervisor.serve([self.listening])
        self.first = self.reactor.processes[0]

    def second(self) -> Process:
        """The worker that was started after the first; there is no third."""
        (_, second) = self.reactor.processes
        return second

    def test_inherits(self) -> None:
        """A worker gets the sockets and the status pipe."""
        self.assertEqual(self.first.command, ["worker", "1"])
        self.assertEqual(
            self.first.descriptors, {0: 0, 1: 1, 2: 2, STATUS_FD: "r", FIRST_SOCKET_FD: self.listening.fileno()}
        )

    def test_change(self) -> None:
        """A worker whose configuration is old retires when the next one is ready, and not before."""
        self.first.say(READY)
        self.first.say(CHANGED + CHANGED)
        self.assertEqual(self.first.signals, [])
        self.second().say(READY)
        self.assertEqual(self.first.signals, [RETIRE])
        self.first.end()
        self.assertEqual(self.events, [])

    def test_reload(self) -> None:
        """After a reload the present worker takes no more requests."""
        self.first.say(READY)
        self.supervisor.renew(at_once=True)
        self.assertEqual(self.first.signals, [RETIRE])
        self.second().say(READY)
        self.first.end()
        self.assertEqual(self.second().signals, [])

    def test_reload_of_postfix(self) -> None:
        """When a worker has noticed that Postfix was reloaded, there is something to be done before the next one is started."""
        started: list[int] = []
        reactor = self.reactor
        supervisor = Supervisor(
            reactor, lambda count: ["worker"], self.events.append, lambda: started.append(len(reactor.processes))
        )
        supervisor.serve([self.listening])
        worker = reactor.processes[-1]
        worker.say(READY)
        before = len(reactor.processes)
        worker.say(RELOADED)
        self.assertEqual((started, len(reactor.processes)), ([before], before + 1))

    def test_reload_while_one_comes(self) -> None:
        """A worker that is not ready yet may have read what has changed since: it is replaced too, however it ends."""
        self.supervisor.renew()
        self.assertEqual(self.first.signals, ["TERM"])
        self.first.say(READY)
        self.second().say(READY)
        self.first.end(badly=True)
        self.assertEqual((self.events, len(self.reactor.processes)), ([], 2))

    def test_crash(self) -> None:
        """A worker that ends by itself is told of and replaced, ever more slowly if that goes on."""
        self.first.say(READY)
        self.first.end(badly=True)
        (event,) = self.events
        assert isinstance(event, WorkerLost)
        self.assertEqual(event.pid, 100)
        self.reactor.advance(0.5)
        self.second().end(badly=True)
        self.reactor.advance(0.5)
        self.assertEqual(len(self.reactor.processes), 2)
        self.reactor.advance(0.5)
        self.assertEqual(len(self.reactor.processes), 3)

    def test_crash_of_the_next_one(self) -> None:
        """A new worker that fails leaves the present one where it is."""
        self.first.say(READY)
        self.first.say(CHANGED)
        self.second().end(badly=True)
        self.reactor.advance(60)
        self.assertEqual((self.first.signals, len(self.reactor.processes)), ([], 2))

    def test_stop(self) -> None:
        """Stopping waits for the last worker, and lets none finish what takes long."""
        self.first.say(READY)
        self.first.say(CHANGED)
        stopped = self.supervisor.stop()
        self.assertEqual((self.first.signals, self.second().signals), (["TERM"], ["TERM"]))
        self.first.end()
        self.assertNoResult(stopped)
        self.second().end()
        self.successResultOf(stopped)
        self.supervisor.renew()
        self.assertEqual((len(self.reactor.processes), self.reactor.getDelayedCalls()), (2, []))

    def test_stop_while_waiting_to_restart(self) -> None:
        """Nothing is started after the end."""
        self.first.end(badly=True)
        self.successResultOf(self.supervisor.stop())
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.processes), 1)

    def test_command(self) -> None:
        """A worker gets the options of the service."""
        command = worker_command(["--service", "agent"], "7:agent unix", 2)
        self.assertEqual(command[-5:], ["smtpdeliver", "--service", "agent", "--entry=7:agent unix", "--worker=2"])
