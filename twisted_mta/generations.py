"""Generations: a configuration with all that was made from it.

A request keeps the generation that was in force when it arrived; a change puts a new one in force, and the old one is given up
when its last request is done. A configuration that cannot be used makes a generation too: one that defers all mail, and says why.

Flow: service.py asks the GenerationLoader at start, on reload, and when a file has changed.
Sources: postconf(5) and master(5) for what a configuration is; smtp(8) for when it is read.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted_mta.assembly import build_agent, build_resolver, now_microseconds, open_tables
from twisted_mta.config.choices import AddressFormat
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.master_cf import ServiceOptions, find_entry, is_disabled, read_options
from twisted_mta.config.settings import Settings, salvage_settings
from twisted_mta.delivery.refusal import RefusingAgent
from twisted_mta.interfaces import IDeliveryAgent
from twisted_mta.ipc.attributes import IpcError
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Emit
from twisted_mta.observe.maillog import LogStyle
from twisted_mta.options import PROTOCOLS, Options
from twisted_mta.postfix.queue_file import QueueLayout
from twisted_mta.postfix.services import reporter_services
from twisted_mta.postfix.work import QueueFiles
from twisted_mta.tables.table_set import TableSet


@dataclass(frozen=True, slots=True)
class Generation:
    """A configuration, and what was made from it.

    Attributes:
        settings: the parameters; where one cannot be used, its default.
        tables: the lookup tables that it names.
        agent: delivers.
        files: opens queue files.
        style: of log lines.
        warnings: what is odd about it.
        problem: why the configuration cannot be used; empty if it can.
    """

    settings: Settings
    tables: TableSet
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
        tables = open_tables(settings, self._reactor, self._emit)
        agent: IDeliveryAgent
        if not problem:
            try:
                agent = build_agent(settings, tables, self._reactor, self._dns, self._emit, final_delivery="X" in flags)
            except ConfigError as error:
                problem = error.describe()
        if problem:
            agent = RefusingAgent(problem, self._reactor, self._emit, now_microseconds)
        if settings.protocol == "lmtp" and settings.lmtp_assume_final and "X" not in flags:
            warnings.append(f'lmtp_assume_final is obsolete; instead, specify "flags={flags}X" in master.cf')
        return self._generation(settings, tables, agent, (*settings.warnings, *warnings), problem)

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
        self, settings: Settings, tables: TableSet, agent: IDeliveryAgent, warnings: tuple[str, ...], problem: str
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
        return Generation(settings, tables, agent, files, style, warnings, problem)


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
