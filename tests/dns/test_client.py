"""Tests of twisted_mta.dns.client."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.dns.driving import Network, Zone
from twisted_mta.dns.client import StubResolver, random_id
from twisted_mta.dns.resolution import Ask
from twisted_mta.dns.resolv_conf import ResolvConf, Server
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import AddressRecord, Answer, LookupResult, RecordType, Search

A, MX = RecordType.A, RecordType.MX

ZONE: Zone = {
    "dest.example": {"A": ["192.0.2.1"], "MX": ["10 mx1.dest.example"]},
    "sick.example": {"fault": "servfail"},
}


class ClientTestCase(SynchronousTestCase):
    """A resolver in front of a network in memory.

    Attributes:
        waiting: queries that were sent and not answered, with who waits for them, when `is_slow`.
    """

    is_slow = False

    def setUp(self) -> None:
        """One server, no options."""
        self.network = Network(ZONE)
        self.conf = self.network.conf()
        self.waiting: list[tuple[Ask, Deferred[bytes | None]]] = []
        self.resolver = self.make_resolver()

    def make_resolver(self) -> StubResolver:
        """A resolver for the present configuration."""
        return StubResolver(
            MemoryReactorClock(),
            lambda: self.conf,
            self.network.events.append,
            exchange=self.hold if self.is_slow else self.network.exchange,
        )

    def hold(self, ask: Ask) -> Deferred[bytes | None]:
        """Let a query wait for its reply."""
        reply: Deferred[bytes | None] = Deferred()
        self.waiting.append((ask, reply))
        return reply

    def reply(self) -> None:
        """Answer the query that has waited for longest."""
        ask, reply = self.waiting.pop(0)
        reply.callback(self.network.reply_to(ask))


class LookupTests(ClientTestCase):
    """Answers that come at once."""

    def test_interface(self) -> None:
        """It is a DNS client."""
        verifyObject(IDNSClient, self.resolver)

    def test_lookup(self) -> None:
        """A question goes through the network to its answer."""
        answer = self.successResultOf(self.resolver.lookup("dest.example", A))
        records = (AddressRecord("dest.example", 60, "192.0.2.1"),)
        self.assertEqual(answer, Answer("dest.example", A, LookupResult.OK, records, lifetime=60))

    def test_failure_is_an_answer(self) -> None:
        """A lookup that fails gives an answer that says so."""
        for name, result in [
            ("gone.example", LookupResult.NOT_FOUND),
            ("sick.example", LookupResult.RETRY),
            ("a!b", LookupResult.NOT_FOUND),
        ]:
            self.assertEqual(self.successResultOf(self.resolver.lookup(name, A)).result, result)

    def test_configuration_as_of_now(self) -> None:
        """Each lookup follows the configuration of its time."""
        self.conf = ResolvConf(servers=(Server("192.0.2.1", 53),), search=("example",))
        answer = self.successResultOf(self.resolver.lookup("dest", A, search=Search.BOTH))
        self.assertEqual((answer.name, answer.result), ("dest", LookupResult.OK))

    def test_given_servers(self) -> None:
        """Servers that are given must be addresses with ports."""
        for servers in [[], [("ns.example", 53)], [("192.0.2.1", 0)], [("192.0.2.1", 53), ("::1", 65536)]]:
            self.assertRaises(ValueError, StubResolver.for_servers, MemoryReactorClock(), servers, self.fail)

    def test_rotation(self) -> None:
        """With rotate each lookup begins with the next server."""
        self.network = Network(ZONE, ZONE, ZONE)
        self.conf = self.network.conf(rotate=True)
        self.resolver = self.make_resolver()
        for _ in range(4):
            self.successResultOf(self.resolver.lookup("dest.example", A))
        self.assertEqual([server for server, _, _ in self.network.path], [2, 3, 1, 2])

    def test_ids(self) -> None:
        """Ids fit their field and are not the same again and again."""
        ids = [random_id() for _ in range(50)]
        self.assertTrue(all(0 <= number < 65536 for number in ids))
        self.assertGreater(len(set(ids)), 40)


class ConcurrentTests(ClientTestCase):
    """Answers that take their time."""

    is_slow = True

    def test_equal_questions_share_an_answer(self) -> None:
        """A question that is under way is not asked again."""
        lookups = [self.resolver.lookup("dest.example", A) for _ in range(3)]
        self.assertEqual(len(self.waiting), 1)
        self.reply()
        answers = [self.successResultOf(lookup) for lookup in lookups]
        self.assertEqual(answers[0].result, LookupResult.OK)
        self.assertIs(answers[0], answers[1])
        self.assertIs(answers[0], answers[2])

    def test_answered_questions_are_asked_again(self) -> None:
        """An answer is shared while it is under way, not kept."""
        for _ in range(2):
            lookup = self.resolver.lookup("dest.example", A)
            self.assertEqual(len(self.waiting), 1)
            self.reply()
            self.successResultOf(lookup)

    def test_asking_again_when_told(self) -> None:
        """Who is told an answer may ask the same again."""
        again: list[Deferred[Answer]] = []
        lookup = self.resolver.lookup("dest.example", A)
        lookup.addCallback(lambda _: again.append(self.resolver.lookup("dest.example", A)))
        self.reply()
        self.assertNoResult(again[0])
        self.reply()
        self.assertEqual(self.successResultOf(again[0]).result, LookupResult.OK)

    def test_different_questions(self) -> None:
        """Another name, type, or way of asking is another question; queries go out in the order of asking."""
        self.resolver.lookup("dest.example", MX)
        self.resolver.lookup("dest.example", A)
        self.resolver.lookup("dest.example", A, dnssec=True)
        self.resolver.lookup("dest.example", A, search=Search.BOTH)
        self.resolver.lookup("Dest.example", A)
        while self.waiting:
            self.reply()
        queries = [("MX", "dest.example")] + [("A", "dest.example")] * 3 + [("A", "Dest.example")]
        self.assertEqual(self.network.queries, queries)

    def test_one_of_several_loses_interest(self) -> None:
        """The others still get their answer."""
        first, second = (self.resolver.lookup("dest.example", A) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.reply()
        self.assertEqual(self.successResultOf(second).result, LookupResult.OK)

    def test_all_lose_interest(self) -> None:
        """Then the query itself is cancelled, and the question can be asked anew."""
        for _ in range(2):
            lookups = [self.resolver.lookup("dest.example", A) for _ in range(2)]
            for lookup in lookups:
                lookup.cancel()
                self.failureResultOf(lookup, CancelledError)
            self.assertEqual(len(self.waiting), 1)
            self.assertTrue(self.waiting.pop()[1].called)

    def test_defect_reaches_all(self) -> None:
        """A defect is told to all who wait; none waits for ever."""
        lookups = [self.resolver.lookup("dest.example", A) for _ in range(2)]
        self.waiting.pop()[1].errback(ZeroDivisionError())
        for lookup in lookups:
            self.failureResultOf(lookup, ZeroDivisionError)
