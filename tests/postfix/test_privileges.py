"""Tests of twisted_mta.postfix.privileges."""

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings, load_settings
from twisted_mta.postfix.privileges import MailOwner, PrivilegeError, become, find_mail_owner

OWNER = MailOwner("postfix", 102, 105)

# What a process that became somebody prints of itself, and whether it can go back.
CHILD = """
import os, sys
from twisted_mta.postfix.privileges import MailOwner, become
name, uid, gid, directory = sys.argv[1:]
print(become(MailOwner(name, int(uid), int(gid)), directory))
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()), os.getcwd(), oct(os.umask(0)))
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


class FakeSystem:
    """A process whose rights the system checks as a real one does.

    Attributes:
        calls: what changed, in order.
        failing: a call that fails, and how.
        keeps_saved_uid: a system that forgets to change the saved user.
    """

    def __init__(self, uid: int = 0) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.failing: tuple[str, OSError] | None = None
        self.keeps_saved_uid = False
        self._uid = uid
        self._gid = uid

    def _call(self, name: str, *arguments: object, privileged: bool = True) -> None:
        if self.failing is not None and self.failing[0] == name:
            raise self.failing[1]
        if privileged and self._uid != 0:
            raise PermissionError(1, "Operation not permitted")
        self.calls.append((name, *arguments))

    def geteuid(self) -> int:
        """Who we are."""
        return self._uid

    def getresuid(self) -> tuple[int, int, int]:
        """All three."""
        return self._uid, self._uid, 0 if self.keeps_saved_uid else self._uid

    def getresgid(self) -> tuple[int, int, int]:
        """All three."""
        return self._gid, self._gid, self._gid

    def initgroups(self, name: str, gid: int, /) -> None:
        """Allowed to root only."""
        self._call("initgroups", name, gid)

    def setgid(self, gid: int, /) -> None:
        """Allowed to root only."""
        self._call("setgid", gid)
        self._gid = gid

    def setuid(self, uid: int, /) -> None:
        """Allowed to root only."""
        self._call("setuid", uid)
        self._uid = uid

    def umask(self, mask: int, /) -> int:
        """Always possible."""
        self._call("umask", mask, privileged=False)
        return 0o022

    def chdir(self, path: str, /) -> None:
        """Always possible."""
        self._call("chdir", path, privileged=False)


class BecomeTests(SynchronousTestCase):
    """Dropping privileges."""

    def test_root(self) -> None:
        """Groups first, then the user; then the directory, as the one who must be able to enter it."""
        system = FakeSystem()
        self.assertTrue(become(OWNER, "/queue", system))
        self.assertEqual(
            system.calls,
            [("umask", 0o077), ("setgid", 105), ("initgroups", "postfix", 105), ("setuid", 102), ("chdir", "/queue")],
        )

    def test_not_root(self) -> None:
        """There is nothing to drop."""
        system = FakeSystem(1000)
        self.assertFalse(become(OWNER, "/queue", system))
        self.assertEqual(system.calls, [("umask", 0o077), ("chdir", "/queue")])

    def test_refused(self) -> None:
        """What fails is named."""
        for call, error, text in (
            (
                "initgroups",
                OSError(1, "Operation not permitted"),
                "cannot become mail_owner postfix: Operation not permitted",
            ),
            ("setuid", OSError(11, "Try again"), "cannot become mail_owner postfix: Try again"),
            (
                "chdir",
                OSError(13, "Permission denied", "/queue"),
                "cannot enter queue_directory /queue: Permission denied",
            ),
        ):
            system = FakeSystem()
            system.failing = (call, error)
            self.assertEqual(str(self.assertRaises(PrivilegeError, become, OWNER, "/queue", system)), text)

    def test_way_back(self) -> None:
        """Whoever could become root again has not dropped anything."""
        system = FakeSystem()
        system.keeps_saved_uid = True
        error = self.assertRaises(PrivilegeError, become, OWNER, "/queue", system)
        self.assertIn("privileges are not dropped", str(error))

    def test_real_process(self) -> None:
        """A process of root becomes somebody else, for good."""
        if os.geteuid() != 0:
            raise SkipTest("needs root")
        user = pwd.getpwnam("nobody")
        arguments = [user.pw_name, str(user.pw_uid), str(user.pw_gid), "/"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True, env=environment
        )
        uids, gids = (user.pw_uid,) * 3, (user.pw_gid,) * 3
        groups = sorted(os.getgrouplist(user.pw_name, user.pw_gid))
        self.assertEqual(done.stdout, f"True\n{uids} {gids} {groups} / 0o77\nfor good\n")


class FindMailOwnerTests(SynchronousTestCase):
    """Who owns the queue."""

    def load(self, **values: str) -> Settings:
        """Settings of a main.cf with these values."""
        directory = self.mktemp()
        os.makedirs(directory)
        defaults = {"mail_owner": "mail", "setgid_group": "sys", "default_privs": "nobody"}
        with open(os.path.join(directory, "main.cf"), "w", encoding="ascii") as file:
            file.writelines(f"{name} = {value}\n" for name, value in (defaults | values).items())
        return load_settings(Path(directory))

    def test_found(self) -> None:
        """The user and its group."""
        user = pwd.getpwnam("mail")
        self.assertEqual(find_mail_owner(self.load()), MailOwner("mail", user.pw_uid, user.pw_gid))

    def test_refused(self) -> None:
        """What Postfix refuses is refused, in its words."""
        gid = pwd.getpwnam("mail").pw_gid
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"mail_owner": "no-such-user"}, "parameter mail_owner: unknown user name value: no-such-user"),
            ({"mail_owner": "root"}, "parameter mail_owner: user root has privileged user ID"),
            ({"default_privs": "root"}, "parameter default_privs: user root has privileged user ID"),
            ({"setgid_group": "no-such-group"}, "parameter setgid_group: unknown group name: no-such-group"),
            ({"setgid_group": "root"}, "parameter setgid_group: group root has privileged group ID"),
            ({"default_privs": "mail"}, "parameters default_privs and mail_owner specify the same user mail"),
            (
                {"setgid_group": "mail"},
                f"parameters mail_owner and setgid_group: user mail and group mail have the same group ID: {gid}",
            ),
        )
        for values, text in cases:
            self.assertEqual(str(self.assertRaises(ConfigError, find_mail_owner, self.load(**values))), text)

    def test_place(self) -> None:
        """An error says where the user was named."""
        settings = self.load(mail_owner="no-such-user")
        error = self.assertRaises(ConfigError, find_mail_owner, settings)
        text = "parameter mail_owner: unknown user name value: no-such-user"
        self.assertEqual(error.describe(), f"{settings.config_directory}/main.cf, line 1: {text}")
