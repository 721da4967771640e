"""Mail servers of other people, each started for one test, on addresses of the private network.

Exim's Debian package cannot be installed beside Postfix's. So it is only unpacked, with the libraries that Postfix does not
need, into the folder $TWISTED_MTA_SERVERS (.ci/setup.sh does that); the user it insists on exists in the tests' mount
namespace alone.

Flow: tests/interop/test_real_servers.py starts them and looks at what they got.
Sources: exim(8), smtp-sink(1), the manual of aiosmtpd.
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
SMTP_SINK = shutil.which("smtp-sink", path=f"/usr/sbin:{os.defpath}")

NO_EXIM = "" if EXIM.exists() else "needs Exim in $TWISTED_MTA_SERVERS (.ci/setup.sh unpacks exim4-daemon-light)"
NO_AIOSMTPD = "" if importlib.util.find_spec("aiosmtpd") else "needs aiosmtpd (pip install aiosmtpd)"
NO_SMTP_SINK = "" if SMTP_SINK else "needs smtp-sink (Debian package postfix)"

_EXIM_USER = "Debian-exim"
_EXIM_ID = 64999

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
        _know_exim_user()
        libraries = next(UNPACKED.glob("usr/lib/*/libidn.so.12")).parent
        await start_server(
            self._case,
            [str(EXIM), "-C", str(configuration), "-bdf"],
            self._address,
            environment={"LD_LIBRARY_PATH": str(libraries)},
        )

    def envelopes(self) -> list[str]:
        """What Exim knows of each message that it has taken: envelope, options, header."""
        return [path.read_text("utf-8") for path in sorted(self.directory.glob("spool/input/*-H"))]

    def bodies(self) -> list[bytes]:
        """The body of each, lines ending with LF."""
        return [path.read_bytes().partition(b"\n")[2] for path in sorted(self.directory.glob("spool/input/*-D"))]


def _know_exim_user() -> None:
    """Let the tests' namespace know the user and the group that Debian's Exim looks for when it starts."""
    for name, row in (
        ("/etc/passwd", f"{_EXIM_USER}:x:{_EXIM_ID}:{_EXIM_ID}::/nonexistent:/usr/sbin/nologin"),
        ("/etc/group", f"{_EXIM_USER}:x:{_EXIM_ID}:"),
    ):
        known = Path(name).read_text()
        if f"\n{_EXIM_USER}:" not in known:
            namespace.show(Path(name), f"{known}{row}\n")


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
