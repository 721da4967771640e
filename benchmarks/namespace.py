"""A world of its own for a benchmark: network, processes, mounts and resolver, all gone when it ends.

Flow: program.py runs itself again inside (`run_inside`), and furnishes the place there (`furnish`).
Sources: unshare(1), setpriv(1), namespaces(7), resolv.conf(5).
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.waiting import BenchmarkError

NAME_SERVER_ADDRESS = "127.0.0.1"
# Not an address of Postfix's own: smtp(8) would find that mail loops back to itself.
SINK_ADDRESS = "192.0.2.1"

_TOOLS = ("unshare", "setpriv", "ip", "mount", "smtp-sink")
_CHECKOUT = Path(__file__).resolve().parent.parent
# How many datagrams a UNIX socket holds, such as postlogd's.
_LOG_QUEUE_LIMIT = Path("/proc/sys/net/unix/max_dgram_qlen")
# 1,000 sessions need three files each in our service, and one each in qmgr(8) and in the sink.
_OPEN_FILES = 8192


def run_inside(module: str, arguments: Sequence[str]) -> int:
    """Run a module in new namespaces, as their first process, with a directory of its own as the first argument.

    The kernel ends every process inside when that first process ends, and that when this one does, however it does.

    Returns:
        Its exit status.

    Raises:
        BenchmarkError: we are not root, or a tool is missing.
    """
    if os.geteuid() != 0:
        raise BenchmarkError("must run as root: it starts Postfix in a network of its own")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_search_path()) is None]
    if missing:
        raise BenchmarkError(f"not found: {', '.join(missing)} (packages util-linux, iproute2 and postfix have them)")
    with tempfile.TemporaryDirectory(prefix="twisted_mta-benchmark-") as directory:
        os.chmod(directory, 0o755)  # user postfix must get through
        shutil.copy(_LOG_QUEUE_LIMIT, directory)
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
        command += ["--mount-proc", sys.executable, "-m", module, directory, *arguments]
        environment = dict(os.environ, PATH=_search_path(), PYTHONPATH=str(_CHECKOUT))
        # Its own session, so that ctrl-C comes to us alone.
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            return process.wait()
        finally:
            process.kill()
            process.wait()


def furnish(directory: Path) -> None:
    """Give the namespaces what the benchmark needs: memory as a disk, addresses, a resolver, enough open files.

    Args:
        directory: becomes the root of an empty tmpfs.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, _OPEN_FILES), max(hard, _OPEN_FILES)))
    # A new network has the kernel's own, which is far less than what systemd sets; the log is slower then.
    _LOG_QUEUE_LIMIT.write_bytes((directory / _LOG_QUEUE_LIMIT.name).read_bytes())
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "benchmark", str(directory))
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{SINK_ADDRESS}/32", "dev", "lo")
    resolv_conf = directory / "resolv.conf"
    resolv_conf.write_text(f"nameserver {NAME_SERVER_ADDRESS}\n")
    _run("mount", "--bind", str(resolv_conf), str(Path("/etc/resolv.conf").resolve()))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: {done.stderr.strip()}")


def _search_path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
