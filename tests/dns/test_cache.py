"""Tests of twisted_mta.dns.cache."""

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_mta.dns.cache import LONGEST_KEPT, CachingClient
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.answers import AddressRecord, Answer, LookupResult, RecordType, Search

A, MX = RecordType.A, RecordType.MX


@implementer(IDNSClient)
class Source:
    """A client that gives the same answer to all questions.

    Attributes:
        answer: what it says, under the name asked for.
        asked: names, in order.
    """

    def __init__(self) -> None:
        self.answer = Answer("", A, LookupResult.OK, (AddressRecord("x", 60, "192.0.2.1"),), lifetime=60)
        self.asked: list[tuple[object, ...]] = []

    def lookup(
        self, name: str, rdtype: RecordType, *, dnssec: bool = False, search: Search = Search.NONE
    ) -> Deferred[Answer]:
        """Say it."""
        self.asked.append((name, rdtype, dnssec, search))
        return succeed(replace(self.answer, name=name, rdtype=rdtype))


class CacheTests(SynchronousTestCase):
    """What is remembered, and for how long."""

    def setUp(self) -> None:
        """An empty cache."""
        self.source = Source()
        self.clock = Clock()
        self.cache = CachingClient(self.source, self.clock, max_entries=3)

    def ask(self, name: str = "a.example", rdtype: RecordType = A, **options: Any) -> tuple[Answer, bool]:
        """Ask the cache; says whether the source was asked."""
        before = len(self.source.asked)
        answer = self.successResultOf(self.cache.lookup(name, rdtype, **options))
        return answer, len(self.source.asked) > before

    def test_interface(self) -> None:
        """It is a DNS client."""
        verifyObject(IDNSClient, self.cache)

    def test_kept(self) -> None:
        """An answer is remembered for its lifetime, and no longer."""
        first, was_asked = self.ask()
        self.assertTrue(was_asked)
        self.clock.advance(59.9)
        self.assertEqual(self.ask(), (first, False))
        self.clock.advance(0.2)
        self.assertEqual(self.ask(), (first, True))

    def test_longest(self) -> None:
        """No answer is kept for too long."""
        self.source.answer = replace(self.source.answer, lifetime=1000000)
        self.ask()
        self.clock.advance(LONGEST_KEPT - 1)
        self.assertFalse(self.ask()[1])
        self.clock.advance(1)
        self.assertTrue(self.ask()[1])

    def test_not_kept(self) -> None:
        """Nothing is remembered that has no lifetime, or may be otherwise in a moment."""
        for result in LookupResult:
            if result in (LookupResult.FAIL, LookupResult.INVALID, LookupResult.RETRY, LookupResult.POLICY):
                self.source.answer = replace(self.source.answer, result=result)
                self.ask()
                self.assertTrue(self.ask()[1], result)
        self.source.answer = replace(self.source.answer, result=LookupResult.OK, lifetime=0)
        self.ask()
        self.assertTrue(self.ask()[1])

    def test_absence(self) -> None:
        """An absence is remembered, in the spelling that its words have."""
        self.source.answer = Answer("", A, LookupResult.NOT_FOUND, reason="... a.example ...", lifetime=60)
        self.ask()
        self.assertFalse(self.ask()[1])
        self.assertTrue(self.ask("A.example")[1])

    def test_case(self) -> None:
        """The case of a name does not matter; the answer has it as it was asked."""
        self.ask("a.example")
        answer, was_asked = self.ask("A.Example")
        self.assertFalse(was_asked)
        self.assertEqual(answer.name, "A.Example")
        self.assertEqual(answer.records, self.source.answer.records)

    def test_each_question(self) -> None:
        """Type, validation and search list make another question."""
        self.cache = CachingClient(self.source, self.clock)
        questions: list[tuple[RecordType, dict[str, Any]]] = [
            (A, {}), (MX, {}), (A, {"dnssec": True}), (A, {"search": Search.FIRST}),
        ]  # fmt: skip
        for rdtype, options in questions:
            self.assertTrue(self.ask("a.example", rdtype, **options)[1])
        for rdtype, options in questions:
            self.assertFalse(self.ask("a.example", rdtype, **options)[1])
        expected = [("a.example", A, False, Search.NONE), ("a.example", MX, False, Search.NONE)]
        expected += [("a.example", A, True, Search.NONE), ("a.example", A, False, Search.FIRST)]
        self.assertEqual(self.source.asked, expected)

    def test_room(self) -> None:
        """The answer that was not used for longest makes room."""
        for name in ["a", "b", "c"]:
            self.ask(name)
        self.assertFalse(self.ask("a")[1])
        self.ask("d")
        self.assertFalse(self.ask("a")[1])
        self.assertTrue(self.ask("b")[1])

    def test_no_room(self) -> None:
        """A cache without room passes everything on."""
        self.cache = CachingClient(self.source, self.clock, max_entries=0)
        self.ask()
        self.assertTrue(self.ask()[1])

    def test_clock_set_back(self) -> None:
        """A clock that was set back does not keep answers alive."""
        self.clock.advance(1000000)
        self.ask()
        self.clock.rightNow = 10.0
        self.assertTrue(self.ask()[1])

    def test_clear(self) -> None:
        """All can be forgotten."""
        self.ask()
        self.cache.clear()
        self.assertTrue(self.ask()[1])
