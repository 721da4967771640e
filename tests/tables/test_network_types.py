"""tcp, socketmap and memcache tables."""

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.table_server import HANG_UP, SILENCE, MemoryEndpoint, SocketmapServer, TcpTableServer, netstring
from tests.tables.opened import LaterTable, OpenTables
from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.tables.memcache import MemcacheParameters, MemcacheTable
from twisted_mta.tables.network import NetworkTable
from twisted_mta.tables.opening import ADDRESSES, TableRequest
from twisted_mta.tables.socketmap import SocketmapTable
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.tcp import TcpTable

REFUSED = ConnectError(osError=111)


class NetworkCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A place for tables."""
        self.clock = Clock()
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        self.opened = OpenTables(directory)

    def request(self, kind: str, name: str) -> TableRequest:
        """What a table is made of."""
        return TableRequest(kind, name, ADDRESSES, self.opened.context, self.opened.tables.open)

    def problem(self, found: Deferred[str | None]) -> str:
        """What a lookup failed with."""
        failure = self.failureResultOf(found, TableError)
        return str(failure.value.problem)

    def assert_quiet(self, table: NetworkTable) -> None:
        """Closed, a table leaves nothing behind."""
        table.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TcpTests(NetworkCase):
    def setUp(self) -> None:
        """A server in memory."""
        super().setUp()
        self.server = TcpTableServer(
            {
                b"get a%20b": b"200 v%20w\n",
                b"get long": b"200 " + b"x" * 5000,
                b"get later": b"400 later\n",
                b"get odd": b"200\n",
                b"get silence": SILENCE,
                b"get end": HANG_UP,
            }
        )
        self.endpoint = MemoryEndpoint(self.server)
        self.table = TcpTable(self.request("tcp", "h:1"), self.endpoint, self.clock)

    def test_lookups(self) -> None:
        """Keys and values are encoded; a connection is kept for good."""
        verifyObject(ILookupTable, self.table)
        self.assertEqual(self.successResultOf(self.table.lookup("a b")), "v w")
        self.clock.advance(1000)
        self.assertIsNone(self.successResultOf(self.table.lookup("absent")))
        self.assertEqual(self.endpoint.connected, 1)
        self.assertEqual(self.opened.lines, [])
        self.assert_quiet(self.table)

    def test_errors_of_the_server(self) -> None:
        """What the server says is its problem is not told; nonsense is."""
        self.assertEqual(self.problem(self.table.lookup("later")), "the server has a problem")
        self.assertEqual(self.opened.lines, [])
        self.problem(self.table.lookup("odd"))
        self.assertEqual(self.opened.lines, ["warning: read TCP map reply from h:1: malformed reply: 200"])
        self.assertTrue(all(session.ended for session in self.server.sessions))

    def test_ten_tries(self) -> None:
        """Too long replies, ends of connections and refusals are tried again, a second apart, ten times."""
        for key, line in [("long", "text longer than 4096"), ("end", "unexpected EOF")]:
            self.opened.events.clear()
            found = self.table.lookup(key)
            self.clock.pump([1] * 8)
            self.assertNoResult(found)
            self.clock.advance(1)
            self.problem(found)
            self.assertEqual(self.opened.lines, [f"warning: read TCP map reply from h:1: {line}"] * 10)
        self.table.close()

    def test_server_comes_back(self) -> None:
        """A server that is not there is looked for again."""
        self.endpoint.refusal = REFUSED
        found = self.table.lookup("a b")
        self.clock.advance(1)
        self.endpoint.refusal = None
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(found), "v w")
        self.assertEqual(self.opened.lines, ["warning: connect to TCP map h:1: Connection refused"] * 2)

    def test_silence(self) -> None:
        """No lookup lasts longer than a hundred seconds."""
        found = self.table.lookup("silence")
        self.clock.advance(100)
        self.assertEqual(self.problem(found), "no reply within 100 seconds")
        self.assertEqual(self.opened.lines, ["warning: read TCP map reply from h:1: no reply within 100 seconds"])
        self.assert_quiet(self.table)

    def test_names(self) -> None:
        """A name that is none is an error of the table."""
        opened = OpenTables(self.opened.directory, reactor=MemoryReactorClock())
        for spec in ["tcp:foo", "tcp:h:99999", "tcp:h:no-such-service", "tcp:[::1:1"]:
            self.assertIn(spec.removeprefix("tcp:"), opened.problem(spec))
        self.assertIn("need the network", self.opened.problem("tcp:h:1"))
        self.assertTrue(opened.tables.open("tcp:[::1]:25").by_pattern)


class SocketmapTests(NetworkCase):
    def setUp(self) -> None:
        """A server in memory."""
        super().setUp()
        self.server = SocketmapServer(
            {
                b"m Key": netstring(b"OK a b"),
                b"m empty": netstring(b"OK "),
                b"m bare": netstring(b"OK"),
                b"m temp": netstring(b"TEMP full"),
                b"m perm": netstring(b"PERM"),
                b"m odd": netstring(b"ok x"),
                b"m huge": b"1000000000:" + b"x" * 100_000,
                b"m silence": SILENCE,
            }
        )
        self.endpoint = MemoryEndpoint(self.server)
        self.table = SocketmapTable(self.request("socketmap", "inet:h:1:m"), self.endpoint, "h:1", "m", self.clock)

    def test_lookups(self) -> None:
        """Values, blanks and all; ``OK`` without a blank is no value."""
        verifyObject(ILookupTable, self.table)
        wanted = {"Key": "a b", "empty": "", "bare": None, "absent": None}
        self.assertEqual({key: self.successResultOf(self.table.lookup(key)) for key in wanted}, wanted)
        self.assertEqual((self.endpoint.connected, self.opened.lines), (1, []))
        self.assert_quiet(self.table)

    def test_errors(self) -> None:
        """Errors of the server, with and without a reason."""
        for key, text in [("temp", "temporary error: full"), ("perm", "permanent error"), ("odd", "unknown error: x")]:
            self.problem(self.table.lookup(key))
            self.assertEqual(self.opened.lines[-1], f"warning: socketmap:inet:h:1:m socketmap server {text}")

    def test_a_gigabyte(self) -> None:
        """A reply that is announced as too long ends the connection at once."""
        self.assertEqual(self.problem(self.table.lookup("huge")), "input exceeds size limit")
        self.assertTrue(self.server.sessions[0].ended)
        line = "warning: table socketmap:inet:h:1:m lookup error: input exceeds size limit"
        self.assertEqual(self.opened.lines, [line])

    def test_refused(self) -> None:
        """A server that is not there is told, and that the lookup failed."""
        self.endpoint.refusal = REFUSED
        self.problem(self.table.lookup("Key"))
        lines = ["connect to h:1: Connection refused", "table socketmap:inet:h:1:m lookup error: Connection refused"]
        self.assertEqual(self.opened.lines, [f"warning: {line}" for line in lines])

    def test_silence(self) -> None:
        """No lookup lasts longer than a hundred seconds."""
        found = self.table.lookup("silence")
        self.clock.advance(100)
        self.problem(found)
        self.assert_quiet(self.table)

    def test_names(self) -> None:
        """A malformed name makes the table unusable, and the configuration if the kind of the socket is not known."""
        opened = OpenTables(self.opened.directory, reactor=MemoryReactorClock())
        for name, problem in [
            ("nothing", "socketmap requires server:socketmap argument"),
            ("inet:h:m", 'need host:port instead of "h"'),
            *(
                (f"inet:h:{port}:m", f"host or service h:{port} not found: Servname not supported for ai_socktype")
                for port in ("none", "65536", "\udcff", "no\0ne")
            ),
        ]:
            self.assertEqual(opened.problem(f"socketmap:{name}"), problem)
        for name, problem in [
            ("foo:bar", 'need service transport:endpoint instead of "foo"'),
            ("foo:x:bar", "invalid transport name: foo in service: foo:x"),
        ]:
            with self.assertRaises(ConfigError) as caught:
                opened.tables.open(f"socketmap:{name}")
            self.assertEqual(caught.exception.text, problem)
        opened.tables.open("socketmap:unix:/path:m")


class MemcacheTests(NetworkCase):
    def setUp(self) -> None:
        """A table behind the server."""
        super().setUp()
        self.backup = LaterTable("later:x")
        self.server = TcpTableServer({b"get p:k\r": b"VALUE p:k 0 1\r\nv\r\nEND\r\n"})
        self.server.not_found = lambda: b"END\r\n"  # type: ignore[method-assign] # the server's own way to say so
        self.endpoint = MemoryEndpoint(self.server)

    def table(self, text: str = "", *, backup: bool = False) -> MemcacheTable:
        """A table with some parameters."""
        path = self.opened.write("m.cf", f"key_format = p:%s\n{'backup = later:x' if backup else ''}\n{text}")
        request = TableRequest(
            "memcache", str(path), ADDRESSES, self.opened.context, lambda spec, *, flags=ADDRESSES: self.backup
        )
        parameters = SourceParameters(request)
        self.addCleanup(parameters.close)
        own = MemcacheParameters.read(parameters)
        return MemcacheTable(request, parameters, own, self.endpoint, "h:1", self.clock)

    def test_address(self) -> None:
        """A malformed address makes the table unusable until its file is mended."""
        opened = OpenTables(self.opened.directory, reactor=MemoryReactorClock())
        path = self.opened.write("m.cf", "memcache = inet:h")
        self.assertEqual(opened.problem(f"memcache:{path}"), f'{path}: need host:port instead of "h"')
        self.assertEqual(opened.changed, "")
        self.opened.write("m.cf", "memcache = inet:h:1\n")
        self.assertEqual(opened.changed, f"memcache:{path}")

    def test_lookups(self) -> None:
        """What the server has; keys with blanks are not asked for."""
        table = self.table()
        verifyObject(ILookupTable, table)
        self.assertEqual(self.successResultOf(table.lookup("k")), "v")
        self.assertIsNone(self.successResultOf(table.lookup("absent")))
        self.assertIsNone(self.successResultOf(table.lookup("a b")))
        self.assertEqual(self.server.requests, [b"get p:k\r", b"get p:absent\r"])
        self.assert_quiet(table)

    def test_table_behind(self) -> None:
        """What the server does not have is asked of the table behind it, and stored."""
        table = self.table("ttl = 5\nflags = 3\n", backup=True)
        found = table.lookup("new")
        self.server.answers[b"set p:new 3 5 5\r"] = b""
        self.server.answers[b"value\r"] = b"STORED\r\n"
        self.backup.answer("new", "value")
        self.assertEqual(self.successResultOf(found), "value")
        self.assertEqual(self.server.requests[1:], [b"set p:new 3 5 5\r", b"value\r"])
        missing = table.lookup("absent")
        self.backup.answer("absent", None)
        self.assertIsNone(self.successResultOf(missing))
        failing = table.lookup("bad")
        self.backup.fail("bad")
        self.problem(failing)

    def test_server_gone(self) -> None:
        """Without the server, the table behind it is enough; without that there is an error."""
        self.endpoint.refusal = REFUSED
        found = self.table(backup=True).lookup("k")
        self.backup.answer("k", "value")
        self.assertEqual(self.successResultOf(found), "value")
        self.assertEqual(self.problem(self.table().lookup("k")), "Connection refused")
        self.assertEqual(self.opened.lines, ["warning: connect to h:1: Connection refused"] * 2)

    def test_errors(self) -> None:
        """A command that fails is tried again after a pause, and told in the end."""
        self.server.answers[b"get p:k\r"] = b"SERVER_ERROR out of memory\r\n"
        table = self.table()
        found = table.lookup("k")
        self.assertNoResult(found)
        self.clock.advance(1)
        self.problem(found)
        self.assertIn("unexpected memcache server reply: SERVER_ERROR out of memory", self.opened.lines[0])
        self.server.answers[b"get p:k\r"] = SILENCE
        found = table.lookup("k")
        self.clock.pump([2, 1, 2])
        self.problem(found)
        self.assertIn("I/O error", self.opened.lines[1])
        self.assert_quiet(table)

    def test_parameters(self) -> None:
        """Parameters that make no sense make the configuration unusable."""
        for text in ["ttl = 1m", "retry_pause = 0", "max_try = 0", "data_size_limit = 0", "key_format = %x"]:
            with self.assertRaises(ConfigError):
                self.table(text)
