"""Tests of twisted_mta.generations."""

import os
import time
from pathlib import Path
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.threadpool import ThreadPool
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.messages import make_request
from tests.kit.queue_file import QueueFileBuilder
from twisted_mta.config.errors import ConfigError
from twisted_mta.delivery.cache import SessionPool
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.delivery.refusal import RefusingAgent
from twisted_mta.generations import FileStamp, Generation, GenerationLoader
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Event
from twisted_mta.model.tls_events import TlsFileChanged
from twisted_mta.options import Options
from twisted_mta.postfix.queue_file import QueueLayout
from twisted_mta.postfix.scache import SharedCache
from twisted_mta.postfix.services import PrivateServices
from twisted_mta.postfix.work import QueueFiles
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet
from twisted_mta.tls.openssl_conf import OpensslConfiguration

POSTCONF = """#!/bin/sh
echo 3.7.11
"""


CONTEXT = TableContext(lambda name: None, Path("/"), Path("/"), lambda event: None)


class Reactor(MemoryReactorClock):
    """With a thread pool that never starts."""

    def getThreadPool(self) -> ThreadPool:
        """The pool."""
        return ThreadPool()


class WatchedTables(TableSet):
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        """Count."""
        self.closed += 1
        super().close()


class GenerationTestCase(SynchronousTestCase):
    """A configuration directory of the test's own."""

    def setUp(self) -> None:
        """Write a configuration that can be used."""
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / "queue" / "active").mkdir(parents=True)
        (self.directory / "bin").mkdir()
        postconf = self.directory / "bin" / "postconf"
        postconf.write_text(POSTCONF)
        postconf.chmod(0o755)
        self.table = self.directory / "table"
        self.table.write_text("key value\n")
        self.lines = [
            f"queue_directory = {self.directory}/queue",
            f"command_directory = {self.directory}/bin",
            "inet_interfaces = 127.0.0.1",
            "inet_protocols = ipv4",
            "myhostname = client.example",
            # Accounts that all systems have, Postfix or not.
            "mail_owner = daemon",
            "default_privs = nobody",
            "setgid_group = mail",
        ]
        self.events: list[Event] = []
        self.write()

    def write(self, *more: str, master_cf: str = "") -> None:
        """Write main.cf, and an old date on it: it has settled."""
        main_cf = self.directory / "main.cf"
        main_cf.write_text("\n".join([*self.lines, *more, ""]))
        os.utime(main_cf, (time.time() - 100 + len(more), time.time() - 100 + len(more)))
        (self.directory / "master.cf").write_text(master_cf)

    def loader(self, *words: str) -> GenerationLoader:
        """A loader for a command line."""
        options = Options()
        options.parseOptions(["--config-directory", str(self.directory), "--service", "agent", *words])
        return GenerationLoader(options, Reactor(), self.events.append)


class GenerationTests(GenerationTestCase):
    """Generations of all kinds."""

    def test_usable(self) -> None:
        """A configuration without faults delivers."""
        generation = self.loader().load(master_cf=True)
        self.assertIsInstance(generation.agent, DeliveryAgent)
        self.assertEqual((generation.problem, generation.warnings), ("", ()))

    def test_version(self) -> None:
        """Postfix's own command says which Postfix this is."""
        loader = self.loader()
        self.assertEqual(loader.version(loader.load(master_cf=True).settings), PostfixVersion(3, 7))

    def test_version_of_proxied_tables(self) -> None:
        """Its proxymap(8) is asked as this Postfix has it, though main.cf says nothing of it: 3.5 greets nobody."""
        (self.directory / "bin" / "postconf").write_text(POSTCONF.replace("3.7.11", "3.5.18"))
        loader = self.loader()
        generation = loader.load(master_cf=True)
        generation._tables.open("proxy:hash:/x").lookup("key")
        transport = StringTransport()
        reactor: Any = loader._reactor
        path, factory, *_ = reactor.unixClients[-1]
        self.assertEqual(path, f"{self.directory}/queue/private/proxymap")
        factory.buildProtocol(UNIXAddress(None)).makeConnection(transport)
        self.assertIn(b"request\0lookup\0table\0hash:/x\0", transport.value())

    def test_bad_value(self) -> None:
        """A bad value defers all mail with Postfix's text, and the place; the queue is known all the same."""
        self.write("smtp_mail_timeout = 1x")
        generation = self.loader().load(master_cf=True)
        self.assertIsInstance(generation.agent, RefusingAgent)
        self.assertIn("parameter smtp_mail_timeout: bad time value or unit: 1x", generation.problem)
        self.assertEqual(generation.settings.queue_directory, f"{self.directory}/queue")

    def test_syntax_error(self) -> None:
        """So does a line without sense; file and line are named."""
        self.write("nonsense")
        generation = self.loader().load(master_cf=True)
        self.assertIsInstance(generation.agent, RefusingAgent)
        self.assertIn(f"{self.directory}/main.cf, line 9", generation.problem)

    def test_no_main_cf(self) -> None:
        """Without main.cf nobody knows where the queue is."""
        (self.directory / "main.cf").unlink()
        self.assertRaises(ConfigError, self.loader().load, master_cf=True)

    def test_main_cf_vanishes(self) -> None:
        """Where it vanishes later, mail is deferred with the settings that there were."""
        loader = self.loader()
        former = loader.load(master_cf=True)
        (self.directory / "main.cf").unlink()
        generation = loader.load_after(former, master_cf=False)
        self.assertIsInstance(generation.agent, RefusingAgent)
        self.assertEqual(generation.settings.queue_directory, f"{self.directory}/queue")

    def test_master_entry(self) -> None:
        """Our entry's options count over main.cf, the command line over both; it is read anew only when told to."""
        entry = "agent unix - - n - - smtp -o smtp_helo_name=entry.example -o smtp_mail_timeout=7 flags=R\n"
        self.write("smtp_helo_name = main.example", master_cf=entry)
        loader = self.loader("-o", "smtp_mail_timeout=8")
        settings = loader.load(master_cf=True).settings
        self.assertEqual((settings.smtp_helo_name, settings.smtp_mail_timeout), ("entry.example", 8))
        self.write("smtp_helo_name = main.example", master_cf="")
        self.assertEqual(loader.load(master_cf=False).settings.smtp_helo_name, "entry.example")
        self.assertEqual(loader.load(master_cf=True).settings.smtp_helo_name, "main.example")

    def test_bad_master_entry(self) -> None:
        """An entry that makes no sense is a configuration problem like any other."""
        self.write(master_cf="agent unix - - n - - smtp flags=Q\n")
        generation = self.loader().load(master_cf=True)
        self.assertIn('unknown flags=Q value "Q" in "Q"', generation.problem)

    def test_entry_that_master_serves(self) -> None:
        """An active entry of our name keeps us from starting; a disabled one does not."""
        self.write(master_cf="agent unix - - n - - smtp\n")
        loader = self.loader()
        error = self.assertRaises(
            ConfigError, loader.entry.refuse_if_master_serves, loader.load(master_cf=True).settings
        )
        self.assertIn("agent/unix", str(error))
        self.write("master_service_disable = agent/unix", master_cf="agent unix - - n - - smtp\n")
        loader.entry.refuse_if_master_serves(loader.load(master_cf=True).settings)

    def test_chroot(self) -> None:
        """What our entry says about the root directory decides where absolute paths of sockets begin."""
        for field, level, chroot in (("y", "3.6", True), ("n", "0", False), ("-", "3.6", False), ("-", "0", True)):
            self.write(f"compatibility_level = {level}", master_cf=f"agent unix - - {field} - - lmtp\n")
            generation = self.loader().load(master_cf=True)
            assert isinstance(generation.agent, DeliveryAgent), generation.problem
            self.assertIs(generation.agent.parts.sessions.dialer.settings.chroot, chroot, (field, level))
        self.write(master_cf="agent unix - - y - - spawn user=x argv=y\n")
        generation = self.loader().load(master_cf=True)
        assert isinstance(generation.agent, DeliveryAgent), generation.problem
        self.assertFalse(generation.agent.parts.sessions.dialer.settings.chroot)

    def test_notices_changes(self) -> None:
        """A changed main.cf makes a generation old."""
        loader = self.loader()
        generation = loader.load(master_cf=True)
        self.assertFalse(generation.changed(loader.stamp(), self.events.append))
        self.write("smtp_helo_name = new.example")
        self.assertTrue(generation.changed(loader.stamp(), self.events.append))

    def test_notices_renewed_certificates(self) -> None:
        """A renewed certificate makes a generation old, and is told."""
        authorities = self.directory / "authorities.pem"
        authorities.write_text("former")
        self.write(f"smtp_tls_CAfile = {authorities}")
        loader = self.loader()
        generation = loader.load(master_cf=True)
        self.assertFalse(generation.changed(loader.stamp(), self.events.append))
        authorities.write_text("renewed")
        self.assertTrue(generation.changed(loader.stamp(), self.events.append))
        self.assertEqual(self.events[-1], TlsFileChanged(str(authorities)))

    def test_openssl_configuration(self) -> None:
        """How OpenSSL is to be loaded is known before all else; with a main.cf that is not there, as usual."""
        self.write("tls_config_file = none", "smtp_helo_timeout = nonsense")
        self.assertEqual(self.loader().openssl_configuration(), OpensslConfiguration("none"))
        self.assertEqual(
            self.loader("-o", "tls_config_name=x").openssl_configuration(), OpensslConfiguration("none", "x")
        )
        (self.directory / "main.cf").unlink()
        self.assertEqual(self.loader().openssl_configuration(), OpensslConfiguration())

    def test_accounts(self) -> None:
        """Accounts of OAuth2 belong to a configuration that logs in: changes are noticed, and faults told."""
        folder = self.directory / "smtpdeliver-oauth2"
        folder.mkdir()
        (folder / "work.toml").write_text("nonsense")
        loader = self.loader()
        generation = loader.load(master_cf=True)
        self.assertEqual(generation.warnings, ())
        self.write("smtp_sasl_auth_enable = yes", "smtp_sasl_password_maps = static:a:b")
        generation = loader.load(master_cf=True)
        (warning,) = generation.warnings
        self.assertIn(f"{folder}/work.toml: this is no TOML", warning)
        self.assertEqual(generation.problem, "")
        self.assertFalse(generation.changed(loader.stamp(), self.events.append))
        (folder / "other.toml").write_text("")
        self.assertTrue(generation.changed(loader.stamp(), self.events.append))

    def test_notices_what_mends_it(self) -> None:
        """The first good edit ends a configuration that could not be used; while the file is young, that may yet change."""
        cases = {
            "main.cf": ("smtp_helo_timeout = 1y\n", None),
            "people.cf": ("smtp_generic_maps = sqlite:{directory}/people.cf\n", "dbpath =\n"),
            "list": ("use_srv_lookup = {directory}/list\n", "!\n"),
        }
        for name, (line, text) in cases.items():
            if text is not None:
                (self.directory / name).write_text(text)
                os.utime(self.directory / name, (1, 1))
            self.write(line.format(directory=self.directory))
            loader = self.loader()
            generation = loader.load(master_cf=True)
            self.assertTrue(generation.problem, name)
            self.assertFalse(generation.is_settling())
            self.assertFalse(generation.changed(loader.stamp(), self.events.append))
            with (self.directory / name).open("a") as file:
                file.write("# another line\n")
            self.assertTrue(generation.changed(loader.stamp(), self.events.append), name)
            self.assertTrue(loader.load(master_cf=True).is_settling(), name)

    def test_mail_owner(self) -> None:
        """So does an account that is not there: no process of Postfix's would start."""
        self.write("mail_owner = no-such-user")
        loader = self.loader()
        problem = loader.load(master_cf=True).problem
        text = "parameter mail_owner: unknown user name value: no-such-user"
        self.assertEqual(problem, f"{self.directory}/main.cf, line 9: {text}")

    def test_unknown_version(self) -> None:
        """Where nobody can say which Postfix this is, the error says where that was to be found."""
        (self.directory / "bin" / "postconf").write_text(POSTCONF.replace("3.7.11", "nonsense"))
        with self.assertRaises(ConfigError) as caught:
            self.loader().load(master_cf=True)
        place = f"{self.directory}/main.cf, line 2: parameter command_directory: "
        self.assertTrue(caught.exception.describe().startswith(place + "cannot find out the version of Postfix: "))

    def test_place_of_late_errors(self) -> None:
        """What is found out as parts are made names file, line and parameter, too."""
        for line, text in {
            "smtp_header_checks = x": 'parameter smtp_header_checks: open dictionary: expecting "type:name" form instead of "x"',
            "smtp_reply_filter = x": 'parameter smtp_reply_filter: open dictionary: expecting "type:name" form instead of "x"',
            "smtp_connection_cache_destinations = x:": (
                'parameter smtp_connection_cache_destinations: open dictionary: expecting "type:name" form instead of "x:"'
            ),
            "inet_interfaces = nowhere.invalid": "config variable inet_interfaces: host not found: nowhere.invalid",
        }.items():
            self.write(line)
            self.assertEqual(self.loader().load(master_cf=True).problem, f"{self.directory}/main.cf, line 9: {text}")

    def test_place_in_a_file_of_a_table(self) -> None:
        """A parameter of a table's own file is not taken for one that main.cf happens to have, too."""
        file = self.directory / "people.cf"
        file.write_text("dbpath = x\nquery = select 1\nexpansion_limit = x\n")
        self.write("expansion_limit = 1", f"smtp_generic_maps = sqlite:{file}")
        self.assertEqual(
            self.loader().load(master_cf=True).problem,
            f"{self.directory}/main.cf, line 10: parameter smtp_generic_maps: {file}: bad numerical configuration: "
            "expansion_limit = x",
        )

    def test_soundness(self) -> None:
        """Whether settings can be used is seen without opening anything; what is wrong with tables does not count."""
        loader = self.loader()
        self.write("smtp_generic_maps = sqlite:/absent, hash:/absent")
        self.assertTrue(loader.is_sound())
        for line in ("smtp_helo_timeout = 1y", "nonsense", "mail_owner = no-such-user"):
            self.write(line)
            self.assertFalse(loader.is_sound())
        (self.directory / "main.cf").unlink()
        self.assertFalse(loader.is_sound())
        self.assertEqual(self.events, [])

    def test_survey(self) -> None:
        """A supervisor gets the settings; nothing is opened, and nothing told, not even what is wrong."""
        self.write("smtp_generic_maps = hash:/absent", "smtp_helo_timeout = 1y")
        generation = self.loader().survey()
        self.assertEqual(generation.settings.queue_directory, f"{self.directory}/queue")
        self.assertEqual((generation.problem, generation.warnings, self.events), ("", (), []))
        (self.directory / "main.cf").unlink()
        self.assertRaises(ConfigError, self.loader().survey)

    def test_absent_file_has_a_stamp(self) -> None:
        """A file that is not there differs from any that is."""
        self.assertEqual(FileStamp.of(self.directory / "nothing"), FileStamp())
        self.assertNotEqual(FileStamp.of(self.table), FileStamp())

    def test_connection_cache(self) -> None:
        """Sessions are kept in the process, or shared as the command line says; or not at all."""
        for words, kind, service in (
            ((), SessionPool, ""),
            (("--connection-cache", "process"), SessionPool, ""),
            (("--connection-cache", "scache"), SharedCache, "agent"),
            (("--connection-cache", "scache:smtp"), SharedCache, "smtp"),
        ):
            generation = self.loader(*words).load(master_cf=True)
            assert isinstance(generation.agent, DeliveryAgent)
            reuse = generation.agent.parts.reuse
            assert reuse is not None
            self.assertIsInstance(reuse.cache, kind)
            self.assertEqual((reuse.keys.service, reuse.keys.fields.service), ("agent", service))
            self.assertEqual(generation.agent.parts.sessions.make_room, reuse.cache.shed)
        self.write("smtp_connection_cache_on_demand = no")
        generation = self.loader().load(master_cf=True)
        assert isinstance(generation.agent, DeliveryAgent)
        self.assertIsNone(generation.agent.parts.reuse)
        generation.make_room()
        generation.retire()
        for word in ("proces", "process:x", "scache:", ""):
            self.assertRaises(UsageError, self.loader, "--connection-cache", word)

    def test_no_sessions_are_kept_any_more(self) -> None:
        """An old generation keeps no sessions; neither does one of a service that stops."""
        for end in (Generation.retire, Generation.keep_no_sessions):
            generation = self.loader().load(master_cf=True)
            assert isinstance(generation.agent, DeliveryAgent)
            reuse = generation.agent.parts.reuse
            assert reuse is not None
            generation.make_room()
            self.assertTrue(reuse.cache.accepts)
            end(generation)
            self.assertFalse(reuse.cache.accepts)

    def test_retired_with_its_last_request(self) -> None:
        """The tables of an old generation stay open until its last request is done."""
        former = self.loader().load(master_cf=True)
        tables = WatchedTables(CONTEXT)
        layout = QueueLayout(f"{self.directory}/queue")
        services = PrivateServices(former.settings, PostfixVersion(3, 7), Reactor(), self.events.append)
        files = QueueFiles(layout, services.reporting(None), self.events.append)
        generation = Generation(former.settings, tables, former.agent, files, (), "", FileStamp())
        builder = QueueFileBuilder()
        for name in ("4Abc12", "4Abc13"):
            builder.build().write(self.directory / "queue", name)
        works = [generation.open(make_request("a@dest.example", queue_id=name)) for name in ("4Abc12", "4Abc13")]
        works[0].close()
        generation.retire()
        self.assertEqual(tables.closed, 0)
        works[1].close()
        self.assertEqual(tables.closed, 1)
