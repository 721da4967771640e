"""Tables behind proxymap(8), in memory."""

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.attributes import MemoryService
from tests.tables.opened import OpenTables
from twisted_mta.interfaces import ILookupTable, IWritableTable, TableError
from twisted_mta.ipc.attributes import AttributeList, encode, read_texts
from twisted_mta.ipc.client import PersistentClient, Service
from twisted_mta.ipc.proxymap import ProxyMap
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.tables.opening import ADDRESSES, EXACT, WRITABLE, TableFlags, TableRequest
from twisted_mta.tables.proxy import ProxyTable, WritableProxyTable, is_by_pattern

SERVICE = Service("private/proxymap", Greeting.TABLE_PROXY)


class ProxyTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A service in memory."""
        self.clock = Clock()
        self.opened = OpenTables(Path(self.mktemp()))
        self.version = PostfixVersion(3, 9)
        self.service = MemoryService(self.version.greeting(Greeting.TABLE_PROXY), self.answer)

    def answer(self, request: AttributeList) -> bytes:
        """The status is what the key says; its value is the table."""
        texts = read_texts(request.values)
        status = int(texts[-1])
        flags = [("flags", 0)] if self.version.tables_have_instance_flags else []
        return encode([("status", status), *flags, ("value", texts[1] if status == 0 else "")])

    def table(self, name: str = "hash:/x", flags: TableFlags = ADDRESSES) -> ProxyTable:
        """A table."""
        request = TableRequest("proxy", name, flags, self.opened.context, self.opened.tables.open)

        def connect() -> PersistentClient:
            return PersistentClient(SERVICE, self.service, self.version, self.clock)

        return ProxyTable(request, ProxyMap(connect, self.version), self.clock)

    def failure(self, found: Deferred[str | None]) -> str:
        """What a lookup failed with."""
        return str(self.failureResultOf(found, TableError).value.problem)

    def test_lookups(self) -> None:
        """A request says table, flags and key; the reply has a value or none."""
        table = self.table("proxy:hash:/x")
        verifyObject(ILookupTable, table)
        self.assertEqual(self.successResultOf(table.lookup("0")), "hash:/x")
        self.assertIsNone(self.successResultOf(table.lookup("1")))
        (first, _) = self.service.requests
        wanted = [(b"request", b"lookup"), (b"table", b"hash:/x"), (b"flags", b"540736"), (b"key", b"0")]
        self.assertEqual(list(first.pairs()), wanted)
        self.assertEqual(len(self.service.connections), 1)
        table.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_flags(self) -> None:
        """Flags say how the table is used; newer versions have them twice."""
        self.version = PostfixVersion(3, 11)
        self.assertEqual(self.successResultOf(self.table(flags=EXACT).lookup("0")), "hash:/x")
        names = (b"request", b"table", b"instance_flags", b"flags", b"key")
        self.assertEqual(self.service.requests[0].names, names)
        self.assertEqual(self.service.requests[0].values[2:4], (b"64", b"64"))

    def test_refusals(self) -> None:
        """What is wrong here is told; what is wrong there is told there."""
        self.assertIn("the log of proxymap(8)", self.failure(self.table().lookup("2")))
        self.assertIn("the log of proxymap(8)", self.failure(self.table().lookup("5")))
        self.assertEqual(self.opened.lines, [])
        denied = 'proxymap service is not configured for table "hash:/x"'
        self.assertEqual(self.failure(self.table().lookup("4")), denied)
        self.assertIn("invalid request", self.failure(self.table().lookup("3")))
        self.assertEqual(self.opened.lines[0], f"warning: {denied}; see proxy_read_maps")

    def test_absent(self) -> None:
        """A service that is not there is tried three times, a second apart."""
        self.service.refusal = ConnectError(osError=2)
        found = self.table().lookup("0")
        self.clock.advance(1)
        self.assertNoResult(found)
        self.clock.advance(1)
        self.assertEqual(self.failure(found), "No such file or directory")
        problem = "subsystem private/proxymap: No such file or directory"
        self.assertEqual(self.opened.lines, [f"warning: connect #{at} to {problem}" for at in (1, 2, 3)])

    def test_confused(self) -> None:
        """A reply that makes no sense is told, and asked for again."""
        for reply in [encode([("status", 9), ("value", "")]), encode([("what", 0)])]:
            self.opened.events.clear()
            self.service.answer = lambda request, reply=reply: reply  # type: ignore[misc]
            found = self.table().lookup("0")
            self.service.answer = self.answer
            self.clock.advance(1)
            self.assertEqual(self.successResultOf(found), "hash:/x")
            self.assertIn("private/proxymap service error", self.opened.lines[0])

    def test_silence(self) -> None:
        """No lookup lasts longer than a hundred seconds; many at a time share few connections."""
        self.service.answer = lambda request: None
        table = self.table()
        found = [table.lookup("0") for _ in range(20)]
        self.assertEqual(len(self.service.connections), 4)
        self.clock.advance(100)
        for each in found:
            self.failure(each)
        self.assertEqual(len(self.opened.lines), 20)

    def test_kinds(self) -> None:
        """Tables of patterns are known by their types, also within others."""
        for name, by_pattern in [
            ("hash:/x", False),
            ("regexp:/x", True),
            ("proxy:pcre:/x", True),
            ("pipemap:{ regexp:/x, hash:/y}", True),
            ("unionmap:{hash:/y, regexp:/x}", False),
            ("odd", False),
        ]:
            self.assertEqual(is_by_pattern(name), by_pattern, name)

    def test_open(self) -> None:
        """Where the service is, and in which version, is said by main.cf."""
        reactor = MemoryReactorClock()
        parameters = {"proxymap_service_name": "p2", "mail_version": "3.5.1", "ipc_timeout": "9s"}
        opened = OpenTables(Path("/queue"), reactor=reactor, parameters=parameters)
        found = opened.tables.open("proxy:hash:/x").lookup("k")
        assert isinstance(found, Deferred)
        found.addErrback(lambda _: None)
        self.assertEqual(reactor.unixClients[0][0], "/queue/private/p2")


class WritingTests(SynchronousTestCase):
    """The service proxywrite, which may write."""

    def setUp(self) -> None:
        """A service in memory that keeps what it is given."""
        self.clock = Clock()
        self.opened = OpenTables(Path(self.mktemp()))
        self.version = PostfixVersion(3, 9)
        self.service = MemoryService(self.version.greeting(Greeting.TABLE_PROXY), self.answer)
        self.kept: dict[str, str] = {}
        self.status = 0

    def answer(self, request: AttributeList) -> bytes:
        """Do as asked."""
        what = dict(zip(request.names, read_texts(request.values), strict=True))
        key, status = what[b"key"], self.status
        flags = [("flags", 0)] if self.version.tables_have_instance_flags else []
        if what[b"request"] == "lookup":
            found = self.kept.get(key)
            return encode([("status", 1 if found is None else 0), *flags, ("value", found or "")])
        if what[b"request"] == "update" and not status:
            self.kept[key] = what[b"value"]
        elif what[b"request"] == "delete" and not status and self.kept.pop(key, None) is None:
            status = 1
        return encode([("status", status), *flags])

    def table(self) -> WritableProxyTable:
        """A table."""
        request = TableRequest("proxy", "btree:/x", WRITABLE, self.opened.context, self.opened.tables.open)

        def connect() -> PersistentClient:
            return PersistentClient(SERVICE, self.service, self.version, self.clock)

        return WritableProxyTable(request, ProxyMap(connect, self.version), self.clock)

    def test_writing(self) -> None:
        """What is written is found; what is taken away is not, and may be taken away twice."""
        for version in (PostfixVersion(3, 9), PostfixVersion(3, 11)):
            self.version = version
            table = self.table()
            verifyObject(IWritableTable, table)
            self.successResultOf(table.update("k", "v"))
            self.assertEqual(self.successResultOf(table.lookup("k")), "v")
            self.successResultOf(table.delete("k"))
            self.successResultOf(table.delete("k"))
            self.assertIsNone(self.successResultOf(table.lookup("k")))
        wanted = [
            (b"request", b"update"),
            (b"table", b"btree:/x"),
            (b"flags", b"524672"),
            (b"key", b"k"),
            (b"value", b"v"),
        ]
        self.assertEqual(list(self.service.requests[0].pairs()), wanted)

    def test_refusals(self) -> None:
        """What may not be written says which parameter would permit it."""
        self.status = 4
        problem = self.failureResultOf(self.table().update("k", "v"), TableError).value.problem
        self.assertEqual(problem, 'proxymap service is not configured for table "btree:/x"')
        self.assertEqual(self.opened.lines, [f"warning: {problem}; see proxy_write_maps"])
        self.status = 2
        self.failureResultOf(self.table().delete("k"), TableError)
        self.assertEqual(len(self.opened.lines), 1)

    def test_silence(self) -> None:
        """Writing takes no longer than a lookup."""
        self.service.answer = lambda request: None
        written = self.table().update("k", "v")
        self.clock.advance(100)
        self.failureResultOf(written, TableError)

    def test_open(self) -> None:
        """The service has a name of its own in main.cf; each table is opened once, and closed with the others."""
        reactor = MemoryReactorClock()
        opened = OpenTables(Path("/queue"), reactor=reactor, parameters={"proxywrite_service_name": "w2"})
        table = opened.tables.open_writable("proxy:btree:/x")
        self.assertIs(opened.tables.open_writable("proxy:btree:/x"), table)
        table.update("k", "v").addErrback(lambda _: None)
        self.assertEqual(reactor.unixClients[0][0], "/queue/private/w2")
        opened.tables.close()
