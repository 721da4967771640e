"""The addresses at which this machine gets mail: by them it knows itself among the mail exchangers of a domain.

Flow: assembly.py has them computed once per configuration; routing/ looks for them in what it found, delivery/ asks which
address to bind to.
Sources: postconf(5) inet_interfaces, proxy_interfaces, inet_protocols, smtp_bind_address; RFC 5321 section 5.1.
"""

import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path

import ifaddr

from twisted_mta.config.errors import ConfigError
from twisted_mta.routing.candidates import Family
from twisted_mta.routing.literal import numeric_address, packed_address

_INTERFACE_IS_UP = 1

ListInterfaces = Callable[[], Iterable[str]]
"""Lists the addresses of all network interfaces that are up."""

Resolve = Callable[[str, Family], Sequence[str]]
"""Resolves a host name to its addresses of one family; an empty list if there are none."""


class OwnAddresses:
    """The addresses of this machine: those of its network interfaces that get mail, and of proxies in front of it."""

    def __init__(self, interfaces: Sequence[str], proxies: Sequence[str] = ()) -> None:
        """Take the addresses.

        Args:
            interfaces: addresses that inet_interfaces stands for.
            proxies: addresses that proxy_interfaces stands for.
        """
        self.interfaces = tuple(interfaces)
        self._packed = frozenset(map(packed_address, (*interfaces, *proxies))) - {b""}

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and packed_address(address) in self._packed

    def implied_bind_address(self, family: Family) -> str | None:
        """The source address where smtp_bind_address is empty.

        Args:
            family: of the connection.

        Returns:
            The one address of this family in inet_interfaces; None if there are more, or if it is a loopback address:
            then the system chooses.
        """
        mine = [address for address in self.interfaces if (":" in address) == (family is Family.IPV6)]
        if len(mine) != 1 or ip_address(mine[0]).is_loopback:
            return None
        return mine[0]


def own_addresses(
    inet_interfaces: Sequence[str],
    proxy_interfaces: Sequence[str],
    families: Sequence[Family],
    *,
    list_interfaces: ListInterfaces | None = None,
    resolve: Resolve | None = None,
) -> OwnAddresses:
    """Evaluate inet_interfaces and proxy_interfaces. Asks the system, and may wait for it: not for the reactor's thread.

    Args:
        inet_interfaces: the words of the parameter.
        proxy_interfaces: the words of the parameter.
        families: the address families in use.
        list_interfaces: lists the interfaces' addresses; None: asks the system.
        resolve: resolves host names; None: getaddrinfo(3).

    Raises:
        ConfigError: a name without address, or an address of no interface.
    """
    resolve = resolve or system_resolve
    if not families:
        return OwnAddresses(())
    local = _canonical((list_interfaces or system_interfaces)(), families)
    match inet_interfaces:
        case ["all"]:
            interfaces = [address for address in local if not ip_address(address).is_unspecified]
            if not interfaces:
                raise ConfigError("could not find any active network interfaces", parameter="inet_interfaces")
        case ["loopback-only"]:
            interfaces = [address for address in local if ip_address(address).is_loopback]
        case _:
            interfaces = _resolve_all("inet_interfaces", inet_interfaces, families, resolve)
            for address in interfaces:
                if address not in local:
                    text = f"parameter inet_interfaces: no local interface found for {address}"
                    raise ConfigError(text, parameter="inet_interfaces")
    return OwnAddresses(interfaces, _resolve_all("proxy_interfaces", proxy_interfaces, families, resolve))


def _resolve_all(parameter: str, listed: Sequence[str], families: Sequence[Family], resolve: Resolve) -> list[str]:
    """The addresses of the names and addresses in a list, each address once."""
    found: dict[str, None] = {}
    for item in listed:
        host = item[1:-1] if item.startswith("[") and item.endswith("]") else item
        literal = numeric_address(host)
        if literal:
            addresses = [literal[1]] if literal[0] in families else []
        else:
            addresses = [address for family in families for address in resolve(host, family)]
        if not addresses:
            raise ConfigError(f"config variable {parameter}: host not found: {item}", parameter=parameter)
        found.update(dict.fromkeys(addresses))
    return list(found)


def _canonical(addresses: Iterable[str], families: Sequence[Family]) -> list[str]:
    """Addresses of some families, in canonical text, each once."""
    literals = (numeric_address(address.partition("%")[0]) for address in addresses)
    return list(dict.fromkeys(literal[1] for literal in literals if literal and literal[0] in families))


def system_interfaces() -> list[str]:
    """The addresses of all network interfaces of this machine that are up."""
    return [
        address.ip if isinstance(address.ip, str) else address.ip[0]
        for adapter in ifaddr.get_adapters()
        if _is_up(adapter.name)
        for address in adapter.ips
    ]


def _is_up(interface: str) -> bool:
    """Whether an interface is up; where the system does not say so in /sys, it counts as up."""
    try:
        flags = int(Path("/sys/class/net", interface, "flags").read_text("ascii"), 16)
    except (OSError, ValueError):
        return True
    return bool(flags & _INTERFACE_IS_UP)


def system_resolve(host: str, family: Family) -> list[str]:
    """Resolve a host name with getaddrinfo(3), which may block."""
    try:
        entries = socket.getaddrinfo(host, None, family.number, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in entries))
