"""Engines as configurations want them: how the rooms are wired."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.messages import make_request
from tests.kit.reporter import MemoryReporter
from tests.routing.fakes import FakeDNS, Zone
from twisted_mta.assembly import NameService, build_agent, build_resolver, open_tables
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import load_settings
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.dns.cache import CachingClient
from twisted_mta.dns.client import StubResolver
from twisted_mta.dns.probe import ValidationWatch
from twisted_mta.model.events import Event
from twisted_mta.model.result import FinalStatus
from twisted_mta.observe.maillog import LogStyle, line_of

ZONE: Zone = {
    ("MX", "d.example"): ["10 mx.d.example"],
    ("A", "mx.d.example"): ["192.0.2.1"],
    ("SRV", "_submission._tcp.d.example"): ["10 0 2525 mx.d.example"],
}


class Reactor(MemoryReactorClock):
    """With a thread pool that never starts."""

    def getThreadPool(self) -> ThreadPool:
        """The pool."""
        return ThreadPool()


class AssemblyTestCase(SynchronousTestCase):
    """Engines with a name server in memory."""

    def agent(self, protocol: str = "smtp", *, verbose: bool = False, **values: str) -> DeliveryAgent:
        """An engine with these parameters."""
        self.events: list[Event] = []
        self.dns = FakeDNS(ZONE)
        reactor: Any = Reactor()
        overrides = {
            "myhostname": "c.example",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "smtp_mx_session_limit": "1",
            **values,
        }
        settings = load_settings(None, protocol=protocol, overrides=list(overrides.items()))
        tables = open_tables(settings, reactor, self.events.append)
        name_service = NameService(self.dns, ValidationWatch())
        return build_agent(settings, tables, reactor, name_service, self.events.append, verbose=verbose)

    def deliver(self, nexthop: str = "d.example", **values: Any) -> Deferred[FinalStatus]:
        """Begin a delivery, and see what was asked for on the way."""
        agent = self.agent(**values)
        self.reporter = MemoryReporter()
        return agent.deliver(make_request("a@d.example", nexthop=nexthop), BytesContent(b"\n"), self.reporter)

    @property
    def log(self) -> list[str]:
        """What was said."""
        return [line_of(event, LogStyle())[1] for event in self.events]


class NameServiceTests(AssemblyTestCase):
    """What stands between routing and name servers."""

    def reasons(self) -> list[str]:
        """What became of the recipients."""
        return [result.dsn.reason for result in self.reporter.results]

    def test_reply_filter(self) -> None:
        """smtp_dns_reply_filter hides records; keys of fixed tables are folded."""
        for table in ("regexp:{{/ MX / IGNORE}}", "static:ignore"):
            self.successResultOf(self.deliver(smtp_dns_reply_filter=table))
            self.assertEqual(
                self.reasons(), ["Error looking up name=d.example type=MX: DNS reply filter drops all results"]
            )
            self.assertEqual(self.log, ["ignoring DNS RR: d.example. 60 IN MX 10 mx.d.example."])

    def test_reply_filter_that_fails(self) -> None:
        """Both the table and what follows from it are told."""
        self.successResultOf(self.deliver(smtp_dns_reply_filter="fail:x"))
        self.assertEqual(self.log, ['fail:x lookup error for "d.example. 60 IN MX 10 mx.d.example."'])
        self.assertEqual(self.reasons(), ["Error looking up name=d.example type=MX: Invalid DNS reply filter syntax"])

    def test_probe(self) -> None:
        """dnssec_probe, where validated data are wanted; the filter sees its answer, too."""
        self.deliver(smtp_dns_support_level="dnssec").addErrback(lambda _: None)
        self.assertEqual(self.dns.questions[:3], ["MX d.example", "NS .", "A mx.d.example"])
        for values in ({"smtp_dns_support_level": "enabled"}, {"smtp_dns_support_level": "dnssec", "dnssec_probe": ""}):
            self.deliver(**values).addErrback(lambda _: None)
            self.assertEqual(self.dns.questions[:2], ["MX d.example", "A mx.d.example"])

    def test_malformed_probe(self) -> None:
        """A probe that cannot be made is a mistake in the configuration, where one is to be made."""
        self.agent(dnssec_probe="foo")
        error = self.assertRaises(ConfigError, self.agent, dnssec_probe="foo", smtp_dns_support_level="dnssec")
        self.assertIn("malformed dnssec_probe value: foo", str(error))

    def test_srv(self) -> None:
        """use_srv_lookup with a table."""
        self.deliver("d.example:submission", use_srv_lookup="inline:{submission=x}").addErrback(lambda _: None)
        self.assertEqual(self.dns.questions[0], "SRV _submission._tcp.d.example")

    def test_cache_switch(self) -> None:
        """Answers are remembered only where that is wanted."""
        reactor: Any = Reactor()
        self.assertIsInstance(build_resolver(reactor, self.fail, cache_entries=10).client, CachingClient)
        self.assertIsInstance(build_resolver(reactor, self.fail).client, StubResolver)


class WitnessTests(AssemblyTestCase):
    """Who overhears sessions."""

    def watched(self, name: str, address: str = "", *, verbose: bool = False, **values: str) -> object:
        """Whether the dialog with a server is logged."""
        witnesses = self.agent(verbose=verbose, **values).parts.witnesses
        assert witnesses is not None and witnesses.watched is not None
        return witnesses.watched(name, address)

    def test_nobody(self) -> None:
        """Mostly nobody does, and nobody is asked."""
        self.assertIsNone(self.agent().parts.witnesses)

    def test_debug_peer_list(self) -> None:
        """Domains with their subdomains where the parameter says so, networks, and exceptions."""
        peers = "!not.example.com, example.com, 192.0.2.0/28"
        for name, address, found in (
            ("example.com", "noaddr", True),
            ("mx.example.com", "198.51.100.1", True),
            ("not.example.com", "198.51.100.1", False),
            ("x.test", "192.0.2.5", True),
            ("x.test", "192.0.2.77", False),
        ):
            self.assertIs(self.watched(name, address, debug_peer_list=peers), found, name)
        for lists, found in (
            ("", False),
            ("DEBUG_PEER_LIST", True),
            ("inline:{debug_peer_list=x}", True),
            ("!debug_peer_list, static:x", False),
        ):
            alone = self.watched("mx.example.com", debug_peer_list=peers, parent_domain_matches_subdomains=lists)
            self.assertIs(alone, found, lists)
        with self.assertRaises(ConfigError) as caught:
            self.agent(parent_domain_matches_subdomains="fail:x")
        self.assertEqual(caught.exception.text, "parent_domain_matches_subdomains: fail:x: table lookup problem")

    def test_verbose(self) -> None:
        """With -v in master.cf all are watched."""
        self.assertIs(self.watched("x.test", verbose=True), True)
