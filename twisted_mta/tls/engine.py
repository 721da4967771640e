"""The TLS engine: what all handshakes of a configuration share, and the preparation of each.

Flow: assembly.py makes one from the settings; session/ asks it for a Handshake once the server is ready for TLS.
Sources: TLS_README; postconf(5) for the parameters named in `TlsEngine.from_settings`; RFC 6066 section 3 (SNI).
"""

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IReactorTime

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import (
    CipherListChosen,
    ServerNameSent,
    SessionCacheAsked,
    TlsEngineStarted,
    TlsLibraryLacks,
    TlsSetUp,
    TlsStartProblem,
)
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.authorities import Authorities, AuthoritiesError
from twisted_mta.tls.ciphers import cipher_lists
from twisted_mta.tls.contexts import Contexts, Shape, ShapeError
from twisted_mta.tls.groups import usable_groups
from twisted_mta.tls.handshake import Handshake, Shared
from twisted_mta.tls.library import Connection, clear_errors, load_session, missing, note_signatures
from twisted_mta.tls.loglevel import LogClass, parse_loglevel
from twisted_mta.tls.options import option_bits
from twisted_mta.tls.policy import TlsPolicy
from twisted_mta.tls.session_cache import SessionCache
from twisted_mta.tls.telling import tell_library_errors

__all__ = ["Handshake", "TlsEngine", "TlsStartError"]

LONGEST_SERVER_NAME = 255
"""Octets of a name that can be asked for."""


class TlsStartError(Exception):
    """A handshake cannot begin: a setting is wrong, which has been told."""


class TlsEngine:
    """Prepares handshakes.

    Attributes:
        fast_shutdown: whether the server's farewell is not waited for (tls_fast_shutdown_enable).
    """

    def __init__(self, contexts: Contexts, shared: Shared, *, fast_shutdown: bool = True) -> None:
        """Take what was made ready.

        Args:
            contexts: for each shape of policy.
            shared: what all handshakes have in common.
            fast_shutdown: whether the server's farewell is not waited for.
        """
        self.fast_shutdown = fast_shutdown
        self._contexts = contexts
        self._shared = shared

    @classmethod
    def from_settings(cls, settings: Settings, emit: Emit, clock: IReactorTime) -> "TlsEngine | None":
        """Make an engine.

        Args:
            settings: for the parameters of TLS.
            emit: takes events, also those of handshakes.
            clock: for the age of sessions.

        Returns:
            The engine; None: there can be no TLS with these settings, which has been told.
        """
        classes = parse_loglevel(settings.smtp_tls_loglevel, emit, settings.parameter_name("smtp_tls_loglevel"))
        if classes & LogClass.VERBOSE:
            emit(TlsEngineStarted())
        if lacking := missing():
            emit(TlsLibraryLacks(", ".join(lacking)))
        try:
            authorities = Authorities.from_settings(settings, emit)
        except AuthoritiesError:
            return None
        cache = SessionCache.from_settings(settings, clock)
        depth = settings.smtp_tls_scert_verifydepth + 1

        def prepare(context: SSL.Context) -> None:
            authorities.trusted_by(context)
            context.set_verify(SSL.VERIFY_NONE, _certificate_seen)
            context.set_verify_depth(depth)
            if classes & LogClass.SUMMARY:
                note_signatures(context)
            if cache is not None:
                context.set_timeout(2 * int(cache.lifetime_seconds))

        contexts = Contexts(
            cipher_lists(settings),
            usable_groups((*settings.tls_eecdh_auto_curves, *settings.tls_ffdhe_auto_groups), emit),
            option_bits(settings.tls_disable_workarounds, settings.tls_ssl_options, emit),
            prepare,
        )
        shared = Shared(classes, cache, settings.protocol, 0, emit)
        return cls(contexts, shared, fast_shutdown=settings.tls_fast_shutdown_enable)

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
        shared, server = self._shared, peer.relay.lower()
        verbose = shared.classes & LogClass.VERBOSE
        if verbose:
            shared.emit(TlsSetUp(server))
        shape = self._shape(policy, server)
        if verbose:
            shared.emit(CipherListChosen(server, shape.ciphers))
        handshake = Handshake(
            shared, policy, peer, server, (peer.relay, peer.nexthop, ehlo_name, policy), shape.context
        )
        if policy.servername:
            self._ask_for(policy.servername, handshake)
        if shared.cache is not None:
            self._take_up(handshake, shared.cache)
        return handshake

    def _shape(self, policy: TlsPolicy, server: str) -> Shape:
        emit = self._shared.emit
        try:
            shape = self._contexts.shape(policy.level, policy.protocols, policy.grade, policy.exclusions)
        except ShapeError as error:
            emit(TlsStartProblem(server, error.problem))
            tell_library_errors(error.errors, emit)
            raise TlsStartError(error.problem) from error
        for remark in shape.remarks:
            emit(TlsStartProblem(server, remark))
        return shape

    def _ask_for(self, name: str, handshake: Handshake) -> None:
        """Name the server that we mean (SNI)."""
        emit, server = self._shared.emit, handshake.server
        octets = name.encode("utf-8", "surrogateescape")
        if len(octets) > LONGEST_SERVER_NAME:
            emit(TlsStartProblem(server, f"ignoring too long SNI hostname: {name}"))
            raise TlsStartError("name too long")
        handshake.connection.set_tlsext_host_name(octets)
        clear_errors()  # a name with odd octets is not sent, and nobody says so
        if self._shared.classes & LogClass.SSL_DEBUG:
            emit(ServerNameSent(server, name))

    def _take_up(self, handshake: Handshake, cache: SessionCache) -> None:
        """Give a handshake the session of an earlier one, if there is one."""
        telling = bool(self._shared.classes & LogClass.CACHE)
        if telling:
            self._shared.emit(SessionCacheAsked("looking for session ID in", self._shared.cache_name))
        kept = cache.find(handshake.key)
        if kept is None or not load_session(handshake.connection, kept.der):
            return
        handshake.take_up(kept)
        if telling:
            self._shared.emit(SessionCacheAsked("reloaded session ID from", self._shared.cache_name))


def _certificate_seen(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """What OpenSSL calls for each certificate. The handshake goes on in any case: the server is judged afterwards."""
    if isinstance(connection, Connection) and isinstance(connection.subject, Handshake):
        connection.subject.certificate_seen(certificate, error, depth, bool(ok))
    return True
