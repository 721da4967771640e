"""The resident service: from the private socket to the reply, in one process.

It takes up changes of the configuration itself, listens, and is root no more.

Flow: service.py chooses it; the queue manager's requests arrive at a DeliveryListener, which delivers them with the generation in
force.
Sources: twisted.application.service; master(8) and postfix(1) for what a daemon does at start, reload and stop.
"""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ITransport
from twisted.logger import Logger, globalLogPublisher

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.generations import Generation, GenerationLoader
from twisted_mta.model.events import AcceptFailed, ConfigurationProblem, ConfigurationWarning, Event
from twisted_mta.observe.maillog import line_of
from twisted_mta.options import Options
from twisted_mta.postfix.handoff import HandoffListener
from twisted_mta.postfix.listening import (
    ListenError,
    PrivateSocket,
)
from twisted_mta.postfix.peers import QueueManagerWatch, peer_process
from twisted_mta.postfix.postlog import LogWriter, open_log, twisted_log_bridge
from twisted_mta.postfix.privileges import MailOwner, PrivilegeError, become, find_mail_owner
from twisted_mta.postfix.requests import DeliveryListener
from twisted_mta.tables.table_set import SETTLING_SECONDS
from twisted_mta.tls.openssl_start import start_again_if_needed

GRACE_SECONDS = 8.0
"""After SIGTERM, deliveries in flight have so long to end; what does not end is tried again by the queue manager."""

LOOK_SECONDS = 1.0
"""How often it is found out, at most, whether files of the configuration have changed."""

UNLOGGED_LIMIT = 1000
"""So many events of the start are kept until there is a log."""


_log = Logger()


def contained(look: Callable[[], object]) -> None:
    """Look for changes; if that goes wrong in a way that nobody has foreseen, what is in force stays, and the log has the reason.

    Args:
        look: does it.
    """
    try:
        look()
    except Exception:  # noqa: BLE001 - a request is under way, and must not suffer
        _log.failure("looking for changes of the configuration")


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
        # Whoever sees it listen may tell it to end, though the reactor does not run yet.
        self._mind_signals()
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
        """Go on minding signals."""
        super().startService()
        # The reactor installs handlers of its own when it starts, and twistd would end with the signal's status.
        self._reactor.callWhenRunning(self._mind_signals)

    def _mind_signals(self) -> None:
        """SIGTERM ends with status 0 once deliveries are done, SIGHUP loads the configuration again."""

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
        listener.before_request = partial(contained, self._look_for_changes)
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
