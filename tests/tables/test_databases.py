"""Database tables: parameters, servers, queries; with databases in memory, or in a file."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ldap
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kit.pki import shared_pki
from tests.tables.opened import OpenTables
from twisted_mta.config.errors import ConfigError
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model.events import TableWarning
from twisted_mta.tables.ldap import LdapParameters
from twisted_mta.tables.ldap_session import Entries, LdapQuery, LdapSession, quoted_in_filter, quoted_in_name
from twisted_mta.tables.mongodb import MongoTable
from twisted_mta.tables.my_cnf import read_options
from twisted_mta.tables.mysql import MysqlConnection, MysqlParameters
from twisted_mta.tables.opening import ADDRESSES, EXACT, TableRequest
from twisted_mta.tables.pgsql import PgsqlParameters
from twisted_mta.tables.results import LookupFailedError, Results, Warn
from twisted_mta.tables.source_parameters import SourceParameters
from twisted_mta.tables.sql_servers import ServerSession, SqlDialect, SqlError
from twisted_mta.tables.templates import KeyParts, parse_template


class DatabaseCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A place for tables, without threads."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        self.opened = OpenTables(directory)
        self.addCleanup(self.opened.tables.close)

    def request(self, kind: str, text: str) -> TableRequest:
        """A table whose parameters stand in a file."""
        path = self.opened.write("t.cf", text)
        return TableRequest(kind, str(path), ADDRESSES, self.opened.context, self.opened.tables.open)

    def parameters(self, text: str) -> SourceParameters:
        """Parameters in a file."""
        found = SourceParameters(self.request("x", text))
        self.addCleanup(found.close)
        return found

    def fatal(self, kind: str, text: str) -> str:
        """Why a table makes the configuration unusable, without the name of the file."""
        path = self.opened.write("t.cf", text)
        self.opened.tables.close()
        with self.assertRaises(ConfigError) as caught:
            self.opened.tables.open(f"{kind}:{path}")
        self.described = caught.exception.describe().replace(str(path), "FILE")
        return str(caught.exception.text).replace(str(path), "FILE")


class SourceParametersTests(DatabaseCase):
    def test_file(self) -> None:
        """A file has no $name; the last of several values counts."""
        found = self.parameters("a = $b \nn = 5\ny = yes\n# no\nc = one\n  two\na = last $x\n")
        self.assertEqual(found.text("a"), "last $x")
        self.assertEqual(found.text("c"), "one  two")
        self.assertEqual((found.integer("n", 1), found.integer("m", 7)), (5, 7))
        self.assertEqual((found.boolean("y", False), found.boolean("z", True)), (True, True))
        self.assertIsNone(found.optional("m"))
        self.assertIn("line 7: overriding earlier entry: a=$b", self.opened.lines[0])
        self.assertFalse(found.changed())
        self.opened.write("t.cf", "changed").unlink()
        self.assertTrue(found.changed())

    def test_main_cf(self) -> None:
        """A name that is no path is a prefix of parameters in main.cf."""
        opened = OpenTables(self.opened.directory, parameters={"t_a": "x", "t_n": "?"})
        found = SourceParameters(TableRequest("x", "t", ADDRESSES, opened.context, opened.tables.open))
        self.assertEqual((found.text("a"), found.text("b", "default")), ("x", "default"))
        with self.assertRaises(ConfigError) as caught:
            found.integer("n", 1)
        self.assertEqual(caught.exception.text, "bad numerical configuration: t_n = ?")
        self.assertFalse(found.changed())

    def test_mistakes(self) -> None:
        """Mistakes are told with the file."""
        for text, problem in [
            ("x", "FILE, line 1: missing '=' after attribute name: \"x\""),
            ("query = select 1", "FILE: bad string length 0 < 1: dbpath = "),
            ("dbpath = x", "FILE: bad string length 0 < 1: table = "),
            ("dbpath = x\nquery = %x", "db_common_parse: FILE: Invalid query template: %x"),
            ("dbpath = x\nquery = 1\nresult_format = %x", "db_common_parse: FILE: Invalid result template: %x"),
            ("dbpath = x\nquery = 1\nexpansion_limit = x", "FILE: bad numerical configuration: expansion_limit = x"),
            ("dbpath = x\nquery = 1\ndomain = !", "FILE: no pattern after '!'"),
        ]:
            self.assertEqual(self.fatal("sqlite", text), problem)
            self.assertEqual(self.described.count("FILE"), 1, self.described)
        self.assertEqual(self.opened.problem("mysql:/absent"), "open /absent: No such file or directory")


class SqliteTests(DatabaseCase):
    def table(self, text: str) -> str:
        """A table whose database has some keys."""
        path = self.opened.directory / "data"
        if not path.exists():
            connection = sqlite3.connect(path)
            connection.executescript(
                "create table a (k, v); insert into a values ('k', 'v'), ('it''s', 'q'), ('two', 1), ('two', 2)"
            )
            connection.close()
        return f"sqlite:{self.opened.write('t.cf', f'dbpath = data{chr(10)}{text}')}"

    def test_lookups(self) -> None:
        """Without threads, values come at once; keys are folded and quoted."""
        spec = self.table("query = select v from a where k = '%s'; drop table a\n")
        verifyObject(ILookupTable, self.opened.tables.open(spec))
        for key, wanted in [("K", "v"), ("it's", "q"), ("two", "1,2"), ("x' or 1 --", None), ("\udcff", None)]:
            self.assertEqual(self.opened.find(spec, key), wanted)
        self.assertIsNone(self.opened.find(spec, "K", EXACT))

    def test_tables_of_domains(self) -> None:
        """A table of domains is asked for the domain in small letters, and keeps its keys as they are."""
        for domains, found in (("inline:{Example.com=x}", None), ("inline:{example.com=x}", "x")):
            spec = self.table(f"query = select 'x'\ndomain = {domains}\n")
            self.assertEqual(self.opened.find(spec, "a@Example.com"), found)
            self.opened.tables.close()

    def test_empty_domain(self) -> None:
        """An empty domain is one that a list may have; no domain is none."""
        spec = self.table("query = select 'x'\ndomain = !a, static:all\n")
        found = [self.opened.find(spec, key) for key in ("u@", "u@b", "u@a", "u", "@b", "@")]
        self.assertEqual(found, ["x", "x", None, None, None, None])

    def test_list_without_domains(self) -> None:
        """Where the list has no domain, the table is asked for no key."""
        self.opened.write("domains", "\n")
        for domains in (f"{self.opened.directory}/domains", "#x", ","):
            spec = self.table(f"query = select 'x'\ndomain = {domains}\n")
            self.assertIsNone(self.opened.find(spec, "u@x"))
            self.opened.tables.close()

    def test_domain_errors(self) -> None:
        """Where the list of domains cannot be asked, the table cannot."""
        spec = self.table("query = select 'x'\ndomain = fail:x\n")
        self.assertEqual(self.opened.problem(spec, "u@d"), "lookups always fail")
        self.assertIsNone(self.opened.find(spec, "user"))

    def test_broken_queries(self) -> None:
        """A query that is none is told; a database that is none makes the configuration unusable."""
        problem = self.opened.problem(self.table("query = selct\n"))
        self.assertIn('SQL prepare failed: near "selct": syntax error', problem)
        self.assertEqual(self.opened.lines, [f"warning: {problem}"])
        self.assertIn(
            "Can't open database: unable to open database file", self.fatal("sqlite", "dbpath = no\nquery = x")
        )
        self.assertFalse((self.opened.directory / "no").exists())

    def test_it_is_read_only(self) -> None:
        """A query cannot change anything."""
        self.assertIn("readonly", self.opened.problem(self.table("query = delete from a\n")))


class FakeConnection:
    """A connection to a server that does what its name says."""

    def __init__(self, server: str, story: list[str]) -> None:
        self.server = server
        self.story = story
        story.append(f"connect {server}")
        if "down" in server:
            raise SqlError("down")

    def quote(self, text: str) -> str:
        """Quote it visibly."""
        return f"<{text}>"

    def query(self, statement: str) -> list[str]:
        """Give back the statement."""
        self.story.append(f"query {self.server}")
        if "broken" in self.server:
            raise SqlError("broken")
        return [statement]

    def abort(self) -> None:
        """Take note."""
        self.story.append(f"abort {self.server}")

    def close(self) -> None:
        """Take note."""
        self.story.append(f"close {self.server}")


class ServerSessionTests(SynchronousTestCase):
    def session(self, *servers: str) -> ServerSession:
        """A session with servers; the first of equally good ones is chosen."""
        self.story: list[str] = []
        self.warnings: list[str] = []
        self.now = 0.0
        dialect = SqlDialect(
            connect=lambda server: FakeConnection(server, self.story),
            rank=lambda server: 0 if server.startswith("unix") else 1,
            connect_failed="connect to {server}: {problem}",
            query_failed="query at {server}: {problem}",
        )
        return ServerSession(servers, dialect, 60, choose=lambda among: among[0], now=lambda: self.now)

    def ask(self, session: ServerSession) -> list[str]:
        """Ask for a key."""
        return session.ask(parse_template("select %s", "file", "query"), KeyParts("k"), self.warnings.append)

    def test_connection_is_kept(self) -> None:
        """One connection serves all lookups; sockets come first."""
        session = self.session("host", "unix:x")
        self.assertEqual([self.ask(session), self.ask(session)], [["select <k>"]] * 2)
        self.assertEqual(self.story, ["connect unix:x", "query unix:x", "query unix:x"])
        session.rest()
        self.assertEqual(self.story[-1], "close unix:x")
        self.ask(session)
        self.assertEqual(self.story[-2], "connect unix:x")

    def test_next_server(self) -> None:
        """A server that fails is told, and left alone for a while."""
        session = self.session("unix:down", "broken", "good")
        for _ in range(2):
            self.assertEqual(self.ask(session), ["select <k>"])
        wanted = [
            "connect unix:down",
            "connect broken",
            "query broken",
            "close broken",
            "connect good",
            *["query good"] * 2,
        ]
        self.assertEqual(self.story, wanted)
        self.assertEqual(self.warnings, ["connect to unix:down: down", "query at broken: broken"])
        session.rest()
        self.now = 60.0
        self.ask(session)
        self.assertIn("connect unix:down", self.story[7:])

    def test_single_server(self) -> None:
        """A single server is tried twice, and then not before the pause is over."""
        session = self.session("down")
        for _ in range(2):
            with self.assertRaises(LookupFailedError):
                self.ask(session)
        self.assertEqual(self.story, ["connect down"] * 2)

    def test_abort(self) -> None:
        """What is broken off is not begun anew."""
        session = self.session("good")
        session.abort()
        with self.assertRaises(LookupFailedError):
            self.ask(session)
        self.assertEqual(self.story, [])


class MysqlTests(DatabaseCase):
    def arguments(self, text: str, server: str) -> dict[str, Any]:
        """What PyMySQL is called with."""
        return MysqlParameters.read(self.parameters(f"dbname = x\noption_group =\n{text}")).arguments(server)

    def test_servers(self) -> None:
        """Sockets, hosts with and without a port; localhost is a socket."""
        for server, wanted in [
            ("unix:/s", {"unix_socket": "/s"}),
            ("inet:h:5", {"host": "h", "port": 5}),
            ("h", {"host": "h", "port": 3306}),
        ]:
            found = self.arguments("", server)
            self.assertEqual({name: found[name] for name in ("unix_socket", "host", "port") if name in found}, wanted)
        for local in ("localhost", "localhost:7", "inet:localhost:7"):
            self.assertIn("unix_socket", self.arguments("", local))

    def test_tls(self) -> None:
        """TLS is used if a parameter of it is set; servers are verified if there is an authority, and names if that is wanted."""
        pki = shared_pki()
        authority = self.opened.write("authority.pem", pki.root.certificate_pem)
        client = pki.issue("client", names=()).write(self.opened.directory)
        both = f"tls_cert_file = {client.chain}\ntls_key_file = {client.key}\n"
        self.assertTrue(self.arguments("", "h")["ssl_disabled"])
        for text, verifies, checks_name in (
            (f"tls_CAfile = {authority}", True, False),
            (f"tls_CAfile = {authority}\ntls_verify_cert = yes", True, True),
            ("tls_verify_cert = yes", True, True),
            (both, False, False),
            ("tls_ciphers = HIGH", False, False),
        ):
            context = self.arguments(text, "h")["ssl"]
            self.assertEqual((context.verify_mode, context.check_hostname), (2 * verifies, checks_name), text)

    def test_tls_files(self) -> None:
        """Files are read when the table is opened, as root if need be; a file that is wrong is told with each connection."""
        authority = self.opened.write("authority.pem", shared_pki().root.certificate_pem)
        text = f"dbname = x\noption_group =\ntls_CAfile = {authority}\n"
        own = MysqlParameters.read(self.parameters(text))
        authority.unlink()
        self.assertIn("ssl", own.arguments("h"))
        own = MysqlParameters.read(self.parameters(text))
        self.assertRaises(FileNotFoundError, own.arguments, "h")
        with self.assertRaises(SqlError) as caught:
            MysqlConnection(own, "h")
        self.assertEqual(caught.exception.problem, "TLS/SSL error: No such file or directory (2)")

    def test_options_file(self) -> None:
        """What the parameters leave open is taken from an options file, and from those that it includes."""
        self.opened.write("more.cnf", "[postfix]\nport = 77\n")
        file = self.opened.write(
            "my.cnf",
            "# no\n[client]\nuser = 'a b'\npassword=p # no\nssl_cipher = HIGH\nssl-verify-server-cert = 1\n[mysqld]\nuser=no\n"
            f"!includedir {self.opened.directory}\n",
        )
        found = read_options([str(file), "/absent"], "postfix")
        tls = {"ssl-cipher": "HIGH", "ssl-verify-server-cert": "1"}
        self.assertEqual(found, {"user": "a b", "password": "p", "port": "77", **tls})
        text = f"dbname = x\nuser = mine\noption_file = {file}\noption_group = postfix\n"
        arguments = MysqlParameters.read(self.parameters(text)).arguments("h")
        self.assertEqual([arguments[name] for name in ("user", "password", "port")], ["mine", "p", 77])
        self.assertTrue(arguments["ssl"].check_hostname)

    def test_mistakes(self) -> None:
        """Mistakes are told as Postfix tells them."""
        self.assertEqual(self.fatal("mysql", "query = x"), "FILE: bad string length 0 < 1: dbname = ")
        text = "dbname = x\nquery = x\nrequire_result_set = x"
        self.assertEqual(self.fatal("mysql", text), "FILE: bad boolean configuration: require_result_set = x")


class PgsqlTests(DatabaseCase):
    def test_servers(self) -> None:
        """Sockets, hosts, URIs; none is waited for without end."""
        own = PgsqlParameters.read(self.parameters("dbname = d b\nuser = u\npassword = it's\n"))
        for server, wanted in [
            ("unix:/s", r"connect_timeout=10 dbname='d b' host=/s password=it\'s user=u"),
            ("inet:h:5", r"connect_timeout=10 dbname='d b' host=h password=it\'s port=5 user=u"),
            ("h", r"connect_timeout=10 dbname='d b' host=h password=it\'s user=u"),
            ("postgresql://v@h/n?sslmode=require", "connect_timeout=10 dbname=n host=h sslmode=require user=v"),
        ]:
            self.assertEqual(sorted(own.connection_text(server).split()), sorted(wanted.split()))
        with self.assertRaises(SqlError):
            own.connection_text("postgresql://[")


class FakeDirectory:
    """A directory that answers by base and filter."""

    def __init__(self, answers: dict[tuple[str, str], Entries | ldap.LDAPError]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int, str, list[str]]] = []

    def search(self, base: str, scope: int, search_filter: str, attributes: Sequence[str], warn: Warn) -> Entries:
        """Answer."""
        self.asked.append((base, scope, search_filter, list(attributes)))
        found = self.answers[base, search_filter]
        if isinstance(found, ldap.LDAPError):
            raise found
        return found

    def rest(self) -> None:
        """There is nothing to close."""


class LdapTests(DatabaseCase):
    def ask(self, text: str, directory: FakeDirectory, key: str = "k") -> str | None:
        """Look up a key."""
        request = self.request("ldap", f"search_base = dc=x\nquery_filter = (u=%s)\n{text}")
        parameters = SourceParameters(request)
        self.addCleanup(parameters.close)
        own = LdapParameters.read(request, parameters, 0)
        self.warnings: list[str] = []
        result_format = parse_template("%s", "file", "result")
        results = Results("ldap:x", KeyParts(key), result_format, 0, "too many", self.warnings.append)
        query: Any = LdapQuery(own, "file")
        query(directory, key=KeyParts(key), results=results, warn=self.warnings.append)
        return results.joined()

    def test_quoting(self) -> None:
        """Characters that mean something are quoted: others in filters than in names."""
        self.assertEqual(quoted_in_filter("a*(b)\\c, é"), "a\\2A\\28b\\29\\5Cc, é")
        self.assertEqual(quoted_in_name('a,b=c+"x" \\'), "a\\2Cb=c\\2B\\22x\\22\\20\\5C")
        directory = FakeDirectory({("ou=a\\2Cb", "(u=a,b)"): [("dn", {"mail": [b"m"]})]})
        self.assertEqual(self.ask("search_base = ou=%s\nresult_attribute = mail", directory, "a,b"), "m")

    def test_references(self) -> None:
        """Entries that refer to others are followed; one that is missing is left out."""
        directory = FakeDirectory(
            {
                ("dc=x", "(u=k)"): [
                    (None, {"ref": [b"no"]}),
                    (
                        "dn",
                        {
                            "member": [b"cn=1", b"cn=2", b"ldap:///cn=3?Mail?one?(a=b)"],
                            "mail": [b"leaf"],
                            "Cn": [b"plain"],
                        },
                    ),
                ],
                ("cn=1", "(objectclass=*)"): [("cn=1", {"mail": [b"one"]})],
                ("cn=2", "(objectclass=*)"): ldap.NO_SUCH_OBJECT({"result": 32, "desc": "No such object"}),
                ("cn=3", "(a=b)"): [("cn=3", {"mail": [b"three"]})],
            }
        )
        text = "result_attribute = cn\nleaf_result_attribute = mail\nspecial_result_attribute = member\n"
        self.assertEqual(self.ask(text, directory), "one,three,plain")
        self.assertEqual(directory.asked[-1], ("cn=3", ldap.SCOPE_ONELEVEL, "(a=b)", ["mail"]))
        self.assertEqual(self.warnings[0], "dict_ldap_get_values[1]: DN cn=2 not found, skipping ")

    def test_terminal_attributes(self) -> None:
        """Where there is a terminal attribute, nothing else counts."""
        entry = {"member": [b"cn=1"], "mail": [b"m"], "final": [b"f"]}
        directory = FakeDirectory({("dc=x", "(u=k)"): [("dn", entry)]})
        text = "result_attribute = mail\nspecial_result_attribute = member\nterminal_result_attribute = final\n"
        self.assertEqual(self.ask(text, directory), "f")

    def test_endless_references(self) -> None:
        """Entries that refer to each other are followed only so deep, and so often."""
        loop: Entries = [("cn=1", {"member": [b"cn=1", b"cn=1"]})]
        directory = FakeDirectory({("dc=x", "(u=k)"): loop, ("cn=1", "(objectclass=*)"): loop})
        text = "special_result_attribute = member\n"
        with self.assertRaises(LookupFailedError) as caught:
            self.ask(f"{text}recursion_limit = 3", directory)
        limit = "dict_ldap_get_values[3]: file: Recursion limit exceeded for special attribute member=cn=1"
        self.assertEqual(caught.exception.warning, limit)
        with self.assertRaises(LookupFailedError):
            self.ask(f"{text}recursion_limit = 100000", directory)

    def test_servers(self) -> None:
        """Hosts become URLs; what needs version 3 gets it."""
        request = self.request("ldap", "server_host = a, b:5 ldaps://c\nserver_port = 7\nversion = 2\n")
        parameters = SourceParameters(request)
        self.addCleanup(parameters.close)
        own = LdapParameters.read(request, parameters, 0)
        self.assertEqual((own.servers, own.version), ("ldap://a:7 ldap://b:5 ldaps://c", 3))
        self.assertIn("URL scheme ldaps requires protocol version 3", self.opened.lines[0])
        self.assertNotIn("secret", repr(own))

    def test_mistakes(self) -> None:
        """Mistakes are told as Postfix tells them."""
        self.assertEqual(self.fatal("ldap", "bind = foo"), "FILE: unsupported parameter value: bind = foo")
        self.assertEqual(
            self.fatal("ldap", "recursion_limit = 0"), "FILE: invalid recursion_limit parameter value 0 < 1"
        )

    def test_session_without_connection(self) -> None:
        """What was never connected can be broken off and closed."""
        request = self.request("ldap", "search_base = x\n")
        parameters = SourceParameters(request)
        self.addCleanup(parameters.close)
        session = LdapSession(LdapParameters.read(request, parameters, 0))
        session.abort()
        session.rest()
        self.assertTrue(session.aborted)


class FakeCollection:
    """A collection of documents, and the client and database that it is in."""

    def __init__(self, documents: dict[str, list[dict[str, Any]]]) -> None:
        self.documents = documents
        self.closed = False

    def __getitem__(self, name: str) -> "FakeCollection":
        return self

    def find(self, query: dict[str, Any], projection: dict[str, Any], **limits: int) -> list[dict[str, Any]]:
        """The documents of a key."""
        if query["k"] == "bad":
            raise RuntimeError("garbage")
        return [
            {name: value for name, value in document.items() if projection.get(name)}
            for document in self.documents.get(query["k"], [])
        ]

    def close(self) -> None:
        """Take note."""
        self.closed = True


class MongodbTests(DatabaseCase):
    BASE = 'uri = mongodb://u:secret@h\ndbname = d\ncollection = c\nquery_filter = {"k": "%s"}\n'

    def table(self, text: str, documents: dict[str, list[dict[str, Any]]]) -> MongoTable:
        """A table with documents."""
        request = self.request("mongodb", self.BASE + text)
        parameters = SourceParameters(request)
        self.collection = FakeCollection(documents)
        return MongoTable(request, parameters, lambda uri: self.collection)

    def test_lookups(self) -> None:
        """Texts, integers and lists of these; of several documents the last; nothing is folded."""
        table = self.table(
            "result_attribute = a b",
            {
                'K"': [{"_id": "no", "a": "x", "b": [1, "y"]}],
                "two": [{"a": "1"}, {"a": "2"}],
                "odd": [{"a": 1.5, "b": True}],
            },
        )
        verifyObject(ILookupTable, table)
        self.assertTrue(table.by_pattern)
        for key, wanted in [('K"', "x,1,y"), ("two", "2"), ("odd", None), ("absent", None)]:
            self.assertEqual(table.lookup(key), wanted)
        self.assertEqual(len(self.opened.events), 2)
        table.close()
        self.assertTrue(self.collection.closed)

    def test_errors(self) -> None:
        """Whatever the library raises is an error of the table."""
        table = self.table("result_attribute = a", {})
        with self.assertRaises(TableError):
            table.lookup("bad")
        self.assertIsInstance(self.opened.events[0], TableWarning)
        table.close()

    def test_mistakes(self) -> None:
        """Fields are wanted in one of two ways; both need their form."""
        for text in ["", 'result_attribute = a\nprojection = {"a": 1}']:
            path = self.opened.write("t.cf", self.BASE + text)
            self.opened.tables.close()
            self.assertIn("exactly one of", self.opened.problem(f"mongodb:{path}"))
        self.opened.tables.close()
        self.assertIn("malformed JSON", self.fatal("mongodb", f"{self.BASE}projection = {{"))
        text = f"{self.BASE}result_attribute = a\nexpansion_limit = 101"
        self.assertIn("invalid expansion_limit parameter value 101 > 100", self.fatal("mongodb", text))
