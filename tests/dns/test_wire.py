"""Tests of twisted_mta.dns.wire, with dnspython for the second opinion."""

from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.dns import wire
from twisted_mta.model.answers import AddressRecord, MxRecord, NameRecord, Record, RecordType, SrvRecord, TlsaRecord

_labels = st.one_of(
    st.text("abcXYZ019-_", min_size=1, max_size=63).map(str.encode),
    st.sampled_from([b"example", b"mx1", b"a.b", b'"(\\);@$', b"a" * 63]),
    st.binary(min_size=1, max_size=8),
)


def _fits(labels: list[bytes]) -> bool:
    return sum(len(label) + 1 for label in labels) < 255


_names = st.lists(_labels, max_size=6).filter(_fits).map(lambda labels: dns.name.Name([*labels, b""]))
_small = st.integers(0, 255)
_short = st.integers(0, 65535)

# dnspython wants digests to have the length of their kind.
_associations = st.one_of(
    st.tuples(st.sampled_from([0, 3, 255]), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just(1), st.binary(min_size=32, max_size=32)),
    st.tuples(st.just(2), st.binary(min_size=64, max_size=64)),
)


@st.composite
def _records(draw: st.DrawFn) -> dns.rrset.RRset:
    """A record set of one record."""
    owner, target = draw(_names), draw(_names).to_text()
    text = draw(
        st.one_of(
            st.ip_addresses(v=4).map(lambda address: ("A", str(address))),
            st.ip_addresses(v=6).map(lambda address: ("AAAA", str(address))),
            _short.map(lambda number: ("MX", f"{number} {target}")),
            st.tuples(_short, _short, _short).map(lambda n: ("SRV", f"{n[0]} {n[1]} {n[2]} {target}")),
            st.tuples(_small, _small, _associations).map(
                lambda n: ("TLSA", f"{n[0]} {n[1]} {n[2][0]} {n[2][1].hex()}")
            ),
            st.sampled_from(["CNAME", "NS", "PTR"]).map(lambda rdtype: (rdtype, target)),
            st.just(("TXT", '"text"')),
        )
    )
    return dns.rrset.from_text(owner, draw(st.integers(0, 2**31 - 1)), "IN", *text)


def _as_record(owner: dns.name.Name, ttl: int, data: Any) -> Record | None:
    """What dnspython has read, as we would have it."""

    def text(name: dns.name.Name) -> str:
        return "" if name == dns.name.root else name.to_text(omit_final_dot=True)

    name = text(owner)
    match dns.rdatatype.to_text(data.rdtype):
        case "A" | "AAAA":
            return AddressRecord(name, ttl, data.address)
        case "MX":
            return MxRecord(name, ttl, data.preference, text(data.exchange))
        case "SRV":
            return SrvRecord(name, ttl, data.priority, data.weight, data.port, text(data.target))
        case "TLSA":
            return TlsaRecord(name, ttl, data.usage, data.selector, data.mtype, data.cert)
        case "CNAME" | "NS" | "PTR":
            return NameRecord(name, ttl, text(data.target))
    return None


def _reply_to(query: bytes, *answers: dns.rrset.RRset) -> dns.message.Message:
    reply = dns.message.make_response(dns.message.from_wire(query), recursion_available=True)
    reply.answer.extend(answers)
    return reply


QUERY = wire.build_query(0x1234, "Dest.example", RecordType.MX)
_HEADER_AND_QUESTION = len(QUERY)


def _raw_reply(answers: bytes, count: int = 1, flags: int = 0x8180) -> bytes:
    """A reply to QUERY with an answer section of these octets."""
    return QUERY[:2] + flags.to_bytes(2) + b"\0\1" + count.to_bytes(2) + b"\0\0\0\0" + QUERY[12:] + answers


class QueryTests(SynchronousTestCase):
    """Queries as dnspython understands them."""

    def test_plain(self) -> None:
        """A query asks one question, wants recursion, and has no EDNS."""
        query = dns.message.from_wire(QUERY)
        self.assertEqual(query.id, 0x1234)
        self.assertEqual(query.flags, dns.flags.RD)
        self.assertEqual(query.edns, -1)
        self.assertEqual([str(question) for question in query.question], ["Dest.example. IN MX"])

    def test_edns(self) -> None:
        """EDNS offers to take larger replies, no more."""
        query = dns.message.from_wire(wire.build_query(1, "a.example", RecordType.A, edns=True))
        self.assertEqual((query.edns, query.payload, query.ednsflags), (0, wire.UDP_PAYLOAD, 0))
        self.assertEqual(query.flags, dns.flags.RD)

    def test_dnssec(self) -> None:
        """Validated data are asked for with DO and AD."""
        query = dns.message.from_wire(wire.build_query(1, "_25._tcp.a.example", RecordType.TLSA, dnssec=True))
        self.assertEqual((query.edns, query.payload, query.ednsflags), (0, wire.UDP_PAYLOAD, dns.flags.DO))
        self.assertEqual(query.flags, dns.flags.RD | dns.flags.AD)

    def test_root(self) -> None:
        """The root can be asked for."""
        query = dns.message.from_wire(wire.build_query(1, ".", RecordType.NS))
        self.assertEqual(query.question[0].name, dns.name.root)

    def test_longest_name(self) -> None:
        """A name of LONGEST_NAME characters can be asked for, a longer one cannot."""
        name = ".".join(["a" * 63] * 3 + ["b" * 61])
        self.assertEqual(len(name), wire.LONGEST_NAME)
        query = dns.message.from_wire(wire.build_query(1, name, RecordType.A))
        self.assertEqual(query.question[0].name.to_text(omit_final_dot=True), name)
        self.assertRaises(wire.WireError, wire.build_query, 1, name + "b", RecordType.A)

    def test_impossible_names(self) -> None:
        """A name that cannot stand in a message is refused."""
        for name in ["a..b", ".a", "a.", "a" * 64, "a" * 300, "b\xfccher", "a\0b"]:
            self.assertRaises(wire.WireError, wire.build_query, 1, name, RecordType.A)


class MatchTests(SynchronousTestCase):
    """Which messages are replies to a query."""

    def test_same_question(self) -> None:
        """The id and the question decide; the case of the name does not matter."""
        reply = _reply_to(QUERY).to_wire()
        self.assertTrue(wire.answers(reply, QUERY))
        self.assertTrue(wire.answers(reply[:12] + reply[12:-4].lower() + reply[-4:], QUERY))

    def test_strays(self) -> None:
        """Another id, question, type or class, no reply, no question, another operation: none of them is a reply."""
        reply = _reply_to(QUERY).to_wire()
        other = wire.build_query(0x1234, "dest.exampla", RecordType.MX)
        strays = {
            "id": b"\x12\x35" + reply[2:],
            "question": _reply_to(other).to_wire(),
            "type": reply[:-4] + b"\0\1" + reply[-2:],
            "class": reply[:-2] + b"\0\3",
            "query": QUERY,
            "no question": reply[:4] + b"\0\0" + reply[6:],
            "operation": reply[:2] + b"\xa8" + reply[3:],
            "short": reply[:20],
            "shorter": reply[:1],
            "empty": b"",
        }
        for what, stray in strays.items():
            self.assertFalse(wire.answers(stray, QUERY), what)

    def test_letters_of_types(self) -> None:
        """Types are compared as numbers, not as letters."""
        query = wire.build_query(1, "a", 0x41)
        reply = _reply_to(wire.build_query(1, "a", 0x61)).to_wire()
        self.assertFalse(wire.answers(reply, query))


class ReplyTests(SynchronousTestCase):
    """Replies as values."""

    @settings(deadline=None, max_examples=150)
    @given(st.lists(_records(), min_size=1, max_size=5), _names)
    def test_agrees_with_dnspython(self, answers: list[dns.rrset.RRset], name: dns.name.Name) -> None:
        """Records and names, compressed as dnspython does it, are read as dnspython reads them."""
        message = _reply_to(QUERY, *answers)
        data = message.to_wire()
        reply = wire.read_reply(data, QUERY)
        again = dns.message.from_wire(data, one_rr_per_rrset=True)
        expected = [_as_record(rrset.name, rrset.ttl, rrset[0]) for rrset in again.answer]
        self.assertEqual([raw.value for raw in reply.answers], expected)
        self.assertFalse(reply.broken)

    def test_flags(self) -> None:
        """Flags and response code are told apart."""
        for flag, attribute in [
            (dns.flags.TC, "truncated"),
            (dns.flags.AA, "authoritative"),
            (dns.flags.RA, "recursion_available"),
            (dns.flags.AD, "authentic"),
        ]:
            for is_set in (False, True):
                message = _reply_to(QUERY)
                message.flags = dns.flags.QR | (flag if is_set else 0)
                self.assertEqual(getattr(wire.read_reply(message.to_wire(), QUERY), attribute), is_set)
        message = _reply_to(QUERY)
        message.set_rcode(dns.rcode.REFUSED)
        self.assertEqual(wire.read_reply(message.to_wire(), QUERY).rcode, 5)

    def test_extended_response_code(self) -> None:
        """EDNS has the upper part of the response code."""
        query = wire.build_query(1, "a.example", RecordType.A, edns=True)
        message = _reply_to(query)
        message.set_rcode(dns.rcode.BADVERS)
        self.assertEqual(wire.read_reply(message.to_wire(), query).rcode, 16)

    def test_negative_ttl(self) -> None:
        """An absence holds for the TTL of the SOA record or its minimum, whichever is less."""
        for ttl, minimum, expected in [(60, 600, 60), (600, 60, 60), (600, 0, 0), (0, 600, 0)]:
            message = _reply_to(QUERY)
            message.authority.append(dns.rrset.from_text("example.", ttl, "IN", "SOA", f"a. b. 1 2 3 4 {minimum}"))
            self.assertEqual(wire.read_reply(message.to_wire(), QUERY).negative_ttl, expected)
        self.assertEqual(wire.read_reply(_reply_to(QUERY).to_wire(), QUERY).negative_ttl, 0)

    def test_broken_authority(self) -> None:
        """What comes behind the answers does no harm."""
        message = _reply_to(QUERY)
        message.authority.append(dns.rrset.from_text("example.", 60, "IN", "SOA", "a. b. 1 2 3 4 5"))
        data = message.to_wire()
        for length in range(_HEADER_AND_QUESTION, len(data)):
            self.assertEqual(wire.read_reply(data[:length], QUERY).negative_ttl, 0)

    def test_ttl_with_upper_bit(self) -> None:
        """A TTL beyond 31 bits is 0 (RFC 2181 section 8)."""
        reply = wire.read_reply(_raw_reply(b"\xc0\x0c\0\1\0\1\x80\0\0\1\0\4\1\2\3\4"), QUERY)
        self.assertEqual([raw.ttl for raw in reply.answers], [0])

    def test_short_tlsa(self) -> None:
        """A TLSA record without all of its numbers is one all the same: its name has such records."""
        for data in (b"", b"\3", b"\3\1"):
            record = b"\xc0\x0c\0\x34\0\1\0\0\0\1" + len(data).to_bytes(2) + data
            reply = wire.read_reply(_raw_reply(record), QUERY)
            self.assertEqual(reply.answers[0].value, TlsaRecord("Dest.example", 1, 0, 0, 0, b"", cut_at=len(data)))

    def test_bad_data(self) -> None:
        """Data that make no sense for the type give a record without a value; what follows is still read."""
        good = b"\xc0\x0c\0\x0f\0\1\0\0\0\1\0\4\0\1\xc0\x0c"
        for rdtype, data in [
            (1, b"\1\2\3"),
            (1, b"\1\2\3\4\5"),
            (28, b"\1\2\3\4"),
            (15, b""),
            (15, b"\0\1"),
            (15, b"\0\1\1"),
            (15, b"\0\1\xff\xff"),
            (15, b"\0\1\x80\0"),
            (33, b"\0\0\0\0\0\0"),
            (5, b""),
            (5, b"\1a"),
        ]:
            bad = b"\xc0\x0c" + rdtype.to_bytes(2) + b"\0\1\0\0\0\1" + len(data).to_bytes(2) + data
            reply = wire.read_reply(_raw_reply(bad + good, 2), QUERY)
            self.assertEqual(reply.answers[0].value, None, (rdtype, data))
            self.assertEqual(reply.answers[0].length, len(data))
            self.assertEqual(reply.answers[1].value, MxRecord("Dest.example", 1, 1, "Dest.example"))
            self.assertFalse(reply.broken)

    def test_data_behind_the_name(self) -> None:
        """Octets behind the name of a record do no harm."""
        reply = wire.read_reply(_raw_reply(b"\xc0\x0c\0\x0f\0\1\0\0\0\1\0\6\0\1\xc0\x0cxx"), QUERY)
        self.assertEqual(reply.answers[0].value, MxRecord("Dest.example", 1, 1, "Dest.example"))

    def test_foreign_class(self) -> None:
        """A record of another class is not read, and told apart."""
        reply = wire.read_reply(_raw_reply(b"\xc0\x0c\0\1\0\3\0\0\0\1\0\4\1\2\3\4"), QUERY)
        self.assertEqual([(raw.rdclass, raw.value) for raw in reply.answers], [(3, None)])

    def test_cut_anywhere(self) -> None:
        """However much is missing, what is whole is read, and the rest is called broken."""
        records = [
            dns.rrset.from_text("dest.example.", 60, "IN", "MX", f"{place} mx.dest.example.") for place in (1, 2)
        ]
        data = _reply_to(QUERY, *records).to_wire()
        whole = wire.read_reply(data, QUERY).answers
        for length in range(_HEADER_AND_QUESTION, len(data)):
            reply = wire.read_reply(data[:length], QUERY)
            self.assertTrue(reply.broken)
            self.assertEqual(reply.answers, whole[: len(reply.answers)])

    def test_pointer_loops(self) -> None:
        """A pointer to itself, forwards, or round in a circle ends the reading."""
        start = _HEADER_AND_QUESTION
        for owner in [
            (0xC000 | start).to_bytes(2),
            (0xC000 | start + 2).to_bytes(2) + b"\1a\0",
            b"\1a" + (0xC000 | start).to_bytes(2),
            b"\1a" + (0xC000 | start + 4).to_bytes(2) + b"\1b" + (0xC000 | start).to_bytes(2),
            b"\xff\xff",
            b"\xc0",
            b"\x40a",
        ]:
            reply = wire.read_reply(_raw_reply(owner + b"\0\1\0\1\0\0\0\1\0\4\1\2\3\4"), QUERY)
            self.assertTrue(reply.broken, owner)

    def test_long_name_by_pointers(self) -> None:
        """Names that grow with each pointer end at 255 octets."""
        chain = b""
        previous = 12
        for place in range(10):
            owner = b"\x3f" + b"%c" % (97 + place) * 63 + (0xC000 | previous).to_bytes(2)
            previous = _HEADER_AND_QUESTION + len(chain)
            chain += owner + b"\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
        reply = wire.read_reply(_raw_reply(chain, 10), QUERY)
        self.assertTrue(reply.broken)
        self.assertEqual([len(raw.owner) for raw in reply.answers], [76, 140, 204])

    def test_odd_octets(self) -> None:
        """Odd octets of names are escaped as in zone files."""
        reply = wire.read_reply(_raw_reply(b'\x07a.b"\0\xe9 \7example\0\0\1\0\1\0\0\0\1\0\4\1\2\3\4'), QUERY)
        self.assertEqual(reply.answers[0].owner, 'a\\.b\\"\\000\\233\\032.example')

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=200), st.integers(0, 65535))
    @example(b"\xc0\x0c" * 50, 65535)
    def test_noise(self, noise: bytes, count: int) -> None:
        """Noise behind the question never does worse than break the answer."""
        reply = wire.read_reply(_raw_reply(noise, count), QUERY)
        self.assertTrue(reply.broken or len(reply.answers) == count)
        wire.read_reply(_raw_reply(noise, 0)[:-2] + noise, QUERY)
