"""Connect to PostgreSQL servers from a thread, without stopping the others.

The library's own way to connect in one call, and to look up host names, keeps the interpreter's lock: all threads would wait, the
reactor among them. So names are looked up here, and each address is tried step by step.

Flow: pgsql.py connects with `connect`, and waits for replies with `wait_for`.
Sources: the documentation of libpq, "Database Connection Control Functions".
"""

import fcntl
import os
import select
import socket
import termios
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from itertools import zip_longest

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Error as PsycopgError

from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.sql_servers import CONNECT_SECONDS, LOOKUP_SECONDS, SqlError

_MOST_ADDRESSES = 100
"""Of a server: what a name server says must not keep a thread busy without end."""


def wait_for(descriptor: int, events: int, ends: float) -> bool:
    """Wait until something can be read from, or written to, a descriptor.

    Args:
        descriptor: may be any number, unlike with select(2).
        events: POLLIN, POLLOUT.
        ends: when it is too late, by the monotonic clock.

    Returns:
        False if it is too late.
    """
    waiting = select.poll()
    waiting.register(descriptor, events)
    left = ends - time.monotonic()
    return left > 0 and bool(waiting.poll(left * 1000))


def waiting_octets(descriptor: int) -> int:
    """How many octets can be read at once."""
    count = array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def connect(text: str) -> pq.abc.PGconn:
    """Connect to the first of the hosts and addresses that can be reached.

    Args:
        text: what libpq is to be told, as in a connection string or URI.

    Raises:
        SqlError: none can be.
    """
    problems: list[str] = []
    try:
        for each in _attempts(text, problems):
            if connection := _attempt(each, problems):
                return connection
    except (PsycopgError, ValueError) as error:
        problems.append(str(error))
    raise SqlError("".join(problems))


def _attempts(text: str, problems: list[str]) -> Iterator[dict[str, str]]:
    """What libpq is to be told for each address, one after the other."""
    told = {name: str(value) for name, value in conninfo_to_dict(text).items() if value is not None}
    # With one address at a time the library cannot look for a better one among all: this is what it would do.
    prefers_standby = told.get("target_session_attrs") == "prefer-standby"
    for wanted in ({"target_session_attrs": each} for each in ("standby", "any")) if prefers_standby else ({},):
        for host, address, port in _places(told):
            yield from _addressed({**told, **wanted, **port}, host, address, problems)


def _places(told: dict[str, str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Hosts, their addresses if these are known, and ports: each may be a list."""
    hosts = told.get("host", os.environ.get("PGHOST", "")).split(",")
    addresses = told.get("hostaddr", os.environ.get("PGHOSTADDR", "")).split(",")
    ports = told.get("port", "").split(",")
    for host, address, port in zip_longest(hosts, addresses, ports[: max(len(hosts), len(addresses))], fillvalue=None):
        used = ports[0] if port is None and len(ports) == 1 else port
        yield host or "", address or "", {"port": used} if used else {}


def _addressed(told: dict[str, str], host: str, address: str, problems: list[str]) -> Iterator[dict[str, str]]:
    """The attempts for one host."""
    if address or not host or host.startswith(("/", "@")) or _is_address(host):
        given = {name: value for name, value in (("host", host), ("hostaddr", address)) if value}
        yield {**{name: value for name, value in told.items() if name not in ("host", "hostaddr")}, **given}
        return
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problems.append(f'could not translate host name "{host}" to address: {reason}\n')
        return
    for each in list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MOST_ADDRESSES]:
        yield {**told, "host": host, "hostaddr": each}


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(host))
    return False


def _attempt(told: dict[str, str], problems: list[str]) -> pq.abc.PGconn | None:
    """Connect to one address; None, with one more problem, if that fails."""
    ends = time.monotonic() + _limit(told)
    connection = pq.PGconn.connect_start(to_wire(make_conninfo("", **told)))
    status = pq.PollingStatus.WRITING
    while connection.status != pq.ConnStatus.BAD:
        if status == pq.PollingStatus.OK:
            connection.nonblocking = 1
            return connection
        if status == pq.PollingStatus.FAILED:
            break
        events = select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT
        if not wait_for(connection.socket, events, ends):
            problems.append(_named("timeout expired\n", told))
            connection.finish()
            return None
        status = pq.PollingStatus(connection.connect_poll())
    problems.append(_named(to_text(connection.error_message), told))
    connection.finish()
    return None


def _limit(told: dict[str, str]) -> float:
    """How long connecting to one address may take, in seconds."""
    with suppress(ValueError):
        # The library counts 1 as 2, and 0 as no limit at all.
        asked = int(told.get("connect_timeout", CONNECT_SECONDS))
        return min(max(asked, 2), LOOKUP_SECONDS) if asked > 0 else LOOKUP_SECONDS
    return CONNECT_SECONDS


def _named(problem: str, told: dict[str, str]) -> str:
    """A problem with the name of the host, as the library would tell it had it looked up the name itself."""
    host, address = told.get("host", ""), told.get("hostaddr", "")
    return problem.replace(f'"{address}"', f'"{host}" ({address})') if host and address and host != address else problem
