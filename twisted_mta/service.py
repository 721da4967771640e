"""The composition root: wires the rooms into a running service.

A Generation is a configuration with all that was made from it: settings, engine, queue files and reporters. A request keeps the
generation that was in force when it arrived; a reload puts a new one in force. A configuration that cannot be used makes a
generation too: one that defers all mail, and says why.

Flow: twistd calls `makeService`; the queue manager's requests arrive at a DeliveryListener.
Sources: twisted.application.service; master(8) and postfix(1) for what a daemon does at start, reload and stop.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import globalLogPublisher

from twisted_mta.config.choices import AddressFormat
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.master_cf import ServiceOptions, find_entry, is_disabled, read_options
from twisted_mta.config.settings import Settings, salvage_settings
from twisted_mta.delivery.deliver import AgentParts, DeliveryAgent
from twisted_mta.delivery.dial import Dialer, DialSettings
from twisted_mta.delivery.factory import SessionParts
from twisted_mta.delivery.recipients import ReportingRules
from twisted_mta.delivery.refusal import RefusingAgent
from twisted_mta.dns.cache import CachingClient
from twisted_mta.dns.client import StubResolver
from twisted_mta.dns.native import NativeResolver
from twisted_mta.dns.resolv_conf import ResolvConfFile
from twisted_mta.interfaces import IDeliveryAgent, IDNSClient
from twisted_mta.ipc.attributes import IpcError
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import ConfigurationProblem, ConfigurationWarning, Emit, Event
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.options import PROTOCOLS, Options
from twisted_mta.postfix.handoff import HandoffListener
from twisted_mta.postfix.listening import ListenError, PrivateSocket
from twisted_mta.postfix.postlog import LogWriter, open_log, twisted_log_bridge
from twisted_mta.postfix.privileges import MailOwner, PrivilegeError, become, find_mail_owner
from twisted_mta.postfix.queue_file import QueueLayout
from twisted_mta.postfix.requests import DeliveryListener
from twisted_mta.postfix.services import reporter_services
from twisted_mta.postfix.work import QueueFiles
from twisted_mta.routing.own_addresses import own_addresses
from twisted_mta.routing.router import Router
from twisted_mta.routing.settings import RoutingSettings
from twisted_mta.session.limits import TimeLimits
from twisted_mta.smtp.settings import DialogSettings

GRACE_SECONDS = 8.0
"""After SIGTERM, deliveries in flight have so long to end; what does not end is tried again by the queue manager."""


def now_microseconds() -> int:
    """The time since the epoch."""
    return time.time_ns() // 1000


def build_resolver(reactor: Any, emit: Emit, servers: Sequence[tuple[str, int]] = ()) -> IDNSClient:
    """A name service client that remembers answers for as long as they last.

    Args:
        reactor: sends and receives.
        emit: takes events.
        servers: address and port of each server to ask; empty: those of resolv.conf.
    """
    if servers:
        return StubResolver.for_servers(reactor, servers, emit)
    return CachingClient(StubResolver(reactor, ResolvConfFile(reactor, emit).current, emit), reactor)


def build_agent(
    settings: Settings, reactor: Any, dns: IDNSClient, emit: Emit, *, final_delivery: bool = False
) -> DeliveryAgent:
    """An engine for one configuration.

    Args:
        settings: of the protocol to be spoken.
        reactor: makes connections.
        dns: finds hosts.
        emit: takes events.
        final_delivery: whether LMTP servers deliver for good (flag X).

    Raises:
        ConfigError: a parameter cannot be used.
    """
    routing = RoutingSettings.from_settings(settings)
    own = own_addresses(settings.inet_interfaces, settings.proxy_interfaces, routing.families)
    sessions = SessionParts(
        DialogSettings.from_settings(settings),
        TimeLimits.from_settings(settings),
        settings.smtp_line_length_limit,
        Dialer(reactor, DialSettings.from_settings(settings, own)),
        reactor,
        emit,
    )
    native = NativeResolver(partial(deferToThreadPool, reactor, reactor.getThreadPool()), emit)
    router = Router(routing, dns, native, own, emit, random.Random())
    is_lmtp = settings.protocol == "lmtp"
    return DeliveryAgent(
        AgentParts(
            sessions,
            routing,
            router,
            ReportingRules(settings.soft_bounce, is_lmtp and (final_delivery or settings.lmtp_assume_final)),
            settings.relayhost,
            now_microseconds,
        )
    )


# ---- under Postfix ----


@dataclass(frozen=True, slots=True)
class Generation:
    """A configuration, and what was made from it.

    Attributes:
        settings: the parameters; where one cannot be used, its default.
        agent: delivers.
        files: opens queue files.
        style: of log lines.
        warnings: what is odd about it.
        problem: why the configuration cannot be used; empty if it can.
    """

    settings: Settings
    agent: IDeliveryAgent
    files: QueueFiles
    style: LogStyle
    warnings: tuple[str, ...]
    problem: str


class GenerationLoader:
    """Makes generations, from the same command line."""

    def __init__(self, options: Options, reactor: Any, emit: Emit) -> None:
        """Keep what they share.

        Args:
            options: the command line.
            reactor: runs them.
            emit: takes events.
        """
        self._options = options
        self._reactor = reactor
        self._emit = emit
        self._dns = build_resolver(reactor, emit)

    def load(self) -> Generation:
        """Read the configuration as it is now. A configuration that cannot be used defers all mail.

        Raises:
            ConfigError: not even that is possible: nobody can say where the queue is.
        """
        options, warnings = self._options, list[str]()
        overrides, flags, problem = list(options.overrides), options["flags"], ""
        try:
            entry = self._entry_options(warnings.append)
            overrides, flags = [*entry.overrides, *overrides], flags or entry.flags
        except ConfigError as error:
            problem = error.describe()
        settings, errors = salvage_settings(
            options.config_directory,
            protocol=options["protocol"],
            service_name=options["service"],
            overrides=overrides,
        )
        if errors and not problem:
            problem = errors[0].describe()
        agent: IDeliveryAgent
        if not problem:
            try:
                agent = build_agent(settings, self._reactor, self._dns, self._emit, final_delivery="X" in flags)
            except ConfigError as error:
                problem = error.describe()
        if problem:
            agent = RefusingAgent(problem, self._reactor, self._emit, now_microseconds)
        if settings.protocol == "lmtp" and settings.lmtp_assume_final and "X" not in flags:
            warnings.append(f'lmtp_assume_final is obsolete; instead, specify "flags={flags}X" in master.cf')
        return self._generation(settings, agent, (*settings.warnings, *warnings), problem)

    def _entry_options(self, warn: Callable[[str], None]) -> ServiceOptions:
        """What the master.cf entry of our name says to its program, if that is a delivery agent."""
        options = self._options
        entry = find_entry(options.config_directory / "master.cf", options["service"], warn)
        if entry is None or entry.program not in PROTOCOLS:
            return ServiceOptions()
        return read_options(entry.arguments)

    def refuse_if_master_serves(self, settings: Settings) -> None:
        """Demand that master(8) leaves the entry of our name alone: it owns the socket otherwise.

        Raises:
            ConfigError: it does not.
        """
        path, name = self._options.config_directory / "master.cf", self._options["service"]
        entry = find_entry(path, name, lambda text: None)
        if entry is None:
            return
        disabled = (settings.expanded("master_service_disable") or "").replace(",", " ").split()
        if not is_disabled(entry, disabled):
            text = f'master(8) serves the entry "{name} unix": list {name}/unix in master_service_disable, or use another name'
            raise ConfigError(text, file=str(path), line=entry.line)

    def _generation(
        self, settings: Settings, agent: IDeliveryAgent, warnings: tuple[str, ...], problem: str
    ) -> Generation:
        version = postfix_version(settings)
        layout = QueueLayout(
            settings.queue_directory,
            frozenset(name.lower() for name in settings.hash_queue_names),
            settings.hash_queue_depth,
        )
        files = QueueFiles(layout, reporter_services(settings, version, self._reactor, self._emit), self._emit)
        style = LogStyle(
            settings.info_log_address_format is AddressFormat.EXTERNAL,
            settings.delay_logging_resolution_limit,
            settings.smtputf8_enable,
        )
        return Generation(settings, agent, files, style, warnings, problem)


def postfix_version(settings: Settings) -> PostfixVersion:
    """The version of the Postfix that drives us, which decides what its private sockets speak.

    Raises:
        ConfigError: its postconf(1) cannot be run, or says something else.
    """
    postconf = os.path.join(settings.command_directory, "postconf")
    command = postconf if os.access(postconf, os.X_OK) else shutil.which("postconf") or postconf
    try:
        said = subprocess.run([command, "-dh", "mail_version"], capture_output=True, text=True, check=True, timeout=10)
        return PostfixVersion.parse(said.stdout.strip())
    except (OSError, subprocess.SubprocessError, IpcError) as error:
        raise ConfigError(f"cannot find out the version of Postfix: {error}", parameter="command_directory") from error


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
