"""The resident service: from the private socket to the reply.

Without root's rights it is one process, which takes up changes of the configuration itself. Started as root it is a supervisor,
which has workers do that (see postfix/supervisor.py).

Flow: twistd calls `makeService`; the queue manager's requests arrive at a DeliveryListener, which delivers them with the
generation in force.
Sources: twisted.application.service; master(8) and postfix(1) for what a daemon does at start, reload and stop.
"""

import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ITransport
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogPublisher

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.generations import Generation, GenerationLoader
from twisted_mta.model.events import AcceptFailed, ConfigurationProblem, ConfigurationWarning, Event
from twisted_mta.observe.maillog import line_of
from twisted_mta.options import Options
from twisted_mta.postfix.accepting import Acceptor
from twisted_mta.postfix.handoff import HandoffListener
from twisted_mta.postfix.listening import (
    BoundSocket,
    ListenError,
    PrivateSocket,
    SocketWatch,
    bind_socket,
    make_directory,
)
from twisted_mta.postfix.peers import QueueManagerWatch, peer_process
from twisted_mta.postfix.postlog import LogWriter, open_log, twisted_log_bridge
from twisted_mta.postfix.privileges import MailOwner, PrivilegeError, become, find_mail_owner
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
from twisted_mta.tables.table_set import SETTLING_SECONDS
from twisted_mta.tls.openssl_start import start_again_if_needed

GRACE_SECONDS = 8.0
"""After SIGTERM, deliveries in flight have so long to end; what does not end is tried again by the queue manager."""

LOOK_SECONDS = 1.0
"""How often it is found out, at most, whether files of the configuration have changed."""

REMINDER_SECONDS = 10.0
"""How long a worker waits for its successor before it asks for one again."""

OBJECTS_BEFORE_COLLECTION = 10_000
"""So many more objects than before set off the search for garbage in cycles. A delivery leaves none of it behind, and with
Python's own figure of 700 a few deliveries that begin at the same time set it off again and again."""

UNLOGGED_LIMIT = 1000
"""So many events of the start are kept until there is a log."""


class PostfixService(Service):
    """What the service has in common, as one process, as supervisor and as worker."""

    def __init__(self, options: Options, reactor: Any) -> None:
        """Prepare; nothing is opened yet.

        Args:
            options: the command line.
            reactor: runs it.
        """
        self._options = options
        self._reactor = reactor
        self._loader = GenerationLoader(options, reactor, self.emit)
        self._generation: Generation | None = None
        self._log: LogWriter | None = None
        self._unlogged: list[Event] = []

    def emit(self, event: Event) -> None:
        """Log an event; what happens before there is a log waits for it."""
        if self._log is not None and self._generation is not None:
            self._log.write(*line_of(event, self._generation.style))
        elif len(self._unlogged) < UNLOGGED_LIMIT:
            self._unlogged.append(event)

    # ---- start ----

    def load_openssl(self) -> None:
        """Have OpenSSL loaded with the configuration that main.cf wants for it: perhaps by another start of this process."""
        start_again_if_needed(self._loader.openssl_configuration())

    def privilegedStartService(self) -> None:
        """Open what may need root, and do what is to be done as root.

        Raises:
            SystemExit: it cannot start; the text says why.
        """
        try:
            generation = self._take(self._load_first())
            self.begin(generation, find_mail_owner(generation.settings))
        except ConfigError as error:
            raise SystemExit(f"smtpdeliver: {error.describe()}") from error
        except (ListenError, PrivilegeError) as error:
            raise SystemExit(f"smtpdeliver: {error}") from error

    def _load_first(self) -> Generation:
        """The first generation; files that are being written are read again."""
        deadline = time.monotonic() + SETTLING_SECONDS
        generation = self._loader.load(master_cf=True)
        while generation.is_settling() and time.monotonic() < deadline:
            generation.retire()
            time.sleep(0.1)
            self._unlogged.clear()
            generation = self._loader.load(master_cf=True)
        return generation

    def _take(self, generation: Generation) -> Generation:
        """Put a generation in force, and say what is to be said about it."""
        former, self._generation = self._generation, generation
        settings = generation.settings
        if former is not None:
            former.retire()
        else:
            self._log = open_log(settings, self._options["protocol"], self._reactor)
            globalLogPublisher.addObserver(twisted_log_bridge(self._log))
            unlogged, self._unlogged = self._unlogged, []
            for event in unlogged:
                self.emit(event)
        for text in generation.warnings:
            self.emit(ConfigurationWarning(text))
        if generation.problem:
            self.emit(ConfigurationProblem(generation.problem))
        return generation

    def begin(self, generation: Generation, owner: MailOwner) -> None:
        """Do what this kind of service is for; root's rights, if there are any, are still there.

        Raises:
            ConfigError, ListenError, PrivilegeError: it cannot.
        """
        raise NotImplementedError

    def socket_paths(self, settings: Settings) -> list[str]:
        """Where it listens: for the queue manager, and perhaps for smtpdeliver-spawn."""
        paths = [os.path.join(settings.queue_directory, "private", self._options["service"])]
        if self._options["control-socket"]:
            paths.append(self._options["control-socket"])
        return paths

    def startService(self) -> None:
        """Mind the signals: SIGTERM ends with status 0 once deliveries are done, SIGHUP loads the configuration again."""
        super().startService()
        # The reactor installs handlers of its own when it starts, and twistd would end with the signal's status.
        self._reactor.callWhenRunning(self._mind_signals)

    def _mind_signals(self) -> None:
        def later(call: Callable[[], object]) -> Callable[[int, FrameType | None], None]:
            return lambda number, frame: self._reactor.callFromThread(call)

        signal.signal(signal.SIGTERM, later(self._terminate))
        signal.signal(signal.SIGINT, later(self._terminate))
        signal.signal(signal.SIGHUP, later(self.reload))

    def _terminate(self) -> None:
        if self.running:
            self._reactor.stop()

    def reload(self) -> None:
        """Read the configuration again, main.cf and master.cf, for requests that come from now on."""
        raise NotImplementedError


class DeliveryService(PostfixService):
    """Delivers: as the one process, or as a worker with the sockets of its supervisor."""

    def __init__(self, options: Options, reactor: Any) -> None:
        """Prepare; nothing is opened yet.

        Args:
            options: the command line.
            reactor: runs it.
        """
        super().__init__(options, reactor)
        self._listener: DeliveryListener | None = None
        self._looked_at = 0.0
        self._last_request_at = reactor.seconds()
        self._queue_manager = QueueManagerWatch()
        self._postfix_was_reloaded = False

    def begin(self, generation: Generation, owner: MailOwner) -> None:
        """Listen, and be root no more."""
        settings, listener = generation.settings, self.listener_for(generation)
        if self._log is not None:
            self._log.congested = listener.hold
        self._listener = listener
        self.listen(listener, settings, owner)
        become(owner, settings.queue_directory)

    def listener_for(self, generation: Generation) -> DeliveryListener:
        """What takes requests, with the time limits of a configuration, and looks for another one before each."""
        settings = generation.settings
        listener = DeliveryListener(
            generation.agent,
            generation.open,
            self._loader.version(settings),
            self._reactor,
            self.emit,
            max_deliveries=self._options["max-deliveries"],
            ipc_timeout_seconds=settings.ipc_timeout,
            daemon_timeout_seconds=settings.daemon_timeout,
        )
        listener.before_request = self._look_for_changes
        listener.connection_came = self._look_at_peer
        return listener

    def listen(self, listener: DeliveryListener, settings: Settings, owner: MailOwner) -> None:
        """Bring connections to the listener, from sockets that keep their names."""
        self._loader.entry.refuse_if_master_serves(settings)
        path, *control = self.socket_paths(settings)
        private = PrivateSocket(self._reactor, self._reactor, path, listener, self.emit_of_listening)
        private.start()
        listener.brought_by(private)
        for path in control:
            handoff = self._handoff(path, listener, owner)
            handoff.start()
            listener.brought_by(handoff)

    def _handoff(self, path: str, listener: DeliveryListener, owner: MailOwner) -> HandoffListener:
        return HandoffListener(self._reactor, self._reactor, path, listener, self.emit, sender_uids={0, owner.uid})

    def emit_of_listening(self, event: Event) -> None:
        """Log an event; where descriptors have run out, the sessions that wait for another message give theirs."""
        if isinstance(event, AcceptFailed) and self._generation is not None:
            self._generation.make_room()
        self.emit(event)

    # ---- later ----

    def reload(self) -> None:
        """Read the configuration again, main.cf and master.cf, for requests that come from now on."""
        self._renew(master_cf=True)

    def _look_at_peer(self, transport: ITransport) -> None:
        """When a connection comes: see whether Postfix has been reloaded, which nobody else would tell."""
        if self._queue_manager.is_new(peer_process(transport)):
            self._postfix_was_reloaded = True

    def _look_for_changes(self) -> None:
        """Before a request: take up what has changed, but look no more than once a second.

        After a reload of Postfix all is taken up anew, as if the service had been told to. After max_idle seconds without a
        request, too, as by a process of Postfix's, which would have ended: also what is not watched, such as the addresses of
        this machine.
        """
        now, generation = self._reactor.seconds(), self._generation
        idle_seconds, self._last_request_at = now - self._last_request_at, now
        if generation is None:
            return
        if self._postfix_was_reloaded:
            self._postfix_was_reloaded = False
            self.reload_with_postfix()
            return
        if idle_seconds >= generation.settings.max_idle:
            self._renew(master_cf=False)
            return
        if now - self._looked_at >= LOOK_SECONDS:
            self._look_at_files(generation)

    def _look_at_files(self, generation: Generation) -> None:
        self._looked_at = self._reactor.seconds()
        if generation.changed(self._loader.stamp(), self.emit):
            self._renew(master_cf=False)

    def reload_with_postfix(self) -> None:
        """Do what Postfix has been told to do."""
        self.reload()

    def _renew(self, *, master_cf: bool) -> None:
        former = self._generation
        if former is None or self._listener is None:
            return
        generation = self._loader.load_after(former, master_cf=master_cf)
        if generation.is_settling():
            # It is looked at again soon, and until then nothing has changed.
            generation.retire()
            return
        self._take(generation)
        self._listener.use(generation.agent, generation.open)

    def stopService(self) -> Deferred[None]:
        """Finish what is in flight, within the grace period."""
        super().stopService()
        if self._listener is None:
            return succeed(None)
        listener, self._listener = self._listener, None
        if self._generation is not None:
            self._generation.keep_no_sessions()
        return listener.stop(GRACE_SECONDS)


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
        LoopingCall(self._look_around).start(LOOK_SECONDS, now=False)

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


def makeService(options: Options) -> Service:
    """What twistd runs."""
    from twisted.internet import reactor

    kind = WorkerService if options["worker"] else SupervisorService if os.geteuid() == 0 else DeliveryService
    service = kind(options, reactor)
    service.load_openssl()
    reactor.callWhenRunning(_settle_memory)
    return service


def _settle_memory() -> None:
    """Leave what the start has made out of every search for garbage: it stays (`gc.freeze`)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
