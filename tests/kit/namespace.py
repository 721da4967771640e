"""A private network, mount and process namespace for tests with real mail servers.

`enter` starts the running trial once more inside, so that ``python -m twisted.trial tests.interop`` is all that root has to
say. Nothing that the tests do there can reach the outside, the addresses are always the same, /etc/resolv.conf and /etc/hosts
are the tests' own, and whatever they leave running ends with them.

Flow: tests/interop/__init__.py calls `enter`; test cases skip with the reason of `why_not`.
Sources: unshare(1); ip-route(8), "local" and "unreachable"; RFC 5737 and RFC 3849 for the addresses.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

WORK = Path("/mnt")
"""Where tests keep their files inside: an empty file system in memory, open to every user."""

NAME_SERVER = "127.0.0.1"
"""What /etc/resolv.conf says inside; a test's DNS server listens here, on port 53."""

LOCAL_NETWORKS = ("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64")
"""Any address of these belongs to this machine inside; a port without a server refuses connections."""

UNREACHABLE_NETWORK = "203.0.113.0/24"
"""Connecting to these addresses fails at once with EHOSTUNREACH."""

_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_MARK = "TWISTED_MTA_NAMESPACE"


def inside() -> bool:
    """Whether this process has been started by `enter`: the mark alone could have been inherited from anywhere."""
    return os.environ.get(_MARK) == "1" and os.getpid() == 1


def why_not() -> str:
    """Why tests that need the namespace cannot run; empty: they can."""
    if inside():
        return ""
    if os.geteuid() != 0:
        return "needs root, for a private network and a private Postfix"
    for program, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if shutil.which(program) is None:
            return f"needs {program} (Debian package {package})"
    probe = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return f"this machine does not permit private namespaces: {probe.stderr.strip()}"
    return "runs under trial only: python -m twisted.trial tests.interop"


def enter() -> None:
    """Start the running trial again inside new namespaces, if it is one and that is possible; inside, set them up.

    Does not return where it starts trial again: that takes the place of this process.
    """
    if inside():
        _set_up()
    elif _under_trial() and why_not().startswith("runs under trial"):
        sys.stdout.flush()
        sys.stderr.flush()
        command = [*_UNSHARE, sys.executable, *sys.orig_argv[1:]]
        os.execvpe(command[0], command, os.environ | {_MARK: "1"})


def _under_trial() -> bool:
    return "twisted.trial" in sys.orig_argv or any(Path(word).name == "trial" for word in sys.orig_argv[:2])


def _set_up() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=4g", "tmpfs", str(WORK)], check=True)
    for name in ("all", "default", "lo"):
        switch = Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6")
        if switch.exists():
            switch.write_text("0")
    routes = [f"route add local {network} dev lo" for network in LOCAL_NETWORKS]
    batch = ["link set lo up", *routes, f"route add unreachable {UNREACHABLE_NETWORK}"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(batch), text=True, check=True)
    show(Path("/etc/resolv.conf"), f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:2\n")
    show(Path("/etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")


def show(target: Path, text: str) -> None:
    """Show `text` as the content of a file, in this mount namespace only."""
    source = WORK / target.name
    source.write_text(text)
    source.chmod(0o644)
    subprocess.run(["mount", "--bind", str(source), str(target.resolve())], check=True)
