"""One handshake: what is told of it, what comes of it, and its session for later.

Flow: tls/engine.py prepares one; session/ drives its connection and says how it goes.
Sources: RFC 8446; RFC 5929 and RFC 9266 for channel bindings; the lines of smtp(8) about TLS.
"""

import os
from collections.abc import Hashable
from dataclasses import dataclass, replace

from OpenSSL import SSL, crypto

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import HandshakeFailed, SessionCacheAsked, SessionForgotten, SessionReused
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.bindings import channel_binding
from twisted_mta.tls.details import details_of
from twisted_mta.tls.library import Connection, cipher_bits, dump_session, errors_of, was_resumed
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.policy import TlsPolicy
from twisted_mta.tls.session_cache import KeptSession, SessionCache, can_be_resumed
from twisted_mta.tls.state import TlsState
from twisted_mta.tls.summary import summary_of
from twisted_mta.tls.telling import tell_library_errors


@dataclass(frozen=True, slots=True)
class Shared:
    """What the handshakes of an engine share.

    Attributes:
        classes: of lines that are wanted.
        cache: sessions to be taken up; None: none are.
        cache_name: smtp or lmtp.
        own_rsa_bits: size of our RSA key; 0: there is none.
        emit: takes events.
    """

    classes: LogClass
    cache: SessionCache | None
    cache_name: str
    own_rsa_bits: int
    emit: Emit


class Handshake:
    """One handshake, and its connection until that is closed.

    Attributes:
        connection: over memory, in connect state; whoever has the network drives it.
        key: of its session in the cache.
        server: its name for the log.
        state: what came of it; None: that is not known yet, or it has failed.
    """

    __slots__ = (
        "_events",
        "_kept",
        "_peer",
        "_policy",
        "_resumable",
        "_shared",
        "connection",
        "key",
        "server",
        "state",
    )

    def __init__(
        self, shared: Shared, policy: TlsPolicy, peer: Peer, server: str, key: Hashable, context: SSL.Context
    ) -> None:
        """Prepare.

        Args:
            shared: with the other handshakes of the engine.
            policy: what is demanded.
            peer: the server.
            server: its name for the log.
            key: of its session in the cache.
            context: shapes the connection.
        """
        self._shared = shared
        self._policy = policy
        self._peer = peer
        self.key = key
        self._kept: KeptSession | None = None
        self._resumable = False
        self._events: list[tuple[int, int, bool]] = []
        self.server = server
        self.state: TlsState | None = None
        self.connection = Connection(context, self)

    # ---- how it goes ----

    def certificate_seen(self, certificate: crypto.X509, error: int, depth: int, ok: bool) -> None:
        """The library looked at a certificate of the chain; the handshake goes on, whatever is wrong with it."""
        self._events.append((depth, error, ok))

    def completed(self) -> TlsState:
        """Judge the server, and tell it; the library has shaken hands.

        Returns:
            What came of it.
        """
        resumed = was_resumed(self.connection)
        state = self._taken_up() if resumed and self._kept else self._judged()
        self.state = state = self._with_details(state, resumed=resumed)
        self._events.clear()
        if self._shared.classes & LogClass.SUMMARY:
            self._shared.emit(summary_of(state, self._peer.relay))
        self._keep_session()
        return state

    def _taken_up(self) -> TlsState:
        assert self._kept is not None
        if self._shared.classes & LogClass.CACHE:
            self._shared.emit(SessionReused(self.server))
        return self._kept.state

    def _judged(self) -> TlsState:
        found = bool(self.connection.get_peer_certificate())
        trusted = found and all(ok for _, _, ok in self._events)
        return TlsState(self._policy.level, "", "", 0, 0, found, trusted, matched=False, secured=False)

    def _with_details(self, state: TlsState, *, resumed: bool) -> TlsState:
        connection, details = self.connection, ""
        if self._shared.classes & LogClass.SUMMARY:
            details = details_of(connection, resumed=resumed, own_rsa_bits=self._shared.own_rsa_bits)
        used_bits, cipher_bits_ = cipher_bits(connection)
        return replace(
            state,
            protocol=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            used_bits=used_bits,
            cipher_bits=cipher_bits_,
            resumed=resumed,
            details=details,
        )

    def failed(self, problem: SSL.Error | str) -> None:
        """Tell why it failed, and forget the session that was to be taken up.

        Args:
            problem: what the library raised, or what became of the connection: ``lost connection``, or words of the system.
        """
        emit = self._shared.emit
        words = problem if isinstance(problem, str) else _words_of(problem)
        emit(HandshakeFailed(self._peer.relay, words or "-1"))
        if not words and isinstance(problem, SSL.Error):
            tell_library_errors(errors_of(problem), emit)
        if self._shared.cache is not None:
            if self._shared.classes & LogClass.CACHE:
                emit(SessionForgotten())
            self._shared.cache.forget(self.key)

    # ---- the session ----

    def take_up(self, kept: KeptSession) -> None:
        """Try to take up a session, which the connection has been given."""
        self._kept = kept

    def application_data_came(self) -> None:
        """The server has spoken inside TLS: with TLS 1.3 its ticket has come by now (RFC 8446 section 4.6.1)."""
        if not self._resumable:
            self._keep_session()

    def closed(self) -> None:
        """The connection is over."""
        if self.state is not None and not self._resumable:
            self._keep_session()

    def _keep_session(self) -> None:
        cache, state = self._shared.cache, self.state
        if cache is None or state is None:
            return
        der = dump_session(self.connection)
        if der is None or not can_be_resumed(der) or (self._kept is not None and der == self._kept.der):
            return
        self._resumable = True
        if self._shared.classes & LogClass.CACHE:
            self._shared.emit(SessionCacheAsked("save session ID to", self._shared.cache_name))
        # A verdict does not grow younger by being taken up: it is made anew after the lifetime of the cache at the latest.
        judged_at = self._kept.judged_at if self._kept is not None and state.resumed else cache.now
        cache.keep(self.key, KeptSession(der, state, judged_at))

    # ---- the channel ----

    def channel_binding(self, kind: str) -> bytes | None:
        """What ties a login to this connection (RFC 5056).

        Args:
            kind: ``tls-exporter``, ``tls-unique`` or ``tls-server-end-point``.

        Returns:
            The data; None: there is none of this kind.
        """
        return channel_binding(self.connection, kind, resumed=self.state is not None and self.state.resumed)


def _words_of(error: SSL.Error) -> str:
    """What became of the connection, if that is what an error says; empty: the library tells."""
    if isinstance(error, SSL.SysCallError):
        number = error.args[0] if error.args else -1
        return os.strerror(number) if isinstance(number, int) and number > 0 else "lost connection"
    return "lost connection" if isinstance(error, SSL.ZeroReturnError) else ""
