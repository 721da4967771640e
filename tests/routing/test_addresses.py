"""Addresses of hosts, seen through destinations in brackets, which need nothing else."""

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.fakes import World, problem, relays
from twisted_mta.dns.native import NativeAddresses, NativeFailure
from twisted_mta.model.answers import LookupResult, Search
from twisted_mta.model.events import DomainNotConverted, RecordLimitExceeded
from twisted_mta.routing.candidates import Family

NOT_FOUND = "Host or domain name not found. Name service error for name=h.example type={}: {}"
BOTH = {("A", "h.example"): ["192.0.2.1", "192.0.2.2"], ("AAAA", "h.example"): ["2001:db8::1"]}
HOSTS = {"h.example": NativeAddresses(("2001:db8::9", "192.0.2.9"))}
NATIVE: dict[str, Any] = {"hosts_by_dns": False, "hosts_by_native": True}


class DnsTests(SynchronousTestCase):
    """DNS."""

    def test_both_families(self) -> None:
        """A comes before AAAA; each family is asked for, whatever became of the other."""
        world = World(BOTH)
        self.assertEqual(
            relays(world.route("[h.example]")),
            ["h.example[192.0.2.1]:25", "h.example[192.0.2.2]:25", "h.example[2001:db8::1]:25"],
        )
        self.assertEqual(world.dns.questions, ["A h.example", "AAAA h.example"])

    def test_one_family(self) -> None:
        """inet_protocols says what is asked for."""
        world = World(BOTH, families=(Family.IPV6,))
        self.assertEqual(relays(world.route("[h.example]")), ["h.example[2001:db8::1]:25"])
        self.assertEqual(world.dns.questions, ["AAAA h.example"])

    def test_not_found(self) -> None:
        """The later type shows in the text."""
        self.assertEqual(problem(World().route("[h.example]")), "5.4.4 " + NOT_FOUND.format("AAAA", "Host not found"))
        ipv4 = World(families=(Family.IPV4,))
        self.assertEqual(problem(ipv4.route("[h.example]")), "5.4.4 " + NOT_FOUND.format("A", "Host not found"))

    def test_one_answer_is_enough(self) -> None:
        """A failing AAAA look-up does not matter if there is an A record."""
        route = World({("A", "h.example"): ["192.0.2.1"], ("AAAA", "h.example"): LookupResult.RETRY}).route(
            "[h.example]"
        )
        self.assertEqual(relays(route), ["h.example[192.0.2.1]:25"])

    def test_statuses(self) -> None:
        """Of two failures that of the higher class counts; each class has its status."""
        retry, fail, invalid, policy = (
            LookupResult.RETRY,
            LookupResult.FAIL,
            LookupResult.INVALID,
            LookupResult.POLICY,
        )
        for a, aaaa, status in (
            (
                retry,
                LookupResult.NOT_FOUND,
                "4.4.3 Host or domain name not found. Name service error for name=h.example type=A",
            ),
            (fail, fail, "5.4.3 Host or domain name not found. Name service error for name=h.example type=AAAA"),
            (fail, invalid, "5.4.4 Name service error for name=h.example type=AAAA: Malformed"),
            (policy, retry, "4.7.0 Error looking up name=h.example type=A: DNS reply filter"),
        ):
            route = World({("A", "h.example"): a, ("AAAA", "h.example"): aaaa}).route("[h.example]")
            self.assertTrue(problem(route).startswith(status), problem(route))

    def test_unicode(self) -> None:
        """The host shows in the form in which it was asked for."""
        world = World({("A", "xn--bcher-kva.example"): ["192.0.2.1"]})
        self.assertEqual(relays(world.route("[bücher.example]")), ["xn--bcher-kva.example[192.0.2.1]:25"])

    def test_alias(self) -> None:
        """smtp_cname_overrides_servername decides which of two names shows; both are kept."""
        zone = {("A", "h.example"): ["real.example@192.0.2.1"]}
        (candidate,) = World(zone).route("[h.example]").candidates
        self.assertEqual((candidate.host, candidate.qname, candidate.rname), ("h.example", "h.example", "real.example"))
        (candidate,) = World(zone, cname_overrides_servername=True).route("[h.example]").candidates
        self.assertEqual(candidate.relay, "real.example[192.0.2.1]:25")

    def test_options(self) -> None:
        """DNSSEC and the search list are asked for where settings say so."""
        for dnssec in (False, True):
            for search in (Search.NONE, Search.FIRST):
                world = World(BOTH, dnssec=dnssec, search=search)
                world.route("[h.example]")
                self.assertEqual(world.dns.options, [(dnssec, search)] * 2)

    def test_secure(self) -> None:
        """Each address knows whether it was validated."""
        world = World(BOTH, secure=frozenset({("AAAA", "h.example")}), dnssec=True)
        self.assertEqual([found.secure for found in world.route("[h.example]").candidates], [False, False, True])

    def test_many(self) -> None:
        """A host with more addresses than anybody needs cannot fill our memory."""
        zone = {
            ("A", "h.example"): [f"192.0.2.{at}" for at in range(60)],
            ("AAAA", "h.example"): [f"2001:db8::{at}" for at in range(1, 60)],
        }
        world = World(zone, balance=False)
        self.assertEqual(len(world.route("[h.example]").candidates), 100)
        self.assertEqual(world.events, [RecordLimitExceeded(100, "h.example", "AAAA")])

    def test_many_of_one_type(self) -> None:
        """When the list is full with the first type, the second is not asked for."""
        world = World({("A", "h.example"): [f"192.0.2.{at}" for at in range(100)]}, balance=False)
        self.assertEqual(len(world.route("[h.example]").candidates), 100)
        self.assertEqual(world.dns.questions, ["A h.example"])


class LiteralTests(SynchronousTestCase):
    """Addresses as hosts."""

    def test_numeric_forms(self) -> None:
        """What connect takes for an address is one, and shows as written in front of the brackets."""
        world = World()
        self.assertEqual(relays(world.route("[0xc0.0.2.1]")), ["0xc0.0.2.1[192.0.2.1]:25"])
        self.assertEqual(world.dns.questions, [])

    def test_family_off(self) -> None:
        """An address of a family that is turned off is looked up like a name, in vain."""
        world = World(families=(Family.IPV4,))
        self.assertEqual(world.route("[2001:db8::1]").problem is None, False)
        self.assertEqual(world.dns.questions, ["A 2001:db8::1"])


class NativeTests(SynchronousTestCase):
    """The system's look-ups."""

    def test_native_only(self) -> None:
        """smtp_host_lookup = native: the order is the system's."""
        world = World(BOTH, hosts=HOSTS, **NATIVE)
        self.assertEqual(relays(world.route("[h.example]")), ["h.example[2001:db8::9]:25", "h.example[192.0.2.9]:25"])
        self.assertEqual(world.dns.questions, [])

    def test_after_dns(self) -> None:
        """The system is asked only when DNS does not know the name."""
        world = World(BOTH, hosts=HOSTS, hosts_by_native=True)
        world.route("[h.example]")
        self.assertEqual(world.native.questions, [])
        world = World({("A", "h.example"): LookupResult.RETRY}, hosts=HOSTS, hosts_by_native=True)
        self.assertTrue(problem(world.route("[h.example]")).startswith("4.4.3"))
        self.assertEqual(world.native.questions, [])
        world = World({}, hosts=HOSTS, hosts_by_native=True)
        self.assertEqual(len(relays(world.route("[h.example]"))), 2)
        self.assertEqual(world.native.questions, ["h.example"])

    def test_failures(self) -> None:
        """Each error has its status, and the system's words."""
        for error, text, status in (
            ("EAI_NONAME", "Name or service not known", "5.4.4"),
            ("EAI_AGAIN", "Temporary failure in name resolution", "4.4.4"),
            ("EAI_MEMORY", "Memory allocation failure", "4.3.0"),
            ("EAI_SYSTEM", "System error", "4.3.0"),
            ("EAI_NODATA", "No address associated with hostname", "5.3.0"),
        ):
            route = World(hosts={"h.example": NativeFailure(error, text)}, **NATIVE).route("[h.example]")
            self.assertEqual(problem(route), f"{status} unable to look up host h.example: {text}")

    def test_families(self) -> None:
        """The system is told which families are in use."""
        world = World(hosts=HOSTS, families=(Family.IPV6,), **NATIVE)
        world.route("[h.example]")
        self.assertEqual(world.native.families, (socket.AF_INET6,))

    def test_nothing_usable(self) -> None:
        """If no address is left, the host counts as not found."""
        route = World(hosts={"h.example": NativeAddresses(())}, **NATIVE).route("[h.example]")
        self.assertEqual(problem(route), "5.4.4 h.example: host not found")

    def test_unicode(self) -> None:
        """The system is asked for the A-label form, too."""
        world = World(**NATIVE)
        world.route("[bücher.example]")
        self.assertEqual(world.native.questions, ["xn--bcher-kva.example"])


class ALabelTests(SynchronousTestCase):
    """Names on their way to DNS."""

    def test_not_convertible(self) -> None:
        """A warning, and the name as it is: DNS will refuse it."""
        world = World()
        self.assertEqual(world.hosts.a_labels("bücher..example"), "bücher..example")
        self.assertEqual(world.events, [DomainNotConverted("bücher..example", "UIDNA_ERROR_EMPTY_LABEL")])

    def test_turned_off(self) -> None:
        """Without SMTPUTF8 nothing is converted."""
        world = World(idna=False)
        self.assertEqual(world.hosts.a_labels("bücher.example"), "bücher.example")
        self.assertEqual(world.events, [])
