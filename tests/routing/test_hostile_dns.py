"""Routes by a hostile world's name servers: what mail becomes, and that the log stays clean.

The real resolver stands between; only its network is in memory. That a wrong source, a hanging TCP connection and the like end
within the time limits is shown in tests.dns.test_transport.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.dns.driving import Network
from tests.routing.fakes import FakeNative, problem, relays
from twisted_mta.dns.client import StubResolver
from twisted_mta.routing.destination import parse_nexthop
from twisted_mta.routing.own_addresses import OwnAddresses
from twisted_mta.routing.router import Route, Router
from twisted_mta.routing.settings import RoutingSettings

GOOD = {"mx.example": {"A": ["192.0.2.1"]}}
TRY_AGAIN = (
    "4.4.3 Host or domain name not found. Name service error for name=d.example type=MX: Host not found, try again"
)
MALFORMED = "{} Name service error for name=d.example type={}: Malformed or unexpected name server reply"
LONG_LABEL = "a" * 63
TOO_LONG = ".".join([LONG_LABEL] * 4)

# What a server may put into names and data; no text of it may get into the log as it is.
_NASTY = st.sampled_from(
    ["a\\010b", "\\027[31m", "\\255", "\\000", "x\\.y", "-a", "a-", "a\\032b", "1.2.3", "a!b", "*", "xn--", "ok", "_x"]
)


class HostileTestCase(SynchronousTestCase):
    """A router whose resolver asks servers in memory."""

    def route(self, zone: Mapping[str, Mapping[str, Any]], nexthop: str = "d.example", **options: Any) -> Route:
        """The route to a destination; every line of the log must be clean, and there must not be too many."""
        self.network = Network(zone, **options)
        resolver = StubResolver(
            MemoryReactorClock(),
            self.network.conf,
            self.network.events.append,
            exchange=self.network.exchange,
            make_id=lambda: 7,
        )
        routing = RoutingSettings(randomize=False)
        emit = self.network.events.append
        router = Router(routing, resolver, FakeNative(), OwnAddresses(()), emit, Random(1))
        (destination,) = parse_nexthop(nexthop, routing)
        route = self.successResultOf(Deferred.fromCoroutine(router.route(destination)))
        for line in self.network.log:
            self.assertTrue(line.isprintable(), line)
            self.assertLessEqual(len(line), 2100)
        self.assertLessEqual(len(self.network.log), 300)
        return route


class NamedCases(HostileTestCase):
    """The cases by name, each with what smtp(8) makes of it."""

    def test_servers_that_fail(self) -> None:
        """No answer, or none to our question: wait. An error of ours: that is final."""
        for fault in (
            "silence",
            "garbage",
            "wrong-id",
            "wrong-question",
            "servfail",
            "refused",
            "notimp",
            "lame",
            "truncated-close",
        ):
            route = self.route({"d.example": {"MX": {"fault": fault, "records": ["10 mx.example"]}}, **GOOD})
            self.assertEqual(problem(route), TRY_AGAIN, fault)
        route = self.route({"d.example": {"MX": {"fault": "formerr"}}})
        self.assertTrue(problem(route).startswith("5.4.3"), problem(route))

    def test_forgeries_before_the_answer(self) -> None:
        """Messages that only look like the answer change nothing."""
        route = self.route({"d.example": {"MX": {"fault": "forged-first", "records": ["10 mx.example"]}}, **GOOD})
        self.assertEqual(relays(route), ["mx.example[192.0.2.1]:25"])

    def test_cut_message(self) -> None:
        """A message that ends in the middle of a record."""
        route = self.route({"d.example": {"MX": {"fault": "cut", "records": ["10 mx.example"]}}, **GOOD})
        self.assertEqual(problem(route), MALFORMED.format("4.4.3", "MX"))

    def test_aliases_without_end(self) -> None:
        """Aliases in a circle, by a server that follows them and by one that does not."""
        zone = {"d.example": {"CNAME": ["e.example"]}, "e.example": {"CNAME": ["d.example"]}}
        for follows in (True, False):
            route = self.route(zone, follows_aliases=follows)
            # For MX it is as if there were none; the address is looked up in the same circle.
            self.assertEqual(problem(route), "5.4.4 Name server loop for d.example")
            self.assertLessEqual(len(self.network.asks), 40)

    def test_long_chain(self) -> None:
        """A chain of twenty aliases, one a reply."""
        zone: dict[str, Any] = {f"c{n}.example": {"CNAME": [f"c{n + 1}.example"]} for n in range(20)}
        zone |= {"d.example": {"CNAME": ["c0.example"]}, "c20.example": {"MX": ["10 mx.example"]}, **GOOD}
        self.assertIn("Name server loop", problem(self.route(zone, follows_aliases=False)))

    def test_thousand_exchangers(self) -> None:
        """A hundred of them are looked up, in order of preference; the rest is dropped, and that is told once."""
        records = [f"{number} mx{number}.example" for number in range(1000)]
        zone: dict[str, Any] = {f"mx{number}.example": {"A": ["192.0.2.9"]} for number in range(1000)}
        route = self.route({"d.example": {"MX": records}, **zone})
        self.assertEqual(relays(route)[0], "mx0.example[192.0.2.9]:25")
        self.assertLessEqual(len(route.candidates), 100)
        self.assertEqual(len([line for line in self.network.log if "record count limit" in line]), 1)
        self.assertLessEqual(len(self.network.asks), 202)

    def test_names_that_are_none(self) -> None:
        """Names with control characters and the like are passed over, with a warning; if there is no other, that is final."""
        bad = ["10 a\\010b.example", "11 \\027[31m.example", "12 -x.example", "13 a!b.example", "14 1.2.3"]
        route = self.route({"d.example": {"MX": bad}})
        self.assertEqual(problem(route), MALFORMED.format("5.4.4", "MX"))
        self.assertTrue(any("malformed domain name in resource data of MX record" in line for line in self.network.log))
        route = self.route({"d.example": {"MX": [*bad, "20 mx.example"]}, **GOOD})
        self.assertEqual(relays(route), ["mx.example[192.0.2.1]:25"])

    def test_long_names(self) -> None:
        """The longest name that there can be, and a nexthop that is longer."""
        longest = f"{LONG_LABEL}.{LONG_LABEL}.{LONG_LABEL}.{'b' * 61}"
        route = self.route({"d.example": {"MX": [f"10 {longest}"]}, longest: {"A": ["192.0.2.1"]}})
        self.assertEqual(relays(route), [f"{longest}[192.0.2.1]:25"])
        self.assertTrue(
            problem(self.route({}, TOO_LONG)).startswith(("4.3.5", "5.4.3")), problem(self.route({}, TOO_LONG))
        )

    def test_addresses_of_wrong_length(self) -> None:
        """An address record that holds no address."""
        route = self.route({"d.example": {"MX": ["10 mx.example"]}, "mx.example": {"A": ["\\# 3 010203"]}})
        self.assertEqual(problem(route)[:5], "4.4.3")

    def test_null_mx_beside_others(self) -> None:
        """A null MX ends the mail, whatever stands beside it."""
        route = self.route({"d.example": {"MX": ["0 .", "10 mx.example"]}, **GOOD})
        self.assertEqual(problem(route), "5.1.0 Domain d.example does not accept mail (nullMX)")

    def test_answer_by_tcp(self) -> None:
        """An answer too large for UDP comes by TCP."""
        route = self.route({"d.example": {"MX": {"fault": "truncated", "records": ["10 mx.example"]}}, **GOOD})
        self.assertEqual(relays(route), ["mx.example[192.0.2.1]:25"])


class AnyZoneTests(HostileTestCase):
    """Properties of any zone."""

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 65535), _NASTY), max_size=5),
        st.sampled_from(["none", "servfail", "cut", "silence", "formerr", "nodata", "nxdomain", "truncated"]),
        st.lists(st.sampled_from(["192.0.2.1", "0.0.0.0", "255.255.255.255", "\\# 3 010203"]), max_size=3),
        st.booleans(),
    )
    def test_any_zone(self, records: list[tuple[int, str]], fault: str, addresses: list[str], follows: bool) -> None:
        """There is either a candidate or a problem with a good status, and never anything odd in the log."""
        zone: dict[str, Any] = {f"{name}.example": {"A": addresses} for _, name in records if addresses}
        zone["d.example"] = {
            "MX": {"fault": fault, "records": [f"{number} {name}.example" for number, name in records]}
        }
        route = self.route(zone, follows_aliases=follows)
        self.assertNotEqual(bool(route.candidates), bool(route.problem))
        if route.problem is not None:
            self.assertRegex(route.problem.status, r"\A[45]\.[0-9]\.[0-9]\Z")
            self.assertTrue(route.problem.reason.isprintable())
