"""In which order addresses are tried: shuffle, preference, family, and a fair share for each family.

Flow: routing/mx.py, routing/srv.py and routing/router.py order what the look-ups found.
Sources: RFC 5321 section 5.1; postconf(5) smtp_randomize_addresses, smtp_address_preference,
smtp_balance_inet_protocols, smtp_mx_address_limit.
"""

from collections.abc import MutableSequence, Sequence
from typing import Any, NamedTuple, Protocol

from twisted_mta.routing.candidates import Family
from twisted_mta.routing.settings import RoutingSettings

MOST_ADDRESSES = 100
"""The most addresses kept for one destination: what a zone of another's making may cost us."""


class RandomSource(Protocol):
    """Where chance comes from; ``random.Random`` is one."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Bring a list into a random order, in place."""

    def randint(self, a: int, b: int) -> int:
        """A number from `a` to `b`, both included."""


class HostAddress(NamedTuple):
    """One address of one host, on its way to become a Candidate.

    Attributes:
        family: of the address.
        address: in canonical text.
        qname: the host name that was looked up.
        rname: the name that the address record stands at.
        secure: whether it was validated with DNSSEC.
        preference: of the MX or SRV record.
        port: of the SRV record; 0: none.
    """

    family: Family
    address: str
    qname: str
    rname: str
    secure: bool = False
    preference: int = 0
    port: int = 0


def by_preference_and_family(addresses: Sequence[HostAddress], preferred: Family | None) -> list[HostAddress]:
    """Sort by preference, and within one preference by family; what is equal keeps its order."""
    return sorted(
        addresses, key=lambda entry: (entry.preference, preferred is not None and entry.family is not preferred)
    )


def balance(addresses: Sequence[HostAddress], address_limit: int) -> list[HostAddress]:
    """Leave out so many addresses of the family in the majority that the other one is tried, too.

    Nothing is left out if there is no limit, only one family, or not more addresses than are tried anyway.

    Args:
        addresses: in the order to try them.
        address_limit: smtp_mx_address_limit.

    Returns:
        The kept ones, in the same order; at most `address_limit` if any was left out.
    """
    limit = min(address_limit, MOST_ADDRESSES)
    ipv4 = sum(entry.family is Family.IPV4 for entry in addresses)
    ipv6 = len(addresses) - ipv4
    if limit <= 0 or not ipv4 or not ipv6 or len(addresses) <= limit:
        return list(addresses)
    if ipv6 <= limit // 2:
        keep_ipv4, keep_ipv6 = limit - ipv6, ipv6
    elif ipv4 <= limit // 2:
        keep_ipv4, keep_ipv6 = ipv4, limit - ipv4
    else:
        keep_ipv4 = (limit + (addresses[0].family is Family.IPV4)) // 2
        keep_ipv6 = limit - keep_ipv4
    room = {Family.IPV4: keep_ipv4, Family.IPV6: keep_ipv6}
    kept = []
    for entry in addresses:
        if room[entry.family]:
            room[entry.family] -= 1
            kept.append(entry)
    return kept


def in_order(addresses: list[HostAddress], settings: RoutingSettings, random: RandomSource) -> list[HostAddress]:
    """The order of smtp(8) for the addresses of one or several hosts.

    Args:
        addresses: as found; the list may be shuffled.
        settings: say whether to shuffle, which family to prefer, and whether to balance.
        random: the source of chance.
    """
    if len(addresses) < 2:
        return addresses
    if settings.randomize:
        random.shuffle(addresses)
    ordered = by_preference_and_family(addresses, settings.preferred_family)
    return balance(ordered, settings.address_limit) if settings.balance else ordered
