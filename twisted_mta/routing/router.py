"""From one Destination to the Candidates for its mail.

Flow: delivery/ asks for the Route of each Destination in turn, and walks its candidates.
Sources: smtp(8); RFC 5321 section 5.1; postconf(5) use_srv_lookup, allow_srv_lookup_fallback, smtp_dns_support_level.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from twisted_mta.interfaces import IDNSClient, TableError
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Emit, SrvLookupSkipped
from twisted_mta.routing.addresses import Hosts, NativeLookup
from twisted_mta.routing.candidates import Candidate, local_candidate
from twisted_mta.routing.destination import Destination
from twisted_mta.routing.found import Findings, Referral
from twisted_mta.routing.lookups import Lookups
from twisted_mta.routing.mx import find_exchangers, find_host
from twisted_mta.routing.order import HostAddress, RandomSource
from twisted_mta.routing.own_addresses import OwnAddresses
from twisted_mta.routing.settings import RoutingSettings, ServiceMatch
from twisted_mta.routing.srv import find_service

_UNCHANGING_ROUTES = 1024

_NO_PROTOCOLS = DsnStatus("4.4.4", "all network protocols are disabled")


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a destination.

    Attributes:
        destination: where to.
        candidates: the addresses in the order to try them.
        problem: why there are none; None if there are.
        is_final: whether no later destination (a fallback relay) may be tried, whatever happens with this one: we are
            one of its mail exchangers, the mail loops, or the destination has no sense.
        best_preference: of the first candidate; None without one.
        referral: the MX or SRV answer that named the hosts; None if there was none.
    """

    destination: Destination
    candidates: tuple[Candidate, ...] = ()
    problem: DsnStatus | None = None
    is_final: bool = False
    best_preference: int | None = None
    referral: Referral | None = None


class Router:
    """Finds routes, by one configuration."""

    def __init__(
        self,
        settings: RoutingSettings,
        dns: IDNSClient,
        native: NativeLookup,
        own_addresses: OwnAddresses,
        emit: Emit,
        shuffle: RandomSource,
    ) -> None:
        """Take the means.

        Args:
            settings: the parameters of routing.
            dns: asks name servers.
            native: asks the system for hosts.
            own_addresses: of this machine.
            emit: takes events.
            shuffle: the source of chance, such as ``random.Random()``.
        """
        self._settings = settings
        self._emit = emit
        hosts = Hosts(settings, dns, native, emit)
        self._lookups = Lookups(settings, dns, hosts, own_addresses, emit, shuffle)
        # Told with the first route: when a configuration is loaded, the log may not be open yet.
        self._untold = settings.events
        # The routes to addresses: relays are often written so, and no name server can change them.
        self._unchanging: dict[tuple[str, bool], Route] = {}

    async def route(self, destination: Destination) -> Route:
        """Find the way to a destination, and tell its events.

        Returns:
            A route with candidates or with a problem. Never fails: what goes wrong is a problem.
        """
        for event in self._untold + destination.events:
            self._emit(event)
        self._untold = ()
        if destination.problem is not None:
            return Route(destination, problem=destination.problem, is_final=True)
        if destination.path:
            candidate = local_candidate(self._settings.own_name, destination.path)
            return Route(destination, (candidate,), is_final=True, best_preference=0)
        if not self._settings.families:
            return Route(destination, problem=_NO_PROTOCOLS)
        key = (destination.text, destination.is_fallback)
        if known := self._unchanging.get(key):
            return known
        route = await self._find_route(destination)
        if route.candidates and destination.literal and self._settings.srv_services is None:
            if len(self._unchanging) >= _UNCHANGING_ROUTES:
                self._unchanging.clear()
            self._unchanging[key] = route
        return route

    async def _find_route(self, destination: Destination) -> Route:
        found = await self._find(destination)
        if found.problem is not None:
            is_final = found.found_self or found.problem.status.endswith(".4.6")
            return Route(destination, problem=found.problem, is_final=is_final, referral=found.referral)
        return Route(
            destination,
            tuple(self._candidates(found.addresses, destination.port)),
            is_final=found.found_self,
            best_preference=found.addresses[0].preference,
            referral=found.referral,
        )

    async def _find(self, destination: Destination) -> Findings:
        settings, lookups = self._settings, self._lookups
        loop_detection = destination.loop_detection
        if not settings.dns or destination.bracketed:
            return await find_host(destination.host, lookups, loop_detection=loop_detection)
        if settings.srv_services is not None and await _matches(settings.srv_services, destination.service):
            qname = f"_{destination.service}._tcp.{lookups.hosts.a_labels(destination.host)}"
            found = await find_service(qname, lookups, loop_detection=loop_detection)
            if found.problem is None or not (settings.allow_srv_lookup_fallback or found.may_fall_back):
                return found
            self._emit(SrvLookupSkipped(qname, found.problem.reason))
        # An address without brackets has no MX records either: nobody has to be asked about it.
        if settings.lmtp or destination.literal:
            return await find_host(destination.host, lookups, loop_detection=loop_detection)
        return await find_exchangers(destination.host, lookups, loop_detection=loop_detection)

    def _candidates(self, addresses: Iterable[HostAddress], port: int) -> Iterable[Candidate]:
        """Make candidates. The port of an SRV record goes on to the addresses behind it that have none of their own."""
        override = self._settings.cname_overrides_servername
        for family, address, qname, rname, secure, preference, own_port in addresses:
            port = own_port or port
            yield Candidate(rname if override else qname, address, port, family, preference, qname, rname, secure)


async def _matches(services: ServiceMatch, service: str) -> bool:
    """Whether a service is in a list; where nobody can tell, it is not."""
    try:
        found = services(service)
        return await found if isinstance(found, Deferred) else found
    except TableError:
        return False
