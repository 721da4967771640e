"""A name server for one domain with one mail exchanger: as small and as quick as can be.

Run as `python -m benchmarks.name_server ADDRESS DOMAIN EXCHANGER_ADDRESS TTL`: on port 53, UDP, it says
that DOMAIN has the exchanger mx.DOMAIN with this one IPv4 address; whatever else it is asked has no records. It prints `ready`
when it listens.

Flow: sinks.py starts it; the agents' look-ups come here through a private resolv.conf.
Sources: RFC 1035 sections 3.3.9, 4.1 and 4.2.1.
"""

import functools
import socket
import struct
import sys

_A, _MX, _IN = 1, 15, 1
_RESPONSE = 0x8180  # QR, RD, RA; NOERROR
_POINTER_TO_QUESTION = b"\xc0\x0c"
_HEADER = struct.Struct("!5H")  # the flags and the four counts, behind the id


def wire_name(name: str) -> bytes:
    """A domain name in its form on the wire, without compression."""
    labels = [label.encode("ascii") for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def make_records(domain: str, address: str) -> dict[tuple[bytes, int], bytes]:
    """What there is to find: the data of a record by its owner (on the wire) and type."""
    exchanger = wire_name("mx." + domain)
    return {
        (wire_name(domain), _MX): struct.pack("!H", 10) + exchanger,
        (exchanger, _A): socket.inet_aton(address),
    }


def answer(records: dict[tuple[bytes, int], bytes], ttl: int, query: bytes) -> bytes:
    """The reply to a query, both without their first two octets, the id.

    A query that has no question, or ends within it, gets an empty reply.
    """
    end = query.find(b"\0", _HEADER.size) + 1
    question = query[_HEADER.size : end + 4]
    if not end or len(question) != end + 4 - _HEADER.size:
        return _HEADER.pack(_RESPONSE, 0, 0, 0, 0)
    owner, rdtype = question[:-4].lower(), int.from_bytes(question[-4:-2])
    found = records.get((owner, rdtype))
    if found is None:
        return _HEADER.pack(_RESPONSE, 1, 0, 0, 0) + question
    record = _POINTER_TO_QUESTION + struct.pack("!HHIH", rdtype, _IN, ttl, len(found)) + found
    return _HEADER.pack(_RESPONSE, 1, 1, 0, 0) + question + record


def _serve(address: str, domain: str, exchanger_address: str, ttl: int) -> None:
    # The few questions that are asked repeat, but for their ids.
    replies = functools.lru_cache(maxsize=1024)(functools.partial(answer, make_records(domain, exchanger_address), ttl))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        print("ready", flush=True)
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(query[:2] + replies(query[2:]), client)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
