"""A private Postfix instance: its own configuration, queue, log and master(8) process.

Flow: a test case makes a Postfix in an empty directory (as root, inside tests/kit/namespace.py), configures and starts it,
submits mail, and looks at its queue, its log and the reports that senders got.
Sources: master(8), master(5), postconf(5), postqueue(1), sendmail(1), virtual(8), postlogd(8).
"""

import grp
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from tests.kit.processes import kill_group

SMTPD_PORT = 10025
"""Where an instance's smtpd(8) listens, on 127.0.0.1."""

MASTER_CF = """\
127.0.0.1:10025 inet n - n - - smtpd
pickup     unix n - n 60    1 pickup
cleanup    unix n - n -     0 cleanup
qmgr       unix n - n 300   1 qmgr
rewrite    unix - - n -     - trivial-rewrite
bounce     unix - - n -     0 bounce
defer      unix - - n -     0 bounce
trace      unix - - n -     0 bounce
verify     unix - - n -     1 verify
flush      unix n - n 1000? 0 flush
proxymap   unix - - n -     - proxymap
showq      unix n - n -     - showq
error      unix - - n -     - error
retry      unix - - n -     - error
discard    unix - - n -     - discard
virtual    unix - n n -     - virtual
anvil      unix - - n -     1 anvil
scache     unix - - n -     1 scache
tlsmgr     unix - - n 1000? 1 tlsmgr
postlog    unix-dgram n - n - 1 postlogd
"""

MAIN_CF = {
    "compatibility_level": "3.6",
    "myhostname": "client.example.com",
    "myorigin": "origin.example",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "all",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "local_transport": "error:no local delivery here",
    "append_dot_mydomain": "no",
    "biff": "no",
    "in_flow_delay": "0",
    # What goes back to a sender ends in a maildir, without any SMTP.
    "virtual_mailbox_domains": "origin.example, sender.example, client.example.com",
    "virtual_mailbox_maps": "static:reports/",
    "virtual_transport": "virtual",
    "virtual_mailbox_limit": "0",
    "notify_classes": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_peername_lookup": "no",
    # Postfix waits this long before it asks again for an agent that was not there, or that broke off.
    "transport_retry_time": "1s",
    "message_size_limit": "52428800",
}
"""The settings of every instance, as far as they do not depend on its directory."""

_DIRECTORIES: tuple[tuple[str, str, int, str], ...] = (
    ("postfix", "root", 0o700, "active bounce corrupt defer deferred flush hold incoming private saved trace"),
    ("postfix", "postdrop", 0o730, "maildrop"),
    ("postfix", "postdrop", 0o710, "public"),
    ("root", "root", 0o755, "pid"),
)


class PostfixError(Exception):
    """The instance did not do what it should; the text has the end of its log."""


@cache
def installation() -> dict[str, str]:
    """The directories and the version of the Postfix on this machine; empty if there is none.

    Keys: mail_version, daemon_directory, command_directory, meta_directory, shlib_directory, sendmail_path.
    """
    postconf = shutil.which("postconf", path=f"/usr/sbin:{os.defpath}")
    if postconf is None:
        return {}
    names = [
        "mail_version",
        "daemon_directory",
        "command_directory",
        "meta_directory",
        "shlib_directory",
        "sendmail_path",
    ]
    shown = subprocess.run([postconf, "-dh", *names], capture_output=True, text=True, check=True).stdout
    return dict(zip(names, shown.splitlines(), strict=True))


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message as postqueue(1) shows it; `recipients` has the reason of the delay for each address."""

    queue: str
    queue_id: str
    recipients: Mapping[str, str]


class Postfix:
    """One instance below an empty directory that every user can reach."""

    def __init__(self, directory: Path, reactor: IReactorTime) -> None:
        self.directory = directory
        self.etc = directory / "etc"
        self.queue_directory = directory / "queue"
        self.maillog = directory / "log" / "maillog"
        self._reports = directory / "sink" / "reports" / "new"
        self._reactor = reactor
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, str] = {}
        self._clock = time.time() - 3600
        self.environment = {"PATH": os.defpath, "MAIL_CONFIG": str(self.etc), "TZ": "UTC0", "LC_ALL": "C"}

    # ---- set-up ----

    def create(self, settings: Mapping[str, str], services: str = "") -> None:
        """Make the directories of an empty queue, and the configuration.

        Args:
            settings: of main.cf, beside MAIN_CF.
            services: more lines of master.cf.
        """
        for directory in (self.etc, self.queue_directory, self.maillog.parent):
            directory.mkdir(parents=True)
        for user, group, mode, names in _DIRECTORIES:
            for name in names.split():
                _own(self.queue_directory / name, user, group, mode)
        _own(self.directory / "data", "postfix", "root", 0o700)
        _own(self.directory / "sink", "nobody", "root", 0o755)
        nobody = pwd.getpwnam("nobody")
        places = {name: value for name, value in installation().items() if name != "mail_version"}
        self._settings = {
            **places,
            **MAIN_CF,
            "queue_directory": str(self.queue_directory),
            "data_directory": str(self.directory / "data"),
            "maillog_file": str(self.maillog),
            "maillog_file_prefixes": str(self.maillog.parent),
            "virtual_mailbox_base": str(self.directory / "sink"),
            "virtual_uid_maps": f"static:{nobody.pw_uid}",
            "virtual_gid_maps": f"static:{nobody.pw_gid}",
        }
        self.write("master.cf", MASTER_CF + services)
        self.configure(settings)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change main.cf."""
        self._settings |= settings
        self.write("main.cf", "".join(f"{name} = {value}\n" for name, value in self._settings.items()))

    def unset(self, *names: str) -> None:
        """Take parameters out of main.cf again."""
        self._settings = {name: value for name, value in self._settings.items() if name not in names}
        self.configure({})

    def write(self, name: str, text: str) -> Path:
        """Write a file of the configuration directory."""
        path = self.etc / name
        path.write_text(text)
        # Postfix waits for a file that has just changed to stay as it is.
        self._clock += 1
        os.utime(path, (self._clock, self._clock))
        return path

    async def start(self) -> None:
        """Start master(8) and wait until mail can be submitted.

        Raises:
            PostfixError: it does not come up.
        """
        said = self.directory / "master.out"
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                [str(Path(installation()["daemon_directory"], "master")), "-c", str(self.etc), "-d"],
                env=self.environment,
                cwd=self.queue_directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        sockets = [self.queue_directory / "public" / name for name in ("pickup", "qmgr", "cleanup", "showq", "postlog")]
        # The first line in the log shows that postlogd(8) has started, too.
        await self.wait_for(lambda: self.log() and all(path.exists() for path in sockets), "Postfix does not start")

    async def stop(self) -> None:
        """End master(8) and all that it started."""
        if self._process is None:
            return
        process, self._process = self._process, None
        os.killpg(process.pid, signal.SIGTERM)
        for _ in range(200):
            if process.poll() is not None:
                break
            await self.pause(0.02)
        # Agents in mid-delivery may hold on; nothing of an instance may outlive its test.
        kill_group(process.pid)
        process.wait()

    async def reload(self) -> None:
        """Let all of Postfix read its configuration again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)
        await self.pause(0.2)

    # ---- mail in ----

    async def submit(self, sender: str, recipients: list[str], content: bytes, *options: str) -> None:
        """Submit a message with sendmail(1).

        Args:
            sender: envelope sender.
            recipients: envelope recipients.
            content: header and body; lines end with LF.
            options: more options of sendmail(1).

        Raises:
            PostfixError: it was not taken.
        """
        arguments = ["-oi", "-f", sender, *options, "--", *recipients]
        status, output = await self.run(installation()["sendmail_path"], *arguments, stdin=content)
        if status != 0:
            raise self._error(f"sendmail ended with status {status}: {output}")

    async def inject(self, count: int, recipient: str = "user@dest.example") -> None:
        """Submit so many messages at once over SMTP, each for a recipient of its own: a number stands before `recipient`.

        Raises:
            PostfixError: they were not taken.
        """
        arguments = ["-N", "-m", str(count), "-s", "10", "-f", "sender@sender.example", "-t", recipient]
        status, output = await self.run("smtp-source", *arguments, f"127.0.0.1:{SMTPD_PORT}")
        if status != 0:
            raise self._error(f"smtp-source ended with status {status}: {output}")

    async def run(self, program: str, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        """Run a program of this instance: a path, or the name of one in command_directory.

        Returns:
            Its exit status, and what it printed.
        """
        path = str(Path(installation()["command_directory"], program))
        out, err, status = await getProcessOutputAndValue(
            path, arguments, env=self.environment, path="/", stdinBytes=stdin, reactor=self._reactor
        )
        return status, (out + err).decode("utf-8", "replace")

    async def flush(self) -> None:
        """Try all deferred mail now, whatever qmgr(8) thinks of the destinations."""
        status, output = await self.run("postqueue", "-f")
        if status != 0:
            raise self._error(f"postqueue -f: {output}")

    # ---- what became of it ----

    def queue_files(self, *names: str) -> Iterator[Path]:
        """The files of these queues, which may have directories by hash."""
        for name in names:
            for directory, _, files in os.walk(self.queue_directory / name):
                yield from (Path(directory, file) for file in sorted(files))

    def busy(self) -> bool:
        """Whether a message is on its way in or being delivered."""
        return any(self.queue_files("maildrop", "incoming", "active"))

    async def settle(self, seconds: float = 30) -> None:
        """Wait until no message is on its way: everything is delivered, deferred or returned.

        Raises:
            PostfixError: it took too long.
        """
        quiet = 0

        def settled() -> bool:
            # A report can appear in a queue that has been looked at already: only two quiet looks in a row count.
            nonlocal quiet
            quiet = 0 if self.busy() else quiet + 1
            return quiet >= 2

        await self.wait_for(settled, "mail is still on its way", seconds)

    async def wait_for(self, condition: Callable[[], object], complaint: str, seconds: float = 20) -> None:
        """Ask `condition` every 30 ms until it is true.

        Raises:
            PostfixError: `complaint` and the end of the log, after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise self._error(complaint)
            if self._process is not None and self._process.poll() is not None:
                raise self._error(f"master(8) ended with status {self._process.returncode}")
            await self.pause(0.03)

    async def pause(self, seconds: float) -> None:
        """Let `seconds` pass."""
        await deferLater(self._reactor, seconds)

    async def queue(self) -> list[QueuedMessage]:
        """The messages in the queue."""
        status, output = await self.run("postqueue", "-j")
        if status != 0:
            raise self._error(f"postqueue -j: {output}")
        return [_queued(json.loads(line)) for line in output.splitlines()]

    def reports(self) -> list[EmailMessage]:
        """What senders got: bounces, delay warnings and the like, in the order of their arrival."""
        if not self._reports.is_dir():
            return []
        files = sorted(self._reports.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
        return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]

    def log(self, *parts: str) -> list[str]:
        """The log lines that have all of these parts in them."""
        text = self.maillog.read_text("utf-8", "replace") if self.maillog.exists() else ""
        return [line for line in text.splitlines() if all(part in line for part in parts)]

    def _error(self, complaint: str) -> PostfixError:
        said = (self.directory / "master.out").read_text("utf-8", "replace")
        return PostfixError("\n".join([complaint, said, *self.log()[-40:]]))


def _own(path: Path, user: str, group: str, mode: int) -> None:
    path.mkdir(exist_ok=True)
    os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    path.chmod(mode)


def _queued(row: dict[str, Any]) -> QueuedMessage:
    recipients = {entry["address"]: entry.get("delay_reason", "") for entry in row["recipients"]}
    return QueuedMessage(row["queue_name"], row["queue_id"], recipients)


def delivery_status(report: EmailMessage) -> list[Mapping[str, str]]:
    """The fields of a report's message/delivery-status part: one group for the message, then one a recipient (RFC 3464)."""
    for part in report.walk():
        if part.get_content_type() == "message/delivery-status":
            groups = part.get_payload()
            return [dict(group.items()) for group in groups if isinstance(group, Message)]
    return []
