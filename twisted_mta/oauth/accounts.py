"""The account files of a configuration: ``smtpdeliver-oauth2/NAME.toml`` below its directory.

Flow: assembly.py and cli/oauth.py load them all at once, as files may be readable for root only; provider.py asks for an account
by its name.
Sources: sasl/oauth_account.py has the syntax; stat(2), inode(7) for who may read a file.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from twisted_mta.config.errors import ConfigError
from twisted_mta.oauth.files import owner_of, read_file
from twisted_mta.sasl.oauth_account import LARGEST_FILE, Account, is_account_name, parse_account

FOLDER = "smtpdeliver-oauth2"
"""Below config_directory for accounts, below data_directory for tokens."""

SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one state of a file or folder from another."""

    inode: int = 0
    octets: int = 0
    modified_ns: int = 0
    changed_ns: int = 0

    @classmethod
    def of(cls, path: Path) -> "_Stamp | None":
        """The stamp of what is there now; None: it may not be looked at any more, as by a service that is not root any more."""
        try:
            found = path.stat()
        except PermissionError:
            return None
        except OSError:
            return cls()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Accounts:
    """All accounts of a configuration, as they were when it was loaded.

    Attributes:
        folder: where their files are; None: there is no configuration directory.
        problems: what is wrong with those that cannot be used, by name.
    """

    def __init__(self, config_directory: Path | None) -> None:
        """Read them.

        Args:
            config_directory: where main.cf is; None: there is none, and there are no accounts.
        """
        self.folder = None if config_directory is None else config_directory.absolute() / FOLDER
        self.problems: Mapping[str, ConfigError] = {}
        self._accounts: dict[str, Account] = {}
        self._stamps: dict[Path, _Stamp | None] = {}
        if self.folder is not None:
            self._load(self.folder)

    def _load(self, folder: Path) -> None:
        problems: dict[str, ConfigError] = {}
        self._stamps[folder] = _Stamp.of(folder)
        for name in _names_in(folder):
            path = folder / f"{name}{SUFFIX}"
            self._stamps[path] = _Stamp.of(path)
            try:
                account = read_account(path)
            except ConfigError as error:
                problems[name] = error
            else:
                self._accounts[name] = account
                for other in filter(None, (account.client_secret_file, account.ca_file)):
                    self._stamps[Path(other)] = _Stamp.of(Path(other))
        self.problems = problems

    @property
    def names(self) -> list[str]:
        """Those of all accounts, also of those that cannot be used, in order."""
        return sorted({*self._accounts, *self.problems})

    def find(self, name: str) -> Account:
        """An account.

        Args:
            name: as password tables have it.

        Raises:
            ConfigError: there is none of that name, or it cannot be used.
        """
        if name in self._accounts:
            return self._accounts[name]
        if name in self.problems:
            raise self.problems[name]
        if self.folder is None:
            raise ConfigError("there is no configuration directory, and so there are no accounts")
        raise ConfigError("there is no such file", file=str(self.path_of(name)))

    def path_of(self, name: str) -> Path:
        """The file of an account, which need not be there."""
        return (self.folder or Path(FOLDER)) / f"{name}{SUFFIX}"

    def changed(self) -> bool:
        """Whether a file is not what it was. Cheap; never raises."""
        return any(now is not None and now != then for path, then in self._stamps.items() for now in (_Stamp.of(path),))


def _names_in(folder: Path) -> list[str]:
    """The names of the accounts that a folder holds; none if there is no folder, or it cannot be read."""
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return []
    names = [entry.removesuffix(SUFFIX) for entry in entries if entry.endswith(SUFFIX)]
    return [name for name in names if is_account_name(name)]


def read_account(path: Path) -> Account:
    """Read an account file, and the file of its secret if there is one.

    Args:
        path: ``NAME.toml``.

    Raises:
        ConfigError: it cannot be read, makes no sense, or shows a secret to everybody.
    """
    text, mode = _read(path, LARGEST_FILE)
    try:
        account = parse_account(path.name.removesuffix(SUFFIX), text)
    except ConfigError as error:
        error.file = str(path)
        raise
    if mode & stat.S_IWOTH:
        raise _exposed(path, "everybody may write it")
    if account.client_secret and mode & stat.S_IROTH:
        raise _exposed(path, "everybody may read it, and client_secret is in it")
    if account.client_secret_file:
        account = replace(account, client_secret=_read_secret(Path(account.client_secret_file)))
    return account


def _read_secret(path: Path) -> str:
    text, mode = _read(path, 4096)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise _exposed(path, "everybody may read it, and it is a secret")
    secret = text.strip()
    if not secret or not secret.isprintable():
        raise ConfigError("it is not a secret of one line", file=str(path), parameter="client_secret_file")
    return secret


def _exposed(path: Path, how: str) -> ConfigError:
    return ConfigError(f"{how}: chmod o= {path}", file=str(path))


def _read(path: Path, limit: int) -> tuple[str, int]:
    """The text of a small file, and its permissions."""
    try:
        data, mode = read_file(path, limit)
    except OSError as error:
        raise ConfigError(f"{error.strerror}{owner_of(path)}", file=str(path)) from error
    try:
        return data.decode(), mode
    except UnicodeDecodeError as error:
        raise ConfigError("it is not UTF-8", file=str(path)) from error
