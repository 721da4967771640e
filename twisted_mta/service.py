"""The resident service: from the private socket to the reply.

Flow: twistd calls `makeService`; the queue manager's requests arrive at a DeliveryListener, which delivers them with the
generation in force.
Sources: twisted.application.service; master(8) and postfix(1) for what a daemon does at start, reload and stop.
"""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher

from twisted_mta.config.errors import ConfigError
from twisted_mta.generations import Generation, GenerationLoader
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

LOOK_SECONDS = 1.0
"""How often it is found out, at most, whether files of the configuration have changed."""

SETTLING_SECONDS = 1.0
"""A file that is younger may be just being written: what is wrong with it does not count yet."""


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
        self._looked_at = 0.0

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
            generation = self._take(self._load_first())
            settings = generation.settings
            self._loader.refuse_if_master_serves(settings)
            owner = find_mail_owner(settings)
            self._listen(generation, owner)
            become(owner, settings.queue_directory)
        except ConfigError as error:
            raise SystemExit(f"smtpdeliver: {error.describe()}") from error
        except (ListenError, PrivilegeError) as error:
            raise SystemExit(f"smtpdeliver: {error}") from error

    def _load_first(self) -> Generation:
        """The first generation; a main.cf that is being written is read again."""
        deadline = time.monotonic() + SETTLING_SECONDS
        generation = self._loader.load(master_cf=True)
        while (
            generation.problem and time.monotonic() < deadline and self._loader.stamp().age_seconds < SETTLING_SECONDS
        ):
            time.sleep(0.1)
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
        for text in generation.warnings:
            self.emit(ConfigurationWarning(text))
        if generation.problem:
            self.emit(ConfigurationProblem(generation.problem))
        return generation

    def _listen(self, generation: Generation, owner: MailOwner) -> None:
        settings, options, reactor = generation.settings, self._options, self._reactor
        listener = DeliveryListener(
            generation.agent,
            generation.open,
            self._loader.version(settings),
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
        listener.before_request = self._look_for_changes
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
        """Read the configuration again, main.cf and master.cf, for requests that come from now on."""
        self._renew(master_cf=True)

    def _look_for_changes(self) -> None:
        """Before a request: take up what has changed, but look no more than once a second."""
        now, generation = self._reactor.seconds(), self._generation
        if now - self._looked_at < LOOK_SECONDS or generation is None:
            return
        self._looked_at = now
        if generation.changed(self._loader.stamp()):
            self._renew(master_cf=False)

    def _renew(self, *, master_cf: bool) -> None:
        former = self._generation
        if former is None or self._listener is None:
            return
        generation = self._loader.load_after(former, master_cf=master_cf)
        if generation.problem and self._loader.stamp().age_seconds < SETTLING_SECONDS:
            # It may be just being written: it is looked at again soon, and until then nothing has changed.
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
        return listener.stop(GRACE_SECONDS)


def makeService(options: Options) -> Service:
    """What twistd runs."""
    from twisted.internet import reactor

    return DeliveryService(options, reactor)
