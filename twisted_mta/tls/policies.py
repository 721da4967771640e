"""What is demanded of TLS with each server.

The level comes from tables, or else it is the global one. At a DANE level the name servers decide what becomes of it. Then
main.cf fills in what is open. Where something is wrong the server is passed over: the log says what it is, and that there is no
policy.

Flow: assembly.py makes the TlsPolicies of a configuration; delivery/ takes the policies of a request from it, and asks for each
server in turn. tls/engine.py carries out what was found.
Sources: postconf(5) smtp_tls_security_level, smtp_tls_policy_maps, smtp_tls_per_site, smtp_tls_wrappermode; TLS_README; the log
of a running Postfix.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from twisted_mta.config.settings import Settings
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Emit, Event
from twisted_mta.model.tls_events import (
    OpportunisticTlsOnSocket,
    TlsPerSiteIgnored,
    TlsPolicyUnusable,
    TlsSocketPolicyUnusable,
    WrappermodeNeedsEncryption,
)
from twisted_mta.tables.opening import ADDRESSES
from twisted_mta.tables.table_set import TableSet
from twisted_mta.tls.completion import Completion
from twisted_mta.tls.dane import Dane, DaneTerms
from twisted_mta.tls.fingerprints import Fingerprints
from twisted_mta.tls.level_terms import global_level
from twisted_mta.tls.levels import Level
from twisted_mta.tls.loglevel import LogClass, parse_loglevel
from twisted_mta.tls.policy import NO_TLS, TlsPolicy
from twisted_mta.tls.policy_entry import EntryReaders, PolicyEntry
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
        uses_tls: whether any server may be talked to with TLS: if not, nobody has to ask.
    """

    def __init__(
        self,
        settings: Settings,
        tables: PolicyMaps | PerSiteMaps | None,
        dane: Dane,
        completion: Completion,
        emit: Emit,
    ) -> None:
        """Take what `from_settings` has made.

        Args:
            settings: of the protocol to be spoken.
            tables: what has policies of its own for some servers; None: nothing has.
            dane: settles DANE levels.
            completion: completes policies.
            emit: takes events.
        """
        self.global_level = global_level(settings)
        self._tables = tables
        self._dane = dane
        self._completion = completion
        self._emit = emit
        self._otherwise = PolicyEntry(self.global_level)
        self._unsafe_wrapper = _unsafe_wrapper(settings)
        # Wrapper mode without a level is refused, which takes asking, too.
        self.uses_tls = self.global_level > Level.NONE or tables is not None or self._unsafe_wrapper is not None
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
        told: list[Event] = []
        classes = parse_loglevel(settings.smtp_tls_loglevel, told.append, settings.parameter_name("smtp_tls_loglevel"))
        tells = bool(classes & (LogClass.DANE | LogClass.VERBOSE))
        readers = EntryReaders(
            TrustAnchorFiles(settings.queue_directory, emit, tells=tells).load,
            Fingerprints(settings, emit, tells=tells).usable,
        )
        policies = cls(
            settings,
            _open_tables(settings, tables, readers, emit),
            Dane(settings, dns, emit, seconds, tells=tells),
            Completion(settings, readers, emit),
            emit,
        )
        # The engine says so, too: smtp(8) has two such lines.
        for event in told if policies.uses_tls else ():
            emit(event)
        return policies

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
        entry = self._tables and await self._tables.find(nexthop, server.host)
        entry = entry or self._otherwise
        dane = DaneTerms(entry.level)
        if entry.level.is_dane:
            dane = await self._dane.settle(entry.level, nexthop, server, way.referral)
        if dane.level is Level.NONE:
            return NO_TLS
        return self._completion.policy(entry, dane, nexthop, server, site)


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


def _open_tables(
    settings: Settings, tables: TableSet, readers: EntryReaders, emit: Emit
) -> PolicyMaps | PerSiteMaps | None:
    """The tables of policies; those of smtp_tls_per_site only count, and are opened, where there are no others."""
    if settings.smtp_tls_policy_maps:
        maps = tables.maps(settings.parameter_name("smtp_tls_policy_maps"), settings.smtp_tls_policy_maps, ADDRESSES)
        return PolicyMaps(maps, readers, emit, utf8=settings.smtputf8_enable)
    if settings.smtp_tls_per_site:
        maps = tables.maps(settings.parameter_name("smtp_tls_per_site"), settings.smtp_tls_per_site, ADDRESSES)
        return PerSiteMaps(maps, global_level(settings), emit)
    return None


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
