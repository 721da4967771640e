"""Tables that are asked of real servers: what our service finds, and what postmap(1) finds there.

Each case starts its server once, asks both for the same keys, and compares values and warnings.
"""

import logging
import os
import shutil
import socket
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.interop.case import InteropCase, why_not
from tests.kit import namespace, refusing_servers
from tests.kit.database_servers import Mariadb, Memcached, Postgres, PrivateServer, Slapd, program
from tests.kit.mongo_server import MongoServer
from tests.kit.pki import shared_pki
from tests.kit.refusing_servers import RefusingServer
from tests.kit.table_server import HANG_UP, SocketmapServer, TcpTableServer, netstring
from twisted_mta.config.settings import load_settings
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Event, TableWarning
from twisted_mta.model.text import printable
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet
from twisted_mta.tables.threads import TableThreads

_numbers = count(1)
_threads = TableThreads(reactor)
_PSQL = (Postgres.program("psql"), "-h", "127.0.0.1", "-p", str(Postgres.port), "-Atc")


def needs_type(kind: str, package: str) -> str:
    """Why postmap(1) cannot be asked for a type; empty: it can."""
    if reason := why_not():
        return reason
    folder = Path("/usr/lib/postfix")
    return "" if (folder / f"postfix-{kind}.so").exists() else f"needs postfix-{kind}.so (Debian package {package})"


class TablesCase(TestCase):
    """A test with tables, and a configuration for postmap(1)."""

    timeout = 60
    skip = why_not() or None
    server_class: ClassVar[type[PrivateServer] | None] = None
    server: ClassVar[PrivateServer]
    settings: ClassVar[Mapping[str, str]] = {}

    def setUp(self) -> None:
        """Make a configuration, and a place for tables; start the server before the first test, it ends with the namespace."""
        if self.server_class is not None and "server" not in type(self).__dict__:
            server = self.server_class(namespace.WORK / f"server{next(_numbers)}")
            server.start()
            type(self).server = server
        self.directory = namespace.WORK / f"tables{next(_numbers)}"
        self.directory.mkdir()
        self.addCleanup(shutil.rmtree, self.directory)
        self.events: list[Event] = []
        self.configure(self.settings)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write main.cf, and forget all tables."""
        rows = {"compatibility_level": "3.6", "queue_directory": str(self.directory), **settings}
        lines = "".join(f"{name} = {value}\n" for name, value in rows.items())
        self.write(lines, "main.cf")
        self.write("", "master.cf")
        loaded = load_settings(self.directory)
        self.context = TableContext(
            expanded=loaded.expanded,
            config_directory=self.directory,
            queue_directory=self.directory,
            emit=self.events.append,
            smtputf8=loaded.smtputf8_enable,
            reactor=reactor,
            in_thread=_threads,
        )
        self.tables = TableSet(self.context)
        self.addCleanup(self.tables.close)

    def write(self, text: str, name: str = "table.cf") -> str:
        """Write a file; gives its path."""
        path = self.directory / name
        path.write_text(text)
        # Postfix would read a file again and again that is not older than a second.
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if hasattr(self, "tables"):
            self.tables.close()
        return str(path)

    async def ours(self, spec: str, keys: Sequence[str]) -> dict[str, str]:
        """What our service finds for keys; all are asked for at once."""
        table = self.tables.open(spec)
        found = [table.lookup(key) for key in keys]
        values = [await each if isinstance(each, Deferred) else each for each in found]
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def postmap(self, spec: str, keys: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """Ask the real thing for keys; gives what it finds, and what it says."""
        arguments = ["-c", str(self.directory), "-q", "-", spec]
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        output, errors, _ = await getProcessOutputAndValue(
            program("postmap"), arguments, env=environment, stdinBytes="".join(f"{key}\n" for key in keys).encode()
        )
        pairs = (line.split("\t", 1) for line in output.decode().splitlines())
        return dict(pairs), [_text(line) for line in errors.decode().splitlines()]

    @property
    def warnings(self) -> list[str]:
        """What our service has said, as it stands in a log."""
        return [printable(event.text) for event in self.events if isinstance(event, TableWarning)]

    async def compare(self, spec: str, keys: Sequence[str], *, finds: int) -> None:
        """Both must find the same, and say the same.

        Args:
            spec: ``type:name``.
            keys: what to look up.
            finds: for how many of these there is a value.
        """
        theirs, said = await self.postmap(spec, keys)
        self.events.clear()
        self.assertEqual(await self.ours(spec, keys), theirs, said)
        self.assertEqual(len(theirs), finds, f"{spec}: {theirs}")
        self.assertEqual(sorted(set(self.warnings)), sorted(set(said)))

    async def compare_failure(self, spec: str, key: str = "key") -> list[str]:
        """Both must fail, with the same warnings; gives these."""
        theirs, said = await self.postmap(spec, [key])
        self.assertEqual(theirs, {})
        self.assertIn("query error", said[-1])
        self.events.clear()
        with self.assertRaises(TableError):
            await self.ours(spec, [key])
        self.assertEqual(sorted(set(self.warnings)), sorted(set(said[:-1])))
        return self.warnings


def _text(line: str) -> str:
    """A line of postmap(1) without what stands in front of its text."""
    return line.removeprefix("postmap: ").removeprefix("warning: ").removeprefix("error: ")


class SqliteTests(TablesCase):
    skip = needs_type("sqlite", "postfix-sqlite") or None

    def database(self, parameters: str) -> str:
        """A table with some parameters."""
        path = self.directory / "data"
        if not path.exists():
            connection = sqlite3.connect(path)
            connection.executescript(
                "create table a (k text, v text, w text);"
                "insert into a values ('one', '1', 'x'), ('two', '2', 'x'), ('two', '3', 'x'), ('none', null, 'x'),"
                "('empty', '', 'x'), ('it''s', 'quoted', 'x'), ('user@sub.d.example', 'to@e.example', 'x'),"
                "('strasse', 'street', 'x'), ('@d.example', 'all', 'x'), ('%s', 'percent', 'x');"
            )
            connection.close()
        return "sqlite:" + self.write(f"dbpath = {path}\n{parameters}")

    async def test_values(self) -> None:
        """Keys are folded and quoted, several rows joined, NULL and empty values left out."""
        spec = self.database("query = select v, w from a where k = '%s'\n")
        keys = ["one", "TWO", "none", "empty", "it's", "absent", "Straße", "%s", "user@sub.D.example", "x' or '1'='1"]
        await self.compare(spec, keys, finds=6)

    async def test_parts_of_keys(self) -> None:
        """Letters stand for parts of the key; where one is missing, nothing is asked."""
        keys = ["user@sub.d.example", "@d.example", "user", "a@b@d.example", "u@", "u@x..y.", "@"]
        for query, finds in [
            ("%s|%S", 7),
            ("%u|%U", 5),
            ("%d|%D", 4),
            ("%1|%2", 4),
            ("%3", 1),
            ("%9", 0),
            ("a%%b", 7),
        ]:
            await self.compare(self.database(f"query = select '{query}'\n"), keys, finds=finds)

    async def test_result_format(self) -> None:
        """Small letters are of the value, others of the key."""
        keys = ["user@sub.d.example", "one", "two", "@d.example"]
        for result_format, finds in [
            ("<%s>", 4),
            ("%u", 4),
            ("%d", 1),
            ("%U.%s", 3),
            ("%D", 2),
            ("%3", 1),
            ("fixed", 4),
        ]:
            spec = self.database(f"query = select v from a where k = '%s'\nresult_format = {result_format}\n")
            await self.compare(spec, keys, finds=finds)

    async def test_domains(self) -> None:
        """With a list of domains, only whole addresses in these are asked for."""
        self.write("other.example\n\n", "domains")
        keys = [
            "u@d.example",
            "u@D.EXAMPLE",
            "u@sub.d.example",
            "@d.example",
            "d.example",
            "u@other.example",
            "u@t.example",
        ]
        domains = f"!no.example, d.example {self.directory}/domains inline:{{t.example=x}}"
        await self.compare(self.database(f"query = select 'x'\ndomain = {domains}\n"), keys, finds=4)

    async def test_domain_failures(self) -> None:
        """A list that cannot be searched is an error; it is told with the file that has it."""
        self.write("fail:y\n", "domains")
        for domains in ("fail:x", f"no.example, {self.directory}/domains"):
            spec = self.database(f"query = select 'x'\ndomain = {domains}\n")
            [told] = await self.compare_failure(spec, "u@d.example")
            self.assertTrue(told.startswith(f"{self.directory}/table.cf: fail:"), told)

    async def test_former_parameters(self) -> None:
        """A query can be made of its parts."""
        spec = self.database("table = a\nselect_field = v\nwhere_field = k\nadditional_conditions = and w = 'x'\n")
        await self.compare(spec, ["one", "it's", "absent"], finds=2)

    async def test_too_many(self) -> None:
        """More results than permitted are an error."""
        spec = self.database("query = select v from a where k = '%s'\nexpansion_limit = 1\n")
        await self.compare(spec, ["one"], finds=1)
        await self.compare_failure(spec, "two")

    async def test_main_cf(self) -> None:
        """Parameters can stand in main.cf."""
        self.database("")
        self.configure({"t_dbpath": "$queue_directory/data", "t_query": "select v from a where k = '%s'"})
        await self.compare("sqlite:t", ["one", "absent"], finds=1)

    async def test_large_values(self) -> None:
        """A value may be large, but not fill the memory."""
        await self.compare(self.database("query = select replace(hex(zeroblob(500000)), '0', 'x')\n"), ["k"], finds=1)
        with self.assertRaises(TableError):
            await self.ours(self.database("query = select hex(zeroblob(50000000))\n"), ["k"])
        self.assertIn("string or blob too big", self.warnings[-1])

    async def test_numbers(self) -> None:
        """Numbers look as SQLite shows them."""
        query = "select 1.5 union all select 1e20 union all select 7 union all select -0.0 union all select 1e-7"
        await self.compare(self.database(f"query = {query}\n"), ["k"], finds=1)


class PostgresTests(TablesCase):
    class Server(Postgres):
        """Some keys."""

        sql = (
            "create table a (k text, v text, w text);"
            "insert into a values ('one', '1', 'x'), ('two', '2', 'y'), ('two', null, ''),"
            "('it''s', 'q', 'x'), ('back\\slash', 'b', 'x'), ('strasse', 'street', 'ü');"
            "create function f(t text) returns text as $$ select 'F' || t $$ language sql;"
        )

    server_class = Server
    skip = needs_type("pgsql", "postfix-pgsql") or Postgres.why_not() or None

    def database(self, parameters: str, hosts: str = "inet:127.0.0.1:25432") -> str:
        """A table with some parameters."""
        return "pgsql:" + self.write(f"hosts = {hosts}\nuser = postgres\ndbname = postgres\n{parameters}")

    async def test_values(self) -> None:
        """All columns of all rows; NULL is empty."""
        spec = self.database("query = select v, w from a where k = '%s'\n")
        keys = ["one", "TWO", "it's", "back\\slash", "absent", "x' or '1'='1", "x\\' or 1=1 --"]
        await self.compare(spec, keys, finds=4)
        # Postfix 3.7 speaks LATIN1 with the server, later versions UTF-8.
        self.assertEqual(await self.ours(spec, ["Straße"]), {"Straße": "street,ü"})

    async def test_forms_of_queries(self) -> None:
        """A function, parts of a query, several statements, one without a result."""
        await self.compare(self.database("select_function = f\n"), ["k"], finds=1)
        await self.compare(self.database("table = a\nselect_field = v\nwhere_field = k\n"), ["one", "k"], finds=1)
        await self.compare(self.database("query = select 1; select 2\n"), ["k"], finds=1)
        await self.compare(self.database("query = update a set v = v where k = 'absent'\n"), ["k"], finds=0)

    async def test_servers(self) -> None:
        """Sockets, addresses and URIs."""
        query = "query = select v from a where k = '%s'\n"
        await self.compare(self.database(query, "postgresql://postgres@127.0.0.1:25432/postgres"), ["one"], finds=1)
        local = f"postgresql:///postgres?host={self.server.directory}&port=25432&user=postgres"
        await self.compare(self.database(query, local), ["one"], finds=1)

    async def test_failures(self) -> None:
        """What goes wrong is told as postmap(1) tells it."""
        await self.compare_failure(self.database("query = select nope from a\n"))
        await self.compare_failure(
            self.database("query = select v, w from a where k = '%s'\nexpansion_limit = 1\n"), "two"
        )
        await self.compare_failure(self.database("query = select 1\n", "unix:/absent 127.0.0.1:1"))

    async def test_names(self) -> None:
        """Names of servers are looked up, and all their addresses tried; lists in URIs, too."""
        query = "query = select v from a where k = '%s'\n"
        await self.compare(self.database(query, "localhost:25432"), ["one"], finds=1)
        several = "postgresql:///postgres?host=127.0.0.1%2Clocalhost&port=1%2C25432&user=postgres"
        for servers in (several, f"{several}&target_session_attrs=prefer-standby"):
            await self.compare(self.database(query, servers), ["one"], finds=1)
        for hosts in (
            "none.invalid",
            "localhost:1",
            "postgresql:///x?host=localhost%2C/absent&port=1%2C2",
            "postgresql://x?bogus=1",
        ):
            await self.compare_failure(self.database(query, hosts))

    async def test_tls(self) -> None:
        """TLS as URIs want it: servers verified or not, certificates of clients."""
        client = shared_pki().issue("client", names=()).write(self.directory, "client")
        Path(client.key).chmod(0o600)
        tells = "query = select 1 from pg_stat_ssl where pid = pg_backend_pid() and ssl\n"
        verify = f"sslmode=verify-full&sslrootcert={self.server.authority}"
        certificate = f"sslcert={client.chain}&sslkey={client.key}"
        for place, settings, finds in [
            ("postgres@127.0.0.1", verify, 1),
            ("postgres@127.0.0.1", "sslmode=disable", 0),
            ("tls@127.0.0.1", "", 1),
            ("tls@127.0.0.2", verify.replace("full", "ca"), 1),
            ("cert@127.0.0.1", f"{verify}&{certificate}", 1),
        ]:
            spec = self.database(tells, f"postgresql://{place}:25432/postgres?{settings}")
            await self.compare(spec, ["k"], finds=finds)
        await self.compare(self.database(tells), ["k"], finds=1)

    async def test_tls_failures(self) -> None:
        """Whom one does not trust one does not ask."""
        authority = self.server.authority
        for place, settings in [
            ("tls@127.0.0.1", f"sslmode=verify-full&sslrootcert={authority.replace('authority', 'other')}"),
            ("tls@127.0.0.2", f"sslmode=verify-full&sslrootcert={authority}"),
            ("tls@127.0.0.1", "sslmode=disable"),
            ("cert@127.0.0.1", "sslmode=require"),
        ]:
            spec = self.database("query = select 1\n", f"postgresql://{place}:25432/postgres?{settings}")
            await self.compare_failure(spec)

    async def test_large_values(self) -> None:
        """A value may be large, but not fill the memory."""
        await self.compare(self.database("query = select repeat('x', 1000000)\n"), ["k"], finds=1)
        for size in (2_000_000, 200_000_000):
            with self.assertRaises(TableError):
                await self.ours(self.database(f"query = select repeat('x', {size})\n"), ["k"])
            self.assertIn("is longer than", self.warnings[-1])

    async def test_large_keys(self) -> None:
        """A key may be larger than what a socket takes at a time."""
        spec = self.database("query = select length('%s')\n")
        self.assertEqual(await self.ours(spec, ["k" * 5_000_000]), {"k" * 5_000_000: "5000000"})

    async def test_server_ends_connections(self) -> None:
        """A connection that has died is replaced at once."""
        table = self.tables.open(self.database("query = select v from a where k = '%s'\n"))
        self.assertEqual(await _value(table.lookup("one")), "1")
        query = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' and pid <> pg_backend_pid()"
        self.server.run(*_PSQL, query)
        self.assertEqual(await _value(table.lookup("one")), "1")
        self.assertEqual(len(self.warnings), 1)
        self.assertIn("pgsql query failed", self.warnings[0])

    async def test_slow_queries(self) -> None:
        """A lookup that is cancelled ends its connection."""
        table = self.tables.open(self.database("query = select pg_sleep(50), '%s'\n"))
        slow = table.lookup("k")
        assert isinstance(slow, Deferred)
        slow.addErrback(lambda failure: None)
        await _until_running(self)
        slow.cancel()
        await _until_running(self, running=False)


async def _value(found: str | Deferred[str | None] | None) -> str | None:
    return await found if isinstance(found, Deferred) else found


async def _until_running(case: PostgresTests, *, running: bool = True) -> None:
    """Wait until a query sleeps in the server, or none does; the time limit of the test ends that."""
    query = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
    while (await deferToThread(case.server.run, *_PSQL, query)).strip() != str(int(running)):
        pass


class MariadbTests(TablesCase):
    class Server(Mariadb):
        """Some keys."""

        sql = (
            "create table a (k varchar(99) collate utf8mb4_bin, v varchar(99), w varchar(99)) character set utf8mb4;"
            "insert into a values ('one', '1', 'x'), ('two', '2', 'y'), ('two', '', null), ('it''s', 'q', 'x'),"
            "('back\\\\slash', 'b', 'x'), ('strasse', 'street', 'ü');\n"
            "delimiter //\n"
            "create procedure p0() begin declare z int; end//\n"
            "create procedure p1() begin select 'x', 2.5, null; end//\n"
            "create procedure p2() begin select 'x'; select 'y'; end//\n"
        )

    server_class = Server
    skip = needs_type("mysql", "postfix-mysql") or Mariadb.why_not() or None

    def database(self, parameters: str, hosts: str = "127.0.0.1:23306", password: str = "p") -> str:
        """A table with some parameters."""
        return "mysql:" + self.write(f"hosts = {hosts}\nuser = u\npassword = {password}\ndbname = x\n{parameters}")

    async def test_values(self) -> None:
        """All columns of all rows; NULL is left out."""
        spec = self.database("query = select v, w from a where k = '%s'\ncharset = utf8mb4\noption_group =\n")
        keys = ["one", "TWO", "it's", "back\\slash", "absent", "x' or '1'='1", "x\\' or 1=1 -- "]
        await self.compare(spec, keys, finds=4)
        # Postfix 3.7 does not set the character set, later versions do.
        self.assertEqual(await self.ours(spec, ["Straße"]), {"Straße": "street,ü"})

    async def test_procedures(self) -> None:
        """Procedures may have one result; none where that is permitted."""
        await self.compare(self.database("query = call p1()\n"), ["k"], finds=1)
        await self.compare(self.database("query = call p0()\nrequire_result_set = no\n"), ["k"], finds=0)
        await self.compare_failure(self.database("query = call p0()\n"))
        await self.compare_failure(self.database("query = call p2()\n"))

    async def test_servers(self) -> None:
        """Sockets are tried before addresses."""
        assert isinstance(self.server, Mariadb)
        spec = self.database("query = select v from a where k = '%s'\n", f"127.0.0.1:1 unix:{self.server.socket}")
        await self.compare(spec, ["one"], finds=1)

    async def test_failures(self) -> None:
        """What goes wrong is told as postmap(1) tells it."""
        await self.compare_failure(self.database("query = select nope from a\n"))
        await self.compare_failure(self.database("query = select 1; select 2\n"))
        await self.compare_failure(
            self.database("query = select v, w from a where k = '%s'\nexpansion_limit = 1\n"), "one"
        )
        await self.compare_failure(self.database("query = select 1\n", password="wrong"))

    def secure_table(self, parameters: str, host: str = "127.0.0.1", user: str = "tls") -> str:
        """A table that tells whether it was asked by TLS."""
        tells = "select 1 from information_schema.session_status where variable_name = 'Ssl_cipher' and variable_value <> ''"
        group = "" if "option_group" in parameters else "option_group =\n"
        text = f"hosts = {host}:23306\nuser = {user}\npassword = p\ndbname = x\nquery = {tells}\n"
        return "mysql:" + self.write(f"{text}{group}{parameters}")

    async def test_tls(self) -> None:
        """Servers verified or not, with names or without; certificates of clients."""
        trusted = f"tls_CAfile = {self.server.authority}\n"
        client = shared_pki().issue("client", names=()).write(self.directory, "client")
        certificate = f"tls_cert_file = {client.chain}\ntls_key_file = {client.key}\n"
        for parameters, host, user in [
            (trusted, "127.0.0.1", "u"),
            (f"{trusted}tls_verify_cert = yes\n", "127.0.0.1", "tls"),
            (trusted, "127.0.0.2", "tls"),
            ("tls_ciphers = HIGH\n", "127.0.0.1", "tls"),
            (f"{trusted}{certificate}", "127.0.0.1", "cert"),
            (certificate, "127.0.0.1", "cert"),
        ]:
            await self.compare(self.secure_table(parameters, host, user), ["k"], finds=1)
        await self.compare(self.secure_table("", "127.0.0.1", "u"), ["k"], finds=0)

    async def test_tls_failures(self) -> None:
        """Whom one does not trust one does not ask."""
        other = self.server.directory / "other.pem"
        trusted = f"tls_CAfile = {self.server.authority}\n"
        for parameters, host, user in [
            (f"tls_CAfile = {other}\n", "127.0.0.1", "tls"),
            (f"{trusted}tls_verify_cert = yes\n", "127.0.0.2", "tls"),
            ("tls_verify_cert = yes\n", "127.0.0.1", "u"),
            (trusted, "127.0.0.1", "cert"),
            ("", "127.0.0.1", "tls"),
            (f"{trusted}tls_ciphers = bogus\n", "127.0.0.1", "tls"),
            ("tls_CAfile = /absent\n", "127.0.0.1", "tls"),
            ("tls_cert_file = /absent\ntls_key_file = /absent\n", "127.0.0.1", "tls"),
            (f"tls_CApath = {self.server.directory}\n", "127.0.0.1", "tls"),
        ]:
            await self.compare_failure(self.secure_table(parameters, host, user))

    async def test_tls_of_options_file(self) -> None:
        """TLS as an options file wants it."""
        verify = f"[client]\nssl-ca = {self.server.authority}\nssl-verify-server-cert = 1\n"
        options = f"option_file = {self.write(verify, 'my.cnf')}\noption_group = client\n"
        await self.compare(self.secure_table(options), ["k"], finds=1)
        for verify in ("", "tls_verify_cert = no\n"):
            await self.compare_failure(self.secure_table(f"{options}{verify}", "127.0.0.2"))

    async def test_large_values(self) -> None:
        """A value may be large, but not fill the memory."""
        spec = self.database("query = select repeat('x', 1000000)\n")
        await self.compare(spec, ["k"], finds=1)
        for size in (2_000_000, 50_000_000):
            with self.assertRaises(TableError):
                await self.ours(self.database(f"query = select repeat('x', {size})\n"), ["k"])
            self.assertIn("is longer than", self.warnings[-1])

    async def test_another_way_to_escape(self) -> None:
        """A server that takes a backslash for itself gets its keys right, too."""
        assert isinstance(self.server, Mariadb)
        client = program("mariadb")
        set_mode = [client, "--no-defaults", "-S", str(self.server.socket), "-uroot", "-e"]
        self.server.run(*set_mode, "set global sql_mode = 'NO_BACKSLASH_ESCAPES'", as_root=True)
        self.addCleanup(lambda: self.server.run(*set_mode, "set global sql_mode = ''", as_root=True) and None)
        spec = self.database("query = select v from a where k = '%s'\n")
        self.assertEqual(len(await self.ours(spec, ["it's", "back\\slash", "x\\' or 1=1 -- "])), 2)


class MemcachedTests(TablesCase):
    server_class = Memcached
    skip = why_not() or Memcached.why_not() or None

    def table(self, parameters: str, server: str = "inet:127.0.0.1:21211") -> str:
        """A table with some parameters."""
        return "memcache:" + self.write(f"memcache = {server}\n{parameters}")

    async def test_cache(self) -> None:
        """What the table behind has is stored, and found by postmap(1), and the other way round."""
        self.write("k\tbehind\nu@d.example  also\n", "behind")
        with_backup = "key_format = p1:%s\nbackup = texthash:$DIR/behind\n".replace("$DIR", str(self.directory))
        found = await self.ours(self.table(with_backup), ["K", "u@d.example", "absent", '"a b"'])
        self.assertEqual(found, {"K": "behind", "u@d.example": "also"})
        await self.compare(self.table("key_format = p1:%s\n"), ["k", "K", "u@D.example", "absent", "a b"], finds=3)
        theirs, _ = await self.postmap(self.table(with_backup.replace("p1", "p2")), ["k"])
        self.assertEqual(theirs, {"k": "behind"})
        self.assertEqual(await self.ours(self.table("key_format = p2:%s\n"), ["k"]), {"k": "behind"})

    async def test_keys(self) -> None:
        """Keys that cannot be made, or have blanks, are not asked for; nor is the table behind."""
        self.write("k x\nu@d.example x\n", "behind")
        backup = f"backup = texthash:{self.directory}/behind\n"
        await self.compare(self.table(f"{backup}key_format = %d\n"), ["k", "u@d.example"], finds=1)
        await self.compare(self.table(f"{backup}domain = e.example\n"), ["k", "u@d.example"], finds=0)

    async def test_failures(self) -> None:
        """A server that is not there is an error, but not with a table behind it."""
        await self.compare_failure(self.table("", "inet:127.0.0.1:1"))
        await self.compare_failure(self.table("", "unix:/absent"))
        await self.compare_failure(self.table("retry_pause = 1\n"), "k" * 300)
        self.write("k x\n", "behind")
        backup = f"backup = texthash:{self.directory}/behind\n"
        await self.compare(self.table(backup, "inet:127.0.0.1:1"), ["k", "absent"], finds=1)


class SlapdTests(TablesCase):
    class Server(Slapd):
        """Some people."""

        ldif = """\
dn: dc=example
objectClass: dcObject
objectClass: organization
o: x
dc: example

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: uid=a,ou=people,dc=example
objectClass: inetOrgPerson
uid: a
cn: A
sn: A
mail: a@example
mail: a2@example
userPassword: secret
employeeNumber: 7

dn: uid=b,ou=people,dc=example
objectClass: inetOrgPerson
uid: b
cn: B*(x)
sn: B
mail: b@example
description: final

dn: cn=group,ou=people,dc=example
objectClass: groupOfNames
cn: group
member: uid=a,ou=people,dc=example
member: uid=b,ou=people,dc=example
member: uid=gone,ou=people,dc=example
description: groupdesc

dn: cn=urls,ou=people,dc=example
objectClass: groupOfNames
objectClass: labeledURIObject
cn: urls
member: uid=a,ou=people,dc=example
labeledURI: ldap:///ou=people,dc=example?mail?one?(uid=b)

dn: cn=loop,ou=people,dc=example
objectClass: groupOfNames
cn: loop
member: cn=loop,ou=people,dc=example
"""

    server_class = Server
    skip = needs_type("ldap", "postfix-ldap") or Slapd.why_not() or None

    def directory_table(self, parameters: str, server: str = "server_host = 127.0.0.1\nserver_port = 23389\n") -> str:
        """A table with some parameters."""
        return "ldap:" + self.write(f"{server}{parameters}")

    async def test_values(self) -> None:
        """Values come in the server's order; keys are quoted."""
        base = "search_base = dc=example\nversion = 3\n"
        by_uid = f"{base}query_filter = (uid=%s)\n"
        keys = ["a", "B", "*", "a)(uid=*", "absent"]
        await self.compare(self.directory_table(f"{by_uid}result_attribute = MAIL, cn\n"), keys, finds=2)
        await self.compare(
            self.directory_table(f"{by_uid}result_attribute = mail\nresult_format = %u:%S\n"), keys, finds=2
        )
        await self.compare(self.directory_table(f"{by_uid}result_attribute = mail\nscope = one\n"), keys, finds=0)
        by_name = f"{base}query_filter = (cn=%s)\nresult_attribute = mail\n"
        await self.compare(self.directory_table(by_name), ["B*(x)", "b*", "A"], finds=2)

    async def test_search_base(self) -> None:
        """The key can be a part of the base; a base that is not there is an error only if it is fixed."""
        rest = "query_filter = (uid=a)\nresult_attribute = mail\n"
        await self.compare(
            self.directory_table(f"search_base = ou=%s,dc=example\n{rest}"), ["people", "a,b", "x"], finds=1
        )
        await self.compare_failure(self.directory_table(f"search_base = ou=absent,dc=example\n{rest}"))

    async def test_references(self) -> None:
        """Names and URLs are followed, as far as permitted."""
        base = "search_base = dc=example\nversion = 3\nquery_filter = (cn=%s)\n"
        members = "special_result_attribute = member\n"
        keys = ["group", "urls", "A"]
        for parameters in [
            "result_attribute = mail\n",
            "result_attribute =\nleaf_result_attribute = mail, description\n",
            "result_attribute = description\nleaf_result_attribute = mail\n",
            "result_attribute = mail\nterminal_result_attribute = description\n",
            "result_attribute = mail\nspecial_result_attribute = labeledURI, member\n",
        ]:
            special = "" if "special" in parameters else members
            await self.compare(self.directory_table(base + special + parameters), keys, finds=3)
        base += members
        for parameters in ["", "recursion_limit = 3\n"]:
            await self.compare_failure(self.directory_table(f"{base}result_attribute = mail\n{parameters}"), "loop")
        await self.compare_failure(
            self.directory_table(f"{base}result_attribute = mail\nexpansion_limit = 1\n"), "group"
        )

    async def test_servers(self) -> None:
        """Several servers, local sockets, protocol versions, with and without a name."""
        rest = "search_base = dc=example\nquery_filter = (uid=%s)\nresult_attribute = mail\n"
        local = f"ldapi://{str(self.server.directory / 'socket').replace('/', '%2F')}"
        for server in [
            "server_host = ldap://127.0.0.1:1 127.0.0.1:23389\n",
            f"server_host = {local}\n",
            "server_host = ldap://127.0.0.1:23389\nbind = no\nversion = 2\n",
            "server_host = ldap://127.0.0.1:23389\nversion = 3\nbind_dn = cn=admin,dc=example\nbind_pw = secret\n",
        ]:
            await self.compare(self.directory_table(rest, server), ["a", "absent"], finds=1)

    async def test_failures(self) -> None:
        """What goes wrong is told as postmap(1) tells it."""
        rest = "search_base = dc=example\nversion = 3\nresult_attribute = mail\n"
        by_uid = f"{rest}query_filter = (uid=%s)\n"
        await self.compare_failure(self.directory_table(f"{rest}query_filter = (uid=%s\n"))
        await self.compare_failure(self.directory_table(f"{by_uid}bind_dn = cn=admin,dc=example\nbind_pw = wrong\n"))
        await self.compare_failure(self.directory_table(by_uid, "server_host = ldap://127.0.0.1:1\n"))
        await self.compare_failure(self.directory_table(f"{rest}query_filter = (uid=*)\nsize_limit = 1\n"))
        odd = "scope = foo\nversion = 5\nquery_filter = x\ncache = yes\ndereference = 9\n"
        await self.compare_failure(self.directory_table(odd, "server_host = 127.0.0.1\nserver_port = 1\n"))

    def secure_table(self, parameters: str, server: str = "ldap://127.0.0.1:23389", verify: str = "authority") -> str:
        """A table that asks for what only users see; TLS as the parameters say."""
        authority = self.server.directory / f"{verify}.pem"
        tls = f"tls_require_cert = yes\ntls_ca_cert_file = {authority}\n" if verify else ""
        query = "search_base = dc=example\nquery_filter = (uid=%s)\nresult_attribute = employeeNumber, cn\n"
        return self.directory_table(f"{query}{tls}{parameters}", f"server_host = {server}\n")

    async def test_tls(self) -> None:
        """STARTTLS and ldaps:, with servers verified or not."""
        for arguments in [
            ("start_tls = yes\n",),
            ("start_tls = yes\n", "ldap://localhost:23389", ""),
            ("", "ldaps://127.0.0.1:23636"),
            ("", "ldaps://localhost:23636", ""),
            ("tls_cipher_suite = NORMAL:-VERS-ALL:+VERS-TLS1.2\n", "ldaps://127.0.0.1:23636"),
            ("start_tls = yes\nversion = 2\n",),
        ]:
            await self.compare(self.secure_table(*arguments), ["a", "absent"], finds=1)

    async def test_tls_failures(self) -> None:
        """Whom one does not trust one does not ask; nor whose name is another."""
        for arguments in [
            ("start_tls = yes\n", "ldap://127.0.0.1:23389", "other"),
            ("", "ldaps://127.0.0.1:23636", "other"),
            ("start_tls = yes\n", "ldap://localhost:23389"),
            ("", "ldaps://localhost:23636"),
            ("start_tls = yes\n", "ldap://127.0.0.1:23389", "absent"),
            ("tls_cipher_suite = bogus\n", "ldaps://127.0.0.1:23636"),
            ("", "ldaps://127.0.0.1:23389"),
        ]:
            await self.compare_failure(self.secure_table(*arguments), "a")

    async def test_sasl(self) -> None:
        """Mechanisms with passwords, with certificates, and with those of the system; with a security layer, too."""
        password = "version = 3\nbind = sasl\nbind_dn = a\nbind_pw = secret\n"
        client = shared_pki().issue("a", names=()).write(self.directory, "client")
        certificate = f"tls_cert = {client.chain}\ntls_key = {client.key}\n"
        local = f"ldapi://{str(self.server.directory / 'socket').replace('/', '%2F')}"
        for arguments in [
            (f"{password}sasl_mechs = DIGEST-MD5\n",),
            (f"{password}sasl_mechs = DIGEST-MD5\nsasl_minssf = 56\n",),
            (f"{password}sasl_mechs = SCRAM-SHA-256\n",),
            (f"{password}sasl_mechs = CRAM-MD5\nsasl_realm = example\n",),
            (f"{password}sasl_mechs = PLAIN\nstart_tls = yes\nsasl_authz_id = u:a\n",),
            (f"version = 3\nbind = sasl\nsasl_mechs = EXTERNAL\nstart_tls = yes\n{certificate}",),
            ("version = 3\nbind = sasl\nsasl_mechs = EXTERNAL\n", local),
        ]:
            spec = self.secure_table(*arguments)
            await self.compare(spec, ["a", "absent"], finds=1)
            self.assertEqual(await self.ours(spec, ["a"]), {"a": "A,7"}, spec)

    async def test_sasl_failures(self) -> None:
        """What goes wrong with a login is told as postmap(1) tells it."""
        for parameters in [
            "bind_dn = a\nbind_pw = wrong\nsasl_mechs = DIGEST-MD5\n",
            "bind_dn = a\nbind_pw = secret\nsasl_mechs = NONE\n",
            "bind_dn = absent\nbind_pw = secret\nsasl_mechs = SCRAM-SHA-256\n",
            "sasl_mechs = EXTERNAL\n",
        ]:
            await self.compare_failure(self.secure_table(f"version = 3\nbind = sasl\n{parameters}"), "a")

    async def test_sasl_strength(self) -> None:
        """A login that is too weak is refused, as ldap_table(5) has it; Postfix takes any."""
        login = "version = 3\nbind = sasl\nbind_dn = a\nbind_pw = secret\nsasl_minssf = 56\n"
        spec = self.secure_table(f"{login}sasl_mechs = CRAM-MD5\n")
        with self.assertRaises(TableError):
            await self.ours(spec, ["a"])
        self.assertIn("Unable to bind to server", self.warnings[-1])


class NetworkTests(TablesCase):
    async def test_tcp(self) -> None:
        """The same questions, the same answers."""
        server = TcpTableServer(
            {
                b"get plain": b"200 value\n",
                b"get Foo%20bar%25%C3%A9": b"200 a%20b%25%c3%a9\n",
                b"get cr": b"200 value\r\n",
                b"get tab": b"299\tvalue\n",
                b"get long": b"200 " + b"x" * 4091 + b"\n",
            }
        )
        await server.listen(TCP4ServerEndpoint(reactor, 2500, interface="127.0.0.1"))
        self.addCleanup(server.stop)
        keys = ["plain", "Foo bar%é", "tab", "long", "absent", "PLAIN"]
        await self.compare("tcp:127.0.0.1:2500", keys, finds=4)
        asked = list(server.requests)
        self.assertEqual(sorted(asked[: len(keys)]), sorted(asked[len(keys) :]))

    async def test_tcp_failures(self) -> None:
        """The same nonsense, the same warnings."""
        answers = [
            b"200\n",
            b"200 \x25\n",
            b"300 x\n",
            b"400 x\n",
            b"2 abc\n",
            b"200abc\n",
            b"20a abc\n",
            b"200 a%zz\n",
        ]
        server = TcpTableServer({b"get %d" % at: answer for at, answer in enumerate(answers)})
        await server.listen(TCP4ServerEndpoint(reactor, 2500, interface="127.0.0.1"))
        self.addCleanup(server.stop)
        for at in range(len(answers)):
            await self.compare_failure("tcp:127.0.0.1:2500", str(at))

    async def test_socketmap(self) -> None:
        """The same questions, the same answers, over both kinds of sockets."""
        server = SocketmapServer(
            {
                b"map plain": netstring(b"OK value"),
                b"map Foo bar": netstring(b"OK  two  "),
                b"map bare": netstring(b"OK"),
                b"map none": netstring(b"NOTFOUND"),
                b"map zeros": b"08:OK value,",
                b"map large": netstring(b"OK " + b"x" * 99_997),
            }
        )
        await server.listen(TCP4ServerEndpoint(reactor, 2501, interface="127.0.0.1"))
        self.addCleanup(server.stop)
        keys = ["plain", "Foo bar", "bare", "none", "zeros", "large", "PLAIN"]
        await self.compare("socketmap:inet:127.0.0.1:2501:map", keys, finds=4)
        local = SocketmapServer(server.answers)
        await local.listen(UNIXServerEndpoint(reactor, str(self.directory / "socket")))
        self.addCleanup(local.stop)
        await self.compare(f"socketmap:unix:{self.directory}/socket:map", keys, finds=4)

    async def test_socketmap_failures(self) -> None:
        """The same nonsense, the same warnings."""
        payloads = [b"TEMP x", b"TEMP", b"TIMEOUT y", b"PERM z", b"HUHU z", b"ok x", b""]
        raw = [b"OK x,", b"4:OK x;", b"999999:OK", HANG_UP]
        answers = [*map(netstring, payloads), *raw]
        server = SocketmapServer({b"map %d" % at: answer for at, answer in enumerate(answers)})
        await server.listen(TCP4ServerEndpoint(reactor, 2501, interface="127.0.0.1"))
        self.addCleanup(server.stop)
        for at in range(len(answers)):
            await self.compare_failure("socketmap:inet:127.0.0.1:2501:map", str(at))
        await self.compare_failure("socketmap:inet:127.0.0.1:1:map")
        await self.compare_failure("socketmap:unix:/absent:map")

    async def test_many_lookups_share_connections(self) -> None:
        """A thousand lookups at a time need few connections."""
        server = SocketmapServer({b"map %d" % at: netstring(b"OK %d" % at) for at in range(1000)})
        await server.listen(TCP4ServerEndpoint(reactor, 2501, interface="127.0.0.1"))
        self.addCleanup(server.stop)
        keys = [str(at) for at in range(1000)]
        self.assertEqual(await self.ours("socketmap:inet:127.0.0.1:2501:map", keys), {key: key for key in keys})
        self.assertLessEqual(len(server.sessions), 8)

    async def test_threads_go_on(self) -> None:
        """While a library waits for a server in a thread, all others go on: this server's, too."""
        sql = "hosts = 127.0.0.1:2502\nuser = u\npassword = p\ndbname = d\nquery = select 1\n"
        directory = "server_host = 127.0.0.1\nserver_port = 2502\nversion = 3\nbind_dn = u\nbind_pw = p\ntimeout = 5\n"
        for spec, text, answer, words in [
            ("mysql", f"{sql}option_group =\n", refusing_servers.mysql, "go away"),
            ("pgsql", sql, refusing_servers.postgres, "go away"),
            ("ldap", directory, refusing_servers.ldap, "Invalid credentials"),
            ("ldap", f"{directory}bind = sasl\nsasl_mechs = CRAM-MD5\n", refusing_servers.ldap, "Invalid credentials"),
        ]:
            server = RefusingServer(answer)
            await server.listen(TCP4ServerEndpoint(reactor, 2502, interface="127.0.0.1"))
            self.events.clear()
            with self.assertRaises(TableError):
                await self.ours(f"{spec}:{self.write(text)}", ["k"])
            await server.stop()
            self.assertIn(words, self.warnings[-1], f"{spec} {self.warnings}")

    async def test_hanging_servers(self) -> None:
        """Servers that never answer keep more threads waiting than the reactor has; host names are still found."""
        server = RefusingServer(lambda said: b"")
        await server.listen(TCP4ServerEndpoint(reactor, 2502, interface="127.0.0.1"))
        text = "hosts = 127.0.0.1:2502\nuser = u\npassword = p\ndbname = d\nquery = select 1\noption_group =\n"
        specs = [f"{kind}:{self.write(text, f'{kind}{at}.cf')}" for kind in ("pgsql", "mysql") for at in range(8)]
        waiting = [_later(self.tables.open(spec).lookup("k")) for spec in specs]
        self.assertTrue(await deferToThread(socket.getaddrinfo, "localhost", 25))
        self.assertFalse(any(each.called for each in waiting))
        failing = [self.assertFailure(each, TableError) for each in waiting]
        await server.stop()
        await gatherResults(failing)

    async def test_large_entries(self) -> None:
        """An LDAP server that announces an entry of a gigabyte is not listened to any more."""
        server = RefusingServer(refusing_servers.endless_ldap)
        await server.listen(TCP4ServerEndpoint(reactor, 2502, interface="127.0.0.1"))
        spec = self.write("server_host = 127.0.0.1\nserver_port = 2502\nversion = 3\ntimeout = 20\n")
        with self.assertRaises(TableError):
            await self.ours(f"ldap:{spec}", ["k"])
        await server.stop()
        self.assertIn("Search error -1: Can't contact LDAP server", self.warnings[-1])

    async def test_mongodb(self) -> None:
        """PyMongo speaks with a server, and what it says becomes values; Debian has neither server nor client of Postfix."""
        server = MongoServer(
            {
                "one": [{"_id": 1, "v": "x", "n": 7, "list": ["y", 8]}],
                "two": [{"v": "first"}, {"v": "last"}],
                "odd": [{"v": 2.5, "n": True}],
                'quo"te': [{"v": "quoted"}],
            }
        )
        await server.listen(TCP4ServerEndpoint(reactor, 27018, interface="127.0.0.1"))
        self.addCleanup(server.stop)
        spec = "mongodb:" + self.write(
            "uri = mongodb://127.0.0.1:27018\ndbname = d\ncollection = c\n"
            'query_filter = {"k": "%s"}\nresult_attribute = v n list\n'
        )
        logging.getLogger("pymongo").setLevel(logging.CRITICAL)
        found = await self.ours(spec, ["one", "two", "odd", 'quo"te', "absent"])
        self.assertEqual(found, {"one": "x,7,y,8", "two": "last", 'quo"te': "quoted"})
        self.assertIn({"k": "one"}, server.filters)
        self.assertEqual(server.projections[0], {"v": 1, "n": 1, "list": 1, "_id": 0})


class ProxyTests(InteropCase):
    """Tables behind a real proxymap(8)."""

    timeout = 30

    async def begin_with_tables(self) -> tuple[TableSet, list[Event]]:
        """Start Postfix, and give tables of ours that use it."""
        allowed = "proxy:inline:{k=v} proxy:regexp:$config_directory/patterns proxy:fail:x proxy:hash:/absent"
        self.create({"proxy_read_maps": allowed})
        self.postfix.write("patterns", "/^x(.*)$/ $1\n")
        await self.start_postfix()
        self.agent = type("NoAgent", (), {"printed": ""})()
        events: list[Event] = []
        settings = load_settings(self.postfix.etc)
        tables = TableSet(
            TableContext(
                expanded=settings.expanded,
                config_directory=self.postfix.etc,
                queue_directory=Path(settings.queue_directory),
                emit=events.append,
                reactor=reactor,
            )
        )
        self.addCleanup(tables.close)
        return tables, events

    async def test_lookups(self) -> None:
        """Values, misses, folding, and many at a time."""
        tables, events = await self.begin_with_tables()
        fixed = tables.open("proxy:inline:{k=v}")
        self.assertFalse(fixed.by_pattern)
        self.assertEqual(await _value(fixed.lookup("k")), "v")
        self.assertEqual(await _value(fixed.lookup("K")), "v")
        self.assertIsNone(await _value(fixed.lookup("absent")))
        pattern = tables.open(f"proxy:regexp:{self.postfix.etc}/patterns")
        self.assertTrue(pattern.by_pattern)
        found = await gatherResults([_later(pattern.lookup(f"xKey{at}")) for at in range(200)])
        self.assertEqual(found, [f"Key{at}" for at in range(200)])
        self.assertEqual(events, [])
        for spec in ("proxy:inline:{k=v}", f"proxy:regexp:{self.postfix.etc}/patterns"):
            table = tables.open(spec)
            for key in ("k", "K", "xKey", "XKey", "absent", "a b"):
                status, theirs = await self.postfix.run("postmap", "-q", key, spec)
                ours = await _value(table.lookup(key))
                self.assertEqual((status, theirs), (0, f"{ours}\n") if ours else (1, ""), f"{spec} {key}")

    async def test_failures(self) -> None:
        """What is not permitted, or fails there, is an error here."""
        tables, events = await self.begin_with_tables()
        for spec, problem in [
            ("proxy:inline:{other=v}", 'proxymap service is not configured for table "inline:{other=v}"'),
            ("proxy:fail:x", "the log of proxymap(8) says more"),
            ("proxy:hash:/absent", "the log of proxymap(8) says more"),
        ]:
            with self.assertRaises(TableError) as caught:
                await _value(tables.open(spec).lookup("k"))
            self.assertIn(problem, caught.exception.problem)
        self.assertEqual(len(events), 1, events)

    async def test_gone(self) -> None:
        """Without Postfix there is an error within seconds; when it is back, there are values."""
        tables, events = await self.begin_with_tables()
        table = tables.open("proxy:inline:{k=v}")
        self.assertEqual(await _value(table.lookup("k")), "v")
        await self.postfix.stop()
        with self.assertRaises(TableError):
            await _value(table.lookup("k"))
        self.assertTrue(any("subsystem private/proxymap" in str(event) for event in events), events)
        await self.postfix.start()
        self.assertEqual(await _value(table.lookup("k")), "v")


def _later(found: str | Deferred[str | None] | None) -> Deferred[str | None]:
    assert isinstance(found, Deferred)
    return found
