"""Mail exchangers; statuses and texts are those of a running Postfix."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.fakes import Reversing, World, problem, relays
from twisted_mta.model.answers import LookupResult
from twisted_mta.model.events import NoHostHasAddress, RecordLimitExceeded
from twisted_mta.routing.candidates import Family
from twisted_mta.routing.found import Referral

THREE = {
    ("MX", "d.example"): ["30 mx3.example", "10 mx1.example", "20 mx2.example"],
    ("A", "mx1.example"): ["192.0.2.1"],
    ("A", "mx2.example"): ["192.0.2.2"],
    ("A", "mx3.example"): ["192.0.2.3"],
}
NAME_SERVICE = "Host or domain name not found. Name service error for name="


class ExchangerTests(SynchronousTestCase):
    """Domains with MX records."""

    def test_order(self) -> None:
        """Hosts are looked up and tried in the order of preference."""
        world = World(THREE)
        route = world.route("d.example:2525")
        self.assertEqual(
            relays(route), ["mx1.example[192.0.2.1]:2525", "mx2.example[192.0.2.2]:2525", "mx3.example[192.0.2.3]:2525"]
        )
        self.assertEqual([candidate.preference for candidate in route.candidates], [10, 20, 30])
        self.assertEqual(route.best_preference, 10)
        self.assertEqual(
            world.dns.questions,
            ["MX d.example"] + [f"{rdtype} mx{at}.example" for at in (1, 2, 3) for rdtype in ("A", "AAAA")],
        )

    def test_equal_preference(self) -> None:
        """Equals are shuffled; a preferred family comes first among them."""
        zone = {
            ("MX", "d.example"): ["10 mx1.example", "10 mx2.example"],
            ("A", "mx1.example"): ["192.0.2.1"],
            ("AAAA", "mx1.example"): ["2001:db8::1"],
            ("A", "mx2.example"): ["192.0.2.2"],
        }
        shuffled = World(zone, chance=Reversing(), randomize=True).route("d.example")
        self.assertEqual([found.address for found in shuffled.candidates], ["192.0.2.2", "2001:db8::1", "192.0.2.1"])
        preferred = World(zone, preferred_family=Family.IPV6).route("d.example")
        self.assertEqual([found.address for found in preferred.candidates], ["2001:db8::1", "192.0.2.1", "192.0.2.2"])

    def test_address_as_exchanger(self) -> None:
        """An address where a name belongs is used, as it is by everybody."""
        world = World({("MX", "d.example"): ["10 192.0.2.1", "20 0xc0.0.2.9"]})
        self.assertEqual(relays(world.route("d.example")), ["192.0.2.1[192.0.2.1]:25", "0xc0.0.2.9[192.0.2.9]:25"])
        self.assertEqual(world.dns.questions, ["MX d.example"])

    def test_some_fail(self) -> None:
        """Hosts without address do not matter as long as there are others."""
        zone = THREE | {("A", "mx1.example"): LookupResult.RETRY}
        self.assertEqual(relays(World(zone).route("d.example"))[0], "mx2.example[192.0.2.2]:25")

    def test_none_has_an_address(self) -> None:
        """The last failure shows; smtp_defer_if_no_mx_address_found makes it soft."""
        zone = {("MX", "d.example"): ["10 mx1.example", "20 mx2.example"]}
        text = f"{NAME_SERVICE}mx2.example type=AAAA: Host not found"
        world = World(zone)
        self.assertEqual(problem(world.route("d.example")), f"5.4.4 {text}")
        self.assertEqual(world.events, [NoHostHasAddress("MX", "d.example")])
        self.assertEqual(problem(World(zone, defer_if_no_mx_address=True).route("d.example")), f"4.4.4 {text}")

    def test_soft_failure_sticks(self) -> None:
        """If one host may turn up later, the mail waits, whatever is said of the last one."""
        zone = {("MX", "d.example"): ["10 mx1.example", "20 mx2.example"], ("A", "mx1.example"): LookupResult.RETRY}
        self.assertEqual(
            problem(World(zone).route("d.example")), f"4.4.4 {NAME_SERVICE}mx2.example type=AAAA: Host not found"
        )

    def test_unicode(self) -> None:
        """The domain is asked for in its A-label form, and shows as written."""
        world = World({("MX", "xn--bcher-kva.example"): ["10 mx1.example"]}, idna=True)
        world.route("bücher.example")
        self.assertEqual(world.dns.questions[0], "MX xn--bcher-kva.example")
        self.assertEqual(world.events, [NoHostHasAddress("MX", "bücher.example")])

    def test_too_many(self) -> None:
        """Addresses are looked up until there are enough for anybody."""
        zone: dict[tuple[str, str], list[str]] = {("MX", "d.example"): [f"{at} mx{at}.example" for at in range(100)]}
        for at in range(100):
            zone["A", f"mx{at}.example"] = [f"192.0.{at}.{last}" for last in range(30)]
        world = World(zone)
        self.assertEqual(len(world.route("d.example").candidates), 100)
        self.assertEqual(world.dns.questions[-1], "AAAA mx3.example")
        self.assertEqual(world.events, [RecordLimitExceeded(100, "mx3.example", "A")])


class DnssecTests(SynchronousTestCase):
    """Which look-ups ask for validated data."""

    def options(self, *, secure: bool, **settings: Any) -> list[bool]:
        """Whether the look-ups of the domain, and of its host, asked for it."""
        answers = frozenset({("MX", "d.example")}) if secure else frozenset()
        world = World({("MX", "d.example"): ["10 h.example"]}, secure=answers, **settings)
        world.route("d.example")
        return [dnssec for dnssec, _ in world.dns.options]

    def test_hosts(self) -> None:
        """Hosts of an insecure MX answer need it only where DANE is done with them all the same."""
        self.assertEqual(self.options(secure=True, dnssec=True, dnssec_for_insecure_mx=False), [True, True, True])
        self.assertEqual(self.options(secure=False, dnssec=True, dnssec_for_insecure_mx=False), [True, False, False])
        self.assertEqual(self.options(secure=False, dnssec=True, dnssec_for_insecure_mx=True), [True, True, True])
        self.assertEqual(self.options(secure=False, dnssec=False, dnssec_for_insecure_mx=False), [False, False, False])

    def test_referral(self) -> None:
        """The route says which answer named the hosts, and whether to trust it."""
        zone = {("MX", "d.example"): ["real.example@10 h.example"], ("A", "h.example"): ["192.0.2.1"]}
        world = World(zone, secure=frozenset({("MX", "d.example")}), dnssec=True)
        self.assertEqual(world.route("d.example").referral, Referral("d.example", "real.example", True))
        self.assertIsNone(world.route("[h.example]").referral)
        self.assertIsNone(world.route("h.example").referral)


class FailingTests(SynchronousTestCase):
    """MX look-ups without records."""

    def test_no_mx(self) -> None:
        """A domain without MX records is its own mail host."""
        world = World({("A", "d.example"): ["192.0.2.4"]})
        route = world.route("d.example")
        self.assertEqual(relays(route), ["d.example[192.0.2.4]:25"])
        self.assertEqual(route.best_preference, 0)
        self.assertEqual(world.dns.questions, ["MX d.example", "A d.example", "AAAA d.example"])

    def test_no_domain(self) -> None:
        """The failure of the host look-up shows."""
        self.assertEqual(problem(World().route("nx.test")), f"5.4.4 {NAME_SERVICE}nx.test type=AAAA: Host not found")

    def test_errors(self) -> None:
        """Each class has its status; nothing else is looked up."""
        for result, status in (
            (LookupResult.RETRY, f"4.4.3 {NAME_SERVICE}d.example type=MX: Host not found, try again"),
            (LookupResult.FAIL, f"5.4.3 {NAME_SERVICE}d.example type=MX: Non-recoverable error"),
            (LookupResult.NULL_MX, "5.1.0 Domain d.example does not accept mail (nullMX)"),
            (
                LookupResult.INVALID,
                "5.4.4 Name service error for name=d.example type=MX: Malformed or unexpected name server reply",
            ),
            (
                LookupResult.POLICY,
                "4.7.0 Error looking up name=d.example type=MX: DNS reply filter drops all results",
            ),
        ):
            world = World({("MX", "d.example"): result})
            self.assertEqual(problem(world.route("d.example")), status)
            self.assertEqual(world.dns.questions, ["MX d.example"])

    def test_ignored_errors(self) -> None:
        """ignore_mx_lookup_error tries the domain itself, unless the domain or a filter said no."""
        for result in (LookupResult.RETRY, LookupResult.FAIL, LookupResult.INVALID):
            zone = {("MX", "d.example"): result, ("A", "d.example"): ["192.0.2.3"]}
            self.assertEqual(
                relays(World(zone, ignore_mx_lookup_error=True).route("d.example")), ["d.example[192.0.2.3]:25"]
            )
        for result in (LookupResult.NULL_MX, LookupResult.POLICY):
            zone = {("MX", "d.example"): result, ("A", "d.example"): ["192.0.2.3"]}
            self.assertEqual(relays(World(zone, ignore_mx_lookup_error=True).route("d.example")), [])

    def test_ignored_error_is_forgotten(self) -> None:
        """What the host look-up says then is final, even if the MX look-up failed only for now."""
        world = World({("MX", "d.example"): LookupResult.RETRY}, ignore_mx_lookup_error=True)
        self.assertTrue(problem(world.route("d.example")).startswith("5.4.4"))


class LoopTests(SynchronousTestCase):
    """This machine among the exchangers."""

    def test_best(self) -> None:
        """If we are the best one, the mail would come back; no fallback relay is to get it."""
        route = World(THREE, own=["192.0.2.1"]).route("d.example")
        self.assertEqual(problem(route), "5.4.6 mail for d.example loops back to myself")
        self.assertTrue(route.is_final)

    def test_cut(self) -> None:
        """Hosts that are not better than us are left out; no fallback relay either."""
        route = World(THREE, own=["192.0.2.2"]).route("d.example")
        self.assertEqual(relays(route), ["mx1.example[192.0.2.1]:25"])
        self.assertTrue(route.is_final)

    def test_best_out_of_sight(self) -> None:
        """If the better host has no address now, the mail waits for it."""
        zone = {key: value for key, value in THREE.items() if key != ("A", "mx1.example")}
        route = World(zone, own=["192.0.2.2"]).route("d.example")
        self.assertEqual(problem(route), "4.4.4 unable to find primary relay for d.example")
        self.assertTrue(route.is_final)

    def test_host(self) -> None:
        """A host that is this machine, by name or by address."""
        for nexthop, name in (
            ("[mx1.example]", "mx1.example"),
            ("mx1.example", "mx1.example"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("192.0.2.1:25", "192.0.2.1"),
        ):
            route = World(THREE, own=["192.0.2.1"]).route(nexthop)
            self.assertEqual(problem(route), f"5.4.6 mail for {name} loops back to myself")
            self.assertTrue(route.is_final)

    def test_unicode(self) -> None:
        """The domain shows as written, but in its A-label form if it is its own host."""
        mx = World(
            {("MX", "xn--tda.example"): ["10 mx1.example"], ("A", "mx1.example"): ["192.0.2.1"]}, own=["192.0.2.1"]
        )
        self.assertEqual(problem(mx.route("ü.example")), "5.4.6 mail for ü.example loops back to myself")
        host = World({("A", "xn--tda.example"): ["192.0.2.1"]}, own=["192.0.2.1"])
        self.assertEqual(problem(host.route("ü.example")), "5.4.6 mail for xn--tda.example loops back to myself")

    def test_other_port(self) -> None:
        """On another port another server may listen."""
        self.assertEqual(len(World(THREE, own=["192.0.2.1"]).route("d.example:2525").candidates), 3)
        self.assertEqual(relays(World(own=["192.0.2.1"]).route("[192.0.2.1]:26")), ["192.0.2.1[192.0.2.1]:26"])
