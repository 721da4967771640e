"""The two delivery agents that are compared, and how each joins a Postfix instance.

Flow: bench.py starts one for each measurement; measure.py reads the cost of its processes.
Sources: smtp(8), master(5), scache(8), tlsproxy(8), tlsmgr(8).
"""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.measure import family
from benchmarks.postfix_instance import PostfixInstance
from benchmarks.subprocesses import check_alive, running
from benchmarks.waiting import wait_until

SERVICE = "agent"
POSTFIX_NAME = "smtp(8)"
OUR_NAME = "twisted_mta"
OUR_COMMAND = (
    "{python} {twistd} -n --pidfile= smtpdeliver --config-directory {config} --service {service} --protocol smtp"
)

# The words in braces that a command line may have.
COMMAND_WORDS = ("python", "twistd", "config", "service")

_USER = "postfix"
_START_SECONDS = 20
_GRACE_SECONDS = 5
_CHECKOUT = Path(__file__).resolve().parent.parent
_ACCEPTS_CONNECTIONS = 0x10000  # a flag in /proc/net/unix


class RunningAgent(Protocol):
    """An agent that takes deliveries."""

    def check(self) -> None:
        """See, at little cost, that it still runs.

        Raises:
            BenchmarkError: it has ended.
        """

    def processes(self) -> list[int]:
        """All processes that make up the agent now."""

    def helpers(self) -> list[int]:
        """Other processes, which work for this agent alone."""


class Agent(Protocol):
    """A delivery agent that can be put into a Postfix instance."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def master_entry(self, concurrency: int) -> str:
        """Its line in master.cf, or nothing, if it is not a child of master(8)."""

    def joined(self, postfix: PostfixInstance) -> contextlib.AbstractContextManager[RunningAgent]:
        """Let it serve a running instance for the length of a block."""


@dataclass(frozen=True, slots=True)
class RunningPostfixAgent:
    """Postfix's smtp(8) as a child of master(8)."""

    postfix: PostfixInstance

    def check(self) -> None:
        """The instance sees to its daemons."""
        self.postfix.check()

    def processes(self) -> list[int]:
        """The smtp(8) processes; more come as they are needed, none goes."""
        return self.postfix.processes("smtp")

    def helpers(self) -> list[int]:
        """The connection cache, and what does TLS for it and keeps TLS sessions; no other agent in the instance uses them."""
        return [pid for name in ("scache", "tlsproxy", "tlsmgr") for pid in self.postfix.processes(name)]


@dataclass(frozen=True, slots=True)
class PostfixAgent:
    """Postfix's own smtp(8)."""

    name: str = POSTFIX_NAME

    def master_entry(self, concurrency: int) -> str:
        """Let master(8) start it."""
        return f"{SERVICE} unix - - n - {concurrency} smtp\n"

    @contextlib.contextmanager
    def joined(self, postfix: PostfixInstance) -> Iterator[RunningAgent]:
        """It is there already."""
        yield RunningPostfixAgent(postfix)


@dataclass(frozen=True, slots=True)
class RunningCommand:
    """A command and its descendants."""

    process: subprocess.Popen[bytes]
    output: Path

    def check(self) -> None:
        """See that the command still runs."""
        check_alive(self.process, self.output, OUR_NAME)

    def processes(self) -> list[int]:
        """The command, and its workers."""
        return family(self.process.pid)

    def helpers(self) -> list[int]:
        """All that it needs is in its own processes."""
        return []


@dataclass(frozen=True, slots=True)
class CommandAgent:
    """An agent that listens where qmgr(8) looks for the service, without master(8).

    Args:
        template: its command line, with COMMAND_WORDS in braces.
        name: what the report calls it.
    """

    template: str
    name: str = OUR_NAME

    def master_entry(self, concurrency: int) -> str:
        """It has none: master(8) would own the socket."""
        return ""

    @contextlib.contextmanager
    def joined(self, postfix: PostfixInstance) -> Iterator[RunningAgent]:
        """Run the command as user postfix, and wait until it listens."""
        twistd = Path(sys.executable).with_name("twistd")
        values = (sys.executable, twistd, postfix.config_directory, SERVICE)
        words = dict(zip(COMMAND_WORDS, values, strict=True))
        command = [word.format_map(words) for word in shlex.split(self.template)]
        output = postfix.maillog.with_name("agent.out")
        environment = dict(os.environ, PYTHONPATH=str(_CHECKOUT), MAIL_CONFIG=str(postfix.config_directory))
        with running(command, output, user=_USER, environment=environment, grace_seconds=_GRACE_SECONDS) as process:
            agent = RunningCommand(process, output)

            def ready() -> bool:
                agent.check()
                return _listens()

            wait_until(ready, f"{self.name} on private/{SERVICE}", _START_SECONDS)
            yield agent


def _listens() -> bool:
    """Whether somebody listens for the service; asked without a connection, which a service takes for a queue manager's."""
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS_CONNECTIONS:
            path = Path(fields[7])
            # A service may bind another name first, and put the socket into place once all is ready.
            if path.parent.name == "private" and SERVICE in path.name:
                return True
    return False
