"""Tests of twisted_mta.dns.resolution."""

from collections.abc import Callable
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.dns.driving import Network, Zone
from twisted_mta.dns.resolution import Question, Resolution, candidate_names
from twisted_mta.dns.resolv_conf import ResolvConf
from twisted_mta.dns.wire import question_length
from twisted_mta.model.answers import AddressRecord, Answer, LookupResult, MxRecord, NameRecord, RecordType, Search
from twisted_mta.model.events import Event

A, AAAA, MX, NS = RecordType.A, RecordType.AAAA, RecordType.MX, RecordType.NS

_ERRORS = {
    "host": "Host not found",
    "data": "Host found but no data record of requested type",
    "again": "Host not found, try again",
    "fatal": "Non-recoverable error",
}


Reaction = Callable[[bytes], bytes | None]
"""What a server does about a query."""


def _reaction(flags: int, counts: tuple[int, int, int], octets: bytes) -> Reaction:
    """A reply with these octets behind the question."""

    def react(query: bytes) -> bytes:
        numbers = b"".join(count.to_bytes(2) for count in counts)
        end = question_length(query)
        return query[:2] + (0x8000 | flags).to_bytes(2) + b"\0\1" + numbers + query[12:end] + octets

    return react


_odd_records = st.builds(
    lambda owner, rdtype, rdclass, data: (
        owner + rdtype.to_bytes(2) + rdclass.to_bytes(2) + b"\0\0\0\1" + len(data).to_bytes(2) + data
    ),
    st.sampled_from([b"\xc0\x0c", b"\0", b"\3a!b\0", b"\1a\xc0\x0c"]),
    st.sampled_from([1, 2, 5, 15, 28, 33, 52, 16]),
    st.sampled_from([1, 1, 1, 3]),
    st.sampled_from([b"\1\2\3\4", b"\xc0\x0c", b"\0\1\xc0\x0c", b"\0\1\0", b"\1x\xc0\x0c", b"\0" * 16, b"\0"]),
)
_reactions = st.one_of(
    st.just(lambda query: None),
    st.builds(_reaction, st.integers(0, 0x7FF), st.tuples(*[st.integers(0, 3)] * 3), st.binary(max_size=60)),
    st.builds(
        lambda flags, records: _reaction(flags, (len(records), 0, 0), b"".join(records)),
        st.sampled_from([0x80, 0x80, 0x180, 0xA0]),
        st.lists(_odd_records, min_size=1, max_size=5),
    ),
)


class ResolutionTestCase(SynchronousTestCase):
    """What the cases below share."""

    def assert_failed(self, answer: Answer, result: LookupResult, reason: str) -> None:
        """The answer is this failure."""
        self.assertEqual((answer.result, answer.reason, answer.records), (result, reason, ()))

    def assert_error(self, answer: Answer, result: LookupResult, error: str, name: str = "dest.example") -> None:
        """The answer is this failure of the name service."""
        self.assert_failed(
            answer,
            result,
            "Host or domain name not found."
            f" Name service error for name={name} type={answer.rdtype.name}: {_ERRORS[error]}",
        )

    def assert_malformed(self, answer: Answer, result: LookupResult, name: str = "dest.example") -> None:
        """The answer was of no use."""
        self.assert_failed(
            answer,
            result,
            f"Name service error for name={name} type={answer.rdtype.name}: Malformed or unexpected name server reply",
        )


class ResultTests(ResolutionTestCase):
    """From replies to answers."""

    def test_mx(self) -> None:
        """Records come with their TTLs, in the order of the reply."""
        network = Network({"dest.example": {"MX": ["20 mx2.dest.example", "10 mx1.dest.example"]}})
        answer = network.resolve("dest.example", MX)
        records = (
            MxRecord("dest.example", 60, 20, "mx2.dest.example"),
            MxRecord("dest.example", 60, 10, "mx1.dest.example"),
        )
        self.assertEqual(answer, Answer("dest.example", MX, LookupResult.OK, records, lifetime=60))

    def test_errors(self) -> None:
        """Each response code has its class and words."""
        for fault, result, error in [
            ("nxdomain", LookupResult.NOT_FOUND, "host"),
            ("nodata", LookupResult.NOT_FOUND, "data"),
            ("servfail", LookupResult.RETRY, "again"),
            ("refused", LookupResult.RETRY, "again"),
            ("notimp", LookupResult.RETRY, "again"),
            ("lame", LookupResult.RETRY, "again"),
            ("garbage", LookupResult.RETRY, "again"),
            ("silence", LookupResult.RETRY, "again"),
            ("wrong-id", LookupResult.RETRY, "again"),
            ("wrong-question", LookupResult.RETRY, "again"),
            ("formerr", LookupResult.FAIL, "fatal"),
        ]:
            network = Network({"dest.example": {"fault": fault, "MX": ["10 mx1.dest.example"]}})
            self.assert_error(network.resolve("dest.example", MX), result, error)

    def test_cut_message(self) -> None:
        """A message that ends within a record: try again."""
        network = Network({"dest.example": {"fault": "cut", "MX": ["10 mx1.dest.example"]}})
        self.assert_malformed(network.resolve("dest.example", MX), LookupResult.RETRY)

    def test_bad_target(self) -> None:
        """Nothing but a bad target: the answer is invalid."""
        network = Network({"dest.example": {"MX": ["10 a!b.example"]}})
        self.assert_malformed(network.resolve("dest.example", MX), LookupResult.INVALID)

    def test_null_mx(self) -> None:
        """A null MX has words of its own."""
        network = Network({"dest.example": {"MX": ["0 ."]}})
        answer = network.resolve("dest.example", MX)
        self.assert_failed(answer, LookupResult.NULL_MX, "Domain dest.example does not accept mail (nullMX)")
        self.assertEqual(answer.lifetime, 60, "it is a record like others")

    def test_null_srv(self) -> None:
        """So has a null SRV."""
        network = Network({"_smtp._tcp.dest.example": {"SRV": ["0 0 0 ."]}})
        answer = network.resolve("_smtp._tcp.dest.example", RecordType.SRV)
        reason = "Domain _smtp._tcp.dest.example does not support SRV requests"
        self.assert_failed(answer, LookupResult.NULL_SRV, reason)

    def test_impossible_names(self) -> None:
        """An address, or what is no host name, is not asked for."""
        network = Network({})
        for name in ["192.0.2.1", "2001:db8::1", "a!b.example", "a..b", "a.", "", "1.2", "a" * 64, "a b", "b\xfccher"]:
            answer = network.resolve(name, A)
            reason = f"Name service error for {name}: invalid host or domain name"
            self.assert_failed(answer, LookupResult.NOT_FOUND, reason)
        self.assertEqual(network.asks, [])
        self.assertEqual(network.events, [])

    def test_name_too_long_to_ask_for(self) -> None:
        """A name that is valid but longer than a question can have fails for good."""
        name = ".".join(["a" * 63] * 3 + ["b" * 62])
        self.assert_error(Network({}).resolve(name, A), LookupResult.FAIL, "fatal", name)

    def test_wildcard(self) -> None:
        """A name that begins with an asterisk may be asked for."""
        network = Network({"*.example": {"A": ["192.0.2.1"]}})
        self.assertEqual(network.resolve("*.example", A).result, LookupResult.OK)

    def test_root(self) -> None:
        """The root may be asked for, as the probe for DNSSEC does."""
        network = Network({"": {"NS": {"records": ["a.root.example"], "secure": True}}})
        answer = network.resolve(".", NS, dnssec=True)
        self.assertEqual(answer.records, (NameRecord("", 60, "a.root.example"),))
        self.assertTrue(answer.secure)

    def test_lifetime_of_absence(self) -> None:
        """What does not exist may be remembered; what failed may not."""
        network = Network({"dest.example": {"A": ["192.0.2.1"]}, "sick.example": {"fault": "servfail"}})
        self.assertEqual(network.resolve("dest.example", MX).lifetime, 60)
        self.assertEqual(network.resolve("gone.example", MX).lifetime, 60)
        self.assertEqual(network.resolve("sick.example", MX).lifetime, 0)


class AliasTests(ResolutionTestCase):
    """Aliases."""

    def test_alias_with_data(self) -> None:
        """An alias that comes with its data needs no other query; the record keeps its own name, case and all."""
        network = Network({"dest.example": {"CNAME": ["Host.example"]}, "host.example": {"A": ["192.0.2.1"]}})
        answer = network.resolve("dest.example", A)
        self.assertEqual(answer.records, (AddressRecord("Host.example", 60, "192.0.2.1"),))
        self.assertEqual(len(network.asks), 1)

    def test_alias_without_data(self) -> None:
        """An alias that comes alone is asked for; the words then name the alias."""
        network = Network({"dest.example": {"CNAME": ["host.example"]}, "host.example": {"A": ["192.0.2.1"]}})
        answer = network.resolve("dest.example", AAAA)
        self.assertEqual(network.queries, [("AAAA", "dest.example"), ("AAAA", "host.example")])
        self.assertEqual(answer.name, "dest.example")
        self.assert_error(answer, LookupResult.NOT_FOUND, "data", "host.example")

    def test_alias_of_nothing(self) -> None:
        """An alias of a name that does not exist does not exist, even with that alias in the reply."""
        network = Network({"dest.example": {"CNAME": ["gone.example"]}})
        self.assert_error(network.resolve("dest.example", MX), LookupResult.NOT_FOUND, "host")
        self.assertEqual(len(network.asks), 1)

    def test_alias_of_an_invalid_name(self) -> None:
        """An alias of what is no host name, which does not exist, does not exist: nothing is said of its form."""
        network = Network({"dest.example": {"CNAME": ["a!b.example"]}})
        self.assert_error(network.resolve("dest.example", MX), LookupResult.NOT_FOUND, "host")
        self.assertEqual(network.events, [])

    def test_null_mx_behind_an_alias(self) -> None:
        """A null MX is told of the name that has it."""
        zone = {"dest.example": {"CNAME": ["host.example"]}, "host.example": {"MX": ["0 ."]}}
        answer = Network(zone, follows_aliases=False).resolve("dest.example", MX)
        self.assert_failed(answer, LookupResult.NULL_MX, "Domain host.example does not accept mail (nullMX)")

    def test_loop(self) -> None:
        """Ten names of a chain are asked for, then it is a loop."""
        zone = {f"l{number}.example": {"CNAME": [f"l{number + 1}.example"]} for number in range(1, 30)}
        network = Network(zone, follows_aliases=False)
        answer = network.resolve("l1.example", MX)
        self.assert_failed(answer, LookupResult.NOT_FOUND, "Name server loop for l11.example")
        self.assertEqual(network.queries, [("MX", f"l{number}.example") for number in range(1, 11)])
        self.assertEqual(network.log, ["warning: dns_lookup: Name server loop for l11.example"])

    def test_alias_of_itself(self) -> None:
        """A name that is its own alias is a loop too."""
        network = Network({"dest.example": {"CNAME": ["dest.example"]}}, follows_aliases=False)
        answer = network.resolve("dest.example", MX)
        self.assert_failed(answer, LookupResult.NOT_FOUND, "Name server loop for dest.example")
        self.assertEqual(len(network.asks), 10)


GOOD = {"dest.example": {"A": ["192.0.2.1"]}}


def faulty(fault: str | list[str]) -> dict[str, dict[str, object]]:
    """A zone whose server does this wrong."""
    return {"dest.example": {"fault": fault, "A": ["192.0.2.1"]}}


class ServerTests(ResolutionTestCase):
    """Which server is asked, how, and for how long: as the C library does it."""

    def test_first_server_that_answers(self) -> None:
        """A server that has an answer, good or bad, is the last one asked."""
        for fault in ["none", "nxdomain", "nodata", "formerr", "cut"]:
            network = Network(faulty(fault), GOOD)
            network.resolve("dest.example", A)
            self.assertEqual(network.path, [(1, "udp", 5)])

    def test_next_server(self) -> None:
        """A server that does not or will not answer is passed over."""
        for fault in ["servfail", "refused", "notimp", "lame", "silence", "garbage", "wrong-id", "wrong-question"]:
            network = Network(faulty(fault), GOOD)
            self.assertEqual(network.resolve("dest.example", A).result, LookupResult.OK)
            self.assertEqual(network.path, [(1, "udp", 5), (2, "udp", 5)])
        network = Network(None, GOOD)
        self.assertEqual(network.resolve("dest.example", A).result, LookupResult.OK)

    def test_second_attempt(self) -> None:
        """A server that has recovered is heard in the second round."""
        network = Network(faulty(["servfail", "none"]), None)
        self.assertEqual(network.resolve("dest.example", A).result, LookupResult.OK)
        self.assertEqual(network.path, [(1, "udp", 5), (2, "udp", 5), (1, "udp", 5)])

    def test_time_limits(self) -> None:
        """The time limit doubles from server to server, and is shared by all."""
        network = Network(None, None, None)
        self.assert_error(network.resolve("dest.example", A, network.conf(timeout=2)), LookupResult.RETRY, "again")
        self.assertEqual([(server, seconds) for server, _, seconds in network.path], [(1, 2), (2, 1), (3, 2)] * 2)

    def test_attempts(self) -> None:
        """The number of rounds is a setting."""
        network = Network(faulty("servfail"))
        self.assert_error(network.resolve("dest.example", A, network.conf(attempts=4)), LookupResult.RETRY, "again")
        self.assertEqual(network.path, [(1, "udp", 5)] * 4)

    def test_rotation(self) -> None:
        """The first server to ask is chosen outside; the time limits go with the place, not with the server."""
        network = Network(None, None, None)
        network.resolve("dest.example", A, network.conf(attempts=1, timeout=9), first=1)
        self.assertEqual(network.path, [(2, "udp", 9), (3, "udp", 6), (1, "udp", 12)])

    def test_new_id_each_time(self) -> None:
        """Each query has an id of its own."""
        network = Network(None, None)
        network.resolve("dest.example", A)
        self.assertEqual(len({ask.query[:2] for ask in network.asks}), 4)

    def test_truncated(self) -> None:
        """A truncated reply is asked for again by TCP."""
        network = Network(faulty("truncated"))
        self.assertEqual(network.resolve("dest.example", A).result, LookupResult.OK)
        self.assertEqual(network.path, [(1, "udp", 5), (1, "tcp", 5)])

    def test_tcp_fails(self) -> None:
        """If TCP fails, the next servers are asked by TCP, once."""
        network = Network(None, faulty("truncated-close"), faulty("truncated-close"))
        self.assert_error(network.resolve("dest.example", A), LookupResult.RETRY, "again")
        self.assertEqual(network.path, [(1, "udp", 5), (2, "udp", 3), (2, "tcp", 3), (3, "tcp", 6)])

    def test_large_answer(self) -> None:
        """What does not fit 512 octets comes by TCP; with EDNS there is more room."""
        records = [f"10 mx{number}.dest.example" for number in range(40)]
        network = Network({"dest.example": {"MX": records}})
        self.assertEqual(len(network.resolve("dest.example", MX).records), 40)
        self.assertEqual([way for _, way, _ in network.path], ["udp", "tcp"])
        network = Network({"dest.example": {"MX": records}})
        self.assertEqual(len(network.resolve("dest.example", MX, network.conf(edns0=True)).records), 40)
        self.assertEqual([way for _, way, _ in network.path], ["udp"])

    def test_tcp_only(self) -> None:
        """With use-vc all is asked by TCP, in one round."""
        network = Network(faulty("servfail"), None)
        self.assert_error(network.resolve("dest.example", A, network.conf(use_tcp=True)), LookupResult.RETRY, "again")
        self.assertEqual([(server, way) for server, way, _ in network.path], [(1, "tcp"), (2, "tcp")])


class DnssecTests(ResolutionTestCase):
    """Validated data."""

    ZONE: ClassVar[Zone] = {
        "safe.example": {"A": {"records": ["192.0.2.1"], "secure": True}},
        "plain.example": {"A": ["192.0.2.2"]},
        "to-safe.example": {"CNAME": {"records": ["safe.example"], "secure": True}},
        "to-plain.example": {"CNAME": {"records": ["plain.example"], "secure": True}},
        "plain-to-safe.example": {"CNAME": ["safe.example"]},
    }

    def is_secure(self, name: str, *, dnssec: bool = True, follows_aliases: bool = True) -> bool:
        """Whether the address of a name is validated."""
        self.network = Network(self.ZONE, follows_aliases=follows_aliases)
        answer = self.network.resolve(name, A, dnssec=dnssec)
        self.assertEqual(answer.result, LookupResult.OK)
        return answer.secure

    def test_validated(self) -> None:
        """An answer is secure if the resolver says so and it was asked."""
        self.assertTrue(self.is_secure("safe.example"))
        self.assertFalse(self.is_secure("plain.example"))
        self.assertFalse(self.is_secure("safe.example", dnssec=False))

    def test_aliases(self) -> None:
        """One insecure link makes the whole chain insecure, whoever follows it."""
        for follows_aliases in (True, False):
            self.assertTrue(self.is_secure("to-safe.example", follows_aliases=follows_aliases))
            self.assertFalse(self.is_secure("to-plain.example", follows_aliases=follows_aliases))
            self.assertFalse(self.is_secure("plain-to-safe.example", follows_aliases=follows_aliases))

    def test_no_validation_behind_insecure_alias(self) -> None:
        """Behind an insecure alias validated data are not even asked for."""
        self.is_secure("plain-to-safe.example", follows_aliases=False)
        self.assertEqual([ask.query[3] & 0x20 for ask in self.network.asks], [0x20, 0])
        self.is_secure("to-safe.example", follows_aliases=False)
        self.assertEqual([ask.query[3] & 0x20 for ask in self.network.asks], [0x20, 0x20])


class HostileTests(ResolutionTestCase):
    """Servers that say anything."""

    @settings(deadline=None, max_examples=150)
    @given(st.lists(_reactions, min_size=1, max_size=8), st.sampled_from(list(RecordType)), st.booleans())
    def test_any_reply(self, reactions: list[Reaction], rdtype: RecordType, dnssec: bool) -> None:
        """Whatever the servers say, a lookup ends with an answer, after few queries."""
        network = Network(None, None, None)
        events: list[Event] = []
        resolution = Resolution(network.conf(), 0, lambda: 7, events.append)
        steps = resolution.resolve(Question("dest.example", rdtype, dnssec))
        asks = 0
        try:
            ask = next(steps)
            while True:
                asks += 1
                ask = steps.send(reactions[asks % len(reactions)](ask.query))
        except StopIteration as stop:
            answer = stop.value
        self.assertEqual(answer.name, "dest.example")
        self.assertEqual(answer.reason == "", answer.result is LookupResult.OK)
        self.assertEqual(bool(answer.records), answer.result is LookupResult.OK)
        self.assertLessEqual(asks, 10 * 7)


class SearchTests(ResolutionTestCase):
    """The search list."""

    def test_candidates(self) -> None:
        """A name with enough dots is tried as it stands first, another one last."""
        conf = ResolvConf(search=("a.example", "b.example"))
        self.assertEqual(candidate_names("host", conf, Search.BOTH), ("host.a.example", "host.b.example", "host"))
        self.assertEqual(
            candidate_names("host.x", conf, Search.BOTH), ("host.x", "host.x.a.example", "host.x.b.example")
        )
        conf = ResolvConf(search=("a.example",), ndots=2)
        self.assertEqual(candidate_names("host.x", conf, Search.BOTH), ("host.x.a.example", "host.x"))
        long = ".".join(["a" * 63] * 3 + ["b" * 61])
        self.assertEqual(candidate_names(long, conf, Search.BOTH), (long,))

    def test_one_of_two(self) -> None:
        """Alone, each option of smtp(8) is for other names: those without a dot get one domain, those with a dot all."""
        conf = ResolvConf(search=("a.example", "b.example"))
        for search, name, names in (
            (Search.FIRST, "host", ("host.a.example", "host")),
            (Search.FIRST, "host.x", ("host.x",)),
            (Search.DOTTED, "host", ("host",)),
            (Search.DOTTED, "host.x", ("host.x", "host.x.a.example", "host.x.b.example")),
            (Search.NONE, "host", ("host",)),
            (Search.NONE, "host.x", ("host.x",)),
        ):
            self.assertEqual(candidate_names(name, conf, search), names)

    def test_found_by_search(self) -> None:
        """The first name that has data answers; the answer is that of the name asked for."""
        network = Network({"host.b.example": {"A": ["192.0.2.1"]}})
        conf = network.conf(search=("a.example", "b.example", "c.example"))
        answer = network.resolve("host", A, conf, search=Search.BOTH)
        self.assertEqual((answer.name, answer.result), ("host", LookupResult.OK))
        self.assertEqual(network.queries, [("A", "host.a.example"), ("A", "host.b.example")])

    def test_not_wanted(self) -> None:
        """Without the search list a name is absolute."""
        network = Network({})
        network.resolve("host", A, network.conf(search=("a.example",)))
        self.assertEqual(network.queries, [("A", "host")])

    def test_failures(self) -> None:
        """If nothing is found, the name as it stands counts if it came first; else a lack of data; else a sick server."""
        zone = {"host.a.example": {"MX": ["10 a.example"]}, "host.x.a.example": {"MX": ["10 a.example"]}}
        network = Network({**zone, "host.s.example": {"fault": "servfail"}})
        conf = network.conf(search=("a.example", "s.example"))
        answer = network.resolve("host", A, conf, search=Search.BOTH)
        self.assert_error(answer, LookupResult.NOT_FOUND, "data", "host")
        answer = network.resolve("host.x", A, conf, search=Search.BOTH)
        self.assert_error(answer, LookupResult.NOT_FOUND, "host", "host.x")
        answer = network.resolve("host", A, network.conf(search=("s.example",)), search=Search.BOTH)
        self.assert_error(answer, LookupResult.RETRY, "again", "host")

    def test_no_server_ends_the_search(self) -> None:
        """If no server answers, other names are not tried."""
        network = Network(None)
        answer = network.resolve("host", A, network.conf(search=("a.example",), attempts=1), search=Search.BOTH)
        self.assert_error(answer, LookupResult.RETRY, "again", "host")
        self.assertEqual(len(network.asks), 1)
