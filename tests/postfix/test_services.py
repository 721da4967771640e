"""The private services that a configuration names."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.messages import make_request
from twisted_mta.config.settings import load_settings
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Event, TableLookupFailed
from twisted_mta.postfix.services import PrivateServices
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet


class ServicesTests(SynchronousTestCase):
    """What is made of the parameters."""

    def services(self, protocol: str = "smtp", **values: str) -> PrivateServices:
        """The services of a configuration."""
        self.events: list[Event] = []
        self.reactor: Any = MemoryReactorClock()
        overrides = {"myhostname": "c.example", "queue_directory": "/q", **values}
        settings = load_settings(None, protocol=protocol, overrides=list(overrides.items()))
        self.tables = TableSet(TableContext(settings.expanded, Path("/"), Path("/q"), self.events.append))
        return PrivateServices(settings, PostfixVersion(3, 9), self.reactor, self.events.append)

    def paths(self) -> list[str]:
        """The sockets that were connected to."""
        return [client[0] for client in self.reactor.unixClients]

    def filtered(self, key: str, protocol: str = "smtp", **values: str) -> str | None:
        """What the delivery status filter makes of a status."""
        look_up = self.services(protocol, **values).reporting(self.tables).status_filter
        assert look_up is not None
        return self.successResultOf(look_up(key))  # type: ignore[arg-type] # it is a coroutine

    def test_names(self) -> None:
        """Services may have other names; they are below queue_directory."""
        services = self.services(bounce_service_name="b", defer_service_name="d", trace_service_name="t")
        reporting = services.reporting(self.tables)
        self.assertEqual([reporting.bounce.name, reporting.defer.name, reporting.trace.name], ["b", "d", "t"])
        Deferred.fromCoroutine(reporting.defer.client.ask(b"\0", lambda reply: None))
        self.assertEqual(self.paths(), ["/q/private/d"])

    def test_no_status_filter(self) -> None:
        """Most configurations have none, and pay nothing for it."""
        self.assertIsNone(self.services().reporting(self.tables).status_filter)

    def test_status_filter(self) -> None:
        """The tables in order; the default of both protocols; keys count as they are."""
        tables = "inline:{a=4.1.1}, inline:{a=5.5.5, b=4.2.2}"
        self.assertEqual(self.filtered("a", smtp_delivery_status_filter=tables), "4.1.1")
        self.assertEqual(self.filtered("b", smtp_delivery_status_filter=tables), "4.2.2")
        self.assertIsNone(self.filtered("A", smtp_delivery_status_filter=tables))
        self.assertEqual(self.filtered("a", default_delivery_status_filter="static:{4.9.9 x}"), "4.9.9 x")
        self.assertEqual(self.filtered("a", "lmtp", default_delivery_status_filter="static:{4.9.9 x}"), "4.9.9 x")
        self.assertEqual(
            self.filtered(
                "a",
                "lmtp",
                lmtp_delivery_status_filter="static:1",
            ),
            "1",
        )

    def test_status_filter_that_fails(self) -> None:
        """A table that fails is told, and the status stays as it is."""
        self.assertIsNone(self.filtered("4.1.1 x", smtp_delivery_status_filter="fail:no, static:4.2.2"))
        self.assertEqual(self.events, [TableLookupFailed("fail:no", "4.1.1 x")])

    def test_flushed_domains(self) -> None:
        """fast_flush_domains is a list of patterns, files and tables; parents match where the parameter says so."""
        for values, domain, asked in (
            ({"fast_flush_domains": "example.com"}, "a.example.com", True),
            ({"fast_flush_domains": "!a.example.com example.com"}, "a.example.com", False),
            ({"fast_flush_domains": "example.com", "parent_domain_matches_subdomains": ""}, "a.example.com", False),
            ({"fast_flush_domains": "inline:{example.com=x}"}, "a.example.com", True),
            (
                {"fast_flush_domains": "example", "parent_domain_matches_subdomains": "inline:{fast_flush_domains=x}"},
                "a.example",
                True,
            ),
            ({"relay_domains": "example.com"}, "Example.COM", True),
            ({}, "example.com", False),
        ):
            flush = self.services(**values).reporting(self.tables).flush
            assert flush is not None
            Deferred.fromCoroutine(flush.add(f"u@{domain}", "4Abc12"))
            self.assertEqual(self.paths(), ["/q/public/flush"] * asked, values)

    def test_without_tables(self) -> None:
        """Where a table cannot be used, mail is still deferred."""
        reporting = self.services(smtp_delivery_status_filter="static:4.2.2").reporting(None)
        self.assertIsNone(reporting.status_filter)
        self.assertIsNone(reporting.flush)

    def test_notices(self) -> None:
        """Only where a class is wanted that we know."""
        self.assertIsNone(self.services().notices())
        self.assertIsNotNone(self.services(notify_classes="data").notices())

    def test_best_mx_transport(self) -> None:
        """A transport, and perhaps a destination for it; in SMTP alone."""
        self.assertIsNone(self.services().best_mx_transport())
        self.assertIsNone(self.services("lmtp", best_mx_transport="local").best_mx_transport())
        transport = self.services(best_mx_transport="local:a:b").best_mx_transport()
        assert transport is not None
        request = make_request("a@d.test")
        Deferred.fromCoroutine(transport.hand_over(request, request.recipients[0]))
        self.assertEqual((transport.name, self.paths()), ("local", ["/q/private/local"]))
