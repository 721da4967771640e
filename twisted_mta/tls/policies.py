"""What is demanded of TLS with each server.

For a server, the level comes from the tables, or else it is the global one. At a DANE level the name servers decide what becomes
of it. Then main.cf fills in what the tables have left open. Where something is wrong the server is passed over: it is told
what, and that there is no policy.

Flow: assembly.py makes the TlsPolicies of a configuration; delivery/ takes the policies of a request from it, and asks for each
server in turn. tls/engine.py carries out what was found.
Sources: postconf(5) smtp_tls_security_level, smtp_tls_policy_maps, smtp_tls_per_site, smtp_tls_wrappermode, smtp_tls_servername,
smtp_tls_fingerprint_cert_match, smtp_tls_trust_anchor_file; TLS_README; the log of a running Postfix.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from twisted_mta.config.settings import Settings
from twisted_mta.dns.hostnames import valid_hostname
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Emit, Event
from twisted_mta.model.tls_events import (
    NoFingerprints,
    OpportunisticTlsOnSocket,
    ServernameInvalid,
    TlsPerSiteIgnored,
    TlsPolicyUnusable,
    TlsSocketPolicyUnusable,
    WrappermodeNeedsEncryption,
)
from twisted_mta.tables.opening import ADDRESSES
from twisted_mta.tables.table_set import TableSet
from twisted_mta.tls.dane import Dane, DaneTerms
from twisted_mta.tls.fingerprints import Fingerprints
from twisted_mta.tls.level_terms import global_level, terms_of_levels
from twisted_mta.tls.levels import Level
from twisted_mta.tls.loglevel import LogClass, parse_loglevel
from twisted_mta.tls.policy import NO_TLS, Association, TlsPolicy
from twisted_mta.tls.policy_entry import PolicyEntry
from twisted_mta.tls.policy_error import CONFIGURATION_PROBLEM, TlsPolicyError
from twisted_mta.tls.policy_tables import PerSiteMaps, PolicyMaps
from twisted_mta.tls.subjects import Server, Site, Way
from twisted_mta.tls.trust_anchor_files import TrustAnchorFiles

__all__ = ["RequestPolicies", "TlsPolicies", "TlsPolicyError"]

_POLICIES_OF_REQUEST = 20
"""How many servers' policies are remembered during a request."""

_Key = tuple[str, str, int]


class TlsPolicies:
    """Finds policies, by one configuration.

    Attributes:
        global_level: the level where tables say nothing.
        uses_tls: whether any server may be talked to with TLS.
    """

    def __init__(
        self,
        settings: Settings,
        policy_maps: PolicyMaps | None,
        per_site: PerSiteMaps | None,
        dns: IDNSClient,
        emit: Emit,
        seconds: Callable[[], float],
    ) -> None:
        """Evaluate the parameters; `from_settings` opens the tables, too."""
        tells = bool(parse_loglevel(settings.smtp_tls_loglevel, _say_nothing) & (LogClass.DANE | LogClass.VERBOSE))
        self.global_level = global_level(settings)
        self.uses_tls = self.global_level > Level.NONE or policy_maps is not None or per_site is not None
        self._policy_maps = policy_maps
        self._per_site = per_site
        self._emit = emit
        self._terms = terms_of_levels(settings)
        self._from_main_cf = PolicyEntry(self.global_level)
        self._connection_reuse = settings.smtp_tls_connection_reuse
        self._enable_rpk = settings.smtp_tls_enable_rpk
        self._servername = settings.smtp_tls_servername
        self._bad_servername = _bad_servername(settings)
        self._fingerprints = Fingerprints(settings, emit, tells=tells)
        self._anchor_files = TrustAnchorFiles(settings.queue_directory, emit, tells=tells)
        self._files_for_all = settings.smtp_tls_trust_anchor_file
        self._dane = Dane(settings, dns, emit, seconds, tells=tells)
        self._unsafe_wrapper = _unsafe_wrapper(settings)
        self._untold = _ignored_tables(settings)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        tables: TableSet,
        dns: IDNSClient,
        emit: Emit,
        seconds: Callable[[], float] = time.monotonic,
    ) -> "TlsPolicies":
        """Evaluate the parameters, and open the tables.

        Args:
            settings: of the protocol to be spoken.
            tables: opens tables.
            dns: asks name servers.
            emit: takes events.
            seconds: the time, for what is remembered of TLSA records.

        Raises:
            ConfigError: a table cannot be used.
        """
        policy_maps = per_site = None
        if settings.smtp_tls_policy_maps:
            name = settings.parameter_name("smtp_tls_policy_maps")
            maps = tables.maps(name, settings.smtp_tls_policy_maps, ADDRESSES)
            policy_maps = PolicyMaps(maps, emit, utf8=settings.smtputf8_enable)
        elif settings.smtp_tls_per_site:
            name = settings.parameter_name("smtp_tls_per_site")
            per_site = PerSiteMaps(tables.maps(name, settings.smtp_tls_per_site, ADDRESSES), emit)
        return cls(settings, policy_maps, per_site, dns, emit, seconds)

    def for_request(self) -> "RequestPolicies":
        """The policies for one request."""
        # Told with the first request: when a configuration is loaded, the log may not be open yet.
        if self._untold is not None:
            self._emit(self._untold)
            self._untold = None
        return RequestPolicies(self, self._emit, self._unsafe_wrapper)

    async def find(self, nexthop: str, server: Server, site: Site, way: Way) -> TlsPolicy:
        """Find the policy for a server.

        Args:
            nexthop: the destination as it is written, or the path of a local socket: what tables know it by.
            server: the server.
            site: its destination.
            way: how it was found.

        Raises:
            TlsPolicyError: there is none; the cause has been told.
        """
        entry = await self._entry(nexthop, server.host)
        terms = DaneTerms(entry.level)
        if entry.level.is_dane:
            terms = await self._dane.settle(entry.level, nexthop, server, way.referral)
        if terms.level is Level.NONE:
            return NO_TLS
        return self._policy(entry, terms, nexthop, server, site)

    async def _entry(self, nexthop: str, host: str) -> PolicyEntry:
        """What tables demand, or else main.cf."""
        found: PolicyEntry | None = None
        if self._policy_maps is not None:
            found = await self._policy_maps.find(nexthop)
        elif self._per_site is not None:
            found = PolicyEntry(await self._per_site.find(nexthop, host, self.global_level))
        return found or self._from_main_cf

    def _policy(self, entry: PolicyEntry, dane: DaneTerms, nexthop: str, server: Server, site: Site) -> TlsPolicy:
        """Fill in what an entry has left open."""
        level = dane.level
        terms = self._terms[level]
        anchors = self._trust_anchors(entry.anchor_files) if level.needs_authority else ()
        # Our own name, for a local socket.
        domain = server.host if server.path else site.host
        servername = self._name_to_ask_for(entry.servername, server.host, domain)
        matches = terms.matches if entry.matches is None else entry.matches
        if level is Level.FINGERPRINT:
            matches = self._usable_fingerprints(matches, nexthop)
        return TlsPolicy(
            level=level,
            protocols=terms.protocols if entry.protocols is None else entry.protocols,
            grade=terms.grade if entry.grade is None else entry.grade,
            exclusions=terms.all_exclusions(entry.exclusions),
            matches=matches,
            trust_anchors=anchors,
            servername=dane.base if level.is_dane else servername,
            associations=dane.associations,
            dane_names=dane.names,
            nexthop=domain,
            connection_reuse=self._connection_reuse if entry.connection_reuse is None else entry.connection_reuse,
            enable_rpk=self._enable_rpk if entry.enable_rpk is None else entry.enable_rpk,
        )

    def _trust_anchors(self, own_files: tuple[str, ...]) -> tuple[Association, ...]:
        """The trust anchors of a table's own files; where these have none, those of smtp_tls_trust_anchor_file."""
        return self._anchor_files.load(own_files) or self._anchor_files.load(self._files_for_all)

    def _name_to_ask_for(self, own: str | None, host: str, domain: str) -> str:
        """The name for SNI: a table's own, or smtp_tls_servername, which must make sense even where DANE has another one."""
        name = own
        if name is None:
            if self._bad_servername is not None:
                self._emit(self._bad_servername)
                raise TlsPolicyError(CONFIGURATION_PROBLEM)
            name = self._servername
        return {"hostname": host, "nexthop": domain}.get(name, name)

    def _usable_fingerprints(self, values: tuple[str, ...], nexthop: str) -> tuple[str, ...]:
        usable = self._fingerprints.usable(values)
        if not usable:
            self._emit(NoFingerprints(nexthop))
            raise TlsPolicyError(CONFIGURATION_PROBLEM)
        return usable


class RequestPolicies:
    """The policies for one request; what has been found for a server holds for all of its addresses."""

    def __init__(self, policies: TlsPolicies, emit: Emit, unsafe_wrapper: Event | None) -> None:
        """Remember nothing yet.

        Args:
            policies: of the configuration.
            emit: takes events.
            unsafe_wrapper: what there is to say in wrapper mode of a level below encrypt; None: there is no wrapper mode.
        """
        self._policies = policies
        self._emit = emit
        self._unsafe_wrapper = unsafe_wrapper
        self._found: OrderedDict[_Key, TlsPolicy | DsnStatus] = OrderedDict()

    async def find(self, candidate: Server, destination: Site, route: Way) -> TlsPolicy:
        """Find the policy for an address.

        Args:
            candidate: the address, and the name of the server.
            destination: to which the server belongs.
            route: how it was found.

        Raises:
            TlsPolicyError: there is none, and the address is to be passed over; which has been told.
        """
        policy = await self._policy(candidate, destination, route)
        if candidate.path:
            return self._for_socket(policy)
        if self._unsafe_wrapper is not None and not policy.level.is_required:
            self._emit(self._unsafe_wrapper)
            raise TlsPolicyError(None)
        return policy

    async def _policy(self, server: Server, site: Site, way: Way) -> TlsPolicy:
        nexthop = server.path or site.text
        key = nexthop, server.host, server.port
        found = self._found.get(key)
        if found is None:
            try:
                found = await self._policies.find(nexthop, server, site, way)
            except TlsPolicyError as error:
                found = error.why or CONFIGURATION_PROBLEM
            self._found[key] = found
            if len(self._found) > _POLICIES_OF_REQUEST:
                self._found.popitem(last=False)
        else:
            self._found.move_to_end(key)
        if isinstance(found, TlsPolicy):
            return found
        if server.path:
            self._emit(TlsSocketPolicyUnusable(server.host, server.path, found.reason))
        else:
            self._emit(TlsPolicyUnusable(nexthop, server.host, found.reason))
        raise TlsPolicyError(found)

    def _for_socket(self, policy: TlsPolicy) -> TlsPolicy:
        """Level may is not for local sockets, which nobody can overhear.

        In wrapper mode there is TLS in any case; level none is refused there as elsewhere.
        """
        if policy.level is Level.MAY:
            self._emit(OpportunisticTlsOnSocket())
            return NO_TLS if self._unsafe_wrapper is None else replace(policy, level=Level.ENCRYPT)
        if self._unsafe_wrapper is not None and policy.level is Level.NONE:
            self._emit(self._unsafe_wrapper)
            raise TlsPolicyError(None)
        return policy


def _say_nothing(event: Event) -> None:
    """What is wrong with smtp_tls_loglevel is told by the engine."""


def _bad_servername(settings: Settings) -> Event | None:
    name = settings.smtp_tls_servername
    if not name or valid_hostname(name):
        return None
    return ServernameInvalid(settings.parameter_name("smtp_tls_servername"), name)


def _unsafe_wrapper(settings: Settings) -> Event | None:
    if not settings.smtp_tls_wrappermode:
        return None
    return WrappermodeNeedsEncryption(
        settings.parameter_name("smtp_tls_wrappermode"), settings.parameter_name("smtp_tls_security_level")
    )


def _ignored_tables(settings: Settings) -> Event | None:
    if not (settings.smtp_tls_policy_maps and settings.smtp_tls_per_site):
        return None
    return TlsPerSiteIgnored(
        settings.parameter_name("smtp_tls_per_site"), settings.parameter_name("smtp_tls_policy_maps")
    )
