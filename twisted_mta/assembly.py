"""One engine from one configuration: the rooms from dns/ to delivery/, wired.

Flow: generations.py and cli/ ask for an agent; the reactor is handed in.
Sources: none; this module only puts together.
"""

import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThreadPool

from twisted_mta.config.settings import Settings
from twisted_mta.delivery.deliver import AgentParts, DeliveryAgent
from twisted_mta.delivery.dial import Dialer, DialSettings
from twisted_mta.delivery.factory import SessionParts
from twisted_mta.delivery.hand_over import OtherTransport
from twisted_mta.delivery.recipients import ReportingRules
from twisted_mta.delivery.witness import Notices, Witnesses
from twisted_mta.dns.cache import CachingClient
from twisted_mta.dns.client import StubResolver
from twisted_mta.dns.native import NativeResolver
from twisted_mta.dns.resolv_conf import ResolvConfFile
from twisted_mta.interfaces import IDNSClient
from twisted_mta.model.events import Emit
from twisted_mta.routing.own_addresses import own_addresses
from twisted_mta.routing.router import Router
from twisted_mta.routing.settings import RoutingSettings
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.tables import SessionTables
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.tables.match_list import MatchKind
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet


def now_microseconds() -> int:
    """The time since the epoch."""
    return time.time_ns() // 1000


def build_resolver(reactor: Any, emit: Emit, servers: Sequence[tuple[str, int]] = ()) -> IDNSClient:
    """A name service client that remembers answers for as long as they last.

    Args:
        reactor: sends and receives.
        emit: takes events.
        servers: address and port of each server to ask; empty: those of resolv.conf.
    """
    if servers:
        return StubResolver.for_servers(reactor, servers, emit)
    return CachingClient(StubResolver(reactor, ResolvConfFile(reactor, emit).current, emit), reactor)


def open_tables(settings: Settings, reactor: Any, emit: Emit) -> TableSet:
    """The place where the tables of a configuration are opened.

    Args:
        settings: says where relative names begin, and what $names in table files mean.
        reactor: for tables that use the network or threads.
        emit: takes events.
    """
    in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
    return TableSet(
        TableContext(
            expanded=settings.expanded,
            config_directory=settings.config_directory or Path("/"),
            queue_directory=Path(settings.queue_directory),
            emit=emit,
            smtputf8=settings.smtputf8_enable,
            open_errors_are_fatal=settings.daemon_table_open_error_is_fatal,
            reactor=reactor,
            in_thread=in_thread,
        )
    )


def build_agent(
    settings: Settings,
    tables: TableSet,
    reactor: Any,
    dns: IDNSClient,
    emit: Emit,
    *,
    final_delivery: bool = False,
    notices: Notices | None = None,
    best_mx_transport: OtherTransport | None = None,
) -> DeliveryAgent:
    """An engine for one configuration.

    Args:
        settings: of the protocol to be spoken.
        tables: opens the tables that settings name.
        reactor: makes connections.
        dns: finds hosts.
        emit: takes events.
        final_delivery: whether LMTP servers deliver for good (flag X).
        notices: tells the postmaster of errors; None: nobody is told.
        best_mx_transport: takes mail that would loop; None: that is returned.

    Raises:
        ConfigError: a parameter cannot be used.
    """
    routing = RoutingSettings.from_settings(settings)
    own = own_addresses(settings.inet_interfaces, settings.proxy_interfaces, routing.families)
    sessions = SessionParts(
        DialogSettings.from_settings(settings),
        TimeLimits.from_settings(settings),
        settings.smtp_line_length_limit,
        Dialer(reactor, DialSettings.from_settings(settings, own)),
        reactor,
        emit,
        SessionTables.from_settings(settings, tables),
    )
    native = NativeResolver(partial(deferToThreadPool, reactor, reactor.getThreadPool()), emit)
    router = Router(routing, dns, native, own, emit, random.Random())
    is_lmtp = settings.protocol == "lmtp"
    return DeliveryAgent(
        AgentParts(
            sessions,
            routing,
            router,
            ReportingRules(settings.soft_bounce, is_lmtp and (final_delivery or settings.lmtp_assume_final)),
            settings.relayhost,
            now_microseconds,
            _witnesses(settings, tables, notices, emit),
            best_mx_transport,
        )
    )


def _witnesses(settings: Settings, tables: TableSet, notices: Notices | None, emit: Emit) -> Witnesses | None:
    """Who may want to overhear sessions; None: nobody ever."""
    name = "debug_peer_list"
    watched = tables.match_list(
        name,
        settings.debug_peer_list,
        MatchKind.NAME_OR_ADDRESS,
        parents_match=name in settings.parent_domain_matches_subdomains,
    )
    if not watched and notices is None:
        return None
    limit, utf8 = settings.line_length_limit, settings.smtputf8_enable
    return Witnesses(notices, watched.test if watched else None, limit, utf8, emit)
