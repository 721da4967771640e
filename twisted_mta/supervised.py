"""The service where it was started as root: a supervisor that keeps root's rights and the sockets, and workers that deliver.

Flow: service.py chooses the one or the other; postfix/supervisor.py starts workers, as processes of the same program, and hears
of them.
Sources: twisted.application.service; master(8) and postfix(1) for what a daemon does at start, reload and stop.
"""

import os
import signal
import socket
from functools import partial
from types import FrameType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from twisted_mta.config.settings import Settings
from twisted_mta.generations import Generation
from twisted_mta.model.events import ConfigurationWarning
from twisted_mta.options import Options
from twisted_mta.postfix.accepting import Acceptor
from twisted_mta.postfix.listening import (
    BoundSocket,
    SocketWatch,
    bind_socket,
    make_directory,
)
from twisted_mta.postfix.privileges import MailOwner
from twisted_mta.postfix.requests import DeliveryListener
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
from twisted_mta.resident import LOOK_SECONDS, DeliveryService, PostfixService, contained

REMINDER_SECONDS = 10.0
"""How long a worker waits for its successor before it asks for one again."""


class WorkerService(DeliveryService):
    """Delivers with one generation, from the sockets of its supervisor, and tells it when there is another one to be loaded."""

    _retires = False

    def listen(self, listener: DeliveryListener, settings: Settings, owner: MailOwner) -> None:
        """Bring connections to the listener, from the sockets of the supervisor."""
        reactor = self._reactor
        for number, path in enumerate(self.socket_paths(settings)[: self._options["worker"]]):
            inherited = socket.socket(fileno=FIRST_SOCKET_FD + number)
            factory = listener if number == 0 else self._handoff(path, listener, owner)
            acceptor = Acceptor(reactor, reactor, inherited, factory, self.emit_of_listening, path)
            acceptor.start()
            listener.brought_by(acceptor)

    def startService(self) -> None:
        """Tell the supervisor that all is well, and end with it."""
        super().startService()
        os.set_blocking(STATUS_FD, False)
        # Before it serves: from then on it may be told, and without a handler it would be dead.
        signal.signal(RETIRE, self._told_to_retire)
        self._say(READY)
        self._parent = os.getppid()
        LoopingCall(contained, self._look_around).start(LOOK_SECONDS, now=False)

    def _look_around(self) -> None:
        """Every second: is the supervisor still there, and has anything changed?

        A change is not left for the next request to find, since that could not wait for the next worker.
        """
        if os.getppid() != self._parent:
            self._terminate()
        elif (
            not self._retires
            and self._generation is not None
            and self._reactor.seconds() - self._looked_at >= LOOK_SECONDS
        ):
            self._look_at_files(self._generation)

    def _told_to_retire(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._retire)

    def _retire(self) -> None:
        """Another worker has taken the place: finish what there is, which takes as long as it takes, and end."""
        if self._listener is None or self._generation is None or self._retires:
            return
        self._retires = True
        self._generation.keep_no_sessions()
        self._listener.stop(self._generation.settings.daemon_timeout).addCallback(lambda _: self._terminate())

    def reload(self) -> None:
        """Leave it to the supervisor, which gets the same signal from whoever reloads all."""

    def reload_with_postfix(self) -> None:
        """Leave this to the supervisor, too; it reads master.cf for the next worker."""
        self._renew(master_cf=True)

    def _renew(self, *, master_cf: bool) -> None:
        if not master_cf and not self._loader.is_sound():
            # To see that needs no rights of root's: this worker defers mail, whatever becomes of the next one.
            super()._renew(master_cf=False)
        else:
            self._say(RELOADED if master_cf else CHANGED)
            # The next worker takes a moment; should it never come, that is said again.
            self._looked_at += REMINDER_SECONDS

    def _say(self, word: bytes) -> None:
        try:
            os.write(STATUS_FD, word)
        except OSError:
            # The supervisor is gone, or has not heard the last word yet.
            return


class SupervisorService(PostfixService):
    """Keeps root's rights and the sockets, and has workers deliver."""

    def __init__(self, options: Options, reactor: Any) -> None:
        """Prepare; nothing is opened yet.

        Args:
            options: the command line.
            reactor: runs it.
        """
        super().__init__(options, reactor)
        self._supervisor = Supervisor(reactor, self._worker_command, self.emit, self._read_entry)
        self._bound: list[BoundSocket] = []
        self._watches: list[SocketWatch] = []

    def _load_first(self) -> Generation:
        """The settings: all else is for the workers."""
        return self._loader.survey()

    def begin(self, generation: Generation, owner: MailOwner) -> None:
        """Bind the sockets, and start the first worker."""
        settings = generation.settings
        self._loader.entry.refuse_if_master_serves(settings)
        for path in self.socket_paths(settings):
            make_directory(path)
            bound = bind_socket(path)
            watch = SocketWatch(self._reactor, bound, self.emit, partial(self._restored, len(self._bound)))
            watch.start()
            self._bound.append(bound)
            self._watches.append(watch)
        os.umask(0o077)
        os.chdir(settings.queue_directory)
        self._supervisor.serve([bound.socket for bound in self._bound])

    def _restored(self, number: int, bound: BoundSocket) -> None:
        """A socket had lost its name, and another one has taken its place: the workers need it."""
        former, self._bound[number] = self._bound[number], bound
        self._supervisor.serve([each.socket for each in self._bound])
        former.socket.close()

    def reload(self) -> None:
        """Have a new worker read the configuration; requests wait for it."""
        self._read_entry()
        self._supervisor.renew(at_once=True)

    def _read_entry(self) -> None:
        self._loader.entry.read(lambda text: self.emit(ConfigurationWarning(text)))

    def _worker_command(self, sockets: int) -> list[str]:
        return worker_command(self._options.words, self._loader.entry.handed_over, sockets)

    def stopService(self) -> Deferred[None]:
        """End the workers; each finishes what is in flight, within the grace period."""
        super().stopService()
        for watch in self._watches:
            watch.stop()
        for bound in self._bound:
            bound.remove_name()
        return self._supervisor.stop()
