"""What tables demand for a server: those of smtp_tls_policy_maps, or of the obsolete smtp_tls_per_site.

Flow: tls/policies.py asks one of the two kinds; tables/ answers; what a table of policies gives is read by tls/policy_entry.py.
Sources: postconf(5) smtp_tls_policy_maps, smtp_tls_per_site; TLS_README; the log of a running Postfix.
"""

from collections.abc import Iterator

from twisted_mta.dns.hostnames import valid_hostname
from twisted_mta.dns.idna import DomainNameError, to_a_labels
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import (
    TlsAttributeIgnored,
    TlsPerSiteLookupFailed,
    TlsPerSiteWordUnknown,
    TlsPolicyEntryUnusable,
)
from twisted_mta.tables.maps import Maps
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy_entry import EntryReaders, PolicyEntry, PolicyEntryError, parse_entry
from twisted_mta.tls.policy_error import CONFIGURATION_PROBLEM, LOOKUP_PROBLEM, TlsPolicyError

_NEXTHOP, _HOST = "next-hop destination", "server hostname"


class PolicyMaps:
    """The tables of smtp_tls_policy_maps."""

    def __init__(self, maps: Maps, readers: EntryReaders, emit: Emit, *, utf8: bool) -> None:
        """Take the tables.

        Args:
            maps: the tables.
            readers: read what values name.
            emit: takes events.
            utf8: smtputf8_enable: whether a domain may be in Unicode.
        """
        self._readers = readers
        self._maps = maps
        self._emit = emit
        self._utf8 = utf8

    async def find(self, nexthop: str, host: str) -> PolicyEntry | None:
        """Look up a destination, and, if it is a domain, its parents: ``.example.com``, ``.com``.

        Args:
            nexthop: as it is written, or the path of a local socket.
            host: name of the server, which does not matter here.

        Returns:
            What is demanded; None: the tables know nothing of it.

        Raises:
            TlsPolicyError: a table, or a file that it names, cannot be used or makes no sense, which has been told.
        """
        for key in self._keys(nexthop):
            try:
                value = await self._maps.find(key)
                if value is not None:
                    return self._read(key, value)
            except TableError:
                self._tell(key, "policy table lookup error")
                raise TlsPolicyError(CONFIGURATION_PROBLEM) from None
            except PolicyEntryError as error:
                self._tell(key, str(error))
                raise TlsPolicyError(CONFIGURATION_PROBLEM) from None
        return None

    def _keys(self, nexthop: str) -> Iterator[str]:
        yield nexthop
        if self._is_domain(nexthop):
            at = nexthop.find(".")
            while at >= 0:
                yield nexthop[at:]
                at = nexthop.find(".", at + 1)

    def _is_domain(self, nexthop: str) -> bool:
        if nexthop.isascii() or not self._utf8:
            return valid_hostname(nexthop)
        try:
            to_a_labels(nexthop)
        except DomainNameError:
            return False
        return True

    def _read(self, key: str, value: str) -> PolicyEntry:
        entry = parse_entry(value, self._readers)
        for pair in entry.ignored:
            self._emit(TlsAttributeIgnored(self._maps.parameter, key, pair))
        return entry

    def _tell(self, key: str, problem: str) -> None:
        self._emit(TlsPolicyEntryUnusable(self._maps.parameter, key, problem))


class PerSiteMaps:
    """The tables of smtp_tls_per_site."""

    def __init__(self, maps: Maps, global_level: Level, emit: Emit) -> None:
        """Take the tables.

        Args:
            maps: the tables.
            global_level: what MAY cannot make less.
            emit: takes events.
        """
        self._maps = maps
        self._global_level = global_level
        self._emit = emit

    async def find(self, nexthop: str, host: str) -> PolicyEntry | None:
        """Look up a destination, and the name of a server; what is found for both is combined.

        Args:
            nexthop: as it is written, or the path of a local socket.
            host: name of the server.

        Returns:
            The level; None: the tables know nothing of them.

        Raises:
            TlsPolicyError: a table failed, or has a word that makes no sense, which has been told.
        """
        found = await self._combine(None, _NEXTHOP, nexthop)
        if nexthop.lower() != host.lower():
            found = await self._combine(found, _HOST, host)
        if found is Level.MAY:
            found = max(found, self._global_level)
        return None if found is None else PolicyEntry(found)

    async def _combine(self, found: Level | None, kind: str, key: str) -> Level | None:
        """What has been found so far, together with what the tables say of a key."""
        try:
            word = await self._maps.find(key)
        except TableError:
            self._emit(TlsPerSiteLookupFailed(self._maps.parameter, kind, key))
            raise TlsPolicyError(LOOKUP_PROBLEM) from None
        match word.upper() if word else None:
            case None:
                return found
            case "NONE":
                return found if found is not None and found > Level.MAY else Level.NONE
            case "MAY":
                return Level.MAY if found is None else found
            case "MUST_NOPEERMATCH":
                return max(found or Level.NONE, Level.ENCRYPT)
            case "MUST":
                return max(found or Level.NONE, Level.VERIFY)
        self._emit(TlsPerSiteWordUnknown(self._maps.parameter, word or "", kind, key))
        raise TlsPolicyError(CONFIGURATION_PROBLEM)
