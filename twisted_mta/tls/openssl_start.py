"""Starting the process again with the configuration of OpenSSL that main.cf asks for.

By the time when main.cf is read, the library has long been loaded, with Twisted: only a new start can change what it reads.
The process stays the same for whoever started it: same number, same descriptors, same command line.

Flow: service.makeService calls `start_again_if_needed` first of all; tls/engine.py asks whether what is wanted is in force.
Sources: openssl-env(7) of OpenSSL; execve(2); memfd_create(2).
"""

import os
import sys
from collections.abc import Callable, Mapping

from twisted_mta.tls.openssl_conf import Needed, OpensslConfiguration

OPENSSL_CONF = "OPENSSL_CONF"

MARK = "SMTPDELIVER_OPENSSL_CONF"
"""The variable that says what a process was started again for, and which process: its children are other ones."""

Exec = Callable[[str, list[str], Mapping[str, str]], object]


def start_again_if_needed(
    wanted: OpensslConfiguration,
    environment: Mapping[str, str] = os.environ,
    execve: Exec = os.execve,
    make_file: Callable[[str], str] | None = None,
) -> None:
    """Start again, unless the library was loaded with what is wanted.

    Args:
        wanted: the configuration.
        environment: of this process.
        execve: replaces the process; in that case nothing comes back.
        make_file: makes a file with some content that the new start can open, and gives its path.
    """
    needed = wanted.needed()
    if (needed is None and MARK not in environment) or (needed and _was_started_for(wanted, needed, environment)):
        return
    changed = {name: value for name, value in environment.items() if name not in (MARK, OPENSSL_CONF)}
    if needed:
        changed[OPENSSL_CONF] = needed.path or (make_file or _file_in_memory)(needed.content)
        changed[MARK] = _mark(wanted)
    sys.stdout.flush()
    sys.stderr.flush()
    execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], changed)


def is_in_force(wanted: OpensslConfiguration, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the library was loaded with what is wanted now.

    Args:
        wanted: the configuration, without a problem.
        environment: of this process.
    """
    found = environment.get(MARK, "")
    if wanted.needed() is None:
        return not found
    return found.partition(":")[2] == _mark(wanted).partition(":")[2]


def _was_started_for(wanted: OpensslConfiguration, needed: Needed, environment: Mapping[str, str]) -> bool:
    if needed.path:
        return environment.get(OPENSSL_CONF) == needed.path and is_in_force(wanted, environment)
    return environment.get(MARK) == _mark(wanted)  # a file in memory is not there for children


def _mark(wanted: OpensslConfiguration) -> str:
    return f"{os.getpid()}:{wanted.file}:{wanted.name}"


def _file_in_memory(content: str) -> str:
    """A file that lasts as long as this process, also past its new start, and never stands on a disk."""
    number = os.memfd_create("openssl.cnf", 0)
    os.write(number, content.encode("utf-8", "surrogateescape"))
    return f"/proc/self/fd/{number}"
