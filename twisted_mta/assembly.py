"""One engine from one configuration: the rooms from dns/ to delivery/, wired.

Flow: generations.py and cli/ ask for an agent; the reactor is handed in.
Sources: none; this module only puts together.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.plugin import getPlugins

from twisted_mta.config.choices import DnsSupport
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.config.values import read_boolean
from twisted_mta.delivery.cache import PoolLimits, SessionPool
from twisted_mta.delivery.cache_keys import KeyRules
from twisted_mta.delivery.deliver import DeliveryAgent
from twisted_mta.delivery.dial import Dialer, DialSettings
from twisted_mta.delivery.errand import AgentParts
from twisted_mta.delivery.factory import Adopt, SessionParts, adopt
from twisted_mta.delivery.hand_over import OtherTransport
from twisted_mta.delivery.outgoing import OutgoingRules
from twisted_mta.delivery.recipients import ReportingRules
from twisted_mta.delivery.reuse import ReuseRules
from twisted_mta.delivery.witness import Notices, Witnesses
from twisted_mta.dns.cache import CachingClient
from twisted_mta.dns.client import StubResolver
from twisted_mta.dns.filter import FilteringClient
from twisted_mta.dns.native import NativeResolver
from twisted_mta.dns.probe import Probe, ProbingClient, ValidationWatch
from twisted_mta.dns.resolv_conf import ResolvConfFile
from twisted_mta.interfaces import IConnectionCache, IDNSClient, ISASLMechanismFactory, ITokenProvider
from twisted_mta.ipc.rewrite import complete_locally
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Emit
from twisted_mta.routing.own_addresses import own_addresses
from twisted_mta.routing.router import Router
from twisted_mta.routing.settings import RoutingSettings
from twisted_mta.sasl.choice import Mechanisms
from twisted_mta.session.content_rules import ContentRules, Rewrite
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.login import Helpers, LoginRules
from twisted_mta.session.session import TlsTerms
from twisted_mta.session.tables import SessionTables
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.tables.match_list import MatchKind
from twisted_mta.tables.opening import FOLDED, InThread, TableContext
from twisted_mta.tables.table_set import TableSet
from twisted_mta.tables.threads import TableThreads
from twisted_mta.tls.engine import TlsEngine
from twisted_mta.tls.loglevel import LogClass, parse_loglevel
from twisted_mta.tls.policies import TlsPolicies
from twisted_mta.tls.session_cache import SessionStore

CacheMaker = Callable[[Adopt], IConnectionCache]
"""Makes a connection cache; gets what makes sessions of connections that others have left."""


def now_microseconds() -> int:
    """The time since the epoch."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class NameService:
    """What all configurations of a process share.

    Attributes:
        client: asks name servers.
        validation: what is known of their validation.
    """

    client: IDNSClient
    validation: ValidationWatch


def build_resolver(
    reactor: Any, emit: Emit, servers: Sequence[tuple[str, int]] = (), *, cache_entries: int = 0
) -> NameService:
    """A name service client that remembers answers for as long as they last.

    Args:
        reactor: sends and receives.
        emit: takes events.
        servers: address and port of each server to ask; empty: those of resolv.conf.
        cache_entries: how many answers to remember; 0: none.
    """
    if servers:
        client: IDNSClient = StubResolver.for_servers(reactor, servers, emit)
    else:
        client = StubResolver(reactor, ResolvConfFile(reactor, emit).current, emit)
    if cache_entries:
        client = CachingClient(client, reactor, cache_entries)
    return NameService(client, ValidationWatch())


def _dns(settings: Settings, tables: TableSet, name_service: NameService, emit: Emit) -> IDNSClient:
    """The name service as one configuration wants to see it."""
    client = name_service.client
    name = settings.parameter_name("smtp_dns_reply_filter")
    filters = tables.maps(name, settings.smtp_dns_reply_filter, FOLDED)
    if filters:
        client = FilteringClient(client, filters.lookup, name, emit)
    if settings.effective_dns_support is DnsSupport.DNSSEC and (probe := Probe.parse(settings.dnssec_probe)):
        client = ProbingClient(client, probe, name_service.validation, emit)
    return client


def open_tables(
    settings: Settings,
    reactor: Any,
    emit: Emit,
    threads: InThread | None = None,
    version: Callable[[], PostfixVersion] | None = None,
) -> TableSet:
    """The place where the tables of a configuration are opened.

    Args:
        settings: says where relative names begin, and what $names in table files mean.
        reactor: for tables that use the network.
        emit: takes events.
        threads: for tables that use threads; None: threads of their own.
        version: tells of the Postfix whose proxymap(8) is asked, when one is; None: mail_version does.
    """
    return TableSet(
        TableContext(
            expanded=settings.expanded,
            config_directory=settings.config_directory or Path("/"),
            queue_directory=Path(settings.queue_directory),
            emit=emit,
            smtputf8=settings.smtputf8_enable,
            open_errors_are_fatal=settings.daemon_table_open_error_is_fatal,
            reactor=reactor,
            in_thread=threads or TableThreads(reactor),
            postfix_version=version,
        )
    )


def build_agent(
    settings: Settings,
    tables: TableSet,
    reactor: Any,
    name_service: NameService,
    emit: Emit,
    *,
    flags: str = "",
    notices: Notices | None = None,
    best_mx_transport: OtherTransport | None = None,
    chroot: bool = False,
    verbose: bool = False,
    rewrite: Rewrite | None = None,
    make_cache: CacheMaker | None = None,
    tokens: ITokenProvider | None = None,
    tls_sessions: SessionStore | None = None,
) -> DeliveryAgent:
    """An engine for one configuration.

    Args:
        settings: of the protocol to be spoken.
        tables: opens the tables that settings name.
        reactor: makes connections.
        name_service: finds hosts.
        emit: takes events.
        flags: letters, as in master.cf: D, O, R, X.
        notices: tells the postmaster of errors; None: nobody is told.
        best_mx_transport: takes mail that would loop; None: that is returned.
        chroot: whether absolute paths of sockets begin at queue_directory.
        verbose: whether the dialogs with all servers are logged.
        rewrite: completes addresses that generic maps have found; None: a simple rule does.
        make_cache: makes what keeps sessions between messages; None: a pool in this process does.
        tokens: gives access tokens for logins; None: there are none.
        tls_sessions: has TLS sessions of other processes, too; None: they are kept in this one alone.

    Raises:
        ConfigError: a parameter cannot be used.
    """
    srv_services = tables.match_list("use_srv_lookup", settings.use_srv_lookup, MatchKind.STRING)
    routing = RoutingSettings.from_settings(settings, srv_services.test if srv_services else None)
    dns = _dns(settings, tables, name_service, emit)
    own = own_addresses(settings.inet_interfaces, settings.proxy_interfaces, routing.families)
    content = ContentRules.from_settings(settings, tables, own.__contains__, rewrite or _local_rewrite(settings))
    policies = TlsPolicies.from_settings(settings, tables, dns, emit)
    dialer = Dialer(reactor, DialSettings.from_settings(settings, own, chroot=chroot))
    sessions = SessionParts(
        DialogSettings.from_settings(settings),
        TimeLimits.from_settings(settings),
        settings.smtp_line_length_limit,
        dialer,
        reactor,
        emit,
        SessionTables.from_settings(settings, tables),
        content,
        _tls_terms(settings, policies, reactor, emit, tls_sessions),
        _logins(settings, tables, reactor, own.__contains__, emit, tokens),
    )
    reuse = _reuse(settings, tables, sessions, policies, make_cache)
    if reuse is not None:
        sessions = replace(sessions, make_room=reuse.cache.shed)
    native = NativeResolver(partial(deferToThreadPool, reactor, reactor.getThreadPool()), emit)
    router = Router(routing, dns, native, own, emit, random.Random())
    is_lmtp = settings.protocol == "lmtp"
    return DeliveryAgent(
        AgentParts(
            sessions,
            routing,
            router,
            ReportingRules(settings.soft_bounce, is_lmtp and ("X" in flags or settings.lmtp_assume_final)),
            settings.relayhost,
            now_microseconds,
            _witnesses(settings, tables, notices, emit, verbose=verbose),
            best_mx_transport,
            _outgoing(settings, flags, content, emit),
            policies if policies.uses_tls else None,
            settings.minimal_backoff_time,
            reuse,
        )
    )


def _tls_terms(
    settings: Settings, policies: TlsPolicies, reactor: Any, emit: Emit, sessions: SessionStore | None
) -> TlsTerms:
    """What is the same for all servers about TLS."""
    name = "smtp_tls_block_early_mail_reply"
    return TlsTerms(
        engine=TlsEngine.from_settings(settings, emit, reactor, sessions) if policies.uses_tls else None,
        wrapper=settings.smtp_tls_wrappermode,
        notes_offer=settings.smtp_tls_note_starttls_offer,
        early_mail_parameter=settings.parameter_name(name) if settings.smtp_tls_block_early_mail_reply else "",
    )


def _logins(
    settings: Settings,
    tables: TableSet,
    reactor: Any,
    is_own_address: Callable[[str], bool],
    emit: Emit,
    tokens: ITokenProvider | None,
) -> LoginRules | None:
    """How to log in to servers; None: not at all."""
    if not settings.smtp_sasl_auth_enable:
        return None
    plugins = tuple(getPlugins(ISASLMechanismFactory))
    if not plugins:
        raise ConfigError("no SASL mechanisms are installed: twisted/plugins/smtpdeliver_sasl.py is missing")
    in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
    helpers = Helpers(emit, time.time, in_thread, tokens)
    return LoginRules.from_settings(settings, tables, Mechanisms(plugins), is_own_address, helpers)


def _reuse(
    settings: Settings,
    tables: TableSet,
    sessions: SessionParts,
    policies: TlsPolicies,
    make_cache: CacheMaker | None,
) -> ReuseRules | None:
    """Which sessions are kept for the next message; None: none ever."""
    name = "smtp_connection_cache_destinations"
    listed = tables.match_list(settings.parameter_name(name), getattr(settings, name), MatchKind.STRING)
    if not listed and not settings.smtp_connection_cache_on_demand:
        return None
    if make_cache is None:
        cache: IConnectionCache = SessionPool(sessions.clock, PoolLimits.from_settings(settings))
    else:
        cache = make_cache(partial(adopt, sessions))
    has_logins = bool(settings.smtp_sasl_password_maps)
    keys = KeyRules(
        settings.service_name,
        settings.smtp_helo_name,
        by_login=has_logins,
        by_sender=has_logins and settings.smtp_sender_dependent_authentication,
        sources=sessions.dialer.settings.bind or {},
        fields=cache.key_fields,
    )
    return ReuseRules(
        cache,
        keys,
        sessions.clock,
        listed.test if listed else None,
        settings.smtp_connection_cache_on_demand,
        settings.smtp_connection_reuse_time_limit,
        settings.smtp_connection_reuse_count_limit,
        sessions.logins,
        policies.uses_tls,
        bool(parse_loglevel(settings.smtp_tls_loglevel, lambda event: None) & LogClass.SUMMARY),
    )


def _local_rewrite(settings: Settings) -> Rewrite:
    """What completes addresses where there is no trivial-rewrite(8); it reads these two, too."""
    name = "append_dot_mydomain"
    append_domain = read_boolean(name, settings.expanded(name) or "no")
    return complete_locally(settings.myorigin, settings.mydomain if append_domain else "")


def _outgoing(settings: Settings, flags: str, content: ContentRules, emit: Emit) -> OutgoingRules | None:
    """What flags and generic maps change in a request; None: nothing."""
    changing = frozenset(flags) & frozenset("DOR")
    if not changing and not content.settings.maps_addresses:
        return None
    return OutgoingRules(emit, settings.service_name, changing, content, settings.smtputf8_enable)


def _witnesses(
    settings: Settings, tables: TableSet, notices: Notices | None, emit: Emit, *, verbose: bool
) -> Witnesses | None:
    """Who may want to overhear sessions; None: nobody ever."""
    name, having_parents = "debug_peer_list", "parent_domain_matches_subdomains"
    parents_match = tables.is_listed(name, having_parents, settings.parent_domain_matches_subdomains)
    peers = settings.debug_peer_list
    listed = tables.match_list(name, peers, MatchKind.NAME_OR_ADDRESS, parents_match=parents_match)
    watched = (lambda *_: True) if verbose else listed.test if listed else None
    if not watched and notices is None:
        return None
    limit, utf8 = settings.line_length_limit, settings.smtputf8_enable
    return Witnesses(notices, watched, limit, utf8, emit)
