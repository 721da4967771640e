"""Services by SRV records."""

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.fakes import Reversing, World, problem, relays
from twisted_mta.dns.native import NativeAddresses
from twisted_mta.interfaces import TableError
from twisted_mta.model.answers import LookupResult, SrvRecord
from twisted_mta.model.events import NoHostHasAddress, SrvLookupSkipped
from twisted_mta.routing.found import Referral
from twisted_mta.routing.srv import in_srv_order

QNAME = "_submission._tcp.d.example"
TWO = {
    ("SRV", QNAME): ["20 0 2526 h2.example", "10 0 2525 h1.example"],
    ("A", "h1.example"): ["192.0.2.1"],
    ("A", "h2.example"): ["192.0.2.2"],
}
ALONE = {("MX", "d.example"): ["10 mx.example"], ("A", "mx.example"): ["192.0.2.9"], ("A", "d.example"): ["192.0.2.8"]}


def world(zone: dict[tuple[str, str], Any], **changes: Any) -> World:
    """A world in which submission is looked up by SRV records."""
    return World(zone, srv=["submission"], **changes)


def record(priority: int, weight: int, target: str) -> SrvRecord:
    """A record with the parts that matter for the order."""
    return SrvRecord("s", 60, priority, weight, 25, target)


class ListTests(SynchronousTestCase):
    """use_srv_lookup as a list that may have to be asked."""

    def test_as_written(self) -> None:
        """The list is asked for the service as it was written, or the default."""
        asked: list[str] = []

        def ask(service: str) -> bool:
            asked.append(service)
            return False

        here = World(TWO, srv_services=ask)
        for nexthop in ("d.example:submission", "d.example", "d.example:2525"):
            here.route(nexthop)
        self.assertEqual(asked, ["submission", "smtp", "2525"])

    def test_slow_table(self) -> None:
        """A table may take its time."""
        here = World(TWO, srv_services=lambda service: succeed(True))
        self.assertEqual(relays(here.route("d.example:submission"))[0], "h1.example[192.0.2.1]:2525")

    def test_table_that_fails(self) -> None:
        """Where nobody can tell, the service is taken for one that is not in the list."""

        def broken(service: str) -> bool:
            raise TableError("fail:x", "lookups always fail", service)

        here = World(ALONE, srv_services=broken)
        self.assertEqual(relays(here.route("d.example:submission")), ["mx.example[192.0.2.9]:587"])


class ServiceTests(SynchronousTestCase):
    """From the name of a service to hosts and ports."""

    def test_priority(self) -> None:
        """Hosts come in the order of priority, each with its port."""
        here = world(TWO)
        route = here.route("d.example:submission")
        self.assertEqual(relays(route), ["h1.example[192.0.2.1]:2525", "h2.example[192.0.2.2]:2526"])
        self.assertEqual([candidate.preference for candidate in route.candidates], [10, 20])
        self.assertEqual(here.dns.questions[0], f"SRV {QNAME}")
        self.assertEqual(route.referral, Referral(QNAME, QNAME, False))

    def test_name_as_written(self) -> None:
        """The service is compared without regard to case, and asked for as written; a number is another name."""
        here = world({}, service_port={"SUBMISSION": 587}.get)
        here.route("d.example:SUBMISSION")
        self.assertEqual(here.dns.questions, ["SRV _SUBMISSION._tcp.d.example"])
        here = world({})
        here.route("d.example:587")
        self.assertEqual(here.dns.questions[0], "MX d.example")

    def test_brackets(self) -> None:
        """Brackets mean a host, not a service."""
        here = world(TWO)
        here.route("[h1.example]:submission")
        self.assertEqual(here.dns.questions, ["A h1.example", "AAAA h1.example"])

    def test_lmtp(self) -> None:
        """LMTP has SRV look-ups, too; the default service is one that can be listed."""
        here = World({}, lmtp=True, default_service="24", srv=["24"])
        here.route("d.example")
        self.assertEqual(here.dns.questions, ["SRV _24._tcp.d.example"])

    def test_unicode(self) -> None:
        """Only the domain is converted."""
        here = world({})
        here.route("ü.example:submission")
        self.assertEqual(here.dns.questions, ["SRV _submission._tcp.xn--tda.example"])

    def test_port_carries_on(self) -> None:
        """A record without port takes that of the address before it, or the destination's."""
        zone = TWO | {
            ("SRV", QNAME): ["1 0 0 h1.example", "2 0 2600 h2.example", "3 0 0 h1.example"],
        }
        ports = [candidate.port for candidate in world(zone).route("d.example:submission").candidates]
        self.assertEqual(ports, [587, 2600, 2600])

    def test_native_has_no_port(self) -> None:
        """Hosts that only the system knows are reached at the destination's port."""
        hosts = {"h1.example": NativeAddresses(("192.0.2.7",))}
        here = world({("SRV", QNAME): ["1 0 2600 h1.example"]}, hosts=hosts, hosts_by_native=True)
        self.assertEqual(relays(here.route("d.example:submission")), ["h1.example[192.0.2.7]:587"])

    def test_no_address(self) -> None:
        """None of the hosts has an address."""
        here = world({("SRV", QNAME): ["1 0 25 h1.example"]})
        self.assertTrue(problem(here.route("d.example:submission")).startswith("5.4.4"))
        self.assertEqual(here.events, [NoHostHasAddress("SRV", QNAME)])

    def test_self(self) -> None:
        """This machine among the hosts, on the way to port 25."""
        zone = {("SRV", "_smtp._tcp.d.example"): TWO["SRV", QNAME], **TWO}
        best = World(zone, own=["192.0.2.1"], srv=["smtp"]).route("d.example")
        self.assertEqual(problem(best), "5.4.6 mail for _smtp._tcp.d.example loops back to myself")
        second = World(zone, own=["192.0.2.2"], srv=["smtp"]).route("d.example")
        self.assertEqual(relays(second), ["h1.example[192.0.2.1]:2525"])
        self.assertTrue(second.is_final)

    def test_no_dns(self) -> None:
        """Without DNS there are only hosts."""
        here = world(TWO, dns=False, hosts_by_dns=False, hosts_by_native=True)
        here.route("d.example:submission")
        self.assertEqual((here.dns.questions, here.native.questions), ([], ["d.example"]))


class FallbackTests(SynchronousTestCase):
    """Failing SRV look-ups."""

    def test_final(self) -> None:
        """Unless settings say otherwise, the failure stands, even if there are MX records."""
        for result, status in (
            (LookupResult.NOT_FOUND, "5.4.4"),
            (LookupResult.RETRY, "4.4.3"),
            (LookupResult.FAIL, "5.4.3"),
            (LookupResult.INVALID, "5.4.4"),
            (LookupResult.POLICY, "4.7.0"),
            (LookupResult.NULL_SRV, "5.1.0"),
        ):
            here = world(ALONE | {("SRV", QNAME): result})
            self.assertTrue(problem(here.route("d.example:submission")).startswith(status))
            self.assertEqual(here.dns.questions, [f"SRV {QNAME}"])

    def test_ignored_errors(self) -> None:
        """ignore_srv_lookup_error passes over errors, not over answers."""
        for result in (LookupResult.RETRY, LookupResult.FAIL, LookupResult.INVALID):
            here = world(ALONE | {("SRV", QNAME): result}, ignore_srv_lookup_error=True)
            self.assertEqual(relays(here.route("d.example:submission")), ["mx.example[192.0.2.9]:587"])
        for result in (LookupResult.NOT_FOUND, LookupResult.POLICY, LookupResult.NULL_SRV):
            here = world(ALONE | {("SRV", QNAME): result}, ignore_srv_lookup_error=True)
            self.assertEqual(relays(here.route("d.example:submission")), [])

    def test_fallback_allowed(self) -> None:
        """allow_srv_lookup_fallback passes over whatever has no result, and says so."""
        for result in set(LookupResult) - {LookupResult.OK, LookupResult.NULL_MX}:
            here = world(ALONE | {("SRV", QNAME): result}, allow_srv_lookup_fallback=True)
            route = here.route("d.example:submission")
            self.assertEqual(relays(route), ["mx.example[192.0.2.9]:587"])
            (event,) = here.events
            assert isinstance(event, SrvLookupSkipped)
            self.assertEqual(event.qname, QNAME)
            self.assertIn(QNAME.partition(".")[2], event.reason)

    def test_fallback_from_no_address(self) -> None:
        """Also over records that lead nowhere."""
        here = world(ALONE | {("SRV", QNAME): ["1 0 25 gone.example"]}, allow_srv_lookup_fallback=True)
        self.assertEqual(relays(here.route("d.example:submission")), ["mx.example[192.0.2.9]:587"])

    def test_lmtp_falls_back_on_the_host(self) -> None:
        """In LMTP the look-up without SRV is that of the host."""
        here = world(ALONE, lmtp=True, default_service="24", allow_srv_lookup_fallback=True)
        self.assertEqual(relays(here.route("d.example:submission")), ["d.example[192.0.2.8]:587"])


class WeightTests(SynchronousTestCase):
    """RFC 2782's draw."""

    def test_draw(self) -> None:
        """The first record whose running sum reaches the number drawn; the sum shrinks with each draw."""
        records = [record(1, 30, "c"), record(1, 20, "b"), record(1, 10, "a")]
        for numbers, targets in (((0,), "abc"), ((10,), "abc"), ((11, 11), "bca"), ((60, 30), "cba"), ((31, 0), "cab")):
            ordered = in_srv_order(records, Reversing(numbers))
            self.assertEqual("".join(entry.target for entry in ordered), targets)

    def test_priority_first(self) -> None:
        """Weights matter only within a priority; without any, chance alone decides."""
        records = [record(2, 0, "d"), record(2, 0, "c"), record(1, 1, "b"), record(1, 0, "a")]
        ordered = in_srv_order(records, Reversing([1]))
        self.assertEqual("".join(entry.target for entry in ordered), "bacd")

    def test_proportion(self) -> None:
        """Over many draws the weights show."""
        records = [record(1, 90, "heavy"), record(1, 10, "light")]
        random = Random(5)
        first = Counter(in_srv_order(records, random)[0].target for _ in range(500))
        self.assertGreater(first["heavy"], 400)
        self.assertGreater(first["light"], 20)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65535)), max_size=30), st.randoms())
    def test_any(self, pairs: list[tuple[int, int]], random: Random) -> None:
        """No record is lost, and the priorities are in order."""
        records = [record(priority, weight, str(at)) for at, (priority, weight) in enumerate(pairs)]
        ordered = in_srv_order(records, random)
        self.assertCountEqual(ordered, records)
        self.assertEqual([entry.priority for entry in ordered], sorted(entry.priority for entry in records))
