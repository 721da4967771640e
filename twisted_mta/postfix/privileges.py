"""Become the mail owner for good.

Flow: resident.py looks the owner up while loading the configuration, opens all that only root may, and then calls `become`.
Sources: postconf(5) mail_owner, setgid_group, default_privs, queue_directory; master(8); setuid(2), initgroups(3).
"""

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Protocol

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings

_UMASK = 0o077


class PrivilegeError(Exception):
    """Privileges could not be dropped; going on would be dangerous."""


@dataclass(frozen=True, slots=True)
class MailOwner:
    """The user that owns the queue.

    Attributes:
        name: of the user.
        uid: its number.
        gid: its primary group.
    """

    name: str
    uid: int
    gid: int


class System(Protocol):
    """What is asked of the system; the module `os`, in general."""

    def geteuid(self) -> int:
        """Who we are."""

    def getresuid(self) -> tuple[int, int, int]:
        """Who we are, and who we could become again."""

    def getresgid(self) -> tuple[int, int, int]:
        """The same for the group."""

    def initgroups(self, name: str, gid: int, /) -> None:
        """Take a user's groups, and no others."""

    def setgid(self, gid: int, /) -> None:
        """Take a group for good."""

    def setuid(self, uid: int, /) -> None:
        """Become a user for good."""

    def umask(self, mask: int, /) -> int:
        """Set which permissions new files lack."""

    def chdir(self, path: str, /) -> None:
        """Go to a directory."""


def find_mail_owner(settings: Settings) -> MailOwner:
    """Look up the user that mail_owner names.

    Raises:
        ConfigError: there is no such user, or it shares its rights with somebody who must not have them; it says where in
            main.cf that is.
    """
    try:
        return _mail_owner(settings)
    except ConfigError as error:
        raise settings.located(error) from error


def _mail_owner(settings: Settings) -> MailOwner:
    user = _user("mail_owner", settings.mail_owner)
    other = _user("default_privs", settings.default_privs)
    group = _group("setgid_group", settings.setgid_group)
    name, gid = user.pw_name, user.pw_gid
    if user.pw_uid == other.pw_uid:
        raise ConfigError(
            f"parameters default_privs and mail_owner specify the same user {name}", parameter="mail_owner"
        )
    if gid == other.pw_gid:
        shared = f"users {other.pw_name} and {name} have the same group ID: {gid}"
        raise ConfigError(f"parameters default_privs and mail_owner: {shared}", parameter="mail_owner")
    if gid == group.gr_gid:
        shared = f"user {name} and group {group.gr_name} have the same group ID: {gid}"
        raise ConfigError(f"parameters mail_owner and setgid_group: {shared}", parameter="setgid_group")
    return MailOwner(name, user.pw_uid, gid)


def _user(parameter: str, name: str) -> pwd.struct_passwd:
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigError(f"parameter {parameter}: unknown user name value: {name}", parameter=parameter) from error
    if user.pw_uid == 0:
        raise ConfigError(f"parameter {parameter}: user {name} has privileged user ID", parameter=parameter)
    if user.pw_gid == 0:
        raise ConfigError(f"parameter {parameter}: user {name} has privileged group ID", parameter=parameter)
    return user


def _group(parameter: str, name: str) -> grp.struct_group:
    try:
        group = grp.getgrnam(name)
    except KeyError as error:
        raise ConfigError(f"parameter {parameter}: unknown group name: {name}", parameter=parameter) from error
    if group.gr_gid == 0:
        raise ConfigError(f"parameter {parameter}: group {name} has privileged group ID", parameter=parameter)
    return group


def become(owner: MailOwner, queue_directory: str, system: System = os) -> bool:
    """Become the mail owner, in the queue directory, making files that are nobody else's business.

    Without root's privileges nothing changes but directory and umask.

    Args:
        owner: who to be.
        queue_directory: where a Postfix daemon works.
        system: does it.

    Returns:
        Whether there were privileges to drop.

    Raises:
        PrivilegeError: something failed; the process must end.
    """
    system.umask(_UMASK)
    is_root = system.geteuid() == 0
    try:
        if is_root:
            # In this order: groups can be changed only as long as the user is root.
            system.setgid(owner.gid)
            system.initgroups(owner.name, owner.gid)
            system.setuid(owner.uid)
        system.chdir(queue_directory)
    except OSError as error:
        what = f"enter queue_directory {queue_directory}" if error.filename else f"become mail_owner {owner.name}"
        raise PrivilegeError(f"cannot {what}: {error.strerror}") from error
    if is_root and (set(system.getresuid()) != {owner.uid} or set(system.getresgid()) != {owner.gid}):
        raise PrivilegeError(f"privileges are not dropped: still {system.getresuid()}, {system.getresgid()}")
    return is_root
