"""The resident service: from the private socket to the reply.

Flow: twistd calls `makeService`; the queue manager's requests arrive at a DeliveryListener, which delivers them with the
generation in force.
Sources: twisted.application.service; master(8) and postfix(1) for what a daemon does at start, reload and stop.
"""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher

from twisted_mta.config.errors import ConfigError
from twisted_mta.generations import Generation, GenerationLoader, postfix_version
from twisted_mta.model.events import ConfigurationProblem, ConfigurationWarning, Event
from twisted_mta.observe.maillog import line_of
from twisted_mta.options import Options
from twisted_mta.postfix.handoff import HandoffListener
from twisted_mta.postfix.listening import ListenError, PrivateSocket
from twisted_mta.postfix.postlog import LogWriter, open_log, twisted_log_bridge
from twisted_mta.postfix.privileges import MailOwner, PrivilegeError, become, find_mail_owner
from twisted_mta.postfix.requests import DeliveryListener

GRACE_SECONDS = 8.0
"""After SIGTERM, deliveries in flight have so long to end; what does not end is tried again by the queue manager."""


class DeliveryService(Service):
    """The resident service: from the private socket to the reply."""

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
        self._listener: DeliveryListener | None = None

    def emit(self, event: Event) -> None:
        """Log an event."""
        if self._log is not None and self._generation is not None:
            self._log.write(*line_of(event, self._generation.style))

    # ---- start ----

    def privilegedStartService(self) -> None:
        """Open what may need root: the log and the socket; then be root no more.

        Raises:
            SystemExit: it cannot start; the text says why.
        """
        try:
            generation = self._take(self._loader.load())
            settings = generation.settings
            self._loader.refuse_if_master_serves(settings)
            owner = find_mail_owner(settings)
            self._listen(generation, owner)
            become(owner, settings.queue_directory)
        except ConfigError as error:
            raise SystemExit(f"smtpdeliver: {error.describe()}") from error
        except (ListenError, PrivilegeError) as error:
            raise SystemExit(f"smtpdeliver: {error}") from error

    def _take(self, generation: Generation) -> Generation:
        """Put a generation in force, and say what is to be said about it."""
        first = self._generation is None
        self._generation = generation
        settings = generation.settings
        if first:
            self._log = open_log(settings, self._options["protocol"], self._reactor)
            globalLogPublisher.addObserver(twisted_log_bridge(self._log))
        for text in generation.warnings:
            self.emit(ConfigurationWarning(text))
        if generation.problem:
            self.emit(ConfigurationProblem(generation.problem))
        return generation

    def _listen(self, generation: Generation, owner: MailOwner) -> None:
        settings, options, reactor = generation.settings, self._options, self._reactor
        listener = DeliveryListener(
            generation.agent,
            generation.files.open,
            postfix_version(settings),
            reactor,
            self.emit,
            max_deliveries=options["max-deliveries"],
            ipc_timeout_seconds=settings.ipc_timeout,
            daemon_timeout_seconds=settings.daemon_timeout,
        )
        path = os.path.join(settings.queue_directory, "private", options["service"])
        private = PrivateSocket(reactor, reactor, path, listener, self.emit)
        private.start()
        listener.brought_by(private)
        if options["control-socket"]:
            handoff = HandoffListener(
                reactor, reactor, options["control-socket"], listener, self.emit, sender_uids={0, owner.uid}
            )
            handoff.start()
            listener.brought_by(handoff)
        if self._log is not None:
            self._log.congested = listener.hold
        self._listener = listener

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

    # ---- later ----

    def reload(self) -> None:
        """Read the configuration again, for requests that come from now on."""
        generation = self._take(self._loader.load())
        if self._listener is not None:
            self._listener.use(generation.agent, generation.files.open)

    def stopService(self) -> Deferred[None]:
        """Finish what is in flight, within the grace period."""
        super().stopService()
        if self._listener is None:
            return succeed(None)
        listener, self._listener = self._listener, None
        return listener.stop(GRACE_SECONDS)


def makeService(options: Options) -> Service:
    """What twistd runs."""
    from twisted.internet import reactor

    return DeliveryService(options, reactor)
