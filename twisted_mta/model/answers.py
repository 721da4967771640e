"""What a name server said, as values that need no DNS library to read.

Flow: dns/ makes Answers; routing/ reads them.
Sources: RFC 1035 section 3.2.2; RFC 2782 (SRV); RFC 3596 (AAAA); RFC 5321 section 5.1; RFC 7505 (null MX).
"""

import enum
from dataclasses import dataclass


class RecordType(enum.IntEnum):
    """Types of resource records, by their numbers on the wire."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    TLSA = 52


class Search(enum.Flag):
    """Which names the search list of resolv.conf(5) completes: the options of postconf(5) smtp_dns_resolver_options."""

    NONE = 0
    FIRST = enum.auto()
    """Names without a dot, by its first domain (res_defnames)."""
    DOTTED = enum.auto()
    """Names with a dot, by all of its domains (res_dnsrch)."""
    BOTH = FIRST | DOTTED
    """All names, by all of its domains."""


class LookupResult(enum.IntEnum):
    """The classes of results; of several lookups for one name the one with the highest number counts."""

    NOT_FOUND = 1
    """No such name, or no record of this type."""
    NULL_SRV = 2
    """The service is decidedly not available (RFC 2782: target is the root)."""
    NULL_MX = 3
    """The domain takes no mail (RFC 7505)."""
    FAIL = 4
    """The server refuses for good."""
    INVALID = 5
    """The answer makes no sense."""
    RETRY = 6
    """No answer for now."""
    POLICY = 7
    """A reply filter dropped all records."""
    OK = 8


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """An A or AAAA record.

    Attributes:
        owner: the name that the record stands at, after aliases.
        ttl: seconds.
        address: IPv4 or IPv6 address as text.
    """

    owner: str
    ttl: int
    address: str


@dataclass(frozen=True, slots=True)
class MxRecord:
    """A mail exchanger: the lower the preference, the better."""

    owner: str
    ttl: int
    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """A server of a service (RFC 2782)."""

    owner: str
    ttl: int
    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """A certificate association (RFC 6698 section 2.1); the numbers are kept as they came.

    Attributes:
        cut_at: the octets of a record that is too short for its three numbers, which are 0 then; None: it has them.
    """

    owner: str
    ttl: int
    usage: int
    selector: int
    matching_type: int
    data: bytes
    cut_at: int | None = None


@dataclass(frozen=True, slots=True)
class NameRecord:
    """A record that is just another name: CNAME, NS or PTR; `target` is empty for the root."""

    owner: str
    ttl: int
    target: str


Record = AddressRecord | MxRecord | SrvRecord | TlsaRecord | NameRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one question.

    Attributes:
        name: the name asked for, without a final dot.
        rdtype: the type asked for.
        result: OK, or the class of failure.
        records: of the type asked for, in the order of the answer; empty unless OK.
        secure: whether the resolver validated it (AD), all aliases included.
        reason: the text for logs and reports; empty if OK.
        lifetime: seconds for which the answer may be kept, aliases included; 0: it may not be kept.
    """

    name: str
    rdtype: RecordType
    result: LookupResult
    records: tuple[Record, ...] = ()
    secure: bool = False
    reason: str = ""
    lifetime: int = 0
