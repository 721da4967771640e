"""The TLS engine: what all handshakes of a configuration share, and the preparation of each.

Flow: assembly.py makes one from the settings; session/ asks it for a Handshake once the server is ready for TLS.
Sources: TLS_README; postconf(5) for the parameters named in `TlsEngine.from_settings`; RFC 6066 section 3 (SNI).
"""

import functools

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IReactorTime

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Emit, Event
from twisted_mta.model.tls_events import (
    AllAssociationsUnusable,
    AssociationUnusable,
    CipherListChosen,
    OpensslConfigurationWaits,
    RawPublicKeysUnsupported,
    ServerNameSent,
    TlsDisabled,
    TlsEngineStarted,
    TlsLibraryLacks,
    TlsSetUp,
    TlsStartProblem,
)
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.authorities import Authorities, AuthoritiesError
from twisted_mta.tls.ciphers import cipher_lists
from twisted_mta.tls.client_certificates import ClientCertificates, ClientCertificatesError
from twisted_mta.tls.contexts import Contexts, Shape, ShapeError
from twisted_mta.tls.debug import dumping_connection, tell_steps
from twisted_mta.tls.demands import Demands, demands_of
from twisted_mta.tls.groups import usable_groups
from twisted_mta.tls.handshake import Handshake, Shared, Wanted
from twisted_mta.tls.library import Connection, clear_errors, missing, note_signatures
from twisted_mta.tls.loglevel import LogClass, parse_loglevel
from twisted_mta.tls.openssl_conf import OpensslConfiguration
from twisted_mta.tls.openssl_start import is_in_force
from twisted_mta.tls.options import option_bits
from twisted_mta.tls.policy import TlsPolicy
from twisted_mta.tls.rules import VerificationRules
from twisted_mta.tls.session_cache import SessionCache, SessionKey, SessionStore
from twisted_mta.tls.session_scope import authorities_digest, scope_of
from twisted_mta.tls.telling import tell_library_errors

__all__ = ["Handshake", "TlsEngine", "TlsStartError"]

LONGEST_SERVER_NAME = 255
"""Octets of a name that can be asked for."""


_ABOUT_RECORDS = (AllAssociationsUnusable, AssociationUnusable)


class TlsStartError(Exception):
    """A handshake cannot begin: a setting is wrong, which has been told."""


class TlsEngine:
    """Prepares handshakes.

    Attributes:
        fast_shutdown: whether the server's farewell is not waited for (tls_fast_shutdown_enable).
        may_wait: whether `begin` may have to wait.
    """

    def __init__(
        self, contexts: Contexts, shared: Shared, service: str, scope: str = "", *, fast_shutdown: bool = True
    ) -> None:
        """Take what was made ready.

        Args:
            contexts: for each shape of policy.
            shared: what all handshakes have in common.
            service: our name, for the keys of sessions.
            scope: the digest of what all sessions have in common; empty: they stay in this engine.
            fast_shutdown: whether the server's farewell is not waited for.
        """
        self.fast_shutdown = fast_shutdown
        self.may_wait = shared.cache is not None and shared.cache.has_store
        self._contexts = contexts
        self._shared = shared
        self._service = service
        self._scope = scope

    @classmethod
    def from_settings(
        cls, settings: Settings, emit: Emit, clock: IReactorTime, store: SessionStore | None = None
    ) -> "TlsEngine | None":
        """Make an engine.

        Args:
            settings: for the parameters of TLS.
            emit: takes events, also those of handshakes.
            clock: for the age of sessions.
            store: has sessions of other processes, too; None: there is none.

        Returns:
            The engine; None: there can be no TLS with these settings, which has been told.
        """
        loglevel = settings.parameter_name("smtp_tls_loglevel")
        classes = parse_loglevel(settings.smtp_tls_loglevel, emit, loglevel)
        if classes & LogClass.VERBOSE:
            emit(TlsEngineStarted())
            if settings.smtp_tls_enable_rpk:
                # No more than that: Postfix, too, goes without where its library has no such keys.
                emit(RawPublicKeysUnsupported(settings.parameter_name("smtp_tls_enable_rpk")))
        rules = VerificationRules.from_settings(settings, classes, emit) if _has_library_for(settings, emit) else None
        if rules is None:
            return None
        options = option_bits(settings, emit)
        trusted = authorities_digest(settings) if store is not None else None
        try:
            authorities = Authorities.from_settings(settings, emit)
            certificates = ClientCertificates.from_settings(settings, emit)
        except (AuthoritiesError, ClientCertificatesError):
            return None
        groups = usable_groups((*settings.tls_eecdh_auto_curves, *settings.tls_ffdhe_auto_groups), emit)
        scope = scope_of(settings, certificates, trusted) if trusted is not None else ""
        cache = SessionCache.from_settings(settings, clock, store if scope else None)
        prepare = functools.partial(_prepare, rules, authorities, certificates, cache, emit)
        contexts = Contexts(cipher_lists(settings), groups, options, prepare)
        shared = Shared(
            rules,
            Wanted.of(classes),
            cache,
            settings.protocol,
            certificates.rsa_bits,
            dumping_connection(classes, emit),
            emit,
        )
        return cls(contexts, shared, settings.service_name, scope, fast_shutdown=settings.tls_fast_shutdown_enable)

    async def begin(self, policy: TlsPolicy, peer: Peer, ehlo_name: str) -> Handshake:
        """Prepare a handshake.

        Args:
            policy: what is demanded of the server.
            peer: the server.
            ehlo_name: how it called itself in its reply to EHLO; empty: it has not said.

        Returns:
            The handshake, whose connection is ready.

        Raises:
            TlsStartError: a setting is wrong, which has been told.
        """
        shared = self._shared
        if shared.wanted.verbose:
            shared.emit(TlsSetUp(peer.relay.lower()))
        remarks: list[Event] = []
        demands = demands_of(policy, peer, shared.rules, remarks.append)
        shape = self._shape(policy, demands)
        # Each is told in its turn: where the list of ciphers makes no sense, nobody asks what else there is.
        self._tell(remarks, about_records=False)
        name = self._name_to_ask_for(policy, demands.server)
        self._tell(remarks, about_records=True)
        key = self._key(policy, demands, peer, ehlo_name) if shared.cache is not None else None
        kept = await shared.find_session(key) if key is not None else None
        handshake = Handshake(shared, demands, peer, key, shape.context)
        if name:
            handshake.connection.set_tlsext_host_name(name)
            clear_errors()  # a name with odd octets is not sent, and nobody says so
        if kept is not None:
            handshake.take_up(kept)
        return handshake

    def _tell(self, remarks: list[Event], *, about_records: bool) -> None:
        for remark in remarks:
            if isinstance(remark, _ABOUT_RECORDS) is about_records:
                self._shared.emit(remark)

    def _shape(self, policy: TlsPolicy, demands: Demands) -> Shape:
        emit, server = self._shared.emit, demands.server
        try:
            shape = self._contexts.shape(
                demands.level, policy.protocols, policy.grade, policy.exclusions, examined=demands.examined
            )
        except ShapeError as error:
            emit(TlsStartProblem(server, error.problem))
            tell_library_errors(error.errors, emit)
            raise TlsStartError(error.problem) from error
        if self._shared.wanted.verbose:
            emit(CipherListChosen(server, shape.ciphers))
        for remark in shape.remarks:
            emit(TlsStartProblem(server, remark))
        return shape

    def _key(self, policy: TlsPolicy, demands: Demands, peer: Peer, ehlo_name: str) -> SessionKey:
        terms = (
            self._scope,
            peer.relay,
            ehlo_name,
            policy.protocols,
            policy.grade,
            policy.exclusions,
            policy.enable_rpk,
            policy.servername,
            demands,
        )
        return SessionKey(self._service, peer.nexthop, peer.host, peer.address, terms)

    def _name_to_ask_for(self, policy: TlsPolicy, server: str) -> bytes:
        """The name of the server that we mean (RFC 6066 section 3); empty: none."""
        emit, name = self._shared.emit, policy.servername
        if not name:
            return b""
        octets = name.encode("utf-8", "surrogateescape")
        if len(octets) > LONGEST_SERVER_NAME:
            emit(TlsStartProblem(server, f"ignoring too long SNI hostname: {name}"))
            raise TlsStartError("the name to ask for is too long")
        if self._shared.wanted.steps:
            emit(ServerNameSent(server, name))
        return octets


def _has_library_for(settings: Settings, emit: Emit) -> bool:
    """Whether OpenSSL is, or can be, as it is configured; tells where it is not."""
    configuration = OpensslConfiguration.from_settings(settings)
    if problem := configuration.problem():
        words, errors = problem
        emit(TlsDisabled(f"{words}, "))
        tell_library_errors(errors, emit)
        return False
    if not is_in_force(configuration):
        emit(OpensslConfigurationWaits(configuration.file, configuration.name))
    if lacking := missing():
        emit(TlsLibraryLacks(", ".join(lacking)))
    return True


def _prepare(
    rules: VerificationRules,
    authorities: Authorities,
    certificates: ClientCertificates,
    cache: SessionCache | None,
    emit: Emit,
    context: SSL.Context,
    examined: bool,
) -> None:
    """Do for a context, not yet used, what is the same for all."""
    authorities.trusted_by(context)
    certificates.put_into(context)
    context.set_verify(SSL.VERIFY_NONE, _certificate_seen if examined else None)
    # One more than is allowed, so that a chain that is too long is told as such.
    context.set_verify_depth(rules.depth_limit + 1)
    if rules.wants(LogClass.SUMMARY):
        note_signatures(context)
    if rules.wants(LogClass.SSL_DEBUG):
        tell_steps(context, emit)
    if cache is not None:
        context.set_timeout(2 * int(cache.lifetime_seconds))


def _certificate_seen(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """What OpenSSL calls for each certificate. The handshake goes on in any case: the server is judged afterwards."""
    if isinstance(connection, Connection) and isinstance(connection.subject, Handshake):
        connection.subject.certificate_seen(certificate, error, depth, bool(ok))
    return True
