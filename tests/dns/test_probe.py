"""The probe for DNSSEC, against what a running smtp(8) does."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.routing.fakes import FakeDNS, Zone
from twisted_mta.config.errors import ConfigError
from twisted_mta.dns.probe import Probe, ProbingClient, ValidationWatch
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import LookupResult, RecordType, Search
from twisted_mta.model.events import Event, ProbeNotValidated, ValidationInDoubt

A, MX, NS = RecordType.A, RecordType.MX, RecordType.NS
ROOT = Probe("ns:.", ".", NS)
ZONE: Zone = {
    ("MX", "d.example"): ["10 mx.d.example"],
    ("A", "mx.d.example"): ["192.0.2.1"],
    ("NS", "."): ["ns.example"],
}


class ProbeTests(SynchronousTestCase):
    """A client in front of a name server."""

    def client(self, *secure: tuple[str, str], zone: Zone = ZONE, probe: Probe = ROOT) -> ProbingClient:
        """A client; the answers to these questions are validated."""
        self.events: list[Event] = []
        self.watch = ValidationWatch()
        self.dns = FakeDNS(zone, frozenset(secure))
        return ProbingClient(self.dns, probe, self.watch, self.events.append)

    def ask(
        self, client: ProbingClient, name: str = "d.example", rdtype: RecordType = MX, *, dnssec: bool = True
    ) -> None:
        """Ask, and get the answer that the server gives."""
        answer = self.successResultOf(client.lookup(name, rdtype, dnssec=dnssec))
        self.assertEqual((answer.name, answer.rdtype), (name, rdtype))

    def test_interface(self) -> None:
        """It is a DNS client."""
        verifyObject(IDNSClient, self.client())

    def test_resolver_validates(self) -> None:
        """Data that are not signed make one probe, and its answer settles it."""
        client = self.client(("NS", "."))
        self.ask(client)
        self.ask(client, "mx.d.example", A)
        self.assertEqual(self.dns.questions, ["MX d.example", "NS .", "A mx.d.example"])
        self.assertEqual(self.dns.options[1], (True, Search.NONE))
        self.assertEqual(self.events, [])

    def test_resolver_does_not(self) -> None:
        """If that is not validated either, it is said: once."""
        client = self.client()
        self.ask(client)
        self.ask(client)
        self.assertEqual(self.dns.questions, ["MX d.example", "NS .", "MX d.example"])
        self.assertEqual(
            self.events,
            [ValidationInDoubt(), ProbeNotValidated("ns:.", "received a response that is not DNSSEC validated")],
        )

    def test_no_response(self) -> None:
        """A server that does not answer, or not with sense; that there is nothing is an answer."""
        for result, said in (
            (LookupResult.RETRY, "no response: "),
            (LookupResult.FAIL, "no response: "),
            (LookupResult.NOT_FOUND, "a response that"),
            (LookupResult.POLICY, "a response that"),
        ):
            self.ask(self.client(zone={**ZONE, ("NS", "."): result}))
            told = self.events[1]
            assert isinstance(told, ProbeNotValidated)
            self.assertTrue(told.problem.startswith(f"received {said}"), told.problem)

    def test_seen_before(self) -> None:
        """A validated answer makes a probe needless, for all who share what is known."""
        client = self.client(("MX", "d.example"))
        self.ask(client)
        self.ask(client, "mx.d.example", A)
        self.ask(ProbingClient(self.dns, ROOT, self.watch, self.events.append), "nx.example")
        self.assertEqual(self.dns.questions, ["MX d.example", "A mx.d.example", "MX nx.example"])

    def test_after_failures(self) -> None:
        """A failure is no validated answer."""
        for result in (LookupResult.NOT_FOUND, LookupResult.RETRY):
            self.ask(self.client(zone={**ZONE, ("MX", "d.example"): result}))
            self.assertEqual(self.dns.questions, ["MX d.example", "NS ."])

    def test_only_where_validation_was_asked_for(self) -> None:
        """Other questions say nothing about it."""
        client = self.client()
        self.ask(client, dnssec=False)
        self.assertEqual(self.dns.questions, ["MX d.example"])


class ParameterTests(SynchronousTestCase):
    """dnssec_probe."""

    def test_forms(self) -> None:
        """type:name, the type in any case; or nothing."""
        self.assertEqual(Probe.parse("ns:."), ROOT)
        self.assertEqual(Probe.parse("A:probe.example:x"), Probe("A:probe.example:x", "probe.example:x", A))
        self.assertIsNone(Probe.parse(""))

    def test_types_that_are_of_no_use(self) -> None:
        """What Postfix can ask for, but nobody here, is no mistake."""
        self.assertIsNone(Probe.parse("any:."))
        self.assertIsNone(Probe.parse("RRSIG:example.com"))

    def test_malformed(self) -> None:
        """Mistakes, as smtp(8) tells them."""
        for text in ("foo", "bogus:.", "ns:", "txt : .example", "any:", ":.", "dnskey:."):
            error = self.assertRaises(ConfigError, Probe.parse, text)
            self.assertEqual(error.text, f"malformed dnssec_probe value: {text} format is qtype:qname")
