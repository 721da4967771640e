"""The hosts and ports of a service at a domain.

Flow: routing/router.py asks here for destinations whose service is in use_srv_lookup.
Sources: RFC 2782; RFC 6186; postconf(5) use_srv_lookup, ignore_srv_lookup_error.
"""

from collections.abc import Sequence
from itertools import accumulate, groupby

from twisted_mta.model.answers import LookupResult, RecordType, SrvRecord
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import NoHostHasAddress
from twisted_mta.routing.addresses import DNS_FAILURES
from twisted_mta.routing.found import Findings, Referral, WhyNot, cut_at_self
from twisted_mta.routing.lookups import Lookups
from twisted_mta.routing.mx import ERRORS, only_self
from twisted_mta.routing.order import HostAddress, RandomSource, balance


async def find_service(qname: str, lookups: Lookups, *, loop_detection: bool) -> Findings:
    """Find the addresses and ports of the hosts that offer a service.

    Args:
        qname: ``_service._tcp.domain``, in A-label form.
        lookups: the means.
        loop_detection: whether to leave out this machine and what is no better.
    """
    settings = lookups.settings
    answer = await lookups.dns.lookup(qname, RecordType.SRV, dnssec=settings.dnssec)
    if answer.result is not LookupResult.OK:
        problem = DsnStatus(DNS_FAILURES[answer.result], answer.reason)
        may_fall_back = answer.result in ERRORS and settings.ignore_srv_lookup_error
        return Findings(problem=problem, may_fall_back=may_fall_back)
    records = in_srv_order([record for record in answer.records if isinstance(record, SrvRecord)], lookups.random)
    referral = Referral(qname, records[0].owner, answer.secure)
    why = WhyNot()
    found: list[HostAddress] = []
    for record in records:
        if not await lookups.hosts.add(
            found,
            record.target,
            why,
            dnssec=answer.secure or settings.dnssec_for_insecure_mx,
            preference=record.priority,
            port=record.port,
        ):
            break
    if not found:
        lookups.emit(NoHostHasAddress("SRV", qname))
        return Findings(problem=why.problem, referral=referral)
    better = cut_at_self(found, lookups.own) if loop_detection else found
    if not better:
        return Findings(
            problem=only_self(qname, records[0].priority, found[0].preference), found_self=True, referral=referral
        )
    ordered = balance(better, settings.address_limit) if settings.balance else better
    return Findings(tuple(ordered), found_self=len(better) < len(found), referral=referral)


def in_srv_order(records: Sequence[SrvRecord], random: RandomSource) -> list[SrvRecord]:
    """Order records by priority, and within a priority by chance, in proportion to the weights.

    Args:
        records: of one answer.
        random: the source of chance.
    """
    shuffled = list(records)
    random.shuffle(shuffled)
    shuffled.sort(key=lambda record: record.priority)
    ordered: list[SrvRecord] = []
    for _, group in groupby(shuffled, key=lambda record: record.priority):
        ordered.extend(_by_weight(list(group), random))
    return ordered


def _by_weight(records: list[SrvRecord], random: RandomSource) -> list[SrvRecord]:
    """Draw one record after the other (RFC 2782, "Weight")."""
    total = sum(record.weight for record in records)
    if not total:
        return records
    drawn = []
    while records:
        threshold = random.randint(0, total)
        sums = accumulate(record.weight for record in records)
        chosen = next(at for at, reached in enumerate(sums) if reached >= threshold)
        drawn.append(records.pop(chosen))
        total -= drawn[-1].weight
    return drawn
