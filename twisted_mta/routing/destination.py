"""The nexthop of a request as a list of Destinations, each of which is looked up when its turn comes.

Flow: delivery/ calls `parse_nexthop` with the nexthop of a DeliveryRequest, and routing/router.py with each Destination.
Sources: transport(5), smtp(8) and lmtp(8) (destination syntax); postconf(5) smtp_tcp_port, known_tcp_ports,
smtp_fallback_relay, smtp_tls_wrappermode; services(5).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from twisted_mta.dns.hostnames import valid_address, valid_hostname, valid_ipv6
from twisted_mta.dns.idna import DomainNameError, to_a_labels
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import DomainNotConverted, Event, FallbackIgnored, WrappermodeNeeded
from twisted_mta.routing.settings import RoutingSettings

SMTP_PORT = 25
SMTPS_PORT = 465
_HIGHEST_PORT = 65535
_PARSED_NEXTHOPS = 1024

_SEPARATORS = re.compile(r"[, \t\r\n]+")


class DestinationError(Exception):
    """A destination has no sense; `dsn` is what becomes of its mail: it waits until somebody has set that right."""

    def __init__(self, text: str, *events: Event) -> None:
        super().__init__(text)
        self.dsn = DsnStatus("4.3.5", text)
        self.events = events


@dataclass(frozen=True, slots=True)
class Destination:
    """One element of a nexthop.

    Attributes:
        text: the element as written, without LMTP's ``inet:``; the name of the site in policies and cache keys.
        host: host name or address, without brackets and ``ipv6:``; may be in Unicode; empty for a path.
        service: port or service as written, or the default.
        port: TCP port; 0 for a path.
        bracketed: written with brackets: neither MX nor SRV records are looked up.
        literal: `host` is an address.
        loop_detection: whether to look for ourselves among the hosts: only on the way to other machines' port 25.
        path: of a UNIX-domain socket; empty otherwise.
        is_fallback: comes from smtp_fallback_relay.
        problem: set if the element has no sense, which matters only when its turn comes.
        events: what there is to say when its turn comes, in every delivery; Router.route says it.
    """

    text: str
    host: str = ""
    service: str = ""
    port: int = 0
    bracketed: bool = False
    literal: bool = False
    loop_detection: bool = False
    path: str = ""
    is_fallback: bool = False
    problem: DsnStatus | None = None
    events: tuple[Event, ...] = ()


# Bounded; the settings object is part of the key, so that each configuration has entries of its own.
@lru_cache(_PARSED_NEXTHOPS)
def parse_nexthop(nexthop: str, settings: RoutingSettings) -> tuple[Destination, ...]:
    """Split a nexthop into destinations, and append the fallback relays.

    Args:
        nexthop: as the queue manager gave it.
        settings: say what a bare name means.

    Returns:
        At least one; a malformed one holds its problem, and keeps its place.
    """
    if settings.lmtp:
        prefix, colon, rest = nexthop.partition(":")
        if colon and prefix == "unix":
            return (_local(nexthop, rest, settings),)
        # Only once, for the whole nexthop: in "inet:a, inet:b" the second one is a host named inet.
        if colon and prefix == "inet":
            nexthop = rest
    elements = _split(nexthop)
    if not elements:
        return (_unusable(nexthop, DestinationError("empty nexthop hostname")),)
    return tuple(
        _destination(text, settings, is_fallback=at >= len(elements))
        for at, text in enumerate(elements + _split(settings.fallback_relay))
    )


def _split(text: str) -> list[str]:
    return [element for element in _SEPARATORS.split(text) if element]


def _local(nexthop: str, path: str, settings: RoutingSettings) -> Destination:
    if not path:
        return _unusable(nexthop, DestinationError(f"missing pathname in server description: {nexthop}"))
    ignored = (FallbackIgnored(settings.fallback_relay),) if settings.fallback_relay else ()
    return Destination(nexthop, path=path, events=ignored)


def _destination(text: str, settings: RoutingSettings, *, is_fallback: bool) -> Destination:
    try:
        return parse_destination(text, settings, is_fallback=is_fallback)
    except DestinationError as error:
        return _unusable(text, error, is_fallback=is_fallback)


def _unusable(text: str, error: DestinationError, *, is_fallback: bool = False) -> Destination:
    return Destination(text, problem=error.dsn, events=error.events, is_fallback=is_fallback)


def parse_destination(text: str, settings: RoutingSettings, *, is_fallback: bool = False) -> Destination:
    """Read ``host``, ``host:service``, ``[host]`` or ``[host]:service``.

    Args:
        text: one element of a nexthop or of smtp_fallback_relay.
        settings: for the default port and the names of ports.
        is_fallback: where it comes from.

    Raises:
        DestinationError: no such form, no valid host, or no such port.
    """
    host, service, bracketed = _host_and_service(text, settings.default_service)
    if not host and not bracketed:
        raise DestinationError(f"missing host information in server description: {text}")
    if not service:
        raise DestinationError(f"missing service information in server description: {text}")
    literal = valid_address(host)
    if not literal:
        _check_hostname(host, text, settings)
    port = _port(service, text, settings)
    return Destination(
        text=text,
        host=host,
        service=service,
        port=port,
        bracketed=bracketed,
        literal=literal,
        loop_detection=port == SMTP_PORT and not settings.lmtp,
        is_fallback=is_fallback,
        events=_advice(port, settings),
    )


def _host_and_service(text: str, default_service: str) -> tuple[str, str, bool]:
    """Take an element apart: host without brackets, service, whether there were brackets."""
    if not text.startswith("["):
        host, _, service = text.rpartition(":") if ":" in text else (text, "", "")
        return host, service or default_service, False
    host, bracket, rest = text[1:].partition("]")
    if not bracket:
        raise DestinationError(f'missing "]" in server description: {text}')
    if rest and not rest.startswith(":"):
        raise DestinationError(f'garbage after "]" in server description: {text}')
    if host[:5].lower() == "ipv6:":
        host = host[5:]
        if not valid_ipv6(host):
            raise DestinationError(f"malformed IPv6 address in server description: {text}")
    return host, rest[1:] or default_service, True


def _check_hostname(host: str, text: str, settings: RoutingSettings) -> None:
    why = f"valid hostname or network address required in server description: {text}"
    if not host.isascii() and settings.idna:
        try:
            to_a_labels(host, settings.idna2003)
        except DomainNameError as error:
            raise DestinationError(why, DomainNotConverted(host, str(error))) from None
    elif not valid_hostname(host):
        raise DestinationError(why)


def _port(service: str, text: str, settings: RoutingSettings) -> int:
    """The port number of a service."""
    known = settings.known_tcp_ports.get(service)
    if known is not None:
        service = str(known)
    if not ("0" <= service[0] <= "9"):
        port = settings.service_port(service)
        if port is None:
            raise DestinationError(f"unknown service: {service}/tcp")
        return port
    if not (service.isascii() and service.isdigit()):
        raise DestinationError(f"garbage after numerical service in server description: {text}")
    significant = service.lstrip("0")
    if not significant or len(significant) > len(str(_HIGHEST_PORT)) or int(significant) > _HIGHEST_PORT:
        raise DestinationError(f"bad network port: {service} for destination: {text}")
    return int(significant)


def _advice(port: int, settings: RoutingSettings) -> tuple[Event, ...]:
    if port == SMTPS_PORT and settings.helpful_warnings and not settings.wrappermode:
        return (WrappermodeNeeded("lmtp" if settings.lmtp else "smtp"),)
    return ()
