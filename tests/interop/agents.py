"""The delivery agents that the interop tests can run: our service, or Postfix's own smtp(8) and lmtp(8).

TWISTED_MTA_INTEROP_AGENT=postfix chooses the latter, which shows whether the tests themselves are right.

Flow: tests/interop/case.py makes one for each test, and starts it beside the Postfix instance.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

import tests
from tests.kit.postfix import Postfix
from tests.kit.processes import kill_group

SERVICE = "agent"
"""The transport that mail goes to."""

CHECKOUT = Path(tests.__file__).parents[1]
"""The folder that holds the package under test."""


class AgentError(Exception):
    """The agent did not start or end as it should; the text has what it printed."""


def own_service() -> bool:
    """Whether our service is what is tested."""
    return os.environ.get("TWISTED_MTA_INTEROP_AGENT") != "postfix"


def install(directory: Path) -> None:
    """Copy the package and its plugins to where user postfix can read them, wherever the checkout lies."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "twisted_mta", directory / "twisted_mta", ignore=ignore)
    plugins = directory / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    for stub in (CHECKOUT / "twisted" / "plugins").glob("smtpdeliver*.py"):
        shutil.copy(stub, plugins)
    # As after an installation: twistd notes the plugins it has found beside them, which user postfix may not do.
    note = "import twisted.plugins, twisted.plugin; twisted.plugin.getCache(twisted.plugins)"
    subprocess.run([sys.executable, "-c", note], cwd="/", env={"PYTHONPATH": str(directory)}, check=True)
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def interpreter_problem() -> str:
    """Why user postfix cannot execute this Python; empty: it can."""
    user = pwd.getpwnam("postfix")
    command = [sys.executable, "-c", "import twisted.internet.reactor"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd="/",
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            check=False,
        )
    except PermissionError:
        return f"user postfix cannot execute {sys.executable}: use a virtual environment that lies below no private directory"
    return done.stderr[-300:] if done.returncode else ""


def service_command(postfix: Postfix, protocol: str, options: Sequence[str]) -> list[str]:
    """The command line of our service."""
    return [
        sys.executable,
        "-c",
        "from twisted.scripts.twistd import run; run()",
        "--nodaemon",
        "--pidfile=",
        "smtpdeliver",
        f"--config-directory={postfix.etc}",
        f"--service={SERVICE}",
        f"--protocol={protocol}",
        *options,
    ]


class ServiceAgent:
    """Our service, as a process of user postfix.

    Attributes:
        user: who starts it; None: root.
    """

    user: str | None = "postfix"

    def __init__(self, postfix: Postfix, package: Path, protocol: str, options: Sequence[str]) -> None:
        self._postfix = postfix
        self._package = package
        self._command = service_command(postfix, protocol, options)
        self._output = postfix.directory / "agent.out"
        self._process: subprocess.Popen[bytes] | None = None

    master_cf = ""
    """A transport without a line in master.cf: qmgr(8) connects to the socket that the service has bound."""

    @property
    def socket(self) -> Path:
        """Where the service listens."""
        return self._postfix.queue_directory / "private" / SERVICE

    @property
    def pid(self) -> int:
        """The id of its first process, as long as it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def printed(self) -> str:
        """What all its processes have printed."""
        return self._output.read_text("utf-8", "replace") if self._output.exists() else ""

    async def start(self) -> None:
        """Start a process and wait until it accepts connections."""
        self.launch()
        await self.wait_for(self._listens, "the service does not listen")

    def launch(self) -> None:
        """Start a process, whatever becomes of it."""
        user = pwd.getpwnam(self.user) if self.user else None
        environment = self._postfix.environment | {"PYTHONPATH": str(self._package), "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PATH"] = "/usr/sbin:" + os.defpath
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
                start_new_session=True,
            )

    @property
    def process(self) -> int:
        """The number of the process that was started."""
        assert self._process is not None
        return self._process.pid

    def _listens(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AgentError(f"the service ended: {self.printed}")
        with socket(AF_UNIX, SOCK_STREAM) as probe:
            # The file may be there, or be left over from a process that was killed, without anybody behind it.
            return probe.connect_ex(os.fsencode(self.socket)) == 0

    async def ended(self, seconds: float = 10) -> int:
        """Wait for the end of the process; returns its exit status."""
        process = self._process
        if process is None:
            return 0
        await self.wait_for(lambda: process.poll() is not None, "the service does not end", seconds)
        self._process = None
        return process.wait()

    async def wait_for(self, condition: Callable[[], object], complaint: str, seconds: float = 20) -> None:
        """Wait until `condition` is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AgentError(f"{complaint}: {self.printed}")
            await self._postfix.pause(0.03)

    def reload(self) -> None:
        """Let it read the configuration again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    async def kill(self) -> None:
        """End all its processes at once, without any warning."""
        if self._process is not None:
            kill_group(self._process.pid)
            await self.ended()

    async def stop(self) -> None:
        """End it in order.

        Raises:
            AgentError: it does not end, or not with status 0, or left a traceback.
        """
        if self._process is None:
            return
        group = self._process.pid
        self._process.terminate()
        try:
            status = await self.ended()
        finally:
            kill_group(group)
        if status != 0:
            raise AgentError(f"the service ended with status {status} after SIGTERM: {self.printed}")
        if "Traceback" in self.printed or "Unhandled" in self.printed:
            raise AgentError(f"the service had an unhandled exception: {self.printed}")


class RootServiceAgent(ServiceAgent):
    """Our service, started by root: a supervisor with workers."""

    user = None


class PostfixAgent:
    """Postfix's own smtp(8) or lmtp(8), started by master(8)."""

    printed = ""

    def __init__(self, protocol: str, options: Sequence[str]) -> None:
        overrides = " ".join(f"-o {option[2:]}" for option in options if option.startswith("-o"))
        self.master_cf = f"{SERVICE} unix - - n - - {protocol} {overrides}\n"

    async def start(self) -> None:
        """master(8) starts it when mail comes."""

    async def stop(self) -> None:
        """master(8) ends it."""


Agent = ServiceAgent | PostfixAgent
