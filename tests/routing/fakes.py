"""A name server, a system resolver and a source of chance that live in memory."""

import socket
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_mta.dns.native import NativeAddresses, NativeFailure
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import (
    AddressRecord,
    Answer,
    LookupResult,
    MxRecord,
    NameRecord,
    Record,
    RecordType,
    Search,
    SrvRecord,
    TlsaRecord,
)
from twisted_mta.model.events import Event
from twisted_mta.routing.addresses import Hosts
from twisted_mta.routing.destination import parse_nexthop
from twisted_mta.routing.own_addresses import OwnAddresses
from twisted_mta.routing.router import Route, Router
from twisted_mta.routing.settings import RoutingSettings

Zone = Mapping[tuple[str, str], Any]

_WORDS = {
    LookupResult.NOT_FOUND: "Host not found",
    LookupResult.RETRY: "Host not found, try again",
    LookupResult.FAIL: "Non-recoverable error",
}


@implementer(IDNSClient)
class FakeDNS:
    """Answers from a zone ``{(type, name): records or LookupResult}``, and remembers the questions.

    Records are texts as in a zone file; a name that is not there is not found. ``secure`` holds the questions whose
    answers are validated, ``lifetime`` the seconds for which answers hold.
    """

    def __init__(self, zone: Zone, secure: frozenset[tuple[str, str]] = frozenset(), lifetime: int = 0) -> None:
        self.zone = zone
        self.secure = secure
        self.lifetime = lifetime
        self.questions: list[str] = []
        self.options: list[tuple[bool, Search]] = []

    def lookup(
        self, name: str, rdtype: RecordType, *, dnssec: bool = False, search: Search = Search.NONE
    ) -> Deferred[Answer]:
        """Answer from the zone."""
        self.questions.append(f"{rdtype.name} {name}")
        self.options.append((dnssec, search))
        found = self.zone.get((rdtype.name, name), LookupResult.NOT_FOUND)
        if isinstance(found, LookupResult):
            reason = self._reason(name, rdtype, found)
            return succeed(Answer(name, rdtype, found, reason=reason, lifetime=self.lifetime))
        records = tuple(_record(name, rdtype, text) for text in found)
        secure = dnssec and (rdtype.name, name) in self.secure
        return succeed(Answer(name, rdtype, LookupResult.OK, records, secure, lifetime=self.lifetime))

    @staticmethod
    def _reason(name: str, rdtype: RecordType, result: LookupResult) -> str:
        if result is LookupResult.NULL_MX:
            return f"Domain {name} does not accept mail (nullMX)"
        if result is LookupResult.NULL_SRV:
            return f"Domain {name} does not support SRV requests"
        if result is LookupResult.POLICY:
            return f"Error looking up name={name} type={rdtype.name}: DNS reply filter drops all results"
        if result is LookupResult.INVALID:
            return f"Name service error for name={name} type={rdtype.name}: Malformed or unexpected name server reply"
        return f"Host or domain name not found. Name service error for name={name} type={rdtype.name}: {_WORDS[result]}"


def _record(name: str, rdtype: RecordType, text: str) -> Record:
    """A record from its text; ``owner@text`` stands at another name, as after an alias."""
    owner, at, rest = text.rpartition("@")
    fields = rest.split()
    owner = owner if at else name
    if rdtype is RecordType.MX:
        return MxRecord(owner, 60, int(fields[0]), fields[1])
    if rdtype is RecordType.SRV:
        priority, weight, port = map(int, fields[:3])
        return SrvRecord(owner, 60, priority, weight, port, fields[3])
    if rdtype is RecordType.CNAME:
        return NameRecord(owner, 60, fields[0])
    if rdtype is RecordType.TLSA:
        return _tlsa(owner, fields)
    return AddressRecord(owner, 60, fields[0])


def _tlsa(owner: str, fields: list[str]) -> TlsaRecord:
    """A TLSA record; ``short 2`` is one that is cut short after two octets."""
    if fields[0] == "short":
        return TlsaRecord(owner, 60, 0, 0, 0, b"", cut_at=int(fields[1]))
    usage, selector, matching_type = map(int, fields[:3])
    return TlsaRecord(owner, 60, usage, selector, matching_type, bytes.fromhex("".join(fields[3:])))


class FakeNative:
    """A system resolver that knows some hosts."""

    def __init__(self, hosts: Mapping[str, NativeAddresses | NativeFailure] | None = None) -> None:
        self.hosts = hosts or {}
        self.questions: list[str] = []
        self.families: Sequence[socket.AddressFamily] = ()

    def lookup(self, host: str, families: Sequence[socket.AddressFamily]) -> Deferred[NativeAddresses | NativeFailure]:
        """Answer from what it knows."""
        self.questions.append(host)
        self.families = families
        return succeed(self.hosts.get(host, NativeFailure("EAI_NONAME", "Name or service not known")))


class Reversing:
    """A source of chance that reverses lists and draws the numbers it was given, then the lowest."""

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        self.numbers = list(numbers)

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Reverse a list."""
        x.reverse()

    def randint(self, a: int, b: int) -> int:
        """The next number."""
        return self.numbers.pop(0) if self.numbers else a


class World:
    """A router in a world of its own, with what it asked and what it said."""

    def __init__(
        self,
        zone: Zone | None = None,
        *,
        own: Sequence[str] = (),
        hosts: Mapping[str, NativeAddresses | NativeFailure] | None = None,
        secure: frozenset[tuple[str, str]] = frozenset(),
        chance: Random | Reversing | None = None,
        srv: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        settings.setdefault("randomize", False)
        if srv:
            settings["srv_services"] = lambda service: service.lower() in srv
        self.settings = RoutingSettings(**settings)
        self.dns = FakeDNS(zone or {}, secure)
        self.native = FakeNative(hosts)
        self.events: list[Event] = []
        emit: Callable[[Event], None] = self.events.append
        self.hosts = Hosts(self.settings, self.dns, self.native, emit)
        self.router = Router(self.settings, self.dns, self.native, OwnAddresses(own), emit, chance or Random(1))

    def routes(self, nexthop: str) -> list[Route]:
        """The routes of all destinations of a nexthop, one after the other."""
        found: list[Route] = []
        for destination in parse_nexthop(nexthop, self.settings):
            Deferred.fromCoroutine(self.router.route(destination)).addCallback(found.append)
        return found

    def route(self, nexthop: str) -> Route:
        """The route of the first destination of a nexthop."""
        return self.routes(nexthop)[0]


def relays(route: Route) -> list[str]:
    """How the candidates of a route show in the log."""
    return [candidate.relay for candidate in route.candidates]


def problem(route: Route) -> str:
    """The problem of a route as ``status reason``."""
    return f"{route.problem.status} {route.problem.reason}" if route.problem else ""
