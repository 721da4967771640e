"""The private services of a Postfix, as the configuration names them.

Flow: generations.py asks for what is needed, once per configuration.
Sources: postconf(5) *_service_name, fast_flush_domains, parent_domain_matches_subdomains, smtp_delivery_status_filter,
best_mx_transport, notify_classes, connection_cache_service_name, connection_cache_protocol_timeout, tlsmgr_service_name,
ipc_timeout, ipc_idle, ipc_ttl.
"""

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint

from twisted_mta.config.settings import Settings
from twisted_mta.delivery.cache import PoolLimits, SessionPool
from twisted_mta.delivery.factory import Adopt
from twisted_mta.interfaces import TableError
from twisted_mta.ipc.client import Link, PersistentClient, Service, ServiceClient
from twisted_mta.ipc.rewrite import RewriteService
from twisted_mta.ipc.tlsmgr import LONGEST_WAIT_SECONDS, TlsManager
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Emit
from twisted_mta.postfix.flush import DomainMatch, FlushService
from twisted_mta.postfix.notices import GREETING, LONGEST_WAIT, NoticeSettings, PostmasterNotices
from twisted_mta.postfix.pass_on import PrivateTransport
from twisted_mta.postfix.reporter import RecordService, ReporterServices, StatusFilter
from twisted_mta.postfix.scache import DescriptorLink, ScacheClient, SharedCache
from twisted_mta.postfix.verify import VerifyService
from twisted_mta.tables.match_list import MatchKind
from twisted_mta.tables.opening import EXACT
from twisted_mta.tables.table_set import TableSet

REWRITE_SECONDS = 100.0
"""How long one question to trivial-rewrite(8) may take: a server waits meanwhile. Postfix waits up to ipc_timeout, an hour."""

_STATUS = (b"status",)


class PrivateServices:
    """The private services of one configuration."""

    def __init__(self, settings: Settings, version: PostfixVersion, reactor: Any, emit: Emit) -> None:
        """Prepare; no connection is made before it is needed.

        Args:
            settings: names of the services, and time limits.
            version: of the Postfix that runs them.
            reactor: makes connections.
            emit: takes events.
        """
        self._settings = settings
        self._version = version
        self._reactor = reactor
        self._emit = emit

    def reporting(self, tables: TableSet | None) -> ReporterServices:
        """Clients of bounce(8), defer(8), trace(8), verify(8) and flush(8), and the rules of reporting.

        Args:
            tables: opens those that the rules name; None: these rules are left out.

        Raises:
            ConfigError: a table cannot be used.
        """
        settings, emit = self._settings, self._emit
        verify = Service(f"private/{settings.address_verify_service_name}", Greeting.ADDRESS_VERIFICATION)
        flush = Service(f"public/{settings.flush_service_name}", Greeting.QUEUE_FLUSH)
        return ReporterServices(
            bounce=self._record(settings.bounce_service_name),
            defer=self._record(settings.defer_service_name),
            trace=self._record(settings.trace_service_name),
            verify=VerifyService(settings.address_verify_service_name, self._persistent(verify), self._reactor, emit),
            flush=None
            if tables is None
            else FlushService(settings.flush_service_name, self._one_shot(flush), self._flushed(tables), emit),
            clock=self._reactor,
            emit=emit,
            soft_bounce=settings.soft_bounce,
            negative_cache=settings.address_verify_negative_cache,
            status_filter=None if tables is None else _status_filter(settings, tables),
        )

    def notices(self) -> PostmasterNotices | None:
        """Notices to the postmaster; None: none can be wanted.

        Raises:
            ConfigError: a parameter about them cannot be used.
        """
        settings = self._settings
        notices = NoticeSettings.from_settings(settings)
        if not notices.classes:
            return None
        cleanup = Service(f"public/{settings.cleanup_service_name}", Greeting.CLEANUP, GREETING)
        client = self._one_shot(cleanup, min(LONGEST_WAIT, settings.ipc_timeout))
        return PostmasterNotices(notices, client, self._reactor, self._emit)

    def rewriting(self) -> RewriteService:
        """trivial-rewrite(8), which makes addresses canonical."""
        settings = self._settings
        path = f"private/{settings.rewrite_service_name}"
        client = self._persistent(Service(path, Greeting.REWRITE), min(REWRITE_SECONDS, settings.ipc_timeout))
        return RewriteService(path, client, self._reactor, self._emit)

    def shared_cache(self, name: str, adopt: Adopt) -> SharedCache:
        """scache(8), for idle sessions that are shared with smtp(8).

        Args:
            name: of the service in master.cf that they are shared with.
            adopt: makes sessions of connections that others have left.

        Raises:
            ConfigError: a parameter about it cannot be used.
        """
        settings = self._settings
        service = Service(f"private/{settings.connection_cache_service_name}", Greeting.CONNECTION_CACHE)
        client = self._persistent(service, settings.connection_cache_protocol_timeout, DescriptorLink)
        return SharedCache(
            ScacheClient(client, service.path),
            SessionPool(self._reactor, PoolLimits.from_settings(settings)),
            self._version,
            adopt,
            self._reactor,
            self._emit,
            seconds=settings.smtp_connection_cache_time_limit,
            service=name,
        )

    def tls_sessions(self) -> TlsManager | None:
        """tlsmgr(8), which keeps TLS sessions for all processes; None: none are to be kept."""
        settings = self._settings
        if not (settings.smtp_tls_session_cache_database and settings.smtp_tls_session_cache_timeout):
            return None
        service = Service(f"private/{settings.tlsmgr_service_name}", Greeting.TLS_MANAGER)
        client = self._persistent(service, min(LONGEST_WAIT_SECONDS, settings.ipc_timeout))
        return TlsManager(client, settings.protocol, self._reactor, self._emit)

    def best_mx_transport(self) -> PrivateTransport | None:
        """The transport of best_mx_transport; None: there is none."""
        name, _, nexthop = self._settings.best_mx_transport.partition(":")
        if not name or self._settings.protocol != "smtp":
            return None
        # What greets without naming its protocol says a status instead.
        also = () if self._version.greets else _STATUS
        client = self._one_shot(Service(f"private/{name}", Greeting.DELIVERY_REQUEST, also))
        return PrivateTransport(name, nexthop, client, self._version, self._reactor, self._emit)

    def _flushed(self, tables: TableSet) -> DomainMatch:
        name = "fast_flush_domains"
        settings = self._settings
        having_parents = "parent_domain_matches_subdomains"
        parents_match = tables.is_listed(name, having_parents, settings.parent_domain_matches_subdomains)
        return tables.match_list(name, settings.fast_flush_domains, MatchKind.DOMAIN, parents_match=parents_match).test

    def _record(self, name: str) -> RecordService:
        return RecordService(name, self._one_shot(Service(f"private/{name}", Greeting.DELIVERY_STATUS)))

    def _one_shot(self, service: Service, seconds: float | None = None) -> ServiceClient:
        seconds = seconds or self._settings.ipc_timeout
        return ServiceClient(service, self._endpoint(service), self._version, self._reactor, timeout_seconds=seconds)

    def _persistent(
        self, service: Service, seconds: float | None = None, link: Callable[[], Link] | None = None
    ) -> PersistentClient:
        settings = self._settings
        return PersistentClient(
            service,
            self._endpoint(service),
            self._version,
            self._reactor,
            timeout_seconds=seconds or settings.ipc_timeout,
            idle_seconds=settings.ipc_idle,
            ttl_seconds=settings.ipc_ttl,
            link=link,
        )

    def _endpoint(self, service: Service) -> UNIXClientEndpoint:
        path = os.path.join(self._settings.queue_directory, service.path)
        return UNIXClientEndpoint(self._reactor, path, timeout=self._settings.ipc_timeout)


def _status_filter(settings: Settings, tables: TableSet) -> StatusFilter | None:
    """What asks the tables of smtp_delivery_status_filter; None: there are none."""
    name = settings.parameter_name("smtp_delivery_status_filter")
    maps = tables.maps(name, settings.smtp_delivery_status_filter, EXACT)

    async def look_up(key: str) -> str | None:
        try:
            return await maps.find(key)
        except TableError:
            return None  # it has been told; the status stays as it is

    return look_up if maps else None
