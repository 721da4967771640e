"""DNS messages between bytes and values: the queries that are asked, and the few record types that are read.

Flow: dns/resolution.py builds queries and reads replies; dns/transport.py tells replies from strays with `answers`.
No general DNS library stands behind this: it would take many times as long for the few types that mail needs.
Sources: RFC 1035 section 4; RFC 2782 (SRV), RFC 3596 (AAAA), RFC 6698 (TLSA); RFC 6891 (EDNS); RFC 3225 (DO); RFC 6840
section 5.7 (AD in queries); RFC 2308 section 5 (negative answers); RFC 2181 section 8 (TTL).
"""

import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.model.answers import AddressRecord, MxRecord, NameRecord, Record, RecordType, SrvRecord, TlsaRecord

UDP_PAYLOAD = 1232
"""Octets of a reply that are taken by UDP with EDNS: what fits a packet of IPv6's smallest MTU."""

LONGEST_WIRE_NAME = 255
LONGEST_NAME = 253
"""Characters of the longest host name that can be asked for."""

CLASS_IN = 1

_OPT = 41
_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
_TYPE_CLASS = struct.Struct("!HH")
_SRV = struct.Struct("!HHH")

_RECURSION_DESIRED = 0x0100
_RECURSION_AVAILABLE = 0x0080
_AUTHENTIC_DATA = 0x0020
_AUTHORITATIVE = 0x0400
_TRUNCATED = 0x0200

_MOST_JUMPS = 127  # a name has no more labels; else a chain through the whole message could be walked for each record
_LARGEST_TTL = 0x7FFFFFFF
_ODD_OCTET = re.compile(rb"[^!#%&'*+,\-/0-9:<=>?A-Z\[\]^_`a-z{|}~]")
_BACKSLASHED = b'"().;\\@$'

_Names = dict[int, tuple[str, int]]


class WireError(ValueError):
    """Octets that are no DNS message, or a name that cannot stand in one."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record of an answer section.

    Attributes:
        owner: the name it stands at, case kept; empty for the root.
        rdtype: its type, which need not be a RecordType.
        rdclass: its class.
        ttl: seconds.
        length: octets of its data.
        value: the record read; None where the data make no sense or the type is not one that is read.
    """

    owner: str
    rdtype: int
    rdclass: int
    ttl: int
    length: int
    value: Record | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What is of use in a reply.

    Attributes:
        rcode: the response code, the octet of EDNS included where there are no answers.
        truncated, authoritative, recursion_available, authentic: TC, AA, RA and AD.
        answers: the records of the answer section, as far as it can be read.
        broken: whether the answer section ends in the middle of a record.
        negative_ttl: how long the absence of answers may be remembered, from the SOA record; 0: not at all.
    """

    rcode: int
    truncated: bool
    authoritative: bool
    recursion_available: bool
    authentic: bool
    answers: tuple[RawRecord, ...] = ()
    broken: bool = False
    negative_ttl: int = 0


def build_query(query_id: int, name: str, rdtype: int, *, edns: bool = False, dnssec: bool = False) -> bytes:
    """Write a query with recursion desired.

    Args:
        query_id: 0 to 65535, not to be guessed by others.
        name: of plain labels; empty or ``.`` is the root.
        rdtype: the type asked for.
        edns: whether larger UDP replies are offered to be taken.
        dnssec: whether validated data are asked for, which includes `edns`.

    Raises:
        WireError: the name has an empty or too long label, is too long, or has a character that is not ASCII or is NUL.
    """
    flags = _RECURSION_DESIRED | (_AUTHENTIC_DATA if dnssec else 0)
    question = _encode_name(name) + _TYPE_CLASS.pack(rdtype, CLASS_IN)
    if not (edns or dnssec):
        return _HEADER.pack(query_id, flags, 1, 0, 0, 0) + question
    # The root, then payload for the class, then extended response code, version and DO for the TTL.
    opt = b"\0" + _FIXED.pack(_OPT, UDP_PAYLOAD, 0x8000 if dnssec else 0, 0)
    return _HEADER.pack(query_id, flags, 1, 0, 0, 1) + question + opt


def question_length(query: bytes) -> int:
    """How many octets header and question of a query have; what follows is EDNS."""
    return query.index(b"\0", _HEADER.size) + 1 + _TYPE_CLASS.size


def answers(data: bytes, query: bytes) -> bool:
    """Whether `data` is a reply to `query`: same id, same question in any case, and marked as a reply."""
    end = question_length(query)
    return (
        data[:2] == query[:2]
        and len(data) >= end
        and data[2] & 0xF8 == 0x80
        and data[4:6] == b"\0\1"
        and data[end - 4 : end] == query[end - 4 : end]
        and data[12 : end - 4].lower() == query[12 : end - 4].lower()
    )


def read_reply(data: bytes, query: bytes) -> Reply:
    """Read a reply for which `answers` holds."""
    flags, _, answer_count, authority_count, additional_count = _HEADER.unpack_from(data)[1:]
    names: _Names = {}
    records: list[RawRecord] = []
    broken = False
    # The name in the question comes first, since most names that follow end in a pointer to it.
    offset = _read_name(data, _HEADER.size, names)[1] + _TYPE_CLASS.size
    try:
        for _ in range(answer_count):
            record, offset = _read_record(data, offset, names)
            records.append(record)
    except WireError:
        broken = True
    rcode, negative_ttl = flags & 0xF, 0
    if not answer_count:
        extended, negative_ttl = _read_rest(data, offset, authority_count, additional_count)
        rcode |= extended << 4
    return Reply(
        rcode,
        bool(flags & _TRUNCATED),
        bool(flags & _AUTHORITATIVE),
        bool(flags & _RECURSION_AVAILABLE),
        bool(flags & _AUTHENTIC_DATA),
        tuple(records),
        broken,
        negative_ttl,
    )


def _encode_name(name: str) -> bytes:
    """Write a name without compression."""
    if name in ("", "."):
        return b"\0"
    try:
        labels = name.encode("ascii").split(b".")
        encoded = b"".join([b"%c%b" % (len(label), label) for label in labels])
    except (UnicodeEncodeError, OverflowError) as error:
        raise WireError(f"no domain name: {name!r}") from error
    # A zero octet would end the name too early for `question_length`.
    if len(encoded) >= LONGEST_WIRE_NAME or "\0" in name or not all(0 < len(label) < 64 for label in labels):
        raise WireError(f"no domain name: {name!r}")
    return encoded + b"\0"


def _read_name(data: bytes, offset: int, names: _Names) -> tuple[str, int]:
    """Read a name, which may end in a pointer.

    Args:
        data: the whole message.
        offset: where the name begins.
        names: the names read so far, by where they begin, each with its length on the wire; grows.

    Returns:
        The name, without a final dot and with odd octets escaped; and the offset behind it.

    Raises:
        WireError: it runs out of the message, is too long, or a pointer does not point backwards.
    """
    labels: list[str] = []
    length = 1
    here, end, floor, jumps = offset, -1, offset, 0
    try:
        while size := data[here]:
            if size < 64:
                label = data[here + 1 : here + 1 + size]
                if len(label) < size:
                    raise WireError("a name runs out of the message")
                labels.append(label.decode("ascii") if label.isalnum() else _label_text(label))
                length += size + 1
                here += size + 1
            elif size >= 192:
                target = (size & 63) << 8 | data[here + 1]
                if end < 0:
                    end = here + 2
                jumps += 1
                # Each pointer must go before where the last one led: that ends any loop.
                if target >= floor or jumps > _MOST_JUMPS:
                    raise WireError("compression pointers that lead nowhere")
                if target in names:
                    suffix, suffix_length = names[target]
                    length += suffix_length - 1
                    if suffix:
                        labels.append(suffix)
                    break
                here = floor = target
            else:
                raise WireError("a label of unknown kind")
            if length > LONGEST_WIRE_NAME:
                break
    except IndexError as error:
        raise WireError("a name runs out of the message") from error
    if length > LONGEST_WIRE_NAME:
        raise WireError("a name is too long")
    name = ".".join(labels)
    names[offset] = name, length
    return name, here + 1 if end < 0 else end


def _label_text(label: bytes) -> str:
    r"""A label as text: a backslash before marks that mean something in zone files, ``\ddd`` for what is not printable."""
    return _ODD_OCTET.sub(_escape, label).decode("ascii")


def _escape(match: re.Match[bytes]) -> bytes:
    octet = match[0]
    return b"\\" + octet if octet in _BACKSLASHED else b"\\%03d" % octet[0]


def _read_fixed(data: bytes, offset: int) -> tuple[int, int, int, int, int]:
    """Read what follows a record's owner: type, class, TTL, and where its data begin and end."""
    start = offset + _FIXED.size
    if start > len(data):
        raise WireError("a record runs out of the message")
    rdtype, rdclass, ttl, length = _FIXED.unpack_from(data, offset)
    if start + length > len(data):
        raise WireError("a record runs out of the message")
    return rdtype, rdclass, ttl, start, start + length


def _read_record(data: bytes, offset: int, names: _Names) -> tuple[RawRecord, int]:
    owner, offset = _read_name(data, offset, names)
    rdtype, rdclass, ttl, start, end = _read_fixed(data, offset)
    if ttl > _LARGEST_TTL:
        ttl = 0
    value = None
    reader = _READERS.get(rdtype)
    if reader is not None and rdclass == CLASS_IN:
        try:
            value = reader(data, start, end, owner, ttl, names)
        except WireError:
            value = None
    return RawRecord(owner, rdtype, rdclass, ttl, end - start, value), end


def _read_name_within(data: bytes, start: int, end: int, names: _Names) -> str:
    name, behind = _read_name(data, start, names)
    if behind > end:
        raise WireError("a name runs out of its record")
    return name


def _read_a(data: bytes, start: int, end: int, owner: str, ttl: int, names: _Names) -> Record:
    if end - start != 4:
        raise WireError("an IPv4 address has 4 octets")
    return AddressRecord(owner, ttl, socket.inet_ntop(socket.AF_INET, data[start:end]))


def _read_aaaa(data: bytes, start: int, end: int, owner: str, ttl: int, names: _Names) -> Record:
    if end - start != 16:
        raise WireError("an IPv6 address has 16 octets")
    return AddressRecord(owner, ttl, socket.inet_ntop(socket.AF_INET6, data[start:end]))


def _read_mx(data: bytes, start: int, end: int, owner: str, ttl: int, names: _Names) -> Record:
    if end - start < 3:
        raise WireError("an MX record has a preference and a name")
    exchange = _read_name_within(data, start + 2, end, names)
    return MxRecord(owner, ttl, data[start] << 8 | data[start + 1], exchange)


def _read_srv(data: bytes, start: int, end: int, owner: str, ttl: int, names: _Names) -> Record:
    if end - start < 7:
        raise WireError("an SRV record has three numbers and a name")
    priority, weight, port = _SRV.unpack_from(data, start)
    return SrvRecord(owner, ttl, priority, weight, port, _read_name_within(data, start + 6, end, names))


def _read_tlsa(data: bytes, start: int, end: int, owner: str, ttl: int, names: _Names) -> Record:
    if end - start < 3:
        # Kept: a name that has nothing but such records is not one that has none.
        return TlsaRecord(owner, ttl, 0, 0, 0, b"", cut_at=end - start)
    return TlsaRecord(owner, ttl, data[start], data[start + 1], data[start + 2], data[start + 3 : end])


def _read_target(data: bytes, start: int, end: int, owner: str, ttl: int, names: _Names) -> Record:
    return NameRecord(owner, ttl, _read_name_within(data, start, end, names))


_Reader = Callable[[bytes, int, int, str, int, _Names], Record]

_READERS: dict[int, _Reader] = {
    RecordType.A: _read_a,
    RecordType.AAAA: _read_aaaa,
    RecordType.MX: _read_mx,
    RecordType.SRV: _read_srv,
    RecordType.TLSA: _read_tlsa,
    RecordType.CNAME: _read_target,
    RecordType.NS: _read_target,
    RecordType.PTR: _read_target,
}


def _read_rest(data: bytes, offset: int, authority_count: int, additional_count: int) -> tuple[int, int]:
    """Look at the sections behind an empty answer section, as far as they can be read.

    Returns:
        The upper octet of the response code, and the negative TTL in seconds.
    """
    names: _Names = {}
    extended = negative_ttl = 0
    try:
        for place in range(authority_count + additional_count):
            _, offset = _read_name(data, offset, names)
            rdtype, _, ttl, start, offset = _read_fixed(data, offset)
            if rdtype == _OPT and place >= authority_count:
                extended = ttl >> 24
            elif rdtype == RecordType.SOA and place < authority_count and offset - start >= 22:
                shortest = min(ttl, int.from_bytes(data[offset - 4 : offset]))
                negative_ttl = shortest if shortest <= _LARGEST_TTL else 0
    except WireError:
        pass
    return extended, negative_ttl
