"""A private Postfix whose queue can be filled while its queue manager stands still.

Flow: bench.py makes one for each measurement, lets agents.py join it, fills its queue and lets it run.
Sources: master(8), master(5), qmgr(8), postconf(5), sendmail(1).
"""

import contextlib
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import children
from benchmarks.subprocesses import check_alive, running
from benchmarks.waiting import BenchmarkError, wait_until

SENDER = "sender@origin.example"

_START_SECONDS = 10
_QUIET_SECONDS = 30
_INSTALLATION_PARAMETERS = (
    "mail_version",
    "daemon_directory",
    "command_directory",
    "meta_directory",
    "shlib_directory",
    "sendmail_path",
)

# All that qmgr(8) and the way of one message into the queue need; no service that delivers.
_MASTER_CF = """\
pickup     unix n - n 60    1 pickup
cleanup    unix n - n -     0 cleanup
qmgr       unix n - n 300   1 qmgr
rewrite    unix - - n -     - trivial-rewrite
bounce     unix - - n -     0 bounce
defer      unix - - n -     0 bounce
trace      unix - - n -     0 bounce
flush      unix n - n 1000? 0 flush
proxymap   unix - - n -     - proxymap
showq      unix n - n -     - showq
error      unix - - n -     - error
retry      unix - - n -     - error
scache     unix - - n -     1 scache
tlsmgr     unix - - n 1000? 1 tlsmgr
tlsproxy   unix - - n -     0 tlsproxy
postlog    unix-dgram n - n - 1 postlogd
"""

_MAIN_CF = {
    "compatibility_level": "3.6",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "myhostname": "client.example.com",
    "mydestination": "",
    "inet_interfaces": "127.0.0.1",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "local_transport": "error:there is no local delivery here",
    "in_flow_delay": "0",
    "message_size_limit": "0",
    "mailbox_size_limit": "0",
    "queue_minfree": "0",
    # It would warn that one destination has the whole queue.
    "qmgr_clog_warn_time": "0",
    # Reports would be mail of their own: what cannot be delivered ends the benchmark.
    "notify_classes": "",
    # No process ends by itself and takes the account of its CPU time with it.
    "max_use": "1000000000",
    "max_idle": "10h",
}

_QUEUE_DIRECTORIES: Sequence[tuple[str, str, int, str]] = (
    ("postfix", "root", 0o700, "active bounce corrupt defer deferred flush hold incoming private saved trace"),
    ("postfix", "postdrop", 0o730, "maildrop"),
    ("postfix", "postdrop", 0o710, "public"),
    ("root", "root", 0o755, "pid"),
)

# A request to qmgr(8), in its manual page's section on triggers.
_SCAN_INCOMING = b"I"
# What tells the queue manager that a queue file is complete: its owner may execute it.
_COMPLETE = 0o700

# tlsproxy(8) says of itself that it is not set up for servers, which nobody wants of it here.
_COMPLAINT = re.compile(r"^.*: (?:warning(?!: TLS server role is disabled)|error|fatal|panic): .*$", re.MULTILINE)
_FAILED_DELIVERY = re.compile(r"^.* status=(?!sent ).*$", re.MULTILINE)


class PostfixInstance:
    """One Postfix below a directory of its own; `running()` starts and ends it."""

    def __init__(self, directory: Path, main_cf: Mapping[str, str], master_entry: str) -> None:
        """Prepare an instance; nothing is written yet.

        Args:
            directory: where everything goes; best on a tmpfs. User postfix must be able to reach it.
            main_cf: parameters besides those of every instance.
            master_entry: one more line for master.cf, or nothing.

        Raises:
            BenchmarkError: there is no Postfix on this machine.
        """
        self.config_directory = directory / "etc"
        self.queue_directory = directory / "queue"
        self.maillog = directory / "log" / "maillog"
        self._directory = directory
        self._output = directory / "log" / "master.out"
        self._installation = installation()
        self._main_cf = main_cf
        self._master_entry = master_entry
        self._filled = 0
        self._master: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Make the instance and run it; all its processes end with the block.

        Raises:
            BenchmarkError: it does not start.
        """
        self._create()
        master = str(Path(self._installation["daemon_directory"], "master"))
        command = [master, "-c", str(self.config_directory), "-d"]
        with running(command, self._output, environment=self._environment()) as self._master:
            wait_until(self._queue_manager_runs, "Postfix's queue manager", _START_SECONDS)
            with self._trigger_queue_manager() as trigger:
                trigger.recv(1)  # it hangs up once it is at work
            yield

    def check(self) -> None:
        """See that the instance still runs.

        Raises:
            BenchmarkError: master(8) has ended.
        """
        assert self._master is not None
        check_alive(self._master, self._output, "Postfix's master")

    def processes(self, program: str) -> list[int]:
        """The running daemons of this program, such as "smtp"."""
        assert self._master is not None
        return children(self._master.pid, program)

    def pause(self) -> None:
        """Let the queue manager stand still."""
        self._signal_queue_manager(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the queue manager go on."""
        self._signal_queue_manager(signal.SIGCONT)

    def make_queue_file(self, message: bytes, recipients: Sequence[str]) -> bytes:
        """Submit a message as anyone does, and take the file out of the queue that came of it.

        The queue manager must stand still.

        Raises:
            BenchmarkError: Postfix does not take the message, or not all of it.
        """
        incoming = self.queue_directory / "incoming"
        # -i: a line with nothing but a dot does not end the message.
        self._run([self._installation["sendmail_path"], "-i", "-f", SENDER, "--", *recipients], message)
        wait_until(lambda: any(map(_is_complete, incoming.iterdir())), "a submitted message", _START_SECONDS)
        (path,) = incoming.iterdir()
        content = path.read_bytes()
        path.unlink()
        if len(content) < len(message):
            raise BenchmarkError(f"Postfix made a queue file of {len(content)} octets from a message of {len(message)}")
        return content

    def fill(self, queue_file: bytes, count: int) -> None:
        """Put copies of a queue file into the incoming queue, and tell the queue manager, which should stand still.

        Copies are made in a moment, where submitting so many messages takes longer than delivering them. A queue id is only a
        name: any will do that no other file has.
        """
        owner = pwd.getpwnam("postfix")
        for number in range(self._filled, self._filled + count):
            path = self.queue_directory / "incoming" / f"{number:010X}"
            path.write_bytes(queue_file)
            os.chown(path, owner.pw_uid, owner.pw_gid)
            path.chmod(_COMPLETE)
        self._filled += count
        self._trigger_queue_manager().close()

    def active_messages(self) -> int:
        """How many messages the queue manager has in hand."""
        return self._count("active")

    def wait_for_empty_queue(self) -> None:
        """Return once the queue manager has finished with every message.

        Raises:
            BenchmarkError: something was not delivered, or Postfix or the agent complained.
        """
        try:
            wait_until(lambda: not self._count("incoming") + self.active_messages(), "an empty queue", _QUIET_SECONDS)
        finally:
            self.check_log()

    def check_log(self) -> None:
        """See that nothing went wrong.

        Raises:
            BenchmarkError: with the first lines that say otherwise.
        """
        log = self.maillog.read_text("utf-8", "replace") if self.maillog.exists() else ""
        wrong = _COMPLAINT.findall(log) + _FAILED_DELIVERY.findall(log)
        if wrong:
            raise BenchmarkError(f"the log has {len(wrong)} complaints, such as: {' | '.join(wrong[:3])}")

    def _create(self) -> None:
        postfix = pwd.getpwnam("postfix")
        data = self._directory / "data"
        for path in (self.config_directory, self.queue_directory, self.maillog.parent, data):
            path.mkdir(parents=True)
        os.chown(data, postfix.pw_uid, postfix.pw_gid)
        for user, group, mode, names in _QUEUE_DIRECTORIES:
            for name in names.split():
                path = self.queue_directory / name
                path.mkdir()
                os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
                path.chmod(mode)
        settings = {name: value for name, value in self._installation.items() if name != "mail_version"}
        settings |= _MAIN_CF | {
            "queue_directory": str(self.queue_directory),
            "data_directory": str(data),
            "maillog_file": str(self.maillog),
            "maillog_file_prefixes": str(self.maillog.parent),
        }
        settings.update(self._main_cf)
        self._write("main.cf", "".join(f"{name} = {value}\n" for name, value in settings.items()))
        self._write("master.cf", _MASTER_CF + self._master_entry)

    def _write(self, name: str, text: str) -> None:
        """Write a configuration file that looks old: Postfix waits for one that has just changed to stay as it is."""
        path = self.config_directory / name
        path.write_text(text)
        os.utime(path, (0, 0))

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "MAIL_CONFIG": str(self.config_directory), "LANG": "C"}

    def _run(self, command: Sequence[str], stdin: bytes = b"") -> None:
        done = subprocess.run(command, input=stdin, env=self._environment(), capture_output=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{command[0]} failed with status {done.returncode}: {done.stderr!r}")

    def _queue_manager_runs(self) -> bool:
        self.check()
        return bool(self.processes("qmgr"))

    def _trigger_queue_manager(self) -> socket.socket:
        """Ask the queue manager to look into the incoming queue, as postkick(1) does, which would wait until it has."""
        trigger = socket.socket(socket.AF_UNIX)
        trigger.settimeout(_START_SECONDS)
        trigger.connect(str(self.queue_directory / "public" / "qmgr"))
        trigger.sendall(_SCAN_INCOMING)
        return trigger

    def _signal_queue_manager(self, number: signal.Signals) -> None:
        for pid in self.processes("qmgr"):
            os.kill(pid, number)

    def _count(self, queue: str) -> int:
        return len(os.listdir(self.queue_directory / queue))


def installation() -> dict[str, str]:
    """The version of the machine's Postfix, and where its parts are.

    Raises:
        BenchmarkError: there is none.
    """
    postconf = shutil.which("postconf", path=f"/usr/sbin:/usr/local/sbin:{os.defpath}")
    if postconf is None:
        raise BenchmarkError("no postconf(1) on this machine: install Postfix")
    # -d: what the package was built with, not what the machine's own instance is told.
    command = [postconf, "-d", "-h", *_INSTALLATION_PARAMETERS]
    values = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(zip(_INSTALLATION_PARAMETERS, values, strict=True))


def _is_complete(queue_file: Path) -> bool:
    try:
        return stat.S_IMODE(queue_file.stat().st_mode) == _COMPLETE
    except FileNotFoundError:
        # It has a name of its own until cleanup(8) knows its queue id.
        return False
