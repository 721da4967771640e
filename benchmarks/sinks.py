"""The servers that the agents talk to: mail servers that count, and a name server.

Flow: bench.py starts them, and waits for their counts.
Sources: smtp-sink(1).
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.subprocesses import check_alive, last_line, running
from benchmarks.waiting import BenchmarkError, wait_until

_START_SECONDS = 10
_TAIL_OCTETS = 200  # more than the last count takes
_CHECKOUT = Path(__file__).resolve().parent.parent


class Sink:
    """A running mail server that writes its count down whenever it changes."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, count_name: bytes) -> None:
        self._process = process
        self._output = output
        self._pattern = re.compile(rb"\b" + count_name + rb"=(\d+)[\r\n]")

    def count(self) -> int:
        """Messages so far.

        Raises:
            BenchmarkError: the server has ended.
        """
        check_alive(self._process, self._output, "the mail server")
        with self._output.open("rb") as stream:
            stream.seek(max(0, self._output.stat().st_size - _TAIL_OCTETS))
            counts = self._pattern.findall(stream.read())
        return int(counts[-1]) if counts else 0

    def release(self) -> None:
        """Let go what a holding sink holds."""
        os.kill(self._process.pid, signal.SIGUSR1)


@contextlib.contextmanager
def counting_sink(directory: Path, address: str, port: int, sessions: int) -> Iterator[Sink]:
    """Run smtp-sink(1), the fastest server there is: it counts messages, and forgets them.

    Args:
        directory: where its output goes.
        address: where it listens.
        port: where it listens.
        sessions: how many there may be at a time.
    """
    output = directory / "sink.out"
    # Without -u it refuses to run as root.
    command = ["smtp-sink", "-u", "nobody", "-c", "-m", str(sessions), f"{address}:{port}", "1024"]
    with running(command, output) as process:
        wait_until(lambda: _listens(process, output, port), f"smtp-sink on port {port}", _START_SECONDS)
        yield Sink(process, output, b"mesg")


@contextlib.contextmanager
def holding_sink(directory: Path, address: str, port: int) -> Iterator[Sink]:
    """Run the server that lets the client wait for the reply to its end of data, and counts those that wait."""
    output = directory / f"holding_sink-{port}.out"
    with _own_server("benchmarks.holding_sink", [address, str(port)], output) as process:
        yield Sink(process, output, b"held")


@contextlib.contextmanager
def tls_sink(directory: Path, address: str, port: int) -> Iterator[Sink]:
    """Run the server that takes mail inside TLS only, and counts it."""
    output = directory / "tls_sink.out"
    with _own_server("benchmarks.tls_sink", [address, str(port), str(directory)], output) as process:
        yield Sink(process, output, b"mesg")


@contextlib.contextmanager
def name_server(directory: Path, address: str, domain: str, exchanger_address: str, ttl: int) -> Iterator[None]:
    """Run the name server, where one domain has one exchanger with one address; all that lives for `ttl` seconds."""
    arguments = [address, domain, exchanger_address, str(ttl)]
    with _own_server("benchmarks.name_server", arguments, directory / "name_server.out"):
        yield


@contextlib.contextmanager
def _own_server(module: str, arguments: Sequence[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server of this package, which prints a line once it listens."""
    environment = dict(os.environ, PYTHONPATH=str(_CHECKOUT))
    with running([sys.executable, "-m", module, *arguments], output, environment=environment) as process:

        def ready() -> bool:
            check_alive(process, output, module)
            return bool(last_line(output))

        wait_until(ready, module, _START_SECONDS)
        yield process


def _listens(process: subprocess.Popen[bytes], output: Path, port: int) -> bool:
    """Whether somebody listens on the TCP port; asked without a connection, which the sink would count."""
    check_alive(process, output, "smtp-sink")
    local_port, listening = f":{port:04X}", "0A"
    try:
        sockets = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError as error:
        raise BenchmarkError(f"cannot read /proc/net/tcp: {error.strerror}") from error
    return any(fields[1].endswith(local_port) and fields[3] == listening for fields in map(str.split, sockets))
