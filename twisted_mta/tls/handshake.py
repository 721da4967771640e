"""One handshake: what is told of it, what comes of it, and its session for later.

Flow: tls/engine.py prepares one; session/ drives its connection and says how it goes.
Sources: RFC 8446; RFC 5929 and RFC 9266 for channel bindings; the lines of smtp(8) about TLS.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from OpenSSL import SSL, crypto

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import HandshakeFailed, SessionCacheAsked, SessionForgotten, SessionReused
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.bindings import channel_binding
from twisted_mta.tls.certificate_line import certificate_told
from twisted_mta.tls.certificates import read_certificate
from twisted_mta.tls.debug import tell_broken_step
from twisted_mta.tls.demands import Demands
from twisted_mta.tls.der import DerError
from twisted_mta.tls.details import details_of
from twisted_mta.tls.faults import FOUND_AFTER_NAMES, CallbackEvent
from twisted_mta.tls.library import (
    Connection,
    chain_of,
    cipher_bits,
    dump_session,
    errors_of,
    has_certificate,
    is_trusted,
    leaf_of,
    load_session,
    was_resumed,
)
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.rules import VerificationRules
from twisted_mta.tls.session_cache import KeptSession, SessionCache, SessionKey, can_be_resumed
from twisted_mta.tls.state import TlsState
from twisted_mta.tls.summary import summary_of
from twisted_mta.tls.telling import tell_library_errors
from twisted_mta.tls.verification import Verdict, judge, judge_resumed, own_events, tell_examined


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are wanted (smtp_tls_loglevel), told apart once: flags are slow to compare.

    Attributes:
        summary: one for each connection.
        verbose: our own steps.
        cache: what the session cache does.
        steps: those of the library.
        certificate: whose certificate a server has.
    """

    summary: bool
    verbose: bool
    cache: bool
    steps: bool
    certificate: bool

    @classmethod
    def of(cls, classes: LogClass) -> "Wanted":
        """Those of some classes."""
        return cls(
            LogClass.SUMMARY in classes,
            LogClass.VERBOSE in classes,
            LogClass.CACHE in classes,
            LogClass.SSL_DEBUG in classes,
            bool(classes & (LogClass.CERTMATCH | LogClass.VERBOSE | LogClass.PEERCERT)),
        )


@dataclass(frozen=True, slots=True)
class Shared:
    """What the handshakes of an engine share.

    Attributes:
        rules: of verification.
        wanted: which lines are told.
        cache: sessions to be taken up; None: none are.
        cache_name: smtp or lmtp.
        own_rsa_bits: size of our RSA key; 0: there is none.
        connection: makes a connection with a context, for a handshake.
        emit: takes events.
    """

    rules: VerificationRules
    wanted: Wanted
    cache: SessionCache | None
    cache_name: str
    own_rsa_bits: int
    connection: Callable[[SSL.Context, object], Connection]
    emit: Emit

    async def find_session(self, key: SessionKey) -> KeptSession | None:
        """Look for an earlier session, and tell; None: there is none."""
        if self.cache is None:
            return None
        self.tell_cache("looking for session {} in", key)
        return await self.cache.look_up(key)

    def tell_cache(self, doing: str, key: SessionKey) -> None:
        """Tell what becomes of a session; `doing` has a place for its key."""
        if self.wanted.cache:
            self.emit(SessionCacheAsked(doing.format(key.shown), self.cache_name))


class Handshake:
    """One handshake, and its connection until that is closed.

    Attributes:
        connection: over memory, in connect state; whoever has the network drives it.
        state: what came of it; None: that is not known yet, or it has failed.
    """

    __slots__ = (
        "_demands",
        "_events",
        "_has_told_own",
        "_is_saved",
        "_kept",
        "_key",
        "_relay",
        "_shared",
        "_verdict",
        "connection",
        "state",
    )

    def __init__(
        self, shared: Shared, demands: Demands, peer: Peer, key: SessionKey | None, context: SSL.Context
    ) -> None:
        """Prepare.

        Args:
            shared: with the other handshakes of the engine.
            demands: what the server has to show.
            peer: the server.
            key: of its session in the cache; None: there is no cache.
            context: shapes the connection.
        """
        self._shared = shared
        self._demands = demands
        self._relay = peer.relay
        self._key = key
        self._kept: KeptSession | None = None
        self._is_saved = False
        self._has_told_own = False
        self._events: list[CallbackEvent] = []
        self._verdict: Verdict | None = None
        self.state: TlsState | None = None
        self.connection = shared.connection(context, self)

    # ---- how it goes ----

    def certificate_seen(self, certificate: crypto.X509, error: int, depth: int, ok: bool) -> None:
        """The library looked at a certificate of the chain; the handshake goes on, whatever is wrong with it."""
        event = CallbackEvent(depth, error, ok, certificate)
        if self._shared.wanted.verbose:
            self._tell_examined(event)
        # Where authorities do not decide, the certificates are looked at anew when all is over.
        if not self._demands.ignores_authorities:
            self._events.append(event)

    def _tell_examined(self, event: CallbackEvent) -> None:
        """Tell what is seen of a certificate; before that, what only we can see, where OpenSSL would come upon it."""
        demands, shared = self._demands, self._shared
        if not self._has_told_own and (demands.associations or event.ok or event.error in FOUND_AFTER_NAMES):
            self._has_told_own = True
            for own in own_events(demands, chain_of(self.connection), shared.rules):
                tell_examined(own, demands.server, shared.emit)
        if not demands.ignores_authorities:
            tell_examined(event, demands.server, shared.emit)

    def completed(self) -> TlsState:
        """Judge the server, and tell it; the library has shaken hands.

        Returns:
            What came of it.
        """
        self.connection.is_shaken = True
        # Before TLS 1.3 it is complete by now; later, the server has yet to send its ticket.
        before = self.connection.get_protocol_version() < SSL.TLS1_3_VERSION
        session = self._new_session() if before else None
        resumed = self._kept is not None and was_resumed(self.connection)
        self._verdict = verdict = self._taken_up(self._kept) if self._kept and resumed else self._judged()
        self._events.clear()
        self.state = state = self._state(verdict, resumed=resumed)
        if self._shared.wanted.summary:
            self._shared.emit(summary_of(state, self._relay))
        self._keep(session)
        return state

    def _judged(self) -> Verdict:
        if not self._demands.examined:
            shown = has_certificate(self.connection)
            return Verdict(self._demands.level, shown, shown and is_trusted(self.connection), matched=False)
        leaf = leaf_of(self.connection)
        chain = chain_of(self.connection) if self._demands.associations else [leaf] if leaf else []
        return judge(
            self._demands,
            chain,
            self._events,
            self._shared.rules,
            self._shared.emit,
            tells_events=not self._has_told_own,
        )

    def _taken_up(self, kept: KeptSession) -> Verdict:
        if self._shared.wanted.cache:
            self._shared.emit(SessionReused(self._demands.server))
        if self._shared.wanted.certificate:
            self._tell_certificate()
        return judge_resumed(kept.verdict, self._demands, self._shared.emit)

    def _tell_certificate(self) -> None:
        """Tell the server's own certificate, which comes with a session; those above it do not."""
        shared, leaf = self._shared, leaf_of(self.connection)
        try:
            line = certificate_told(
                read_certificate(leaf or b""), "", self._demands.server, shared.rules.fingerprint_digest, shared.emit
            )
        except DerError:
            return
        shared.emit(line)

    def _state(self, verdict: Verdict, *, resumed: bool) -> TlsState:
        connection = self.connection
        used_bits, all_bits = cipher_bits(connection)
        return TlsState(
            verdict.level,
            connection.get_protocol_version_name(),
            connection.get_cipher_name() or "",
            used_bits,
            all_bits,
            verdict.has_certificate,
            verdict.trusted,
            verdict.matched,
            verdict.secured,
            resumed,
            details_of(connection, resumed=resumed, own_rsa_bits=self._shared.own_rsa_bits)
            if self._shared.wanted.summary
            else "",
        )

    def failed(self, problem: SSL.Error | str) -> None:
        """Tell why it failed, and forget the session that was to be taken up.

        Args:
            problem: what the library raised, or what became of the connection: `LOST`, `RESET`, or other words of the system.
        """
        shared = self._shared
        words = problem if isinstance(problem, str) else _words_of(problem)
        if shared.wanted.steps and problem in _ENDS:
            # Over a socket the library would have seen the end of the connection itself.
            tell_broken_step(self.connection, shared.emit)
        shared.emit(HandshakeFailed(self._relay, words or "-1"))
        if not words and isinstance(problem, SSL.Error):
            tell_library_errors(errors_of(problem), shared.emit)
        self._forget_session()

    def broken(self, error: SSL.Error | None = None) -> None:
        """The connection ended by an error inside TLS: its session must not be taken up (RFC 5246 section 7.2.2).

        Args:
            error: what the library raised; None: it was content, we were not.
        """
        if error is not None and not _words_of(error):
            tell_library_errors(errors_of(error), self._shared.emit)
        self._is_saved = True  # nothing of it is kept in the end
        self._forget_session()

    def _forget_session(self) -> None:
        cache, key = self._shared.cache, self._key
        if cache is None or key is None:
            return
        if self._shared.wanted.cache:
            self._shared.emit(SessionForgotten(key.shown))
        cache.forget(key)

    # ---- the session ----

    def take_up(self, kept: KeptSession) -> None:
        """Ask the server to take an earlier session up.

        Args:
            kept: from the cache.
        """
        cache, key = self._shared.cache, self._key
        if cache is None or key is None:
            return
        if load_session(self.connection, kept.der):
            self._kept = kept
            self._shared.tell_cache("reloaded session {} from", key)
        else:
            cache.forget(key)

    def application_data_came(self) -> None:
        """The server has spoken inside TLS: with TLS 1.3 its tickets have come by now (RFC 8446 section 4.6.1)."""
        if not self._is_saved:
            self._keep(self._new_session())

    def closed(self) -> None:
        """The connection is over."""
        if not self._is_saved:
            self._keep(self._new_session())
        # The two hold each other, and OpenSSL's memory should not wait for the garbage collector.
        self.connection.subject = None

    def _new_session(self) -> bytes | None:
        """The session, if it is another one than was taken up, and can be taken up itself."""
        if self._key is None:
            return None
        session = dump_session(self.connection)
        if session is None or not can_be_resumed(session) or (self._kept and session == self._kept.der):
            return None
        self._shared.tell_cache("save session {} to", self._key)
        return session

    def _keep(self, session: bytes | None) -> None:
        cache, key, verdict = self._shared.cache, self._key, self._verdict
        if session is None or cache is None or key is None or verdict is None:
            return
        self._is_saved = True
        # A verdict does not grow younger by being taken up: no later than the lifetime of the cache it is made anew.
        judged_at = self._kept.judged_at if self._kept and self.state and self.state.resumed else cache.now
        cache.keep(key, KeptSession(session, verdict, judged_at))

    # ---- the channel ----

    def channel_binding(self, kind: str) -> bytes | None:
        """What ties a login to this connection (RFC 5056).

        Args:
            kind: ``tls-exporter``, ``tls-unique`` or ``tls-server-end-point``.

        Returns:
            The data; None: there is none of this kind.
        """
        return channel_binding(self.connection, kind, resumed=self.state is not None and self.state.resumed)


LOST, RESET = "lost connection", "Connection reset by peer"
"""What becomes of a connection in the middle of a handshake."""

_ENDS = (LOST, RESET)


def _words_of(error: SSL.Error) -> str:
    """What became of the connection, if that is what an error says; empty: the library tells."""
    if isinstance(error, SSL.SysCallError):
        number = error.args[0] if error.args else -1
        return os.strerror(number) if isinstance(number, int) and number > 0 else LOST
    return LOST if isinstance(error, SSL.ZeroReturnError) else ""
