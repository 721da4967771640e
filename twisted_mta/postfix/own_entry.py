"""Our own entry in master.cf: that of our name, if it runs a delivery agent. It is read at start and on reload, as by master(8).

A worker does not read it itself, but gets it from its supervisor: it may be started because something else has changed.
Flow: generations.py asks for its options; supervised.py reads it anew, and hands it to workers.
Sources: master(5); master(8); postconf(5) master_service_disable, compatibility_level.
"""

from collections.abc import Callable
from pathlib import Path

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.evaluation import PROTOCOLS
from twisted_mta.config.main_cf import LogicalLine
from twisted_mta.config.master_cf import MasterEntry, find_line, is_disabled, parse_entry
from twisted_mta.config.service_options import ServiceOptions, read_options
from twisted_mta.config.settings import Settings


class OwnEntry:
    """The entry as it was when it was read last.

    Args:
        path: master.cf.
        name: of the service.
        given: what `handed_over` gave to a worker; None: the file is read.

    Attributes:
        options: what the entry says to its program; nothing where there is none, or it is another program's.
        problem: why it cannot be used; empty if it can.
    """

    def __init__(self, path: Path, name: str, given: str | None = None) -> None:
        self.options = ServiceOptions()
        self.problem = ""
        self._path = path
        self._name = name
        self._given = given
        self._line: LogicalLine | None = None

    def read(self, warn: Callable[[str], None]) -> None:
        """Read it; where that fails, the former options stay.

        Args:
            warn: takes texts about the file.
        """
        try:
            self._line = self._find(warn)
            entry = self._parsed()
            self.options, self.problem = read_options(entry.arguments) if entry else ServiceOptions(), ""
        except ConfigError as error:
            self.problem = error.describe()

    @property
    def handed_over(self) -> str:
        """The entry as a worker gets it: ``NUMBER:LINE``; empty if there is none."""
        return "" if self._line is None else f"{self._line.number}:{self._line.text}"

    def is_chrooted(self, settings: Settings) -> bool:
        """Whether Postfix would run it with queue_directory for its root."""
        try:
            entry = self._parsed(chroot_default=settings.compatibility_level < (1, 0, 0))
        except ConfigError:
            return False  # this has been told
        return entry is not None and entry.chroot

    def refuse_if_master_serves(self, settings: Settings) -> None:
        """Demand that master(8) leaves the entry alone: it owns the socket otherwise.

        Raises:
            ConfigError: it does not, or the entry is malformed.
        """
        if self._line is None:
            return
        entry = parse_entry(self._line, str(self._path))
        disabled = (settings.expanded("master_service_disable") or "").replace(",", " ").split()
        if not is_disabled(entry, disabled):
            name = self._name
            text = f'master(8) serves the entry "{name} unix": list {name}/unix in master_service_disable, or use another name'
            raise ConfigError(text, file=str(self._path), line=entry.line)

    def _find(self, warn: Callable[[str], None]) -> LogicalLine | None:
        if self._given is None:
            return find_line(self._path, self._name, warn)
        number, _, text = self._given.partition(":")
        return LogicalLine(text, int(number), int(number)) if text else None

    def _parsed(self, *, chroot_default: bool = False) -> MasterEntry | None:
        """The entry, if it is that of a delivery agent."""
        if self._line is None:
            return None
        entry = parse_entry(self._line, str(self._path), chroot_default=chroot_default)
        return entry if entry.program in PROTOCOLS else None
