"""The supervisor: keeps root's rights, the listening sockets, and a worker that delivers.

A worker loads one generation of the configuration, opens what only root may read, and becomes the mail owner for good. So it
cannot take up a change: it says that there is one, and the supervisor starts a worker of the next generation. Once that one is
ready, the old one is told to end, finishes what it holds, and is gone. All of them accept from the same sockets, which belong
to the supervisor: no connection is refused in between.

Flow: supervised.py runs it where the service was started as root; workers are processes of the same program.
Sources: master(8) for what a parent of daemons does; socket(7), unix(7).
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_mta.model.events import Emit, WorkerLost

STATUS_FD = 3
"""A worker says on this descriptor how it is."""

FIRST_SOCKET_FD = 4
"""The listening sockets of a worker begin here."""

READY, CHANGED, RELOADED = b"R", b"C", b"L"
"""What a worker says: it serves; its configuration is old; Postfix has been reloaded."""

RETIRE = signal.SIGUSR1
"""The signal to a worker whose place another one has taken."""

_RESTART_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before a worker is started again that keeps ending by itself."""


class Supervisor:
    """Starts workers and replaces them."""

    def __init__(
        self,
        reactor: Any,
        command: Callable[[int], Sequence[str]],
        emit: Emit,
        when_reloaded: Callable[[], object] = lambda: None,
    ) -> None:
        """Prepare; no worker runs yet.

        Args:
            reactor: runs processes.
            command: the command line of a worker that gets so many sockets.
            emit: takes events.
            when_reloaded: called when Postfix has been reloaded, before the next worker is started.
        """
        self._when_reloaded = when_reloaded
        self._reactor = reactor
        self._command = command
        self._emit = emit
        self._sockets: tuple[socket.socket, ...] = ()
        self._workers: list[_Worker] = []
        self._current: _Worker | None = None
        self._coming: _Worker | None = None
        self._again: IDelayedCall | None = None
        self._failures = 0
        self._stopping: Deferred[None] | None = None

    def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Give the listening sockets to a new worker, as to all that come after it."""
        self._sockets = tuple(sockets)
        self.renew()

    def renew(self, *, at_once: bool = False) -> None:
        """Start a worker of the next generation; the present one ends when that is ready.

        Args:
            at_once: whether the present one takes no more requests: they wait for the new one.
        """
        if self._stopping is not None:
            return
        if at_once and self._current is not None:
            self._current.retire()
            self._current = None
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._coming is not None:
            # It may have read what has changed since.
            self._coming.end()
        self._coming = self._start()

    def stop(self) -> Deferred[None]:
        """End all workers.

        Returns:
            Fires when the last one is gone.
        """
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._stopping = Deferred() if self._workers else succeed(None)
        for worker in self._workers:
            worker.end()
        return self._stopping

    def _start(self) -> "_Worker":
        worker = _Worker(self)
        descriptors: dict[int, int | str] = {0: 0, 1: 1, 2: 2, STATUS_FD: "r"}
        for number, listening in enumerate(self._sockets):
            descriptors[FIRST_SOCKET_FD + number] = listening.fileno()
        command = list(self._command(len(self._sockets)))
        self._reactor.spawnProcess(worker, command[0], command, env=os.environ, childFDs=descriptors)
        self._workers.append(worker)
        return worker

    # ---- what workers say ----

    def said(self, worker: "_Worker", word: bytes) -> None:
        """A worker is ready, or old."""
        if word == READY and worker is self._coming:
            former, self._current, self._coming = self._current, worker, None
            self._failures = 0
            worker.serves = True
            if former is not None:
                former.retire()
        elif word in (CHANGED, RELOADED) and worker is self._current and self._coming is None:
            if word == RELOADED:
                self._when_reloaded()
            self.renew()

    def ended(self, worker: "_Worker", reason: Failure) -> None:
        """A worker is gone; one that was not told to end is replaced."""
        self._workers.remove(worker)
        if self._stopping is not None:
            if not self._workers:
                self._stopping.callback(None)
            return
        expected = worker.told_to_end and (reason.check(ProcessDone) or not worker.serves)
        if not expected:
            self._emit(WorkerLost(worker.pid, str(reason.value)))
        if worker is self._current:
            self._current = None
        if worker is self._coming:
            self._coming = None
        if self._current is None and self._coming is None and self._again is None:
            pause = _RESTART_SECONDS[min(self._failures, len(_RESTART_SECONDS) - 1)]
            self._failures += 1
            self._again = self._reactor.callLater(pause, self._restart)

    def _restart(self) -> None:
        self._again = None
        self._coming = self._start()


class _Worker(ProcessProtocol):
    """A worker, as the supervisor sees it."""

    transport: IProcessTransport

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.serves = False
        self.told_to_end = False
        self.pid = 0

    def connectionMade(self) -> None:
        """It runs."""
        self.pid = self.transport.pid or 0

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        """It says how it is."""
        for number in range(len(data)):
            self._supervisor.said(self, data[number : number + 1])

    def retire(self) -> None:
        """Tell it to take no more, and to end when it has finished what it holds, however long that takes."""
        self._signal(RETIRE)

    def end(self) -> None:
        """Tell it to end soon."""
        self._signal("TERM")

    def _signal(self, name: str | int) -> None:
        self.told_to_end = True
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess(name)

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self._supervisor.ended(self, reason)


def worker_command(words: Sequence[str], entry: str, sockets: int) -> list[str]:
    """The command line of a worker.

    Args:
        words: the options of the service, as they were given to twistd.
        entry: ours in master.cf, as OwnEntry hands it over.
        sockets: how many it gets.
    """
    program = "from twisted.scripts.twistd import run; run()"
    twistd = [sys.executable, "-c", program, "--nodaemon", "--pidfile=", "--logfile=/dev/null"]
    return [*twistd, "smtpdeliver", *words, f"--entry={entry}", f"--worker={sockets}"]
