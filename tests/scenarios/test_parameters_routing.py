"""What each parameter of routing and of DNS does: which hosts are asked for, and which addresses are tried in which order.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
All but those of MX records, which LMTP does not know, run once more with LMTP, whose parameters have names of their own.
"""

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.script import Late, Script
from tests.routing.fakes import FakeDNS, Zone, problem, relays
from tests.scenarios.parameters import ParameterTestCase, named
from tests.scenarios.world import SETTINGS, reactor
from tests.test_assembly import Reactor
from twisted_mta.assembly import NameService, build_agent, open_tables
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import load_settings
from twisted_mta.delivery.connecting import ClientTransport
from twisted_mta.dns.probe import ValidationWatch
from twisted_mta.model.answers import LookupResult, Search
from twisted_mta.model.events import Event, WrappermodeNeeded
from twisted_mta.routing.destination import parse_nexthop
from twisted_mta.routing.router import Route

HOST = "host.example"
MANY = [f"192.0.2.{last}" for last in range(1, 11)]
A_AND_AAAA: Zone = {("A", HOST): MANY[:3], ("AAAA", HOST): ["2001:db8::1"]}
MX: Zone = {("MX", "d.example"): ["10 mx.d.example"], ("A", "mx.d.example"): ["192.0.2.1"]}
SUBMISSION = {"use_srv_lookup": "submission"}


class RouteTestCase(SynchronousTestCase):
    """Routes by one configuration, with a name server in memory.

    Attributes:
        protocol: smtp or lmtp.
    """

    protocol = "smtp"

    def route(self, nexthop: str, zone: Zone | None = None, **settings: str) -> Route | None:
        """The way to a destination; None: somebody else than the name server has to be asked.

        Args:
            nexthop: a domain or host; LMTP takes it for a host.
            zone: what the name server knows.
            settings: parameters by their SMTP names.
        """
        self.events: list[Event] = []
        self.dns = FakeDNS(zone or {})
        reactor: Any = Reactor()
        main_cf = {**named(SETTINGS, self.protocol), "inet_protocols": "all", **named(settings, self.protocol)}
        loaded = load_settings(None, protocol=self.protocol, overrides=list(main_cf.items()))
        tables = open_tables(loaded, reactor, self.events.append)
        names = NameService(self.dns, ValidationWatch())
        parts = build_agent(loaded, tables, reactor, names, self.events.append).parts
        if self.protocol == "lmtp":
            nexthop = f"inet:{nexthop}"
        found: list[Route] = []
        for destination in parse_nexthop(nexthop, parts.routing):
            Deferred.fromCoroutine(parts.router.route(destination)).addCallback(found.append)
        return found[0] if found else None

    def relays(self, nexthop: str, zone: Zone, **settings: str) -> list[str]:
        """The addresses to be tried, in their order."""
        route = self.route(nexthop, zone, **settings)
        assert route is not None
        return relays(route)

    def problem(self, nexthop: str, zone: Zone, **settings: str) -> str:
        """What is wrong with a route, as ``status reason``."""
        route = self.route(nexthop, zone, **settings)
        assert route is not None
        return problem(route)


class RouteTests(RouteTestCase):
    """One test a parameter."""

    host = f"[{HOST}]"

    # ---- ports ----

    def test_smtp_tcp_port(self) -> None:
        """The port of a destination that names none."""
        self.assertEqual(self.relays("[192.0.2.1]", {}, smtp_tcp_port="99"), ["192.0.2.1[192.0.2.1]:99"])

    def test_known_tcp_ports(self) -> None:
        """The port of a service."""
        self.assertEqual(self.relays("[192.0.2.1]:some", {}, known_tcp_ports="some=98"), ["192.0.2.1[192.0.2.1]:98"])

    def test_helpful_warnings(self) -> None:
        """With no, a port that looks wrong is not told."""
        self.relays("[192.0.2.1]:465", {}, helpful_warnings="no")
        self.assertEqual([event for event in self.events if isinstance(event, WrappermodeNeeded)], [])

    # ---- order ----

    def test_inet_protocols(self) -> None:
        """What is not spoken is not asked for."""
        self.assertEqual(len(self.relays(self.host, A_AND_AAAA, inet_protocols="ipv6", inet_interfaces="all")), 1)
        self.assertEqual(self.dns.questions, [f"AAAA {HOST}"])

    def test_smtp_address_preference(self) -> None:
        """Who comes first."""
        first = self.relays(self.host, A_AND_AAAA, smtp_address_preference="ipv6", smtp_tcp_port="25")[0]
        self.assertEqual(first, f"{HOST}[2001:db8::1]:25")

    def test_smtp_randomize_addresses(self) -> None:
        """With no, addresses stay as the name server gave them."""
        found = self.relays(self.host, {("A", HOST): MANY}, smtp_randomize_addresses="no", smtp_tcp_port="25")
        self.assertEqual(found, [f"{HOST}[{address}]:25" for address in MANY])

    def test_smtp_balance_inet_protocols(self) -> None:
        """With no, a minority may come too late to be tried."""
        settings = {"smtp_mx_address_limit": "2", "smtp_balance_inet_protocols": "no"}
        self.assertEqual(len(self.relays(self.host, A_AND_AAAA, **settings)), 4)

    # ---- names ----

    def test_smtp_cname_overrides_servername(self) -> None:
        """The name at the end of an alias counts."""
        zone = {("A", HOST): ["real.example@192.0.2.1"]}
        found = self.relays(self.host, zone, smtp_cname_overrides_servername="yes", smtp_tcp_port="25")
        self.assertEqual(found, ["real.example[192.0.2.1]:25"])

    def test_enable_idna2003_compatibility(self) -> None:
        """A letter that the former standard replaced."""
        self.route("[fa\xdf.example]", enable_idna2003_compatibility="yes")
        self.assertEqual(self.dns.questions[0], "A fass.example")

    def test_smtputf8_enable(self) -> None:
        """With no, there are no names beyond ASCII."""
        self.route("[b\xfccher.example]", smtputf8_enable="no")
        self.assertEqual(self.dns.questions, [])

    def test_compatibility_level(self) -> None:
        """There are, since some release."""
        self.route("[b\xfccher.example]", compatibility_level="3.6")
        self.assertEqual(self.dns.questions[0], "A xn--bcher-kva.example")

    # ---- how to ask ----

    def test_disable_dns_lookups(self) -> None:
        """No name server is asked."""
        self.assertIsNone(self.route(self.host, disable_dns_lookups="yes"))
        self.assertEqual(self.dns.questions, [])

    def test_smtp_host_lookup(self) -> None:
        """Hosts are looked for as the system does."""
        self.assertIsNone(self.route(self.host, smtp_host_lookup="native"))
        self.assertEqual(self.dns.questions, [])

    def test_smtp_dns_support_level(self) -> None:
        """Validated answers are wanted."""
        self.route(self.host, A_AND_AAAA, smtp_dns_support_level="dnssec")
        self.assertEqual(self.dns.options[0], (True, Search.NONE))

    def test_smtp_dns_resolver_options(self) -> None:
        """Names may be incomplete."""
        self.route(self.host, A_AND_AAAA, smtp_dns_resolver_options="res_defnames")
        self.assertEqual(self.dns.options[0], (False, Search.FIRST))

    def test_smtp_dns_reply_filter(self) -> None:
        """Records that are not wanted."""
        table = "regexp:{{/ A 192.0.2.1/ IGNORE}}"
        self.assertEqual(len(self.relays(self.host, A_AND_AAAA, smtp_dns_reply_filter=table)), 3)

    def test_dnssec_probe(self) -> None:
        """What is asked to find out whether the name server validates."""
        settings = {"smtp_dns_support_level": "dnssec", "dnssec_probe": "mx:probe.example"}
        self.route(self.host, A_AND_AAAA, **settings)
        self.assertIn("MX probe.example", self.dns.questions)

    # ---- SRV records ----

    def test_use_srv_lookup(self) -> None:
        """They are asked for."""
        zone = {("SRV", f"_submission._tcp.{HOST}"): ["10 0 2525 other.example"], ("A", "other.example"): ["192.0.2.9"]}
        found = self.relays(f"{HOST}:submission", zone, **SUBMISSION)
        self.assertEqual(found, ["other.example[192.0.2.9]:2525"])

    def test_ignore_srv_lookup_error(self) -> None:
        """Where they cannot be had, it goes on without them."""
        zone = {**A_AND_AAAA, ("SRV", f"_submission._tcp.{HOST}"): LookupResult.RETRY}
        self.assertNotEqual(self.relays(f"{HOST}:submission", zone, ignore_srv_lookup_error="yes", **SUBMISSION), [])

    def test_allow_srv_lookup_fallback(self) -> None:
        """Where there are none, too."""
        found = self.relays(f"{HOST}:submission", A_AND_AAAA, allow_srv_lookup_fallback="yes", **SUBMISSION)
        self.assertNotEqual(found, [])


class LmtpRouteTests(RouteTests):
    """The same by LMTP."""

    protocol = "lmtp"


class MxTests(RouteTestCase):
    """What LMTP does not do."""

    def test_ignore_mx_lookup_error(self) -> None:
        """A domain whose mail exchangers cannot be found is taken for a host."""
        zone = {("MX", "d.example"): LookupResult.RETRY, ("A", "d.example"): ["192.0.2.1"]}
        found = self.relays("d.example", zone, ignore_mx_lookup_error="yes")
        self.assertEqual(found, ["d.example[192.0.2.1]:25"])

    def test_smtp_defer_if_no_mx_address_found(self) -> None:
        """The mail waits until one has an address."""
        zone = {("MX", "d.example"): ["10 mx.d.example"]}
        self.assertTrue(self.problem("d.example", zone, smtp_defer_if_no_mx_address_found="yes").startswith("4.4.4 "))

    def test_proxy_interfaces(self) -> None:
        """An address that is ours: the mail loops."""
        self.assertEqual(
            self.problem("d.example", MX, proxy_interfaces="192.0.2.1"), "5.4.6 mail for d.example loops back to myself"
        )

    def test_inet_interfaces(self) -> None:
        """Our own addresses are those of interfaces; 127.0.0.1 is not ours if that is not said."""
        zone = {**MX, ("A", "mx.d.example"): ["127.0.0.1"]}
        self.assertIn("loops back to myself", self.problem("d.example", zone, inet_interfaces="all"))
        self.assertRaises(ConfigError, self.route, "d.example", MX, inet_interfaces="192.0.2.1")


class DeliveryTestCase(ParameterTestCase):
    """Which addresses are connected to, and from where."""

    async def start_three(self, *rules: Any) -> None:
        """Start three servers at one port, and a name server that has a name for them."""
        self.servers = []
        self.port = 0
        for last in (1, 2, 3):
            script = Script(*rules, lmtp=self.protocol == "lmtp")
            server, self.port = await self.mail_server(script, f"127.0.0.{last}", self.port)
            self.servers.append(server)
        self.names = await self.name_server({HOST: {"A": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]}})

    async def tried(self, **settings: str) -> list[int]:
        """The number of sessions with each of three servers, all of which are out of order."""
        await self.start_three(("MAIL", "450 4.3.0 no"))
        self.assertIn("450 4.3.0 no", await self.send(nexthop=f"{self.prefix}[{HOST}]:{self.port}", **settings))
        return [len(server.sessions) for server in self.servers]

    async def send(self, *recipients: str, **options: Any) -> str:
        """Deliver a message, with the name server that was started."""
        names = getattr(self, "names", ("127.0.0.1", 9))
        settings = {name: value for name, value in options.items() if name not in ("nexthop", "request", "agent")}
        loaded = self.agent(self.parameters(settings), protocol=self.protocol, servers=[names])
        nexthop = options.get("nexthop", "")
        return await super().send(*recipients, nexthop=nexthop, agent=loaded)

    async def sent_by_fallback(self, parameter: str) -> str:
        """The outcome for a server that cannot be reached, if a parameter names another one."""
        await self.start()
        relay = {parameter: f"[127.0.0.1]:{self.port}"}
        return await self.send(nexthop=f"{self.prefix}[127.0.0.2]:{self.port}", **relay)


class DeliveryTests(DeliveryTestCase):
    """One test a parameter."""

    async def test_smtp_mx_address_limit(self) -> None:
        """So many addresses are tried."""
        self.assertEqual(await self.tried(smtp_mx_address_limit="1"), [1, 0, 0])

    async def test_smtp_mx_session_limit(self) -> None:
        """So many sessions are begun."""
        self.assertEqual(await self.tried(smtp_mx_session_limit="3"), [1, 1, 1])

    async def test_smtp_fallback_relay(self) -> None:
        """Who takes what the destination does not."""
        self.assertEqual(await self.sent_by_fallback("smtp_fallback_relay"), "sent")

    async def test_smtp_bind_address(self) -> None:
        """Where connections come from."""
        await self.start()
        self.assertEqual(await self.send(smtp_bind_address="127.0.0.5"), "sent")
        self.assertEqual(self.server.sessions[0].peer, "127.0.0.5")

    async def test_smtp_bind_address6(self) -> None:
        """The same for IPv6; one that makes no sense is told."""
        settings = {"inet_protocols": "ipv6", "inet_interfaces": "all", "smtp_bind_address6": "nonsense"}
        outcome = await self.send(nexthop=f"{self.prefix}[ipv6:::1]:9", **settings)
        self.assertIn(f"bad {self.name('smtp_bind_address6')} parameter: nonsense", outcome)

    async def test_tcp_windowsize(self) -> None:
        """How much the system keeps of what comes and goes, of which Linux tells twice as much."""
        await self.start(("QUIT", Late(0.1)))
        delivered = self.defer(self.send(tcp_windowsize="12345", smtp_skip_quit_response="no"))
        await self.server.until(lambda: bool(self.server.sessions) and "QUIT" in self.said)
        (connection,) = (each.socket for each in reactor.getReaders() if isinstance(each, ClientTransport))
        sizes = {connection.getsockopt(socket.SOL_SOCKET, name) for name in (socket.SO_RCVBUF, socket.SO_SNDBUF)}
        self.assertEqual(sizes, {24690})
        self.assertEqual(await delivered, "sent")

    async def test_smtp_bind_address_enforce(self) -> None:
        """Without the local address there is no connection."""
        await self.start()
        outcome = await self.send(smtp_bind_address="192.0.2.1", smtp_bind_address_enforce="yes")
        self.assertEqual(outcome, "4.4.0 server configuration error")


class LmtpDeliveryTests(DeliveryTests):
    """The same by LMTP."""

    protocol = "lmtp"


class SmtpDeliveryTests(DeliveryTestCase):
    """What is of SMTP alone."""

    async def test_fallback_relay(self) -> None:
        """The former name of smtp_fallback_relay."""
        self.assertEqual(await self.sent_by_fallback("fallback_relay"), "sent")

    async def test_relayhost(self) -> None:
        """A relay that does not exist is the administrator's mistake: the mail waits."""
        self.names = await self.name_server({})
        outcome = await self.send(nexthop="nowhere.example", relayhost="nowhere.example")
        self.assertTrue(outcome.startswith("4.3.5 "), outcome)
