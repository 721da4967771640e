"""What each parameter does that concerns the other services of Postfix, its logs, and its notices.

Each test is named after its parameter, and fails if that has its default: ``python -m tests.kit.forced_default`` sees to that.
"""

import os
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.attributes import ServedConnection
from tests.kit.messages import make_request
from tests.postfix.test_notices import lines_of
from twisted_mta.assembly import open_tables
from twisted_mta.config.settings import load_settings
from twisted_mta.delivery.cache_keys import DestinationKey
from twisted_mta.ipc.attributes import AttributeList, encode
from twisted_mta.ipc.client import ServiceError
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Event, RecipientLogged, Severity
from twisted_mta.model.request import Recipient, RequestFlags
from twisted_mta.model.result import Fate, RecipientResult
from twisted_mta.postfix.notices import NoticeSettings, encode_message
from twisted_mta.postfix.postlog import DatagramLog, open_log
from twisted_mta.postfix.reporter import PostfixReporter
from twisted_mta.postfix.services import PrivateServices
from twisted_mta.postfix.verify import ProbeOutcome
from twisted_mta.session.transcript import Transcript
from twisted_mta.tables.table_set import TableSet

VERSION = PostfixVersion(3, 9)
REFUSED = DsnStatus("5.1.1", "no such user")
SECONDS = 7


class ParameterTestCase(SynchronousTestCase):
    """The services of a configuration, which nobody serves until a test does."""

    def services(self, **parameters: str) -> PrivateServices:
        """Those of a configuration."""
        self.events: list[Event] = []
        self.reactor: Any = MemoryReactorClock()
        main_cf = {"myhostname": "c.example", "queue_directory": "/q", **parameters}
        self.settings = load_settings(None, overrides=list(main_cf.items()))
        return PrivateServices(self.settings, VERSION, self.reactor, self.events.append)

    def tables(self, **parameters: str) -> TableSet:
        """The tables of a configuration."""
        self.services(**parameters)
        return open_tables(self.settings, self.reactor, self.events.append)

    def begin(self, asked: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Ask something; how it ends does not matter."""
        asking = Deferred.fromCoroutine(asked)
        asking.addErrback(lambda _: None)
        self.addCleanup(asking.cancel)
        return asking

    @property
    def path(self) -> str:
        """The socket that was connected to."""
        return str(self.reactor.unixClients[-1][0])

    def serve(self, greeting: Greeting, *answer: tuple[str, str | int]) -> ServedConnection:
        """Take the last connection, and give each request the same answer; without one, none."""

        def give(request: AttributeList) -> bytes | None:
            return encode(answer) if answer else None

        protocol = self.reactor.unixClients[-1][1].buildProtocol(UNIXAddress(None))
        connection = ServedConnection(protocol, VERSION.greeting(greeting), give)
        connection.greet()
        return connection


class EffectTests(ParameterTestCase):
    """One test a parameter."""

    # ---- sockets ----

    def test_queue_directory(self) -> None:
        """Where all of them are."""
        self.begin(self.services(queue_directory="/elsewhere").reporting(None).defer.client.ask(b"\0", str))
        self.assertEqual(self.path, "/elsewhere/private/defer")

    def test_bounce_service_name(self) -> None:
        """What could not be delivered."""
        self.begin(self.services(bounce_service_name="other").reporting(None).bounce.client.ask(b"\0", str))
        self.assertEqual(self.path, "/q/private/other")

    def test_defer_service_name(self) -> None:
        """What could not be delivered yet."""
        self.begin(self.services(defer_service_name="other").reporting(None).defer.client.ask(b"\0", str))
        self.assertEqual(self.path, "/q/private/other")

    def test_trace_service_name(self) -> None:
        """What was delivered."""
        self.begin(self.services(trace_service_name="other").reporting(None).trace.client.ask(b"\0", str))
        self.assertEqual(self.path, "/q/private/other")

    def test_address_verify_service_name(self) -> None:
        """What was found out about addresses."""
        verify = self.services(address_verify_service_name="other").reporting(None).verify
        self.begin(verify.update(Recipient("a@d.example"), ProbeOutcome.OK, "250 ok"))
        self.assertEqual(self.path, "/q/private/other")

    def flushed(self, domain: str, **parameters: str) -> list[str]:
        """The sockets that are told that mail for a domain waits."""
        services = self.services(**parameters)
        flush = services.reporting(open_tables(self.settings, self.reactor, self.events.append)).flush
        assert flush is not None
        self.begin(flush.add(f"a@{domain}", "4Abc12"))
        return [client[0] for client in self.reactor.unixClients]

    def test_flush_service_name(self) -> None:
        """Which mail waits for a domain."""
        names = {"flush_service_name": "other", "fast_flush_domains": "d.example"}
        self.assertEqual(self.flushed("d.example", **names), ["/q/public/other"])

    def test_fast_flush_domains(self) -> None:
        """For which domains that is kept."""
        self.assertEqual(self.flushed("d.example", fast_flush_domains="d.example"), ["/q/public/flush"])

    def test_relay_domains(self) -> None:
        """By default for these."""
        self.assertEqual(self.flushed("d.example", relay_domains="d.example"), ["/q/public/flush"])

    def test_parent_domain_matches_subdomains(self) -> None:
        """Without it subdomains are domains of their own."""
        lists = {"fast_flush_domains": "example", "parent_domain_matches_subdomains": ""}
        self.assertEqual(self.flushed("d.example", **lists), [])

    def test_cleanup_service_name(self) -> None:
        """Who takes notices."""
        notices = self.services(cleanup_service_name="other", notify_classes="data").notices()
        assert notices is not None
        self.begin(notices.send("mx.example", Transcript()))
        self.assertEqual(self.path, "/q/public/other")

    def test_rewrite_service_name(self) -> None:
        """Who completes addresses."""
        self.services(rewrite_service_name="other").rewriting()("a")
        self.assertEqual(self.path, "/q/private/other")

    def test_best_mx_transport(self) -> None:
        """Who takes mail that is for this very host."""
        transport = self.services(best_mx_transport="other").best_mx_transport()
        assert transport is not None
        request = make_request("a@d.example")
        self.begin(transport.hand_over(request, request.recipients[0]))
        self.assertEqual(self.path, "/q/private/other")

    def test_proxymap_service_name(self) -> None:
        """Who opens tables for us."""
        self.tables(proxymap_service_name="other").open("proxy:hash:/x").lookup("key")
        self.assertEqual(self.path, "/q/private/other")

    def test_proxywrite_service_name(self) -> None:
        """Who opens tables for us to write."""
        self.tables(proxywrite_service_name="other").open_writable("proxy:btree:/x").update("key", "value")
        self.assertEqual(self.path, "/q/private/other")

    def test_import_environment(self) -> None:
        """What the environment is said to be."""
        self.assertEqual(self.tables(import_environment="some=thing").open("environ:x").lookup("some"), "thing")

    def lend(self, **parameters: str) -> Deferred[Any]:
        """Ask for a connection that others have left."""
        cache = self.services(**parameters).shared_cache("smtp", lambda *_: self.fail("there is none"))
        return self.begin(_awaited(cache.lend(DestinationKey("d.example"))))

    def test_connection_cache_service_name(self) -> None:
        """Who keeps connections for all."""
        self.lend(connection_cache_service_name="other")
        self.assertEqual(self.path, "/q/private/other")

    # ---- time limits ----

    def test_connection_cache_protocol_timeout(self) -> None:
        """Of the cache: mail does not wait for it."""
        lent = self.lend(connection_cache_protocol_timeout=f"{SECONDS}s")
        self.serve(Greeting.CONNECTION_CACHE)
        self.reactor.advance(SECONDS - 1)
        self.assertNoResult(lent)
        self.reactor.advance(1)
        self.assertIsNone(self.successResultOf(lent))

    def test_ipc_timeout(self) -> None:
        """Of all others."""
        client = self.services(ipc_timeout=f"{SECONDS}s").reporting(None).defer.client
        asked = Deferred.fromCoroutine(client.ask(b"\0", str))
        self.serve(Greeting.DELIVERY_STATUS)
        self.reactor.advance(SECONDS - 1)
        self.assertNoResult(asked)
        self.reactor.advance(1)
        self.failureResultOf(asked, ServiceError)

    def rewriting(self, **parameters: str) -> tuple[Any, ServedConnection]:
        """A service that has been asked once, and its connection."""
        rewrite = self.services(**parameters).rewriting()
        asked: Any = rewrite("a")
        connection = self.serve(Greeting.REWRITE, ("flags", 0), ("address", "a@c.example"))
        self.assertEqual(self.successResultOf(asked), "a@c.example")
        return rewrite, connection

    def test_ipc_idle(self) -> None:
        """So long a connection is kept."""
        _, connection = self.rewriting(ipc_idle="50s")
        self.reactor.advance(49)
        self.assertFalse(connection.transport.disconnecting)
        self.reactor.advance(2)
        self.assertTrue(connection.transport.disconnecting)

    def test_ipc_ttl(self) -> None:
        """So long it is used."""
        rewrite, connection = self.rewriting(ipc_idle="100s", ipc_ttl="50s")
        self.reactor.advance(30)
        self.successResultOf(rewrite("b"))
        self.reactor.advance(30)
        rewrite("c")
        self.assertTrue(connection.transport.disconnecting)

    # ---- results ----

    def reported(self, fate: Fate, flags: RequestFlags, **parameters: str) -> str:
        """What is logged of a recipient, if all services do as they are told."""
        services = self.services(**parameters)
        reporting = services.reporting(open_tables(self.settings, self.reactor, self.events.append))
        request = make_request("a@d.example", flags=flags)
        reporter = PostfixReporter(reporting, request, lambda offset: None)
        result = RecipientResult(request.recipients[0], fate, REFUSED, "none", request.stats)
        self.addCleanup(reporter.report(result).addErrback(lambda _: None).cancel)
        while self.reactor.unixClients and not self.logged:
            greeting = Greeting.ADDRESS_VERIFICATION if "verify" in self.path else Greeting.DELIVERY_STATUS
            self.serve(greeting, ("status", 0))
        return self.logged

    @property
    def logged(self) -> str:
        """The word and the status of the delivery line."""
        lines = [event for event in self.events if isinstance(event, RecipientLogged)]
        return f"{lines[0].word} {lines[0].result.dsn.status}" if lines else ""

    def test_soft_bounce(self) -> None:
        """What would be returned waits."""
        logged = self.reported(Fate.BOUNCED, RequestFlags.SUCCESS, soft_bounce="yes")
        self.assertEqual(logged, "SOFTBOUNCE 4.1.1")

    def test_address_verify_negative_cache(self) -> None:
        """With no, an address that does not exist is not kept."""
        logged = self.reported(Fate.BOUNCED, RequestFlags.MTA_VRFY, address_verify_negative_cache="no")
        self.assertEqual(logged, "undeliverable-but-not-cached 5.1.1")

    def test_smtp_delivery_status_filter(self) -> None:
        """A table says what the status should have been."""
        table = "static:{4.7.9 wait}"
        logged = self.reported(Fate.BOUNCED, RequestFlags.SUCCESS, smtp_delivery_status_filter=table)
        self.assertEqual(logged, "deferred 4.7.9")

    def test_default_delivery_status_filter(self) -> None:
        """The same for all transports."""
        table = "static:{4.7.9 wait}"
        logged = self.reported(Fate.BOUNCED, RequestFlags.SUCCESS, default_delivery_status_filter=table)
        self.assertEqual(logged, "deferred 4.7.9")

    # ---- notices ----

    def sent_notice(self, **parameters: str) -> bytes:
        """A notice to the postmaster as it is sent."""
        self.services(notify_classes="data", **parameters)
        return encode_message(NoticeSettings.from_settings(self.settings), "mx.example", Transcript(), "Q", 0.0)

    def notice(self, **parameters: str) -> list[str]:
        """Its lines."""
        return list(lines_of(self.sent_notice(**parameters)))

    def flags(self, **parameters: str) -> int:
        """What cleanup(8) is told to do with it."""
        name, value, *_ = self.sent_notice(**parameters).split(b"\0")
        self.assertEqual(name, b"flags")
        return int(value)

    def test_notify_classes(self) -> None:
        """Which errors are worth one."""
        self.assertIsNotNone(self.services(notify_classes="data").notices())

    def test_error_notice_recipient(self) -> None:
        """Who gets it."""
        self.assertIn("To: Postmaster <someone>", self.notice(error_notice_recipient="someone"))

    def test_mail_name(self) -> None:
        """What writes it."""
        self.assertIn("Subject: Other SMTP client: errors from mx.example", self.notice(mail_name="Other"))

    def test_header_from_format(self) -> None:
        """How the sender looks."""
        lines = self.notice(header_from_format="obsolete")
        self.assertIn("From: MAILER-DAEMON@c.example (Mail Delivery System)", lines)

    def test_internal_mail_filter_classes(self) -> None:
        """Whether content filters see it."""
        self.assertEqual(self.flags(internal_mail_filter_classes="notify") - self.flags(), 66)

    def test_smtputf8_autodetect_classes(self) -> None:
        """Whether its need of SMTPUTF8 is found out."""
        self.assertEqual(self.flags(smtputf8_autodetect_classes="notify") - self.flags(), 512)

    # ---- the log ----

    def log_line(self, name: str = "postlog", **parameters: str) -> str:
        """A line as postlogd(8) gets it, at a socket of this name."""
        directory = Path(self.mktemp())
        (directory / "public").mkdir(parents=True)
        parameters = {"maillog_file": "/var/log/mail", **parameters, "queue_directory": str(directory)}
        self.services(**parameters)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.setblocking(False)
            listening.bind(str(directory / "public" / name))
            log = open_log(self.settings, "smtp", self.reactor)
            self.addCleanup(log.close)
            log.write(Severity.INFO, "text")
            return listening.recv(4096).decode()

    def test_maillog_file(self) -> None:
        """Lines go to postlogd(8)."""
        self.assertTrue(self.log_line(maillog_file="/var/log/other").endswith(f"postfix/smtp[{os.getpid()}]: text"))

    def test_maillog_file_prefixes(self) -> None:
        """Where the file may be."""
        self.log_line(maillog_file="/elsewhere/log", maillog_file_prefixes="/elsewhere")

    def test_postlog_service_name(self) -> None:
        """Where postlogd(8) is."""
        self.assertIn("text", self.log_line("other", postlog_service_name="other"))

    def test_syslog_name(self) -> None:
        """How lines begin."""
        self.assertIn(" other/smtp[", self.log_line(syslog_name="other"))

    def test_multi_instance_name(self) -> None:
        """By default so."""
        self.assertIn(" other/smtp[", self.log_line(multi_instance_name="other"))

    def test_syslog_facility(self) -> None:
        """What syslog is told of the origin."""
        self.services(syslog_facility="local3")
        log = open_log(self.settings, "smtp", self.reactor)
        self.addCleanup(log.close)
        assert isinstance(log, DatagramLog)
        self.assertTrue(log._format.line(Severity.INFO, "text").startswith(b"<158>"))


async def _awaited(found: Any) -> Any:
    """What an interface gives, at once or later."""
    return await found if isinstance(found, Deferred) else found
