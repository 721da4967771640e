"""The addresses of host names, from DNS or from the system's own look-ups.

Flow: routing/mx.py, routing/srv.py and routing/router.py ask here for the addresses of one or several hosts.
Sources: postconf(5) smtp_host_lookup, smtp_dns_support_level, smtp_dns_resolver_options, inet_protocols,
smtputf8_enable; RFC 5321 section 5.1; getaddrinfo(3) for the errors of native look-ups.
"""

import socket
from collections.abc import Awaitable, Sequence
from typing import Protocol

from twisted_mta.dns.idna import DomainNameError, to_a_labels
from twisted_mta.dns.native import NativeAddresses, NativeFailure
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import AddressRecord, Answer, LookupResult, RecordType
from twisted_mta.model.events import DomainNotConverted, Emit, RecordLimitExceeded
from twisted_mta.routing.candidates import Family
from twisted_mta.routing.found import WhyNot
from twisted_mta.routing.literal import numeric_address
from twisted_mta.routing.order import MOST_ADDRESSES, HostAddress
from twisted_mta.routing.settings import RoutingSettings

DNS_FAILURES = {
    LookupResult.NOT_FOUND: "5.4.4",
    LookupResult.NULL_SRV: "5.1.0",
    LookupResult.NULL_MX: "5.1.0",
    LookupResult.FAIL: "5.4.3",
    LookupResult.INVALID: "5.4.4",
    LookupResult.RETRY: "4.4.3",
    LookupResult.POLICY: "4.7.0",
}
"""The status of each kind of DNS failure."""

_NATIVE_FAILURES = {"EAI_AGAIN": "4.4.4", "EAI_MEMORY": "4.3.0", "EAI_SYSTEM": "4.3.0", "EAI_NONAME": "5.4.4"}
_OTHER_NATIVE_FAILURE = "5.3.0"

RDTYPES = {Family.IPV4: RecordType.A, Family.IPV6: RecordType.AAAA}
"""The type of the records that hold addresses of a family."""


class NativeLookup(Protocol):
    """Looks up hosts as the system does; `twisted_mta.dns.native.NativeResolver` is one."""

    def lookup(self, host: str, families: Sequence[socket.AddressFamily]) -> Awaitable[NativeAddresses | NativeFailure]:
        """Look up the addresses of a host; never fails."""


class Hosts:
    """Looks up the addresses of hosts."""

    def __init__(self, settings: RoutingSettings, dns: IDNSClient, native: NativeLookup, emit: Emit) -> None:
        self._settings = settings
        self._dns = dns
        self._native = native
        self._emit = emit
        self._family_numbers = tuple(family.number for family in settings.families)

    def a_labels(self, name: str) -> str:
        """The form of a name that DNS knows; the name itself if there is none, which no server is asked for then."""
        if name.isascii() or not self._settings.idna:
            return name
        try:
            return to_a_labels(name, self._settings.idna2003)
        except DomainNameError as error:
            self._emit(DomainNotConverted(name, str(error)))
            return name

    async def add(
        self, found: list[HostAddress], host: str, why: WhyNot, *, dnssec: bool, preference: int = 0, port: int = 0
    ) -> bool:
        """Look up a host, and add its addresses to a list.

        Args:
            found: the list, of at most MOST_ADDRESSES; what is more is dropped.
            host: host name, or an address.
            why: takes note of the reason if there is no address.
            dnssec: whether to ask for validated data.
            preference: of the MX or SRV record that named the host.
            port: of the SRV record that named the host.

        Returns:
            Whether all addresses found room; otherwise there is no use in looking up more.
        """
        literal = numeric_address(host)
        if literal and literal[0] in self._settings.families:
            return self._extend(found, [HostAddress(*literal, host, host, False, preference, port)])
        name = self.a_labels(host)
        if self._settings.hosts_by_dns:
            answer, addresses = await self._ask_dns(name, dnssec, preference, port)
            if answer.result is LookupResult.OK:
                return self._extend(found, addresses)
            why.note(DNS_FAILURES[answer.result], answer.reason)
            if answer.result is not LookupResult.NOT_FOUND:
                return True
        if self._settings.hosts_by_native:
            return self._extend(found, await self._ask_system(name, why, preference))
        return True

    async def _ask_dns(self, name: str, dnssec: bool, preference: int, port: int) -> tuple[Answer, list[HostAddress]]:
        """Ask for one type after the other; of the answers the one of the highest class counts, the later on a tie."""
        settings = self._settings
        best: Answer | None = None
        addresses: list[HostAddress] = []
        for family in settings.families:
            answer = await self._dns.lookup(name, RDTYPES[family], dnssec=dnssec, search=settings.search)
            if best is None or answer.result >= best.result:
                best = answer
            more = [
                HostAddress(family, record.address, name, record.owner, answer.secure, preference, port)
                for record in answer.records
                if isinstance(record, AddressRecord)
            ]
            if not self._extend(addresses, more) or len(addresses) == MOST_ADDRESSES:
                break
        return best or Answer(name, RecordType.A, LookupResult.NOT_FOUND), addresses

    async def _ask_system(self, host: str, why: WhyNot, preference: int) -> list[HostAddress]:
        """Look up a host natively. Its addresses have no port of their own, even if an SRV record named the host."""
        answer = await self._native.lookup(host, self._family_numbers)
        if isinstance(answer, NativeFailure):
            status = _NATIVE_FAILURES.get(answer.name, _OTHER_NATIVE_FAILURE)
            why.note(status, f"unable to look up host {host}: {answer.text}")
            return []
        if not answer.addresses:
            why.note("5.4.4", f"{host}: host not found")
        return [
            HostAddress(Family.IPV6 if ":" in address else Family.IPV4, address, host, host, False, preference)
            for address in answer.addresses
        ]

    def _extend(self, found: list[HostAddress], more: list[HostAddress]) -> bool:
        """Append what there is room for; whether that was all."""
        found.extend(more)
        if len(found) <= MOST_ADDRESSES:
            return True
        del found[MOST_ADDRESSES:]
        last = found[-1]
        self._emit(RecordLimitExceeded(MOST_ADDRESSES, last.qname, RDTYPES[last.family].name))
        return False
