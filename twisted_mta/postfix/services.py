"""The private services that reports go to, as the configuration names them.

Flow: service.py asks for them once per configuration.
Sources: postconf(5) *_service_name, fast_flush_domains, parent_domain_matches_subdomains, ipc_timeout, ipc_idle, ipc_ttl.
"""

import os
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint

from twisted_mta.config.settings import Settings
from twisted_mta.ipc.client import PersistentClient, Service, ServiceClient
from twisted_mta.ipc.version import Greeting, PostfixVersion
from twisted_mta.model.events import Emit
from twisted_mta.postfix.flush import FlushService, literal_domains
from twisted_mta.postfix.reporter import RecordService, ReporterServices
from twisted_mta.postfix.verify import VerifyService


def reporter_services(settings: Settings, version: PostfixVersion, reactor: Any, emit: Emit) -> ReporterServices:
    """Clients of bounce(8), defer(8), trace(8), verify(8) and flush(8).

    Args:
        settings: their names, and the rules of reporting.
        version: of the Postfix that runs them.
        reactor: makes connections.
        emit: takes events.
    """

    def endpoint(service: Service) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(
            reactor, os.path.join(settings.queue_directory, service.path), timeout=settings.ipc_timeout
        )

    def one_shot(service: Service) -> ServiceClient:
        return ServiceClient(service, endpoint(service), version, reactor, timeout_seconds=settings.ipc_timeout)

    def record(name: str) -> RecordService:
        return RecordService(name, one_shot(Service(f"private/{name}", Greeting.DELIVERY_STATUS)))

    verify = Service(f"private/{settings.address_verify_service_name}", Greeting.ADDRESS_VERIFICATION)
    verify_client = PersistentClient(
        verify,
        endpoint(verify),
        version,
        reactor,
        timeout_seconds=settings.ipc_timeout,
        idle_seconds=settings.ipc_idle,
        ttl_seconds=settings.ipc_ttl,
    )
    flush = Service(f"public/{settings.flush_service_name}", Greeting.QUEUE_FLUSH)
    matches = literal_domains(
        settings.fast_flush_domains,
        parents_match="fast_flush_domains" in settings.parent_domain_matches_subdomains,
        parameter="fast_flush_domains",
        emit=emit,
    )
    return ReporterServices(
        bounce=record(settings.bounce_service_name),
        defer=record(settings.defer_service_name),
        trace=record(settings.trace_service_name),
        verify=VerifyService(settings.address_verify_service_name, verify_client, reactor, emit),
        flush=FlushService(settings.flush_service_name, one_shot(flush), matches, emit),
        clock=reactor,
        emit=emit,
        soft_bounce=settings.soft_bounce,
        negative_cache=settings.address_verify_negative_cache,
        status_filter_name=settings.parameter_name("smtp_delivery_status_filter"),
    )
