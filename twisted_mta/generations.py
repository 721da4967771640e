"""Generations: a configuration with all that was made from it.

A request keeps the generation that was in force when it arrived; a change puts a new one in force, and the old one is given up
when its last request is done. A configuration that cannot be used makes a generation too: one that defers all mail, and says why.

Flow: resident.py asks the GenerationLoader at start, on reload, and when a file has changed.
Sources: postconf(5) and master(5) for what a configuration is; smtp(8) for when it is read.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twisted_mta.assembly import build_agent, build_resolver, now_microseconds, open_tables
from twisted_mta.config.choices import AddressFormat
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings, salvage_settings
from twisted_mta.delivery.refusal import RefusingAgent
from twisted_mta.interfaces import IConnectionCache, IDeliveryAgent
from twisted_mta.ipc.installed import postfix_version
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Emit, TableChanged
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.tls_events import TlsFileChanged
from twisted_mta.oauth.accounts import Accounts
from twisted_mta.oauth.provider import TokenProvider
from twisted_mta.observe.maillog import LogStyle
from twisted_mta.options import Options
from twisted_mta.postfix.own_entry import OwnEntry
from twisted_mta.postfix.privileges import find_mail_owner
from twisted_mta.postfix.queue_file import QueueLayout
from twisted_mta.postfix.reporter import ReporterServices
from twisted_mta.postfix.services import PrivateServices
from twisted_mta.postfix.work import QueueFiles, QueueWork
from twisted_mta.tables.table_set import SETTLING_SECONDS, TableSet
from twisted_mta.tables.threads import TableThreads
from twisted_mta.tls.files import TlsFiles
from twisted_mta.tls.openssl_conf import OpensslConfiguration


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells one content of a file from another; all zero: there is no such file.

    Attributes:
        inode: its number.
        octets: its size.
        modified_ns: when it was changed, in nanoseconds.
    """

    inode: int = 0
    octets: int = 0
    modified_ns: int = 0

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """The stamp of a file as it is now."""
        try:
            found = path.stat()
        except OSError:
            return cls()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)

    @property
    def age_seconds(self) -> float:
        """How long ago it was changed."""
        return time.time() - self.modified_ns / 1e9


class Generation:
    """A configuration, and what was made from it.

    Attributes:
        settings: the parameters; where one cannot be used, its default.
        agent: delivers.
        style: of log lines.
        warnings: what is odd about it.
        problem: why the configuration cannot be used; empty if it can.
    """

    def __init__(
        self,
        settings: Settings,
        tables: TableSet,
        agent: IDeliveryAgent,
        files: QueueFiles,
        warnings: tuple[str, ...],
        problem: str,
        stamp: FileStamp,
        cache: IConnectionCache | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        """Take what was made.

        Args:
            settings: the parameters.
            tables: those that are open.
            agent: delivers.
            files: opens queue files.
            warnings: what is odd.
            problem: why the configuration cannot be used.
            stamp: of main.cf as it was read.
            cache: keeps sessions between messages; None: none are kept.
            accounts: of OAuth2; None: nobody logs in anywhere.
        """
        self.settings = settings
        self.agent = agent
        self.warnings = warnings
        self.problem = problem
        self.style = LogStyle(
            settings.info_log_address_format is AddressFormat.EXTERNAL,
            settings.delay_logging_resolution_limit,
            settings.smtputf8_enable,
        )
        self._tables = tables
        self._tls_files = TlsFiles.from_settings(settings)
        self._files = files
        self._stamp = stamp
        self._cache = cache
        self._accounts = accounts
        self._requests = 0
        self._retired = False

    def open(self, request: DeliveryRequest) -> QueueWork:
        """Open what a request needs; the generation stays whole until that is closed.

        Raises:
            QueueFileError: the queue file is not there, or cannot be used.
        """
        work = self._files.open(request)
        self._requests += 1
        work.when_closed = self._released
        return work

    def changed(self, stamp: FileStamp, emit: Emit) -> bool:
        """Whether a file is not what this was made from any more.

        That may be main.cf (its stamp is `stamp` now), an account, a table or a certificate; these two are told.
        """
        if table := self._tables.changed():
            emit(TableChanged(table))
        if file := self._tls_files.changed():
            emit(TlsFileChanged(file))
        accounts_changed = self._accounts is not None and self._accounts.changed()
        return bool(table or file) or accounts_changed or stamp != self._stamp

    def is_settling(self) -> bool:
        """Whether what is wrong with it may be wrong only because a file is just being written."""
        return bool(self.problem) and (abs(self._stamp.age_seconds) < SETTLING_SECONDS or self._tables.is_settling())

    def retire(self) -> None:
        """Take no more requests; the tables are closed when the last one is done."""
        self._retired = True
        self.keep_no_sessions()
        self._close_if_done()

    def keep_no_sessions(self) -> None:
        """Close the sessions that wait for another message, and keep none from now on."""
        if self._cache is not None:
            self._cache.close()

    def make_room(self) -> None:
        """Close them, since descriptors are needed elsewhere."""
        if self._cache is not None:
            self._cache.shed()

    def _released(self) -> None:
        self._requests -= 1
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not self._requests:
            self._tables.close()


class GenerationLoader:
    """Makes generations, from the same command line.

    Attributes:
        entry: ours in master.cf.
    """

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
        self._name_service = build_resolver(reactor, emit, cache_entries=options["dns-cache"])
        self._table_threads = TableThreads(reactor)
        self._main_cf = options.config_directory / "main.cf"
        self.entry = OwnEntry(options.config_directory / "master.cf", options["service"], options["entry"])
        self._version: PostfixVersion | None = None

    def stamp(self) -> FileStamp:
        """What main.cf is now."""
        return FileStamp.of(self._main_cf)

    def load(self, *, master_cf: bool) -> Generation:
        """Read the configuration as it is now. One that cannot be used makes a generation that defers all mail.

        Args:
            master_cf: whether our entry there is read anew; Postfix does so only when it is told to reload.

        Raises:
            ConfigError: nobody can say where the queue is, or which Postfix this is.
        """
        options, stamp, warnings = self._options, self.stamp(), list[str]()
        if master_cf:
            self.entry.read(warnings.append)
        flags = options["flags"] or self.entry.options.flags
        settings, errors = self._settings()
        problem = self._problem_with(settings, errors)
        tables = self._open_tables(settings)
        services = self._services(settings)
        agent: IDeliveryAgent
        cache: IConnectionCache | None = None
        tokens = TokenProvider.from_settings(settings, self._reactor, self._emit)
        accounts = tokens.accounts if tokens is not None else None
        if not problem:
            try:
                reporting = services.reporting(tables)
                agent = engine = build_agent(
                    settings,
                    tables,
                    self._reactor,
                    self._name_service,
                    self._emit,
                    flags=flags,
                    notices=services.notices(),
                    best_mx_transport=services.best_mx_transport(),
                    chroot=self.entry.is_chrooted(settings),
                    verbose=self.entry.options.verbosity > 0,
                    rewrite=services.rewriting(),
                    make_cache=partial(services.shared_cache, options.shares_as) if options.shares_as else None,
                    tokens=tokens,
                    tls_sessions=services.tls_sessions(),
                )
                cache = engine.parts.reuse.cache if engine.parts.reuse else None
            except ConfigError as error:
                problem = settings.located(error).describe()
        if problem:
            agent, reporting = self._refusing(problem), services.reporting(None)
        if settings.protocol == "lmtp" and settings.lmtp_assume_final and "X" not in flags:
            warnings.append(f'lmtp_assume_final is obsolete; instead, specify "flags={flags}X" in master.cf')
        if accounts is not None:
            warnings.extend(error.describe() for error in accounts.problems.values())
        files = self._queue_files(settings, reporting)
        return Generation(
            settings, tables, agent, files, (*settings.warnings, *warnings), problem, stamp, cache, accounts
        )

    def survey(self) -> Generation:
        """The settings alone, for a supervisor: nothing is opened, and what is odd is left for its workers to tell.

        Raises:
            ConfigError: nobody can say where the queue is, or which Postfix this is.
        """
        stamp = self.stamp()
        self.entry.read(lambda text: None)
        settings, _ = self._settings()
        tables = self._open_tables(settings)
        files = self._queue_files(settings, self._services(settings).reporting(None))
        return Generation(settings, tables, self._refusing("no worker"), files, (), "", stamp)

    def is_sound(self) -> bool:
        """Whether the settings can be used. What else may be wrong can perhaps only be seen with root's rights."""
        try:
            return not self._problem_with(*self._settings())
        except ConfigError:
            return False

    def _problem_with(self, settings: Settings, errors: Sequence[ConfigError]) -> str:
        """Why settings cannot be used; empty if they can."""
        if self.entry.problem or errors:
            return self.entry.problem or errors[0].describe()
        try:
            find_mail_owner(settings)
        except ConfigError as error:
            return error.describe()
        return ""

    def openssl_configuration(self) -> OpensslConfiguration:
        """How OpenSSL is to be loaded; the usual way where nobody can say."""
        self.entry.read(lambda text: None)
        try:
            return OpensslConfiguration.from_settings(self._settings()[0])
        except ConfigError:
            return OpensslConfiguration()  # what is wrong is told when all is loaded

    def _settings(self) -> tuple[Settings, tuple[ConfigError, ...]]:
        options = self._options
        return salvage_settings(
            options.config_directory,
            protocol=options["protocol"],
            service_name=options["service"],
            overrides=[*self.entry.options.overrides, *options.overrides],
        )

    def load_after(self, former: Generation, *, master_cf: bool) -> Generation:
        """The same for a service that runs: what cannot even be read defers all mail, with the former settings.

        Args:
            former: the generation in force.
            master_cf: as above.
        """
        try:
            return self.load(master_cf=master_cf)
        except ConfigError as error:
            problem, settings = error.describe(), former.settings
        tables = self._open_tables(settings)
        files = self._queue_files(settings, self._services(settings).reporting(None))
        return Generation(settings, tables, self._refusing(problem), files, (), problem, self.stamp())

    def _open_tables(self, settings: Settings) -> TableSet:
        version = partial(self.version, settings)
        return open_tables(settings, self._reactor, self._emit, self._table_threads, version)

    def _refusing(self, problem: str) -> RefusingAgent:
        return RefusingAgent(problem, self._reactor, self._emit, now_microseconds)

    def _services(self, settings: Settings) -> PrivateServices:
        return PrivateServices(settings, self.version(settings), self._reactor, self._emit)

    def _queue_files(self, settings: Settings, reporting: ReporterServices) -> QueueFiles:
        layout = QueueLayout(
            settings.queue_directory,
            frozenset(name.lower() for name in settings.hash_queue_names),
            settings.hash_queue_depth,
        )
        return QueueFiles(layout, reporting, self._emit)

    def version(self, settings: Settings) -> PostfixVersion:
        """The version of the Postfix that drives us; it is asked once.

        Raises:
            ConfigError: it does not tell.
        """
        if self._version is None:
            self._version = postfix_version(settings)
        return self._version
