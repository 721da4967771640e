"""The rest of a policy, once its level is settled: what tables have left open comes from main.cf.

Flow: tls/policies.py has an entry of a table, or of main.cf, and what became of its level; the TlsPolicy comes from here.
Sources: postconf(5) smtp_tls_servername, smtp_tls_fingerprint_cert_match, smtp_tls_trust_anchor_file,
smtp_tls_connection_reuse, smtp_tls_enable_rpk, smtp_tls_policy_maps; TLS_README.
"""

from twisted_mta.config.settings import Settings
from twisted_mta.dns.hostnames import valid_hostname
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import NoFingerprints, ServernameInvalid
from twisted_mta.tls.dane import DaneTerms
from twisted_mta.tls.level_terms import terms_of_levels
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import Association, TlsPolicy
from twisted_mta.tls.policy_entry import EntryReaders, PolicyEntry
from twisted_mta.tls.policy_error import CONFIGURATION_PROBLEM, TlsPolicyError
from twisted_mta.tls.subjects import Server, Site


class Completion:
    """Completes policies, by one configuration."""

    def __init__(self, settings: Settings, readers: EntryReaders, emit: Emit) -> None:
        """Evaluate the parameters.

        Args:
            settings: of the protocol to be spoken.
            readers: read what is named in main.cf, too.
            emit: takes events.
        """
        self._terms = terms_of_levels(settings)
        self._connection_reuse = settings.smtp_tls_connection_reuse
        self._enable_rpk = settings.smtp_tls_enable_rpk
        self._servername = settings.smtp_tls_servername
        self._bad_servername = _bad_servername(settings)
        self._readers = readers
        self._anchor_files = settings.smtp_tls_trust_anchor_file
        self._emit = emit

    def policy(self, entry: PolicyEntry, dane: DaneTerms, nexthop: str, server: Server, site: Site) -> TlsPolicy:
        """Complete a policy.

        Args:
            entry: what a table demands, or main.cf.
            dane: the level above none that has become of it, and what goes with that.
            nexthop: the destination as it is written, for the log.
            server: for whom the policy is.
            site: its destination.

        Raises:
            TlsPolicyError: a setting or a file cannot be used, which has been told.
        """
        level = dane.level
        terms = self._terms[level]
        anchors: tuple[Association, ...] = ()
        if level.needs_authority:
            anchors = entry.trust_anchors or self._readers.anchors(self._anchor_files)
        # A local socket has no domain.
        domain = server.host if server.path else site.host
        servername = self._name_to_ask_for(entry.servername, server.host, domain)
        if level is Level.FINGERPRINT:
            matches = entry.matches or self._fingerprints_for_all(nexthop)
        else:
            matches = terms.matches if entry.matches is None else entry.matches
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

    def _name_to_ask_for(self, own: str | None, host: str, domain: str) -> str:
        """The name for SNI: a table's own, or smtp_tls_servername, which must make sense even where DANE has another one."""
        name = own
        if name is None:
            if self._bad_servername is not None:
                self._emit(self._bad_servername)
                raise TlsPolicyError(CONFIGURATION_PROBLEM)
            name = self._servername
        return {"hostname": host, "nexthop": domain}.get(name, name)

    def _fingerprints_for_all(self, nexthop: str) -> tuple[str, ...]:
        usable = self._readers.fingerprints(self._terms[Level.FINGERPRINT].matches)
        if not usable:
            self._emit(NoFingerprints(nexthop))
            raise TlsPolicyError(CONFIGURATION_PROBLEM)
        return usable


def _bad_servername(settings: Settings) -> ServernameInvalid | None:
    name = settings.smtp_tls_servername
    if not name or valid_hostname(name):
        return None
    return ServernameInvalid(settings.parameter_name("smtp_tls_servername"), name)
