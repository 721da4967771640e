"""Tests of twisted_mta.ipc.tlsmgr."""

from functools import partial
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from tests.kit.tlsmgr import POSTFIX_3_7, Tlsmgr
from twisted_mta.ipc.attributes import AttributeList, Value, encode
from twisted_mta.ipc.client import PersistentClient, Service
from twisted_mta.ipc.tlsmgr import (
    LONGEST_WAIT_SECONDS,
    MOST_OCTETS,
    MOST_WAITING,
    REST_SECONDS,
    REST_WITHOUT_CACHE_SECONDS,
    TlsManager,
)
from twisted_mta.ipc.version import Greeting
from twisted_mta.model.events import Event, ServiceConfused, ServiceUnreachable

PATH = "private/tlsmgr"
REFUSED, NOT_THERE = 111, 2


def _say(octets: bytes, request: AttributeList) -> bytes:
    """Answer whatever is asked."""
    return octets


def _answer_or_not(bench: "Bench", chance: Random, request: AttributeList) -> bytes | None:
    """Answer as the service does, or say nothing, or nonsense, or break off."""
    match chance.randrange(10):
        case 0:
            return None
        case 1:
            return b"nonsense\0\0"
        case 2:
            bench.server.connections[-1].hang_up()
            return None
    return bench.tlsmgr.answer(request)


class Bench:
    """A client, its clock, and the service that it asks.

    Attributes:
        clock: of the client.
        events: what it told.
        tlsmgr: has the sessions.
        server: the connections to it.
        client: under test.
    """

    def __init__(self, cache: str = "smtp") -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.events: list[Event] = []
        self.tlsmgr = Tlsmgr()
        self.server = MemoryService(POSTFIX_3_7.greeting(Greeting.TLS_MANAGER), self.tlsmgr.answer)
        service = Service(PATH, Greeting.TLS_MANAGER)
        self.asks = PersistentClient(
            service, self.server, POSTFIX_3_7, self.clock, timeout_seconds=LONGEST_WAIT_SECONDS, idle_seconds=1e9
        )
        self.client = TlsManager(self.asks, cache, self.clock, self.events.append)

    def silence(self) -> None:
        """Let the service hear, and say nothing."""
        self.server.answer = lambda request: None

    def speak(self) -> None:
        """Let it answer again."""
        self.server.answer = self.tlsmgr.answer

    @property
    def asked(self) -> list[str]:
        """What it was asked: verb and key."""
        requests = (dict(request.pairs()) for request in self.server.requests)
        return [f"{each[b'request'].decode()} {each[b'cache_id'].decode()}" for each in requests]


class TlsmgrTests(SynchronousTestCase):
    """`TlsManager`."""

    def setUp(self) -> None:
        """Make a bench."""
        self.bench = Bench()
        self.client = self.bench.client

    def look(self, key: str) -> bytes | None:
        """Look up what must be known at once."""
        return self.successResultOf(Deferred.fromCoroutine(self.client.lookup(key)))

    def begin(self, key: str) -> Deferred[Any]:
        """Begin to look up."""
        return Deferred.fromCoroutine(self.client.lookup(key))

    # ---- when all is well ----

    def test_requests(self) -> None:
        """What is asked, attribute by attribute; sessions travel as base64."""
        self.client.update("k", b"\0\xff")
        self.assertEqual(self.look("k"), b"\0\xff")
        self.client.delete("k")
        self.assertIsNone(self.look("k"))
        kind, key = (b"cache_type", b"smtp"), (b"cache_id", b"k")
        self.assertEqual(
            [list(request.pairs()) for request in self.bench.server.requests],
            [
                [(b"request", b"update"), kind, key, (b"session", b"AP8=")],
                [(b"request", b"lookup"), kind, key],
                [(b"request", b"delete"), kind, key],
                [(b"request", b"lookup"), kind, key],
            ],
        )
        self.assertEqual(len(self.bench.server.connections), 1)
        self.assertEqual(self.bench.events, [])

    def test_lmtp(self) -> None:
        """The cache of LMTP is another one."""
        bench = Bench("lmtp")
        bench.tlsmgr.caches["lmtp"] = {}
        bench.client.update("k", b"x")
        self.assertEqual(bench.tlsmgr.caches, {"smtp": {}, "lmtp": {"k": b"x"}})

    def test_nobody_waits(self) -> None:
        """What is to be kept waits for its turn, the last word of each key; it is found meanwhile, and deletions, too."""
        self.bench.silence()
        self.client.update("first", b"1")
        for value in (b"2", b"3", b"4"):
            self.client.update("k", value)
        self.client.update("gone", b"5")
        self.client.delete("gone")
        self.assertEqual(self.bench.asked, ["update first"])
        self.assertEqual((self.look("k"), self.look("gone")), (b"4", None))
        self.bench.speak()
        self.bench.server.connections[0].say(encode((("status", 0),)))
        self.assertEqual(self.bench.asked, ["update first", "update k", "delete gone"])
        self.assertEqual(self.bench.tlsmgr.caches["smtp"], {"k": b"4"})

    def test_bounds(self) -> None:
        """A slow service cannot make us hold more than so many changes, or so large ones: the oldest are given up."""
        self.bench.silence()
        self.client.update("first", b"1")
        for number in range(MOST_WAITING + 1):
            self.client.update(f"k{number}", b"x")
        self.assertEqual(self.look(f"k{MOST_WAITING}"), b"x")
        lookup = self.begin("k0")
        self.assertNoResult(lookup)
        self.client.update("large", bytes(MOST_OCTETS - 1))
        self.assertEqual((self.look("large"), self.look(f"k{MOST_WAITING}")), (bytes(MOST_OCTETS - 1), b"x"))
        self.client.update("larger", bytes(MOST_OCTETS))
        self.assertEqual(self.look("larger"), bytes(MOST_OCTETS))
        large = self.begin("large")
        self.assertNoResult(large)
        self.bench.clock.advance(LONGEST_WAIT_SECONDS)
        self.assertEqual([self.successResultOf(each) for each in (lookup, large)], [None, None])

    # ---- when it fails ----

    def test_silent(self) -> None:
        """A look-up waits for a moment; then the service is left alone, and asked again later. It is told once."""
        self.bench.silence()
        lookup = self.begin("k")
        self.bench.clock.advance(LONGEST_WAIT_SECONDS - 0.1)
        self.assertNoResult(lookup)
        self.bench.clock.advance(0.1)
        self.assertIsNone(self.successResultOf(lookup))
        self.assertEqual(self.bench.events, [ServiceConfused(PATH, "no reply within 2 seconds")])
        self.assertIsNone(self.look("k"))
        self.client.update("k", b"x")
        self.bench.clock.advance(REST_SECONDS - 0.1)
        self.assertIsNone(self.look("k"))
        self.assertEqual(len(self.bench.asked), 1)
        self.bench.clock.advance(0.1)
        again = self.begin("k")
        self.bench.clock.advance(LONGEST_WAIT_SECONDS)
        self.assertIsNone(self.successResultOf(again))
        self.assertEqual((len(self.bench.asked), len(self.bench.events)), (2, 1))

    def test_all_wait_no_longer(self) -> None:
        """However many look-ups there are, none of them waits longer than one does."""
        self.bench.silence()
        lookups = [self.begin(f"k{number}") for number in range(20)]
        self.bench.clock.advance(LONGEST_WAIT_SECONDS)
        self.assertEqual([self.successResultOf(each) for each in lookups], [None] * 20)
        self.assertEqual(len(self.bench.events), 1)

    def test_one_at_a_time(self) -> None:
        """After a failure one question shows whether it answers again; nobody else waits, and what is to be kept waits, too."""
        self.bench.silence()
        self.begin("first")
        self.bench.clock.advance(LONGEST_WAIT_SECONDS)
        self.bench.clock.advance(REST_SECONDS)
        probe = self.begin("probe")
        self.assertNoResult(probe)
        self.assertIsNone(self.look("other"))
        self.client.update("kept", b"x")
        self.client.delete("gone")
        self.assertEqual(self.bench.asked, ["lookup first", "lookup probe"])
        self.bench.speak()
        self.bench.server.connections[-1].say(encode((("status", -1), ("session", ""))))
        self.assertIsNone(self.successResultOf(probe))
        self.assertEqual(self.bench.asked[2:], ["update kept", "delete gone"])

    def test_next_outage(self) -> None:
        """Once it has answered, the next failure is told again."""
        for _ in range(2):
            self.bench.server.refusal = ConnectError(REFUSED)
            self.bench.asks._hang_up()
            self.assertIsNone(self.look("k"))
            self.bench.clock.advance(REST_SECONDS)
            self.bench.server.refusal = None
            self.assertIsNone(self.look("k"))
        self.assertEqual(self.bench.events, [ServiceUnreachable(PATH, "Connection refused")] * 2)

    def test_deletions_outlast(self) -> None:
        """What was deleted while it could not be asked is not found afterwards; what was to be kept then is not kept."""
        self.bench.tlsmgr.caches["smtp"] = {"bad": b"x", "good": b"y"}
        self.bench.server.refusal = ConnectError(REFUSED)
        self.client.update("other", b"z")
        self.client.delete("bad")
        self.client.update("good", b"newer")
        self.bench.clock.advance(REST_SECONDS)
        self.bench.server.refusal = None
        self.assertEqual((self.look("bad"), self.look("good")), (None, b"y"))
        self.client.update("more", b"z")
        self.assertEqual(self.bench.tlsmgr.caches["smtp"], {"good": b"y", "more": b"z"})

    def test_failed_deletion(self) -> None:
        """A deletion that fails is tried again."""
        self.bench.tlsmgr.caches["smtp"] = {"bad": b"x"}
        self.bench.silence()
        self.client.delete("bad")
        self.bench.clock.advance(LONGEST_WAIT_SECONDS)
        self.assertIsNone(self.look("bad"))
        self.bench.speak()
        self.bench.clock.advance(REST_SECONDS)
        self.assertIsNone(self.look("bad"))
        self.assertIsNone(self.look("other"))
        self.assertEqual(self.bench.tlsmgr.caches["smtp"], {})

    def test_kept_again_after_deletion(self) -> None:
        """A key that waits to be deleted can be kept again."""
        self.bench.server.refusal = ConnectError(REFUSED)
        self.client.update("other", b"z")
        self.client.delete("k")
        self.bench.clock.advance(REST_SECONDS)
        self.bench.server.refusal = None
        self.client.update("k", b"new")
        self.assertEqual(self.look("k"), b"new")

    def test_clock_set_back(self) -> None:
        """A clock that is set back does not make it rest any longer."""
        self.bench.server.refusal = ConnectError(REFUSED)
        self.look("k")
        self.bench.server.refusal = None
        self.bench.tlsmgr.caches["smtp"] = {"k": b"x"}
        self.bench.clock.rightNow -= 500_000
        self.assertEqual(self.look("k"), b"x")

    def test_not_there(self) -> None:
        """Where there is no such service nothing is told, and it is hardly ever looked for."""
        self.bench.server.refusal = ConnectError(NOT_THERE)
        self.client.update("k", b"x")
        self.assertIsNone(self.look("k"))
        self.bench.server.refusal = None
        self.bench.clock.advance(REST_WITHOUT_CACHE_SECONDS - 1)
        self.client.update("k", b"x")
        self.assertEqual(self.bench.asked, [])
        self.bench.clock.advance(1)
        self.client.update("k", b"x")
        self.assertEqual(self.bench.asked, ["update k"])
        self.assertEqual(self.bench.events, [])

    def test_has_no_cache(self) -> None:
        """So it is where the service keeps no sessions."""
        bench = Bench("lmtp")
        for _ in range(3):
            bench.client.update("k", b"x")
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(bench.client.lookup("k"))))
        self.assertEqual(bench.asked, ["update k"])
        self.assertEqual(bench.events, [])

    def test_dies_of_it(self) -> None:
        """A change that the service dies of is not made again: it has two chances, as each request, and no more."""
        died = []

        def die(request: AttributeList) -> bytes | None:
            died.append(request)
            self.bench.server.connections[-1].hang_up()
            return None

        self.bench.server.answer = die
        self.client.update("bad", b"x")
        self.assertLessEqual(len(died), 2)
        self.bench.speak()
        self.bench.clock.advance(REST_SECONDS)
        self.client.update("good", b"y")
        self.assertEqual(self.bench.tlsmgr.caches["smtp"], {"good": b"y"})
        self.assertEqual(len(self.bench.events), 1)

    def test_nonsense(self) -> None:
        """A reply that makes no sense is a failure, and nothing is found."""
        replies: list[list[tuple[str, Value]]] = [
            [("status", 0)],
            [("status", 1), ("session", "")],
            [("status", "x"), ("session", "")],
            [("status", 0), ("session", "!")],
            [("session", "eA=="), ("status", 0)],
        ]
        for reply in replies:
            bench = Bench()
            bench.server.answer = partial(_say, encode(reply))
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(bench.client.lookup("k"))))
            self.assertIsInstance(bench.events[0], ServiceConfused)

    def test_more_than_wanted(self) -> None:
        """What a later version says besides does not matter."""
        reply = encode((("status", 0), ("timeout", 1), ("session", "eA=="), ("more", 1)))
        self.bench.server.answer = lambda request: reply
        self.assertEqual(self.look("k"), b"x")

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=100))
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever it says, a look-up ends, in time, and never with an error."""
        bench = Bench()
        bench.server.answer = lambda request: octets
        lookup = Deferred.fromCoroutine(bench.client.lookup("k"))
        bench.clock.advance(LONGEST_WAIT_SECONDS)
        found = self.successResultOf(lookup)
        self.assertTrue(found is None or isinstance(found, bytes))

    @settings(deadline=None, max_examples=40)
    @given(st.randoms(use_true_random=False))
    def test_any_faults(self, chance: Random) -> None:
        """Whatever goes wrong, and when: look-ups end in time, what waits is bounded, and afterwards all is well again."""
        bench = Bench()
        bench.server.answer = partial(_answer_or_not, bench, chance)
        late: list[float] = []

        def look(key: str) -> None:
            began = bench.clock.seconds()
            lookup = Deferred.fromCoroutine(bench.client.lookup(key))
            lookup.addCallback(lambda found: late.append(bench.clock.seconds() - began))
            looked.append(lookup)

        looked: list[Deferred[Any]] = []
        for number in range(150):
            key = f"k{chance.randrange(5)}"
            match chance.randrange(6):
                case 0 | 1:
                    look(key)
                case 2:
                    bench.client.update(key, b"%d" % number)
                case 3:
                    bench.client.delete(key)
                case 4:
                    bench.server.refusal = chance.choice([None, None, ConnectError(REFUSED), ConnectError(NOT_THERE)])
                case _:
                    bench.clock.pump([0.5] * chance.choice([0, 1, 4, 80]))
        bench.server.refusal = None
        bench.speak()
        bench.clock.pump([0.5] * 4)
        self.assertEqual(len(late), len(looked))
        self.assertLessEqual(max(late, default=0), LONGEST_WAIT_SECONDS)
        bench.clock.advance(REST_WITHOUT_CACHE_SECONDS)
        bench.client.update("last", b"x")
        self.assertEqual(bench.tlsmgr.caches["smtp"]["last"], b"x")
        self.assertLess(len(bench.server.connections), 150)

    # ---- the end ----

    def test_cancelled(self) -> None:
        """A look-up can be cancelled; the late reply is not taken for that of the next."""
        self.bench.silence()
        lookup = self.begin("k")
        lookup.cancel()
        self.failureResultOf(lookup, CancelledError)
        self.bench.speak()
        self.bench.tlsmgr.caches["smtp"] = {"other": b"x"}
        self.assertEqual(self.look("other"), b"x")
        self.assertEqual(self.bench.events, [])

    def test_close(self) -> None:
        """Afterwards no connection is kept."""
        self.look("k")
        self.client.close()
        self.assertTrue(self.bench.server.connections[0].transport.disconnecting)
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])
