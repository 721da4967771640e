"""The mail exchangers of a domain.

Flow: routing/router.py asks here for destinations that are mail domains.
Sources: RFC 5321 section 5.1; RFC 7505 (null MX); postconf(5) ignore_mx_lookup_error,
smtp_defer_if_no_mx_address_found, smtp_dns_support_level, smtp_tls_dane_insecure_mx_policy.
"""

from twisted_mta.model.answers import LookupResult, MxRecord, RecordType
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import NoHostHasAddress
from twisted_mta.routing.addresses import DNS_FAILURES
from twisted_mta.routing.found import Findings, Referral, WhyNot, cut_at_self
from twisted_mta.routing.lookups import Lookups
from twisted_mta.routing.order import HostAddress, in_order

ERRORS = (LookupResult.RETRY, LookupResult.INVALID, LookupResult.FAIL)
"""Look-ups that went wrong, unlike those with an answer that nobody likes."""


async def find_host(host: str, lookups: Lookups, *, loop_detection: bool) -> Findings:
    """Find the addresses of one host.

    Args:
        host: its name, or an address.
        lookups: the means.
        loop_detection: whether the host must not be this machine.
    """
    why = WhyNot()
    found: list[HostAddress] = []
    await lookups.hosts.add(found, host, why, dnssec=lookups.settings.dnssec)
    if not found:
        return Findings(problem=why.problem)
    if loop_detection and any(entry.address in lookups.own for entry in found):
        return Findings(problem=DsnStatus("5.4.6", f"mail for {host} loops back to myself"), found_self=True)
    return Findings(tuple(in_order(found, lookups.settings, lookups.random)))


async def find_exchangers(domain: str, lookups: Lookups, *, loop_detection: bool) -> Findings:
    """Find the addresses of a domain's mail exchangers, or of the domain itself if it names none.

    Args:
        domain: the mail domain, possibly in Unicode.
        lookups: the means.
        loop_detection: whether to leave out this machine and what is no better.
    """
    settings = lookups.settings
    name = lookups.hosts.a_labels(domain)
    answer = await lookups.dns.lookup(name, RecordType.MX, dnssec=settings.dnssec)
    if answer.result is LookupResult.NOT_FOUND or (answer.result in ERRORS and settings.ignore_mx_lookup_error):
        return await find_host(name, lookups, loop_detection=loop_detection)
    if answer.result is not LookupResult.OK:
        return Findings(problem=DsnStatus(DNS_FAILURES[answer.result], answer.reason))
    records = sorted(
        (record for record in answer.records if isinstance(record, MxRecord)), key=lambda record: record.preference
    )
    referral = Referral(name, records[0].owner, answer.secure)
    why = WhyNot()
    found: list[HostAddress] = []
    for record in records:
        if not await lookups.hosts.add(
            found,
            record.exchange,
            why,
            dnssec=answer.secure or settings.dnssec_for_insecure_mx,
            preference=record.preference,
        ):
            break
    if not found:
        lookups.emit(NoHostHasAddress("MX", domain))
        problem = why.problem.softened() if settings.defer_if_no_mx_address else why.problem
        return Findings(problem=problem, referral=referral)
    better = cut_at_self(found, lookups.own) if loop_detection else found
    if not better:
        return Findings(
            problem=only_self(domain, records[0].preference, found[0].preference), found_self=True, referral=referral
        )
    found_self = len(better) < len(found)
    return Findings(tuple(in_order(better, settings, lookups.random)), found_self=found_self, referral=referral)


def only_self(domain: str, best: int, best_found: int) -> DsnStatus:
    """The status where no host is better than this machine.

    Args:
        domain: as the message shows it.
        best: the preference of the best host.
        best_found: that of the best host with an address: if it is worse, the best one may be only out of sight.
    """
    if best == best_found:
        return DsnStatus("5.4.6", f"mail for {domain} loops back to myself")
    return DsnStatus("4.4.4", f"unable to find primary relay for {domain}")
