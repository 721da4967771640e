r"""A name server that plays a recursive, validating resolver, faults included.

Flow: tests start one on loopback in their own reactor; interop tests run it as a process in a network of its own:
``python -m tests.kit.dns_server --address 127.0.0.1 --port 53 ZONE.json``.

A zone is a dictionary (JSON) of names, each a dictionary of types, each a list of records in the text form of RFC 1035, where
names need no final dot::

    {
      "dest.example": {"MX": ["10 mx1.dest.example", "20 mx2.dest.example"]},
      "mx1.dest.example": {"A": ["192.0.2.1"], "AAAA": {"fault": "servfail"}},
      "mx2.dest.example": {"A": {"records": ["192.0.2.2"], "ttl": 60, "secure": true}},
      "alias.example": {"CNAME": ["dest.example"]},
      "odd.example": {"A": ["\\# 3 010203"]},
      "slow.example": {"fault": ["silence", "none"]},
      "*": {"fault": "refused"}
    }

A fault of a name concerns all of its types; a list of faults is used up query by query, and its last one stays. ``*`` stands for
all names that the zone does not have.
Sources: RFC 1035; RFC 6891; RFC 4035 section 3.2.3 (AD).
"""

import argparse
import enum
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

DEFAULT_TTL = 60
LONGEST_CHAIN = 16
MOST_ATTEMPTS = 5
_SMALLEST_PAYLOAD = 512


class Fault(enum.Enum):
    """What the server does wrong."""

    NONE = "none"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    NOTIMP = "notimp"
    FORMERR = "formerr"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    LAME = "lame"
    """No data, no recursion, and the name servers of the root."""
    TRUNCATED = "truncated"
    """By UDP, only TC; by TCP, all is well."""
    TRUNCATED_CLOSE = "truncated-close"
    """By UDP, only TC; by TCP, the connection ends without a word."""
    GARBAGE = "garbage"
    """The right id, then noise."""
    SILENCE = "silence"
    WRONG_ID = "wrong-id"
    WRONG_QUESTION = "wrong-question"
    CUT = "cut"
    """The message lacks its last octets."""
    FORGED_FIRST = "forged-first"
    """A reply with a wrong id, then one to another question, then the right one."""


_RCODES = {
    Fault.SERVFAIL: dns.rcode.SERVFAIL,
    Fault.REFUSED: dns.rcode.REFUSED,
    Fault.NOTIMP: dns.rcode.NOTIMP,
    Fault.FORMERR: dns.rcode.FORMERR,
    Fault.NXDOMAIN: dns.rcode.NXDOMAIN,
}


@dataclass(frozen=True, slots=True)
class Query:
    """What the server was asked.

    Attributes:
        name: as it was spelled, without a final dot; empty for the root.
        rdtype: the type, e.g. ``MX``.
        by_tcp: how it came.
        dnssec: whether validated data were asked for (DO and AD).
        edns: the size of UDP replies that was offered; -1: no EDNS.
        port: the port it came from.
    """

    name: str
    rdtype: str
    by_tcp: bool
    dnssec: bool
    edns: int
    port: int


@dataclass(frozen=True, slots=True)
class _RecordSet:
    """The records of one type at a name; `records` is empty where only a fault is given."""

    records: tuple[str, ...]
    ttl: int
    secure: bool


class ScriptedResolver:
    """Answers queries from a zone. No I/O.

    Args:
        zone: as described above.
        follows_aliases: whether an alias comes with what stands behind it, as from any real resolver.

    Attributes:
        queries: what was asked, in order.
    """

    def __init__(self, zone: Mapping[str, Mapping[str, Any]], follows_aliases: bool = True) -> None:
        self.queries: list[Query] = []
        self._follows_aliases = follows_aliases
        self.told: Callable[[Query], None] = lambda query: None
        self._names: dict[str, dict[str, _RecordSet]] = {}
        self._faults: dict[tuple[str, str], list[Fault]] = {}
        for name, types in zone.items():
            self._add(name.lower().rstrip("."), types)

    def _add(self, name: str, types: Mapping[str, Any]) -> None:
        sets = self._names[name] = {}
        for rdtype, value in types.items():
            if rdtype == "fault":
                self._add_faults(name, "", value)
                continue
            details = value if isinstance(value, Mapping) else {"records": value}
            self._add_faults(name, rdtype, details.get("fault", []))
            sets[rdtype] = _RecordSet(
                tuple(_complete(rdtype, text) for text in details.get("records", ())),
                details.get("ttl", DEFAULT_TTL),
                details.get("secure", False),
            )

    def _add_faults(self, name: str, rdtype: str, faults: str | list[str]) -> None:
        words = [faults] if isinstance(faults, str) else faults
        if words:
            self._faults[name, rdtype] = [Fault(word) for word in words]

    def respond(self, data: bytes, by_tcp: bool = False, port: int = 0) -> list[bytes] | None:
        """The messages to send for a query, often one; None: hang up."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text().removesuffix(".")
        rdtype = dns.rdatatype.to_text(question.rdtype)
        dnssec = bool(query.ednsflags & dns.flags.DO and query.flags & dns.flags.AD)
        seen = Query(name, rdtype, by_tcp, dnssec, query.payload if query.edns >= 0 else -1, port)
        self.queries.append(seen)
        self.told(seen)
        reply = dns.message.make_response(query, recursion_available=True)
        fault = self._fault(name.lower(), rdtype)
        if fault is Fault.SILENCE:
            return []
        if fault is Fault.TRUNCATED_CLOSE and by_tcp:
            return None
        if fault is Fault.GARBAGE:
            return [data[:2] + b"\x81\x80" + b"\xff" * 20]
        if fault in _RCODES:
            reply.set_rcode(_RCODES[fault])
        elif fault is Fault.LAME:
            reply.flags &= ~dns.flags.RA
            reply.authority.append(dns.rrset.from_text(".", DEFAULT_TTL, "IN", "NS", "a.root.example."))
        elif fault is not Fault.NODATA:
            self._resolve(reply, name.lower(), rdtype, dnssec)
        if fault in (Fault.TRUNCATED, Fault.TRUNCATED_CLOSE) and not by_tcp:
            reply.flags |= dns.flags.TC
            reply.answer.clear()
        return _distort(_to_wire(reply, seen), fault)

    def _fault(self, name: str, rdtype: str) -> Fault:
        if name not in self._names:
            name = "*"
        for key in ((name, rdtype), (name, "")):
            if faults := self._faults.get(key):
                return faults.pop(0) if len(faults) > 1 else faults[0]
        return Fault.NONE

    def _resolve(self, reply: dns.message.Message, name: str, rdtype: str, dnssec: bool) -> None:
        """Put the records for a name into a reply, aliases first."""
        secure = True
        for _ in range(LONGEST_CHAIN):
            sets = self._names.get(name)
            if sets is None:
                parent = f".{name}"
                if not any(other.endswith(parent) for other in self._names):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                break
            found = sets.get(rdtype)
            alias = sets.get("CNAME")
            if found is not None and found.records:
                _append(reply, name, rdtype, found)
                secure = secure and found.secure
                break
            if alias is None:
                break
            _append(reply, name, "CNAME", alias)
            secure = secure and alias.secure
            name = alias.records[0].rstrip(".").lower()
            if not self._follows_aliases:
                break
        if not reply.answer:
            soa = f"ns.example. root.example. 1 1800 900 604800 {DEFAULT_TTL}"
            reply.authority.append(dns.rrset.from_text(".", DEFAULT_TTL, "IN", "SOA", soa))
        if dnssec and secure:
            reply.flags |= dns.flags.AD


_NAME_PLACES = {"MX": 1, "CNAME": 0, "NS": 0, "PTR": 0, "SRV": 3}


def _complete(rdtype: str, text: str) -> str:
    """Add the final dot that a name in a record may lack."""
    place = _NAME_PLACES.get(rdtype)
    words = text.split()
    if place is not None and len(words) > place and not text.startswith("\\#") and not words[place].endswith("."):
        words[place] += "."
    return " ".join(words)


def _append(reply: dns.message.Message, name: str, rdtype: str, found: _RecordSet) -> None:
    # One set for each record: of equal ones dnspython would drop all but one.
    owner = dns.name.from_text(name or ".")
    for text in found.records:
        if text.startswith("\\#"):
            octets = bytes.fromhex("".join(text.split()[2:]))
            data = dns.rdata.GenericRdata(dns.rdataclass.IN, dns.rdatatype.from_text(rdtype), octets)
            reply.answer.append(dns.rrset.from_rdata(owner, found.ttl, data))
        else:
            reply.answer.append(dns.rrset.from_text(owner, found.ttl, "IN", rdtype, text))


def _to_wire(reply: dns.message.Message, query: Query) -> bytes:
    """Write a reply, cut down to TC where it is too large for UDP."""
    largest = 65535 if query.by_tcp else max(_SMALLEST_PAYLOAD, query.edns)
    try:
        return reply.to_wire(max_size=largest)
    except dns.exception.TooBig:
        reply.answer.clear()
        reply.authority.clear()
        reply.flags |= dns.flags.TC
        return reply.to_wire(max_size=largest)


def _distort(wire: bytes, fault: Fault) -> list[bytes]:
    wrong_id = bytes([wire[0] ^ 0x55]) + wire[1:]
    wrong_question = wire[:13] + bytes([wire[13] ^ 1]) + wire[14:]
    match fault:
        case Fault.WRONG_ID:
            return [wrong_id]
        case Fault.WRONG_QUESTION:
            return [wrong_question]
        case Fault.CUT:
            return [wire[:-5]]
        case Fault.FORGED_FIRST:
            return [wrong_id, wrong_question, wire]
    return [wire]


class _Datagrams(DatagramProtocol):
    noisy = False

    def __init__(self, resolver: ScriptedResolver) -> None:
        self._resolver = resolver

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer a query."""
        for message in self._resolver.respond(datagram, port=addr[1]) or ():
            cast(Any, self.transport).write(message, addr)


class _Stream(Protocol):
    """One connection, for any number of queries."""

    def __init__(self, resolver: ScriptedResolver) -> None:
        self._resolver = resolver
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        """Collect queries and answer them."""
        self._received += data
        transport = cast(Any, self.transport)
        while len(self._received) >= 2 and len(self._received) >= (end := 2 + int.from_bytes(self._received[:2])):
            query, self._received = self._received[2:end], self._received[end:]
            messages = self._resolver.respond(query, by_tcp=True, port=transport.getPeer().port)
            if messages is None:
                transport.loseConnection()
                break
            for message in messages:
                transport.write(len(message).to_bytes(2) + message)


class _Streams(Factory):
    noisy = False

    def __init__(self, resolver: ScriptedResolver) -> None:
        self._resolver = resolver

    def buildProtocol(self, addr: IAddress | None) -> _Stream:
        """A connection."""
        return _Stream(self._resolver)


class DNSServer(ScriptedResolver):
    """A scripted resolver on the network, by UDP and TCP at the same port.

    Args:
        reactor: the network.
        zone: what it knows.
    """

    def __init__(self, reactor: Any, zone: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(zone)
        self._reactor = reactor
        self._ports: list[IListeningPort] = []

    def start(self, address: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Listen.

        Returns:
            The address and the port, which is a free one where `port` is 0.
        """
        for attempt in range(MOST_ATTEMPTS):
            stream = self._reactor.listenTCP(port, _Streams(self), interface=address)
            actual: IPv4Address | IPv6Address = stream.getHost()
            try:
                datagrams = self._reactor.listenUDP(actual.port, _Datagrams(self), interface=address)
            except CannotListenError:
                # The free port was free for TCP only.
                stream.stopListening()
                if port or attempt == MOST_ATTEMPTS - 1:
                    raise
            else:
                self._ports += [stream, datagrams]
                break
        return actual.host, actual.port

    async def stop(self) -> None:
        """Listen no longer."""
        while self._ports:
            await maybeDeferred(self._ports.pop().stopListening)


def main(arguments: list[str], output: TextIO) -> None:
    """Serve a zone file until the process is ended; writes ``ready``, then each query as a line of JSON."""
    from twisted.internet import reactor

    parser = argparse.ArgumentParser(description="Serve a zone, faults included.")
    parser.add_argument("zone", type=Path)
    parser.add_argument("--address", action="append")
    parser.add_argument("--port", type=int, default=53)
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        output.write(f"{line}\n")
        output.flush()

    server = DNSServer(reactor, json.loads(options.zone.read_text()))
    server.told = lambda query: say(json.dumps(asdict(query)))
    for address in options.address or ["127.0.0.1"]:
        server.start(address, options.port)
    say("ready")
    cast(Any, reactor).run()


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdout)
