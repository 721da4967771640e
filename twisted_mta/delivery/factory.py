"""Sessions with one destination: the ClientFactory that dials its candidates, one at a time.

Flow: delivery/site.py asks for a session with a candidate; delivery/dial.py makes the connection.
Sources: RFC 5321 section 5.1; postconf(5) smtp_bind_address_enforce; twisted.internet.protocol.ClientFactory.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ClientFactory
from twisted.internet.task import deferLater

from twisted_mta.delivery.dial import Dialer, DialError
from twisted_mta.model import events
from twisted_mta.model.events import Emit
from twisted_mta.routing.candidates import Candidate
from twisted_mta.session.content_rules import PLAIN, ContentRules
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.login import LoginRules
from twisted_mta.session.overhearing import Ear
from twisted_mta.session.protocol import DialogProtocol
from twisted_mta.session.session import NO_TERMS, Session, TlsTerms
from twisted_mta.session.tables import SessionTables
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.tls.policy import NO_TLS, TlsPolicy


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What all sessions of a configuration share.

    Attributes:
        dialog: how to talk.
        limits: how long to wait.
        line_limit: octets of a content line.
        dialer: makes connections.
        clock: the time.
        emit: takes what is to be logged.
        tables: what sessions ask; None: nothing.
        content: how content is treated.
        tls: what is the same for all servers about TLS.
        logins: how to log in; None: not at all.
        make_room: closes sessions that rest; whether there was any. None: none ever rests.
    """

    dialog: DialogSettings
    limits: TimeLimits
    line_limit: int
    dialer: Dialer
    clock: IReactorTime
    emit: Emit
    tables: SessionTables | None = None
    content: ContentRules = PLAIN
    tls: TlsTerms = NO_TERMS
    logins: LoginRules | None = None
    make_room: Callable[[], bool] | None = None


Adopt = Callable[[socket.socket], Session]
"""Makes a session of a connection that another process has left; raises OSError if it is none."""

_UNKNOWN = Peer("", "", "", "", "")


class DestinationFactory(ClientFactory[DialogProtocol]):
    """Opens connections to the candidates of one destination."""

    noisy = False

    def __init__(self, parts: SessionParts, nexthop: str, *, detect_loops: bool) -> None:
        """Prepare.

        Args:
            parts: what is shared.
            nexthop: the destination of the request, for texts.
            detect_loops: whether finding our own name means a mail loop.
        """
        self._parts = parts
        self._nexthop = nexthop
        self._detect_loops = detect_loops
        self._peer: Peer | None = None
        self._ear: Ear | None = None

    async def open(
        self, candidate: Candidate, *, is_best: bool, ear: Ear | None = None, policy: TlsPolicy = NO_TLS
    ) -> Session:
        """Connect to a candidate; its greeting is still to come.

        Args:
            candidate: to whom.
            is_best: whether it has the best preference.
            ear: overhears the session; None: nobody does.
            policy: what is demanded of TLS.

        Raises:
            DialError: no connection.
        """
        parts, dialer = self._parts, self._parts.dialer
        self._ear = ear
        self._peer = self.peer(candidate, is_best=is_best)
        bind_address = None if candidate.path else dialer.bind_address(candidate.family)
        try:
            protocol = await self._dial(candidate, bind_address)
        except DialError as problem:
            if not problem.bind_problem:
                raise
            parts.emit(events.BindFailed(bind_address or "", problem.bind_problem))
            if dialer.bind_enforced(candidate.family):
                raise
            protocol = await self._dial(candidate, None)
        terms = parts.tls if policy is NO_TLS else replace(parts.tls, policy=policy)
        return Session(protocol, parts.dialog, terms, parts.logins)

    async def _dial(self, candidate: Candidate, bind_address: str | None) -> DialogProtocol:
        """Connect; where descriptors have run out, those of resting sessions are given up for it."""
        parts = self._parts
        try:
            return await parts.dialer.dial(candidate, self.buildProtocol, bind_address)
        except DialError as problem:
            if not problem.exhausted or parts.make_room is None or not parts.make_room():
                raise
        # What was closed is gone in the next turn of the reactor.
        await deferLater(parts.clock, 0)
        return await parts.dialer.dial(candidate, self.buildProtocol, bind_address)

    def peer(self, candidate: Candidate, *, is_best: bool) -> Peer:
        """A candidate, as sessions know it.

        Args:
            candidate: the server.
            is_best: whether it has the best preference.
        """
        return Peer(
            candidate.host,
            candidate.address,
            candidate.namaddr,
            candidate.relay,
            self._nexthop,
            is_best,
            self._detect_loops,
        )

    def buildProtocol(self, addr: object = None) -> DialogProtocol:
        """A connection to the candidate that is being dialled."""
        assert self._peer is not None
        protocol = _protocol(self._parts, self._peer)
        protocol.incoming.ear = self._ear
        return protocol


def adopt(parts: SessionParts, connection: socket.socket) -> Session:
    """A session on a connection that another process has left, in the clear; nothing is known of it.

    Args:
        parts: what is shared.
        connection: ours from now on.

    Raises:
        OSError: it is not connected.
    """
    protocol = _protocol(parts, _UNKNOWN)
    parts.dialer.serve(connection, protocol)
    return Session(protocol, parts.dialog, parts.tls)


def _protocol(parts: SessionParts, peer: Peer) -> DialogProtocol:
    protocol = DialogProtocol(peer, parts.dialog, parts.limits, parts.line_limit, parts.clock, parts.emit)
    protocol.content_rules = parts.content
    if parts.tables is not None:
        protocol.ask(parts.tables)
    return protocol
