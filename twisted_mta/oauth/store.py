"""The files that keep tokens: one for each user of an account, readable by the owner alone, and never half written.

Flow: provider.py and cli/oauth.py load and save; what blocks (`reserve`, `Reservation.commit`) they call in a thread.
Sources: open(2), rename(2), fsync(2), flock(2), posix_fallocate(3); RFC 9700 section 4.14.2: a refresh token serves once, so that
losing the next one means asking a person again.

Room for new tokens is reserved before they are asked for: a full disk or a wrong owner shows before a refresh token is used up.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from twisted_mta.model.text import to_text as text_of
from twisted_mta.model.text import to_wire
from twisted_mta.oauth.accounts import FOLDER
from twisted_mta.oauth.files import owner_of, read_file
from twisted_mta.sasl.oauth_account import Account
from twisted_mta.sasl.oauth_tokens import TokenFileError, Tokens, from_text, to_text

LARGEST_FILE = 65536
"""Octets of a token file: two tokens of the greatest length fit, with all that stands around them."""

_SUFFIX, _LOCK_SUFFIX, _NEW_SUFFIX = ".json", ".lock", ".new"

_MODE = stat.S_IRUSR | stat.S_IWUSR

_LONGEST_NAME = 255

Stamp = tuple[int, int, int]
"""Tells one state of a file from another: inode, size, time of its last change in nanoseconds."""

NO_FILE: Stamp = (0, 0, 0)


class Lock:
    """Keeps other processes, and other parts of this one, from refreshing the same token."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room for tokens beside the file that they will replace."""

    descriptor: int
    new: Path
    path: Path

    def commit(self, text: str) -> None:
        """Let the file have this content, all at once and for good. Blocks.

        Raises:
            TokenFileError: that failed; the file is what it was.
        """
        try:
            with open(self.descriptor, "wb") as file:
                file.write(text.encode())
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
            os.rename(self.new, self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            _unlink(self.new)
            raise TokenFileError(f"{self.path}: cannot be written: {error.strerror}") from error

    def discard(self) -> None:
        """Leave all as it is."""
        os.close(self.descriptor)
        _unlink(self.new)


class TokenStore:
    """The token files of one folder.

    Attributes:
        folder: where they are; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder.

        Args:
            folder: its absolute path; the folder above it has to be there.
        """
        self.folder = folder

    def path(self, account: str, user: str) -> Path:
        """The file of a user of an account.

        Raises:
            TokenFileError: the user's name is too long for a file.
        """
        # The case of a mailbox's name makes no difference where tokens are used, and would make two files.
        name = f"{account}:{quote(to_wire(user.lower()), safe='@+')}"
        if len(name) + len(_LOCK_SUFFIX) + 20 > _LONGEST_NAME:
            raise TokenFileError(f"account {account}: the name of its user is too long to keep tokens for")
        return self.folder / f"{name}{_SUFFIX}"

    def users(self, account: str) -> list[str]:
        """The users of an account that have a file, in order.

        Raises:
            TokenFileError: the folder cannot be read.
        """
        try:
            entries = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokenFileError(f"{self.folder}: {error.strerror}{owner_of(self.folder)}") from error
        prefix = f"{account}:"
        names = [entry[len(prefix) : -len(_SUFFIX)] for entry in entries if _is_of(entry, prefix)]
        return sorted(text_of(unquote_to_bytes(name)) for name in names)

    def stamp(self, account: str, user: str) -> Stamp:
        """The state of a file. Cheap; never raises."""
        try:
            found = self.path(account, user).stat()
        except (OSError, TokenFileError):
            return NO_FILE
        return found.st_ino, found.st_size, found.st_ctime_ns

    def load(self, account: str, user: str) -> Tokens | None:
        """The tokens of a user.

        Returns:
            The tokens; None: there is no file.

        Raises:
            TokenFileError: it cannot be read or trusted; the text names the file.
        """
        path = self.path(account, user)
        try:
            data, mode = read_file(path, LARGEST_FILE, follow_links=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TokenFileError(f"{path}: {error.strerror}{owner_of(path)}") from error
        if mode & ~stat.S_IRWXU:
            raise TokenFileError(
                f"{path}: it is not for its owner alone (mode {mode:04o}){owner_of(path)}:"
                " make it so with chmod 600, and get new tokens if somebody may have read these"
            )
        try:
            return from_text(data, account, user)
        except TokenFileError as error:
            raise TokenFileError(f"{path}: {error}") from error

    def reserve(self, account: str, user: str) -> Reservation:
        """Make room for tokens that are about to come. Blocks.

        Raises:
            TokenFileError: there is none.
        """
        path = self.path(account, user)
        self._make_folder()
        new = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_NEW_SUFFIX}")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        except OSError as error:
            raise TokenFileError(f"{path}: cannot be written: {error.strerror}{owner_of(self.folder)}") from error
        try:
            os.posix_fallocate(descriptor, 0, LARGEST_FILE)
        except OSError as error:
            Reservation(descriptor, new, path).discard()
            raise TokenFileError(f"{path}: cannot be written: {error.strerror}") from error
        return Reservation(descriptor, new, path)

    def save(self, account: str, user: str, tokens: Tokens) -> None:
        """Keep tokens. Blocks.

        Raises:
            TokenFileError: that failed.
        """
        self.reserve(account, user).commit(to_text(account, user, tokens))

    def forget(self, account: str, user: str) -> bool:
        """Remove the file of a user.

        Returns:
            Whether there was one.

        Raises:
            TokenFileError: it cannot be removed.
        """
        path = self.path(account, user)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise TokenFileError(f"{path}: cannot be removed: {error.strerror}{owner_of(path)}") from error
        return True

    def try_lock(self, account: str, user: str) -> Lock | None:
        """Take the lock of a user's tokens, if nobody has it. It goes with the process.

        Raises:
            TokenFileError: the file for it cannot be made.
        """
        path = self.path(account, user).with_suffix(_LOCK_SUFFIX)
        self._make_folder()
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        except OSError as error:
            raise TokenFileError(f"{path}: {error.strerror}{owner_of(path) or owner_of(self.folder)}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise TokenFileError(f"{path}: cannot be locked: {error.strerror}") from error
        return Lock(descriptor)

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(stat.S_IRWXU, exist_ok=True)
            mode = stat.S_IMODE(self.folder.stat().st_mode)
        except OSError as error:
            raise TokenFileError(
                f"{self.folder}: cannot be made: {error.strerror}{owner_of(self.folder.parent)}"
            ) from error
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise TokenFileError(f"{self.folder}: others may write there (mode {mode:04o}): chmod go-w {self.folder}")


def store_of(data_directory: str) -> Callable[[Account], TokenStore]:
    """Where accounts keep their tokens: in the folder that each one names, or else in one for all below `data_directory`."""
    usual = Path(data_directory).absolute() / FOLDER

    def store(account: Account) -> TokenStore:
        return TokenStore(Path(account.token_directory) if account.token_directory else usual)

    return store


def _is_of(entry: str, prefix: str) -> bool:
    return entry.startswith(prefix) and entry.endswith(_SUFFIX)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return  # it may be gone already; what is left over holds no more than what was written to it
