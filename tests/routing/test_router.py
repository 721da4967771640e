"""From destinations to candidates."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.routing.fakes import FakeDNS, World, problem, relays
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model import events
from twisted_mta.routing.candidates import Family

ONE_HOST = {("MX", "a.example"): ["10 mx.a.example"], ("A", "mx.a.example"): ["192.0.2.1"]}


class RouterTests(SynchronousTestCase):
    """Which look-up a destination needs, and what becomes of its result."""

    def test_fake(self) -> None:
        """The name server of these tests is an IDNSClient."""
        verifyObject(IDNSClient, FakeDNS({}))

    def test_domain(self) -> None:
        """A bare name is a mail domain: its exchangers, A before AAAA."""
        world = World(ONE_HOST)
        route = world.route("a.example")
        self.assertEqual(relays(route), ["mx.a.example[192.0.2.1]:25"])
        self.assertEqual(world.dns.questions, ["MX a.example", "A mx.a.example", "AAAA mx.a.example"])
        self.assertEqual(route.best_preference, 10)
        self.assertFalse(route.is_final)

    def test_literal(self) -> None:
        """An address needs no look-up, with or without brackets."""
        world = World()
        self.assertEqual(relays(world.route("[192.0.2.3]:2525")), ["192.0.2.3[192.0.2.3]:2525"])
        self.assertEqual(relays(world.route("192.0.2.3")), ["192.0.2.3[192.0.2.3]:25"])
        self.assertEqual(relays(world.route("[ipv6:2001:DB8::5]:2525")), ["2001:DB8::5[2001:db8::5]:2525"])
        self.assertEqual(world.dns.questions, [])

    def test_lmtp_socket(self) -> None:
        """A UNIX-domain socket goes by our own name, without port; the fallback relay is of no use there."""
        world = World(lmtp=True, default_service="24", own_name="client.test", fallback_relay="[b.example]")
        route = world.route("unix:private/x, y")
        self.assertEqual(relays(route), ["client.test[private/x, y]"])
        self.assertEqual(route.candidates[0].family, Family.LOCAL)
        self.assertEqual(world.events, [events.FallbackIgnored("[b.example]")])

    def test_malformed(self) -> None:
        """A destination without sense is a problem of its own, and the end: Postfix would not get past it, either."""
        route = World().route("a.example:nosuch-service")
        self.assertEqual(problem(route), "4.3.5 unknown service: nosuch-service/tcp")
        self.assertTrue(route.is_final)

    def test_no_protocols(self) -> None:
        """Without any address family there is nothing to do."""
        route = World(ONE_HOST, families=()).route("a.example")
        self.assertEqual(problem(route), "4.4.4 all network protocols are disabled")

    def test_events(self) -> None:
        """What there is to say of a destination is said each time; what of the configuration, once."""
        advice = events.WrappermodeNeeded("smtp")
        disabled = events.AddressFamilyDisabled("IPv6", "no")
        world = World(events=(disabled,))
        world.route("[192.0.2.1]:465")
        world.route("[192.0.2.1]:465")
        self.assertEqual(world.events, [disabled, advice, advice])

    def test_each_in_turn(self) -> None:
        """A malformed fallback relay does no harm before its turn."""
        world = World(ONE_HOST, fallback_relay="b!")
        first, second = world.routes("a.example")
        self.assertEqual(problem(first), "")
        self.assertTrue(second.destination.is_fallback)
        self.assertTrue(problem(second).startswith("4.3.5 valid hostname"))

    def test_literal_is_remembered(self) -> None:
        """The route to an address is found once, but not if it may change: a name, or a service with SRV records."""
        world = World(ONE_HOST, srv=["25"])
        plain = World(ONE_HOST)
        self.assertIs(plain.route("[192.0.2.1]"), plain.route("[192.0.2.1]"))
        self.assertIsNot(plain.route("a.example"), plain.route("a.example"))
        self.assertIsNot(world.route("[192.0.2.1]"), world.route("[192.0.2.1]"))

    def test_memory_is_bounded(self) -> None:
        """Any number of addresses may be asked for."""
        world = World()
        for third in range(12):
            for last in range(100):
                self.assertEqual(len(world.route(f"[192.0.{third}.{last}]").candidates), 1)

    def test_loop_to_address_is_final(self) -> None:
        """An address that is ours ends the search for hosts every time it is asked for."""
        world = World(own=["192.0.2.1"])
        for _ in range(2):
            route = world.route("[192.0.2.1]")
            self.assertEqual(problem(route), "5.4.6 mail for 192.0.2.1 loops back to myself")
            self.assertTrue(route.is_final)
