"""Tests of twisted_mta.ipc.rewrite."""

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import MemoryService
from twisted_mta.interfaces import TableError
from twisted_mta.ipc.attributes import AttributeList, encode
from twisted_mta.ipc.client import PersistentClient, Service
from twisted_mta.ipc.rewrite import REMEMBERED, REMEMBERED_SECONDS, RewriteService, complete_locally
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Event, ServiceConfused, ServiceUnreachable

POSTFIX_3_7 = PostfixVersion(3, 7)
PATH = "private/rewrite"


class RewriteServiceTests(SynchronousTestCase):
    """trivial-rewrite(8), asked over its socket."""

    def setUp(self) -> None:
        """A service that appends a domain."""
        self.clock = Clock()
        self.events: list[Event] = []
        self.flags = 0
        self.server = MemoryService(POSTFIX_3_7.greeting(Greeting.REWRITE), self.answer)
        service = Service(PATH, Greeting.REWRITE)
        client = PersistentClient(service, self.server, POSTFIX_3_7, self.clock, timeout_seconds=100)
        self.rewrite = RewriteService(PATH, client, self.clock, self.events.append)

    def answer(self, request: AttributeList) -> bytes:
        """What the service says."""
        address = request.values[-1].decode()
        return encode((("flags", self.flags), ("address", f"{address}@origin.test")))

    def asked(self, address: str) -> str:
        """The answer for an address."""
        found = self.rewrite(address)
        return self.successResultOf(found) if isinstance(found, Deferred) else found

    def test_request(self) -> None:
        """It is asked for the rules of this site; answers are in quoted form as the questions."""
        self.assertEqual(self.asked('"a b"'), '"a b"@origin.test')
        (request,) = self.server.requests
        self.assertEqual(
            list(zip(request.names, request.values, strict=True)),
            [
                (b"request", b"rewrite"),
                (b"rule", b"local"),
                (b"address", b'"a b"'),
            ],
        )

    def test_odd_bytes(self) -> None:
        """Octets that are not UTF-8 arrive and come back as they are."""
        self.server.answer = lambda request: encode((("flags", 0), ("address", "\udce4@b")))
        self.assertEqual(self.asked("\udce4"), "\udce4@b")
        self.assertEqual(self.server.requests[0].values[-1], b"\xe4")

    def test_answers_are_remembered(self) -> None:
        """For some time an address is not asked for again, and the answer is there at once."""
        self.asked("a")
        self.assertEqual(self.rewrite("a"), "a@origin.test")
        self.clock.advance(REMEMBERED_SECONDS)
        self.asked("a")
        self.assertEqual(len(self.server.requests), 2)

    def test_memory_is_bounded(self) -> None:
        """The oldest answers are forgotten."""
        for number in range(REMEMBERED + 1):
            self.asked(str(number))
        self.assertIsInstance(self.rewrite(str(1)), str)
        self.asked("0")
        self.assertEqual(len(self.server.requests), REMEMBERED + 2)

    def test_another_configuration(self) -> None:
        """When the service says that it is not what it was, nothing remembered counts."""
        self.asked("a")
        self.flags = 1
        self.asked("b")
        self.asked("a")
        self.assertEqual(len(self.server.requests), 3)

    def failed(self, found: object) -> TableError:
        """The error after all attempts."""
        assert isinstance(found, Deferred)
        for _ in range(2):
            self.assertNoResult(found)
            self.clock.advance(1)
        error = self.failureResultOf(found, TableError).value
        assert isinstance(error, TableError)
        self.assertEqual((error.table, error.key), (PATH, "a"))
        return error

    def test_unreachable(self) -> None:
        """It is tried three times; each failure is told."""
        self.server.refusal = ConnectError(2)
        self.assertEqual(self.failed(self.rewrite("a")).problem, "No such file or directory")
        self.assertEqual(self.events, [ServiceUnreachable(PATH, "No such file or directory")] * 3)

    def test_it_comes_back(self) -> None:
        """A service that is there again before the last attempt has made no harm."""
        self.server.refusal = ConnectError(2)
        found = self.rewrite("a")
        assert isinstance(found, Deferred)
        self.server.refusal = None
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(found), "a@origin.test")

    def test_confused(self) -> None:
        """A reply that makes no sense is an error."""
        self.server.answer = lambda request: encode((("status", 0),))
        self.assertIn("status", self.failed(self.rewrite("a")).problem)
        self.assertIsInstance(self.events[0], ServiceConfused)

    def test_silent(self) -> None:
        """So is none at all."""
        self.server.answer = lambda request: None
        found = self.rewrite("a")
        assert isinstance(found, Deferred)
        for _ in range(3):
            self.assertNoResult(found)
            self.clock.advance(100)
            self.clock.advance(1)
        self.failureResultOf(found, TableError)

    def test_failures_are_not_remembered(self) -> None:
        """The next message asks again."""
        self.server.refusal = ConnectError(2)
        self.failed(self.rewrite("a"))
        self.server.refusal = None
        self.assertEqual(self.asked("a"), "a@origin.test")

    def test_cancelled(self) -> None:
        """Nothing goes on when nobody waits any more."""
        self.server.refusal = ConnectError(2)
        found = self.rewrite("a")
        assert isinstance(found, Deferred)
        found.addErrback(lambda failure: None)
        found.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LocalCompletionTests(SynchronousTestCase):
    """The rule without trivial-rewrite(8)."""

    def test_origin(self) -> None:
        """An address without a domain gets ours."""
        complete = complete_locally("origin.test")
        for address, canonical in {
            "a": "a@origin.test",
            "a@": "a@origin.test",
            '"a@b"': '"a@b"@origin.test',
            '""': '""@origin.test',
            "a@b": "a@b",
            "a@b.c": "a@b.c",
            "a@b.c.": "a@b.c",
            "a@[192.0.2.1]": "a@[192.0.2.1]",
        }.items():
            self.assertEqual(complete(address), canonical)

    def test_parent_domain(self) -> None:
        """With append_dot_mydomain a domain of one label gets one."""
        complete = complete_locally("origin.test", "my.test")
        for address, canonical in {
            "a@b": "a@b.my.test",
            "a@b.c": "a@b.c",
            "a@[x]": "a@[x]",
            "a": "a@origin.test",
        }.items():
            self.assertEqual(complete(address), canonical)
