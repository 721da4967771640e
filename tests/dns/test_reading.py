"""Tests of twisted_mta.dns.reading: the log and the results that a running Postfix has for the same answers."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.dns.driving import Network
from twisted_mta.dns.reading import RECORD_LIMIT, Alias, Finding, Found, Unusable, read_answers, type_name
from twisted_mta.dns.wire import RawRecord, Reply
from twisted_mta.model.answers import (
    AddressRecord,
    LookupResult,
    MxRecord,
    NameRecord,
    Record,
    RecordType,
    SrvRecord,
    TlsaRecord,
)

Q = "q.example"


def raw(value: Record | None, rdtype: RecordType, *, owner: str = Q, rdclass: int = 1, length: int = 4) -> RawRecord:
    """A record of an answer section."""
    return RawRecord(owner, rdtype, rdclass, 60 if value is None else value.ttl, length, value)


def mx(exchange: str, preference: int = 10, owner: str = Q, ttl: int = 60, **options: Any) -> RawRecord:
    """An MX record."""
    return raw(MxRecord(owner, ttl, preference, exchange), RecordType.MX, owner=owner, **options)


def cname(target: str, owner: str = Q, ttl: int = 60) -> RawRecord:
    """An alias."""
    return raw(NameRecord(owner, ttl, target), RecordType.CNAME, owner=owner)


def a(address: str = "192.0.2.1", owner: str = Q, **options: Any) -> RawRecord:
    """An A record."""
    return raw(AddressRecord(owner, 60, address), RecordType.A, owner=owner, **options)


SHORT_MX = raw(None, RecordType.MX)


class ReadingTests(SynchronousTestCase):
    """What an answer section means."""

    def read(self, *records: RawRecord, rdtype: RecordType = RecordType.MX, broken: bool = False) -> Finding:
        """Read an answer section."""
        self.network = Network()
        reply = Reply(0, False, False, True, False, records, broken)
        return read_answers(reply, Q, rdtype, self.network.events.append)

    def assert_found(self, finding: Finding, *records: RawRecord) -> None:
        """The finding is these records."""
        assert isinstance(finding, Found), finding
        self.assertEqual(finding.records, tuple(record.value for record in records))

    def assert_log(self, *lines: str) -> None:
        """These warnings were given."""
        self.assertEqual(self.network.log, [f"warning: {line}" for line in lines])

    def test_records_in_their_order(self) -> None:
        """All records of the type count, in the order of the answer, equal ones too."""
        records = [mx("b.example", 20), mx("A.example"), mx("b.example", 20)]
        self.assert_found(self.read(*records), *records)
        self.assert_log()

    def test_lifetime(self) -> None:
        """An answer holds for the least TTL of its records and aliases; other records do not matter."""
        other = raw(AddressRecord(Q, 1, "192.0.2.1"), RecordType.A)
        finding = self.read(other, cname("a.example", ttl=30), mx("b.example", owner="a.example", ttl=40))
        self.assertEqual(finding, Found((MxRecord("a.example", 40, 10, "b.example"),), 30))

    def test_owner_elsewhere(self) -> None:
        """Who the records belong to is the resolver's business: aliases may come in any order."""
        record = mx("b.example", owner="other.example")
        self.assert_found(self.read(record, cname("other.example")), record)
        self.assert_found(self.read(record), record)

    def test_alias_alone(self) -> None:
        """Of aliases alone the last one is followed."""
        self.assertEqual(self.read(cname("a.example", ttl=9), cname("b.example", "a.example")), Alias("b.example", 9))
        self.assert_log()

    def test_alias_asked_for(self) -> None:
        """An alias that was asked for is data."""
        record = cname("a.example")
        self.assert_found(self.read(record, rdtype=RecordType.CNAME), record)

    def test_other_type_alone(self) -> None:
        """Records of other types alone are no answer."""
        self.assertEqual(self.read(a()), Unusable(LookupResult.NOT_FOUND))
        self.assert_log()

    def test_bad_owner(self) -> None:
        """An owner that is no host name spoils the whole answer, whatever its record is."""
        for record in [mx("b.example", owner="a!b.example"), a(owner="a!b.example"), cname("b.example", "a!b.example")]:
            self.assertEqual(self.read(mx("b.example"), record), Unusable(LookupResult.INVALID))
            self.assert_log(
                "valid_hostname: invalid character 33(decimal): a!b.example",
                "malformed domain name in resource name of"
                f" {type_name(record.rdtype)} record for q.example: a!b.example",
            )

    def test_root_owner(self) -> None:
        """The root is no owner either, unless it was asked for."""
        self.assertEqual(self.read(mx("b.example", owner="")), Unusable(LookupResult.INVALID))
        self.assert_log(
            "valid_hostname: empty hostname", "malformed domain name in resource name of MX record for q.example: "
        )
        server = NameRecord("", 60, "a.root.example")
        reply = Reply(0, False, False, True, False, (raw(server, RecordType.NS, owner=""),))
        self.assertEqual(read_answers(reply, ".", RecordType.NS, self.fail), Found((server,), 60))

    def test_wildcard_owner(self) -> None:
        """An owner and a target may begin with an asterisk."""
        record = mx("*.example", owner="*.q.example")
        self.assert_found(self.read(record), record)
        self.assert_log()

    def test_bad_target(self) -> None:
        """A target that is no host name leaves only its record out."""
        good = mx("ok.example", 20)
        self.assert_found(self.read(mx("a!b.example"), good), good)
        self.assert_log(
            "valid_hostname: invalid character 33(decimal): a!b.example",
            "malformed domain name in resource data of MX record for q.example: a!b.example",
        )
        self.assertEqual(self.read(mx("-a.example")), Unusable(LookupResult.INVALID))
        self.assert_log(
            "valid_hostname: misplaced hyphen: -a.example",
            "malformed domain name in resource data of MX record for q.example: -a.example",
        )

    def test_numeric_target(self) -> None:
        """An address in place of a name is taken, with a warning; so it is as an owner."""
        for name in ["192.0.2.1", "2001:db8::1"]:
            record = mx(name)
            self.assert_found(self.read(record), record)
            self.assert_log(f"numeric domain name in resource data of MX record for q.example: {name}")
        record = mx("b.example", owner="192.0.2.1")
        self.assert_found(self.read(record), record)
        self.assert_log("numeric domain name in resource name of MX record for q.example: 192.0.2.1")
        self.assertEqual(self.read(mx("192.0.2")), Unusable(LookupResult.INVALID))
        self.assertIn("warning: valid_hostname: numeric hostname: 192.0.2", self.network.log)

    def test_bad_alias(self) -> None:
        """An alias of what is no host name spoils the whole answer."""
        for others in [(), (mx("b.example"),), (cname("b.example"),)]:
            self.assertEqual(self.read(*others, cname("a!b.example")), Unusable(LookupResult.INVALID))
            self.assert_log(
                "valid_hostname: invalid character 33(decimal): a!b.example",
                "malformed domain name in resource data of CNAME record for q.example: a!b.example",
            )
        self.assertEqual(self.read(cname("")), Unusable(LookupResult.INVALID))
        self.assertEqual(self.read(raw(None, RecordType.CNAME)), Unusable(LookupResult.RETRY))

    def test_bad_data(self) -> None:
        """Data that make no sense leave only their record out."""
        good = mx("ok.example")
        self.assert_found(self.read(SHORT_MX, good), good)
        self.assertEqual(self.read(SHORT_MX), Unusable(LookupResult.RETRY))
        self.assert_log()

    def test_mixed_faults(self) -> None:
        """Of several faults the one that lets the mail be tried again counts."""
        for records in [(mx("a!b"), SHORT_MX), (SHORT_MX, mx("a!b"))]:
            self.assertEqual(self.read(*records), Unusable(LookupResult.RETRY))

    def test_fault_and_alias(self) -> None:
        """An alias is followed even if a record beside it is of no use."""
        self.assertEqual(self.read(mx("a!b"), cname("c.example")), Alias("c.example", 60))

    def test_bad_address_length(self) -> None:
        """An address of the wrong length is reported and left out."""
        good = a()
        bad = raw(None, RecordType.A, length=3)
        self.assert_found(self.read(bad, good, rdtype=RecordType.A), good)
        self.assert_log("extract_answer: bad address length: 3")
        self.assertEqual(self.read(bad, rdtype=RecordType.A), Unusable(LookupResult.RETRY))

    def test_foreign_class(self) -> None:
        """A record of another class spoils the whole answer, for now."""
        for record in [mx("b.example", rdclass=3), a(rdclass=3), mx("b.example", owner="a!b", rdclass=3)]:
            self.assertEqual(self.read(mx("b.example"), record), Unusable(LookupResult.RETRY))
            self.assert_log("dns_get_fixed: bad class: 3")

    def test_broken(self) -> None:
        """An answer that ends within a record is of no use, for now; but a null MX before counts."""
        self.assertEqual(self.read(mx("b.example"), broken=True), Unusable(LookupResult.RETRY))
        self.assertEqual(self.read(broken=True), Unusable(LookupResult.RETRY))
        self.assertEqual(self.read(mx(""), broken=True), Unusable(LookupResult.NULL_MX))

    def test_null_mx(self) -> None:
        """A null MX counts, whatever stands beside it; what follows is not looked at."""
        for records in [(mx("", 0),), (mx("ok.example"), mx("", 0), mx("a!b"), a(owner="a!b"))]:
            self.assertEqual(self.read(*records), Unusable(LookupResult.NULL_MX, 60))
            self.assert_log()
        self.assertEqual(self.read(mx("a!b"), mx("", 0)), Unusable(LookupResult.NULL_MX, 60))
        self.assertEqual(len(self.network.log), 2)

    def test_null_srv(self) -> None:
        """An SRV record whose target is the root says that there is no such service."""
        null = raw(SrvRecord(Q, 60, 0, 0, 0, ""), RecordType.SRV)
        good = raw(SrvRecord(Q, 60, 0, 0, 25, "b.example"), RecordType.SRV)
        self.assertEqual(self.read(good, null, rdtype=RecordType.SRV), Unusable(LookupResult.NULL_SRV, 60))
        self.assert_found(self.read(good, rdtype=RecordType.SRV), good)

    def test_tlsa(self) -> None:
        """TLSA records are taken as they are."""
        record = raw(TlsaRecord(Q, 60, 3, 1, 1, b"x"), RecordType.TLSA)
        self.assert_found(self.read(record, rdtype=RecordType.TLSA), record)

    def test_record_limit(self) -> None:
        """Of too many records the first are used."""
        records = [mx(f"m{number}.example") for number in range(RECORD_LIMIT + 1)]
        self.assert_found(self.read(*records[:-1]), *records[:-1])
        self.assert_log()
        self.assert_found(self.read(*records), *records[:-1])
        self.assert_log(
            "DNS record count limit (100) exceeded -- dropping excess record(s) after qname=q.example qtype=MX"
        )

    def test_many_bad_records(self) -> None:
        """Thousands of bad records do not fill the log, and do not hide a good one."""
        good = mx("ok.example")
        self.assert_found(self.read(*[mx("a!b")] * 5000, good), good)
        self.assertEqual(len(self.network.log), 2 * RECORD_LIMIT)

    def test_type_names(self) -> None:
        """A type that has no name here has its number."""
        self.assertEqual(type_name(RecordType.AAAA), "AAAA")
        self.assertEqual(type_name(46), "RRSIG")
        self.assertEqual(type_name(99), "Unknown type 99")
