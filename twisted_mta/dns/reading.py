"""What the answer section of a reply means: records to use, an alias to follow, or why it is of no use.

Flow: dns/resolution.py hands over a Reply that says NOERROR; its finding goes into an Answer, or into the next query.
An answer is read from front to back. What makes the whole answer worthless ends the reading: an invalid owner or alias, a
class other than IN, a record cut short. What makes one record worthless only leaves that record out.
Sources: RFC 1035 section 3.6; RFC 7505 (null MX); RFC 2782 (target "."); the log and the results of a running Postfix.
"""

from dataclasses import dataclass
from typing import cast

from twisted_mta.dns.hostnames import hostname_problem, valid_address, valid_hostname
from twisted_mta.dns.wire import CLASS_IN, RawRecord, Reply
from twisted_mta.model.answers import (
    LookupResult,
    MxRecord,
    NameRecord,
    Record,
    RecordType,
    SrvRecord,
)
from twisted_mta.model.events import (
    BadAddressLength,
    BadRecordClass,
    Emit,
    Event,
    InvalidHostname,
    MalformedDomainName,
    NumericDomainName,
    RecordLimitExceeded,
)

RECORD_LIMIT = 100
"""How many records of an answer are used."""

# DNAME and RRSIG are not read, but stand beside what is.
_TYPE_NAMES = {rdtype.value: rdtype.name for rdtype in RecordType} | {39: "DNAME", 46: "RRSIG"}


@dataclass(frozen=True, slots=True)
class Found:
    """Records of the type asked for, and for how many seconds the answer holds."""

    records: tuple[Record, ...]
    lifetime: int


@dataclass(frozen=True, slots=True)
class Alias:
    """Nothing but an alias: ask for `target`; the alias holds for `lifetime` seconds."""

    target: str
    lifetime: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """No record to use; the answer holds for `lifetime` seconds, which is certain only where it is meant to say so."""

    result: LookupResult
    lifetime: int = 0


LONGEST_LIFETIME = 0x7FFFFFFF
"""Seconds: the largest TTL (RFC 2181 section 8)."""

_NULL = (LookupResult.NULL_MX, LookupResult.NULL_SRV)

Finding = Found | Alias | Unusable


def type_name(rdtype: int) -> str:
    """A record type as log lines and reasons have it."""
    return _TYPE_NAMES.get(rdtype) or f"Unknown type {rdtype}"


def read_answers(reply: Reply, qname: str, rdtype: RecordType, emit: Emit) -> Finding:
    """Find out what a reply without error says.

    Args:
        reply: the reply, with at least one record in its answer section, or broken.
        qname: the name asked for.
        rdtype: the type asked for.
        emit: is told what is wrong with the records.
    """
    records: list[Record] = []
    alias: NameRecord | None = None
    lifetime = LONGEST_LIFETIME
    fault = LookupResult.NOT_FOUND
    left_out = 0
    for raw in reply.answers:
        if raw.rdclass != CLASS_IN:
            emit(BadRecordClass(raw.rdclass))
            return Unusable(LookupResult.RETRY)
        # Only what was asked of the root may stand at the root.
        if (raw.owner or qname != ".") and not _is_good_name(raw.owner, "name", raw.rdtype, qname, emit):
            return Unusable(LookupResult.INVALID)
        if raw.rdtype == rdtype or raw.rdtype == RecordType.CNAME:
            lifetime = min(lifetime, raw.ttl)
            verdict = _judge(raw, qname, emit)
            if raw.rdtype != rdtype:
                if verdict is not LookupResult.OK:
                    return Unusable(verdict)
                alias = cast(NameRecord, raw.value)
            elif verdict is LookupResult.OK:
                records.append(cast(Record, raw.value))
            elif verdict in _NULL:
                return Unusable(verdict, 0 if reply.broken else lifetime)
            else:
                fault = max(fault, verdict)
                left_out += 1
                if left_out == RECORD_LIMIT:
                    # An answer has room for thousands of bad records, the log need not.
                    emit = _say_nothing
    if reply.broken:
        return Unusable(LookupResult.RETRY)
    if records:
        if len(records) > RECORD_LIMIT:
            emit(RecordLimitExceeded(RECORD_LIMIT, qname, type_name(rdtype)))
        return Found(tuple(records[:RECORD_LIMIT]), lifetime)
    if alias is not None:
        return Alias(alias.target, lifetime)
    return Unusable(fault)


def _say_nothing(event: Event) -> None:
    pass


def _judge(raw: RawRecord, qname: str, emit: Emit) -> LookupResult:
    """Whether a record can be used: OK; INVALID, RETRY: not this one; NULL_MX, NULL_SRV: and no other either."""
    match raw.value:
        case None:
            if raw.rdtype in (RecordType.A, RecordType.AAAA):
                emit(BadAddressLength(raw.length))
            return LookupResult.RETRY
        case MxRecord(exchange=""):
            return LookupResult.NULL_MX
        case SrvRecord(target=""):
            return LookupResult.NULL_SRV
        case MxRecord(exchange=name) | SrvRecord(target=name) | NameRecord(target=name):
            if not _is_good_name(name, "data", raw.rdtype, qname, emit):
                return LookupResult.INVALID
    return LookupResult.OK


def _is_good_name(name: str, where: str, rdtype: int, qname: str, emit: Emit) -> bool:
    """Whether a name in a record can be used; an address in place of a name can, with a warning."""
    if valid_hostname(name):
        return True
    if valid_address(name):
        emit(NumericDomainName(type_name(rdtype), qname, name, where))
        return True
    problem = hostname_problem(name, wildcard=True)
    if problem:
        emit(InvalidHostname(problem))
        emit(MalformedDomainName(where, type_name(rdtype), qname, name))
    return not problem
