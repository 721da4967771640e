"""Mail servers of other people, each started for one test, on addresses of the private network.

The Debian packages of Exim and OpenSMTPD cannot be installed beside Postfix's. So they are only unpacked, with the libraries that
Postfix does not need, into the folder $TWISTED_MTA_SERVERS (.ci/setup.sh does that); the users they insist on exist in the
tests' mount namespace alone.

Flow: tests/interop/test_real_servers.py starts them and looks at what they got.
Sources: exim(8), smtpd(8) and smtpd.conf(5) of OpenSMTPD, smtp-sink(1), the manual of aiosmtpd.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.interop.case import InteropCase
from tests.kit import namespace
from tests.kit.processes import kill_group

UNPACKED = Path(os.environ.get("TWISTED_MTA_SERVERS", "/nonexistent"))
"""Debian packages that are unpacked, but not installed."""

EXIM = UNPACKED / "usr" / "sbin" / "exim4"
OPENSMTPD = UNPACKED / "usr" / "sbin" / "smtpd"
SMTP_SINK = shutil.which("smtp-sink", path=f"/usr/sbin:{os.defpath}")

NO_EXIM = "" if EXIM.exists() else "needs Exim in $TWISTED_MTA_SERVERS (.ci/setup.sh unpacks exim4-daemon-light)"
NO_OPENSMTPD = "" if OPENSMTPD.exists() else "needs OpenSMTPD in $TWISTED_MTA_SERVERS (.ci/setup.sh unpacks opensmtpd)"
NO_AIOSMTPD = "" if importlib.util.find_spec("aiosmtpd") else "needs aiosmtpd (pip install aiosmtpd)"
NO_SMTP_SINK = "" if SMTP_SINK else "needs smtp-sink (Debian package postfix)"

_EXIM_USERS = {"Debian-exim": 64999}
_OPENSMTPD_USERS = {"opensmtpd": 64998, "opensmtpq": 64997}

_EXIM_CONFIGURATION = """\
keep_environment = LD_LIBRARY_PATH
exim_user = nobody
exim_group = nogroup
exim_path = {exim}
spool_directory = {directory}/spool
log_file_path = {directory}/log/%slog
pid_file_path = {directory}/log/pid
primary_hostname = mx.dest.example
domainlist local_domains = dest.example
local_interfaces = {address}
daemon_smtp_ports = 25
host_lookup =
tls_advertise_hosts =
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
message_size_limit = 1M
# What was taken stays in the spool.
queue_only = true
acl_smtp_rcpt = check_recipient
acl_smtp_data = accept
begin acl
check_recipient:
  deny local_parts = unknown
       message = no such user here
  defer local_parts = full
       message = mailbox is full
  accept domains = +local_domains
begin routers
begin transports
"""


def listens(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        return probe.connect_ex((address, port)) == 0


async def start_server(
    case: InteropCase,
    command: Sequence[str],
    address: str,
    port: int = 25,
    *,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Start a server that stays in the foreground, and wait until it listens; it ends with the test.

    Args:
        case: the test.
        command: the program and its arguments.
        address: where it listens.
        port: where it listens.
        environment: what it needs beside PATH.

    Returns:
        The file with all that it prints.
    """
    printed = case.directory / f"server-{address}.out"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": os.defpath, **(environment or {})},
            cwd=case.directory,
            start_new_session=True,
        )

    def stop() -> None:
        kill_group(process.pid)
        process.wait()

    case.addCleanup(stop)

    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} ended with status {process.returncode}: {printed.read_text()}")
        return listens(address, port)

    await case.postfix.wait_for(ready, f"{command[0]} does not listen")
    return printed


class Exim:
    """An Exim that keeps what it takes for dest.example in its spool; `unknown` is refused, `full` is deferred."""

    def __init__(self, case: InteropCase, address: str) -> None:
        self._case = case
        self._address = address
        self.directory = case.directory / "exim"

    async def start(self) -> None:
        """Start it."""
        for name in ("", "spool", "log"):
            (self.directory / name).mkdir()
            (self.directory / name).chmod(0o777)
        configuration = self.directory / "exim.conf"
        configuration.write_text(_EXIM_CONFIGURATION.format(exim=EXIM, directory=self.directory, address=self._address))
        _know_users(_EXIM_USERS)
        await start_server(
            self._case,
            [str(EXIM), "-C", str(configuration), "-bdf"],
            self._address,
            environment={"LD_LIBRARY_PATH": _libraries()},
        )

    def envelopes(self) -> list[str]:
        """What Exim knows of each message that it has taken: envelope, options, header."""
        return [path.read_text("utf-8") for path in sorted(self.directory.glob("spool/input/*-H"))]

    def bodies(self) -> list[bytes]:
        """The body of each, lines ending with LF."""
        return [path.read_bytes().partition(b"\n")[2] for path in sorted(self.directory.glob("spool/input/*-D"))]


_OPENSMTPD_CONFIGURATION = """\
smtp max-message-size 1M
filter "mailboxes" phase rcpt-to match rcpt-to {{ "full@dest.example" }} reject "450 4.2.2 mailbox is full"
listen on {address} port 25 hostname mx.dest.example filter "mailboxes"
action "keep" maildir "{maildir}" virtual {{ "one@dest.example" = "nobody", "two@dest.example" = "nobody" }}
match from any for domain "dest.example" action "keep"
"""

# All paths but that of its configuration are fixed when it is built.
_OPENSMTPD_PLACE = """\
set -e
for place in /var/lib /var/spool /run; do mount -t tmpfs -o mode=755 tmpfs $place; done
mkdir -p /var/lib/opensmtpd/empty
mount --bind "$1/usr/libexec" /usr/libexec
exec "$1/usr/sbin/smtpd" -d -f "$2"
"""


class OpenSmtpd:
    """An OpenSMTPD that takes mail for two users at dest.example, and defers that for `full`."""

    def __init__(self, case: InteropCase, address: str) -> None:
        self._case = case
        self._address = address
        self.maildir = case.directory / "opensmtpd"

    async def start(self) -> None:
        """Start it, with directories of its own in the place of the system's."""
        self.maildir.mkdir()
        self.maildir.chmod(0o777)
        configuration = self._case.directory / "smtpd.conf"
        configuration.write_text(_OPENSMTPD_CONFIGURATION.format(address=self._address, maildir=self.maildir))
        _know_users(_OPENSMTPD_USERS)
        await start_server(
            self._case,
            ["unshare", "--mount", "sh", "-c", _OPENSMTPD_PLACE, "sh", str(UNPACKED), str(configuration)],
            self._address,
            environment={"LD_LIBRARY_PATH": _libraries()},
        )

    async def messages(self, count: int) -> list[bytes]:
        """So many messages, once they have been stored, lines ending with LF."""
        place = self.maildir / "new"
        await self._case.postfix.wait_for(
            lambda: place.exists() and len(list(place.iterdir())) >= count, "OpenSMTPD has not stored the mail"
        )
        return [path.read_bytes() for path in sorted(place.iterdir())]


def _libraries() -> str:
    """Where the libraries of the unpacked packages are."""
    return os.pathsep.join(sorted({str(path.parent) for path in UNPACKED.glob("usr/lib/*/lib*.so.*")}))


def _know_users(users: Mapping[str, int]) -> None:
    """Let the tests' namespace know users and groups that a server looks for when it starts."""
    for name, row in (
        ("/etc/passwd", "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin\n"),
        ("/etc/group", "{0}:x:{1}:\n"),
    ):
        known = Path(name).read_text()
        rows = "".join(row.format(user, number) for user, number in users.items() if f"\n{user}:" not in known)
        if rows:
            namespace.show(Path(name), known + rows)


async def start_aiosmtpd(case: InteropCase, address: str, *options: str) -> Path:
    """Start an aiosmtpd; returns the maildir that gets its mail."""
    maildir = case.directory / "aiosmtpd"
    command = [sys.executable, "-m", "aiosmtpd", "-n", *options, "-l", f"{address}:25"]
    await start_server(
        case,
        [*command, "-c", "aiosmtpd.handlers.Mailbox", str(maildir)],
        address,
        environment={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return maildir


async def start_smtp_sink(case: InteropCase, address: str, *options: str) -> None:
    """Start an smtp-sink."""
    assert SMTP_SINK is not None
    await start_server(case, [SMTP_SINK, "-u", "nobody", *options, f"{address}:25", "100"], address)
