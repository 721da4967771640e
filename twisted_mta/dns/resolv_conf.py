"""The resolver configuration file: which name servers to ask, and how.

Flow: dns/client.py asks for the present configuration with each lookup; dns/resolution.py follows it.
Sources: resolv.conf(5).
"""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IReactorTime

from twisted_mta.dns.hostnames import valid_hostname
from twisted_mta.model.events import Emit, ResolverUnusable

DEFAULT_PATH = "/etc/resolv.conf"
DNS_PORT = 53
MOST_SERVERS = 3
MOST_NDOTS = 15
LONGEST_TIMEOUT = 30
MOST_ATTEMPTS = 5
CHECK_SECONDS = 1.0
"""How often the file is looked at, at most."""

_LARGEST_FILE = 1 << 16


class Server(NamedTuple):
    """A name server: an IPv4 or IPv6 address (which may have a zone) and a port."""

    address: str
    port: int = DNS_PORT


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What the file says.

    Attributes:
        servers: in the order of asking; at least one.
        search: domains to append to names, without final dots.
        ndots: a name with this many dots is tried as it stands first.
        timeout: seconds to wait for the first server.
        attempts: how often to go round the servers.
        rotate: whether each lookup begins with another server.
        edns0: whether every query offers to take large replies.
        use_tcp: whether all is asked by TCP (``use-vc``).
        reload: whether changes of the file are noticed.
    """

    servers: tuple[Server, ...] = (Server("127.0.0.1"),)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: int = 5
    attempts: int = 2
    rotate: bool = False
    edns0: bool = False
    use_tcp: bool = False
    reload: bool = True

    def seconds_for(self, place: int) -> float:
        """How long to wait for the server at this place of the list: the later the longer, but shared by all."""
        seconds = self.timeout if place == 0 else (self.timeout << place) // len(self.servers)
        return max(seconds, 1)


_FLAGS = {
    "rotate": ("rotate", True),
    "edns0": ("edns0", True),
    "use-vc": ("use_tcp", True),
    "no-reload": ("reload", False),
}
_NUMBERS = {
    "ndots": ("ndots", 0, MOST_NDOTS),
    "timeout": ("timeout", 1, LONGEST_TIMEOUT),
    "attempts": ("attempts", 1, MOST_ATTEMPTS),
}


def is_server_address(text: str) -> bool:
    """Whether a text can be the address of a name server: IPv4, or IPv6 with or without a zone."""
    return isIPAddress(text) or isIPv6Address(text)


def parse_resolv_conf(
    text: str, hostname: str = "", environ: Mapping[str, str] | None = None
) -> tuple[ResolvConf, list[str]]:
    """Read the text of a resolver configuration file.

    Args:
        text: the file; what it says of unknown things is passed over.
        hostname: the name of this machine, whose domain is searched where the file has no list.
        environ: LOCALDOMAIN and RES_OPTIONS count where they are set.

    Returns:
        The configuration, and what is wrong with the file, each problem with its line number.
    """
    environ = environ or {}
    servers: list[Server] = []
    search = [hostname.partition(".")[2]]
    options: list[str] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line[0] in "#;" or line[0].isspace():
            continue
        keyword, *values = line.split()
        if keyword == "nameserver" and values:
            if not is_server_address(values[0]):
                problems.append(f"line {number}: no address of a name server: {values[0]}")
            elif len(servers) < MOST_SERVERS:
                servers.append(Server(values[0]))
        elif keyword == "domain" and values:
            search = values[:1]
        elif keyword == "search" and values:
            search = values
        elif keyword == "options":
            options += values
    if environ.get("LOCALDOMAIN", "").strip():
        search = environ["LOCALDOMAIN"].split()
    options += environ.get("RES_OPTIONS", "").split()
    domains = [domain.rstrip(".") for domain in search]
    conf = ResolvConf(search=tuple(domain for domain in domains if valid_hostname(domain)))
    if servers:
        conf = replace(conf, servers=tuple(servers))
    return replace(conf, **_read_options(options)), problems


def _read_options(options: list[str]) -> dict[str, Any]:
    """The fields of ResolvConf that the options set; unknown options and numbers that are none are passed over."""
    values: dict[str, Any] = {}
    for option in options:
        keyword, _, number = option.partition(":")
        if option in _FLAGS:
            name, value = _FLAGS[option]
            values[name] = value
        elif keyword in _NUMBERS and number.isascii() and number.isdigit():
            name, least, most = _NUMBERS[keyword]
            values[name] = max(least, min(int(number[:9]), most))
    return values


class ResolvConfFile:
    """A resolver configuration file, read again when it has changed.

    Args:
        clock: tells when to look again.
        emit: is told what is wrong with the file.
        path: the file; while it is absent, the name server of this machine is asked.
        environ: for LOCALDOMAIN and RES_OPTIONS.
        hostname: gives the name of this machine.
    """

    def __init__(
        self,
        clock: IReactorTime,
        emit: Emit,
        path: str = DEFAULT_PATH,
        environ: Mapping[str, str] | None = None,
        hostname: Callable[[], str] = socket.gethostname,
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._path = path
        self._environ = environ
        self._hostname = hostname
        self._conf = ResolvConf()
        self._seen: tuple[int, int, int] | str | None = "never"
        self._next_check = float("-inf")

    def current(self) -> ResolvConf:
        """The configuration as of now, or of less than CHECK_SECONDS ago."""
        now = self._clock.seconds()
        # A clock that was set back must not keep a change from being noticed.
        if (now >= self._next_check or now < self._next_check - CHECK_SECONDS) and self._conf.reload:
            self._next_check = now + CHECK_SECONDS
            self._look()
        return self._conf

    def _look(self) -> None:
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            seen = None
        if seen == self._seen:
            return
        self._seen = seen
        try:
            with open(self._path, encoding="ascii", errors="replace") as file:
                text = file.read(_LARGEST_FILE)
        except FileNotFoundError:
            text = ""
        except OSError as error:
            self._emit(ResolverUnusable(f"open {self._path}: {error.strerror}"))
            return
        self._conf, problems = parse_resolv_conf(text, self._hostname(), self._environ)
        for problem in problems:
            self._emit(ResolverUnusable(f"{self._path}, {problem}"))
