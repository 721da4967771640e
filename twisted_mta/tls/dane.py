"""What the DANE levels come to for one server: the name servers decide.

Where settings make DANE impossible, where the way to the server was not secure, or where there are no TLSA records, level dane
becomes a lesser one, and dane-only means that the server cannot be used.

Flow: tls/policies.py asks for each server at a DANE level; tls/tlsa.py looks the records up.
Sources: RFC 7671 section 7; RFC 7672 sections 2.2 and 3.2; postconf(5) smtp_tls_security_level, smtp_tls_dane_insecure_mx_policy,
smtp_tls_force_insecure_host_tlsa_lookup; TLS_README; the log of a running Postfix.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.config.choices import DnsSupport, InsecureMxPolicy
from twisted_mta.config.settings import Settings
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import LookupResult, RecordType
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import DaneImpossible, DaneOnSocket, DnssecStatusUnknown
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association
from twisted_mta.tls.policy_error import CONFIGURATION_PROBLEM, TlsPolicyError
from twisted_mta.tls.subjects import Directions, Server
from twisted_mta.tls.tlsa import TlsaLookupError, TlsaLookups, TlsaRecords

_STATUS = "4.7.5"

_INSECURE_MX_LEVELS = {
    InsecureMxPolicy.MAY: Level.MAY,
    InsecureMxPolicy.ENCRYPT: Level.ENCRYPT,
    InsecureMxPolicy.DANE: Level.HALF_DANE,
}

_IMPOSSIBLE: tuple[tuple[str, Callable[[Settings], bool]], ...] = (
    (
        "{word} configured with dnssec lookups disabled",
        lambda settings: (
            "dns" not in settings.effective_host_lookup or settings.effective_dns_support is not DnsSupport.DNSSEC
        ),
    ),
    (
        "{word} configured with MX lookup errors ignored",
        lambda settings: settings.protocol != "lmtp" and settings.ignore_mx_lookup_error,
    ),
    (
        "dns resolver options incompatible with {word} TLS",
        lambda settings: bool(settings.smtp_dns_resolver_options),
    ),
)
"""Why DANE cannot work, and when that is so; `word` is the level."""


@dataclass(frozen=True, slots=True)
class DaneTerms:
    """What a DANE level has come to.

    Attributes:
        level: dane, dane-only, half-dane, encrypt or may; what follows counts with the first three.
        base: the name at which the TLSA records were found: the one to ask for (SNI).
        associations: the TLSA records.
        names: those that a certificate may have where a trust anchor has signed it; `base` is the first.
    """

    level: Level
    base: str = ""
    associations: tuple[Association, ...] = ()
    names: tuple[str, ...] = ()


class Dane:
    """Settles DANE levels, by one configuration."""

    def __init__(
        self, settings: Settings, dns: IDNSClient, emit: Emit, seconds: Callable[[], float], *, tells: bool
    ) -> None:
        """Evaluate the parameters.

        Args:
            settings: of the protocol to be spoken.
            dns: asks name servers.
            emit: takes events.
            seconds: the time.
            tells: whether each TLSA record is told.
        """
        self._dns = dns
        self._emit = emit
        self._tlsa = TlsaLookups(dns, emit, seconds, tells=tells)
        self._impossible = next((problem for problem, holds in _IMPOSSIBLE if holds(settings)), "")
        # There is no such parameter in LMTP, and the weakest policy is in force there.
        is_lmtp = settings.protocol == "lmtp"
        policy = InsecureMxPolicy.MAY if is_lmtp else settings.smtp_tls_dane_insecure_mx_policy
        self._insecure_mx_level = _INSECURE_MX_LEVELS[policy]
        self._forced = settings.smtp_tls_force_insecure_host_tlsa_lookup

    async def settle(self, level: Level, nexthop: str, server: Server, directions: Directions | None) -> DaneTerms:
        """Find out what a DANE level means for a server.

        Args:
            level: dane or dane-only.
            nexthop: the destination as it is written, for the log.
            server: the server.
            directions: the MX or SRV answer that named the server; None: there was none.

        Raises:
            TlsPolicyError: the server cannot be used; what is wrong with settings or look-ups has been told.
        """
        if server.path:
            self._emit(DaneOnSocket(server.path))
            raise TlsPolicyError(CONFIGURATION_PROBLEM)
        if self._impossible:
            self._emit(DaneImpossible(nexthop, self._impossible.format(word=level.word)))
            return _without_dane(level, CONFIGURATION_PROBLEM)
        insecure_mx = directions is not None and not directions.secure
        if insecure_mx and (level is Level.DANE_ONLY or self._insecure_mx_level is Level.MAY):
            return _without_dane(level, DsnStatus(_STATUS, "non DNSSEC destination"))
        found = await self._find(server)
        if found is None:
            return _without_dane(level, DsnStatus(_STATUS, "no TLSA records found"))
        base, records = found
        if not records.associations:
            return _without_dane(level, DsnStatus(_STATUS, "TLSA records unusable"), instead=Level.ENCRYPT)
        if insecure_mx:
            level = self._insecure_mx_level
        names = (base,) if directions is None else (base, directions.rname, directions.qname)
        return DaneTerms(level, base, records.associations, tuple(dict.fromkeys(names)))

    async def _find(self, server: Server) -> tuple[str, TlsaRecords] | None:
        """The TLSA records of a server, and the name at which they were found; None: there are none.

        A name of an alias vouches for what it leads to only as far as DNSSEC does. Where all of the way is secure the last name
        is asked first, as its owner knows the keys; where only the alias is, just the first name counts.
        """
        try:
            for base in await self._bases(server):
                records = await self._tlsa.find(base, server.port)
                if records is not None:
                    return base, records
        except TlsaLookupError:
            problem = f"TLSA lookup error for {server.host}:{server.port}"
            raise TlsPolicyError(DsnStatus(_STATUS, problem)) from None
        return None

    async def _bases(self, server: Server) -> tuple[str, ...]:
        """The names at which to look, in this order."""
        is_alias = server.qname.lower() != server.rname.lower()
        if server.secure:
            return (server.rname, server.qname) if is_alias else (server.rname,)
        if self._forced or (is_alias and await self._is_secure_alias(server.qname)):
            return (server.qname,)
        return ()

    async def _is_secure_alias(self, name: str) -> bool:
        """Whether a name is validated to be an alias, wherever it leads.

        Raises:
            TlsaLookupError: nobody can tell.
        """
        answer = await self._dns.lookup(name, RecordType.CNAME, dnssec=True)
        if answer.result is LookupResult.OK:
            return answer.secure
        gone = answer.result is LookupResult.NOT_FOUND
        self._emit(DnssecStatusUnknown(name, "no longer a CNAME" if gone else answer.reason))
        raise TlsaLookupError


def _without_dane(level: Level, why: DsnStatus, *, instead: Level = Level.MAY) -> DaneTerms:
    """Level dane becomes a lesser one; dane-only knows no other."""
    if level is Level.DANE_ONLY:
        raise TlsPolicyError(why)
    return DaneTerms(instead)
