"""Where the servers of tables are: ``inet:host:port`` and ``unix:path`` as endpoints.

Flow: tcp.py, socketmap.py and memcache.py read their names and parameters with it; asking.py tells its failures with it.
Sources: socketmap_table(5), memcache_table(5), tcp_table(5); the texts are those of a running Postfix.
"""

import os
import re
import socket
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError, UserError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from twisted_mta.config.errors import ConfigError
from twisted_mta.tables.opening import TableRequest

_HOST_AND_PORT = re.compile(r"\[([^\[\]]+)\]:([^:]+)|([^:\[\]]+):([^:]+)")
_LARGEST_PORT = 65535


def parse_host_and_port(text: str) -> tuple[str, int]:
    """Read ``host:port`` or ``[address]:port``; the port may be the name of a service.

    Raises:
        ConfigError: it has no such form, or there is no such service.
    """
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ConfigError(f'need host:port instead of "{text}"')
    host, port = match[1] or match[3], match[2] or match[4]
    if not (port.isascii() and port.isdigit()):
        try:
            return host, socket.getservbyname(port, "tcp")
        except (OSError, ValueError):  # ValueError: no text that a service could have
            raise ConfigError(f"host or service {text} not found: Servname not supported for ai_socktype") from None
    if len(port) > 5 or int(port) > _LARGEST_PORT:
        raise ConfigError(f"host or service {text} not found: Servname not supported for ai_socktype")
    return host, int(port)


def inet_endpoint(request: TableRequest, address: str, timeout_seconds: float) -> IStreamClientEndpoint:
    """An endpoint for ``host:port``; tries all addresses of the host.

    Raises:
        TableError: the address is malformed, or there is no network to be used.
    """
    try:
        host, port = parse_host_and_port(address)
    except ConfigError as error:
        raise request.unusable(error.text) from error
    return HostnameEndpoint(reactor_of(request), host, port, timeout=timeout_seconds)


def endpoint_of(request: TableRequest, service: str, timeout_seconds: float) -> tuple[IStreamClientEndpoint, str]:
    """An endpoint for ``inet:host:port``, ``unix:path`` or ``local:path``, and the address alone, as it is shown.

    Raises:
        ConfigError: it has no such form.
        TableError: the address is malformed, or there is no network to be used.
    """
    transport, colon, address = service.partition(":")
    if not colon or not address:
        raise ConfigError(f'need service transport:endpoint instead of "{service}"')
    if transport == "inet":
        return inet_endpoint(request, address, timeout_seconds), address
    if transport in ("unix", "local"):
        path = os.path.join(request.context.queue_directory, address)
        return UNIXClientEndpoint(reactor_of(request), path, timeout=timeout_seconds), address
    raise ConfigError(f"invalid transport name: {transport} in service: {service}")


def reactor_of(request: TableRequest) -> Any:
    """The reactor.

    Raises:
        TableError: there is none.
    """
    if request.context.reactor is None:
        raise request.unusable(f"{request.table}: tables of this type need the network")
    return request.context.reactor


def connect_problem(failure: Failure) -> str:
    """Why a connection could not be made, in the words of the system."""
    error = failure.value
    if isinstance(error, DNSLookupError):
        return "host not found: " + (str(error.args[0]) if error.args else "no address")
    if isinstance(error, ConnectTimeoutError | UserError) or failure.check(TimeoutError):
        return "Connection timed out"
    number = error.osError if isinstance(error, ConnectError) else getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else str(error) or type(error).__name__
