"""Offer a message to one server, over one session, and see to what follows from how that ends.

What the server decides goes to the recipients' ledger. Where the connection or TLS breaks, the same server may be the next one
again: over a new connection if the session had been kept, in the clear if TLS need not be.

Flow: delivery/site.py and delivery/kept_sessions.py bring a session; it is left for the next message if it may be.
Sources: smtp(8); RFC 5321 section 4.2.1; postconf(5) smtp_mx_session_limit, smtp_tls_security_level.
"""

from typing import NamedTuple, Protocol

from twisted_mta.content.failures import ContentFailedError
from twisted_mta.delivery.cache import Place
from twisted_mta.delivery.cache_keys import EndpointKey
from twisted_mta.delivery.errand import Errand
from twisted_mta.delivery.outgoing import Outgoing
from twisted_mta.interfaces import ContentError, CorruptContentError
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.session.session import Session, TlsFailedError
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, Scope
from twisted_mta.smtp.capabilities import Feature
from twisted_mta.smtp.greeting import Occasion
from twisted_mta.smtp.transaction import never
from twisted_mta.tls.policy import TlsPolicy

UNREADABLE = DsnStatus("5.3.0", "unreadable mail queue entry")
_MICROSECONDS = 1_000_000


class Turn(NamedTuple):
    """One server's turn: who it is, what is demanded of TLS, and the name of such a session; None: it has none."""

    place: Place
    policy: TlsPolicy
    endpoint: EndpointKey | None


class Walk(Protocol):
    """What is used of the walk over the servers."""

    @property
    def is_last(self) -> bool:
        """Whether no server follows."""

    def count_session(self) -> None:
        """The present server's handshake has succeeded."""

    def repeat(self) -> None:
        """The present server is the next one, too, as if it had not been tried."""


class Offering:
    """Offers one message to servers of one destination, one after the other."""

    __slots__ = ("_errand", "_is_last_destination")

    def __init__(self, errand: Errand, *, is_last_destination: bool) -> None:
        """Prepare.

        Args:
            errand: the message.
            is_last_destination: whether none follows.
        """
        self._errand = errand
        self._is_last_destination = is_last_destination

    async def offer(self, session: Session, turn: Turn, walk: Walk) -> None:
        """Offer the message over a session, and leave that for the next message if it may be.

        Raises:
            NotServingError: the session was kept, and its server serves no more.
        """
        errand = self._errand
        completed = await self._talk(session, turn, walk)
        reuse = errand.reuse
        if reuse is not None:
            if session.is_open and turn.endpoint is not None:
                saved = reuse.save(session, turn.place, turn.endpoint)
                if saved is not None:
                    await saved
            if completed:
                reuse.had_good_session()
        if errand.witness:
            await errand.witness.session_over(turn.place.candidate.relay, session.troubles)
        errand.ledger.end_session(completed=completed)

    async def _talk(self, session: Session, turn: Turn, walk: Walk) -> bool:
        """Offer the message to one server; whether the session came to its normal end."""
        errand = self._errand
        ledger, request, reuse = errand.ledger, errand.request, errand.reuse
        place = turn.place
        age = (errand.parts.now() - request.stats.incoming_arrival) / _MICROSECONDS
        try:
            occasion = Occasion(request.queue_id, age, request.sender, place.name)
            rebuff = None if session.reuse_count else await session.greet(occasion)
            if rebuff is not None:
                # Told first: a server may keep us waiting for its goodbye.
                ledger.fail(rebuff.why, Scope.SITE)
                await session.quit()
                return False
            walk.count_session()
            ledger.last_host = self._is_last_destination and walk.is_last
            ledger.server_has_dsn(session.welcome.capabilities.offers(Feature.DSN))
            outgoing = errand.outgoing or await self._prepared(session)
            if outgoing is None:
                return False
            recipients = outgoing.addressed(ledger.remaining)
            keep = reuse.keep(session, turn.endpoint) if reuse else never
            return await session.transact(outgoing.request, recipients, outgoing.content, ledger.take, keep)
        except TlsFailedError as failed:
            await self._tls_failed(failed, turn, walk)
        except ConnectionBrokenError as broken:
            await self._broke(broken, session, turn, walk)
        except CorruptContentError:
            ledger.fail(UNREADABLE, Scope.MESSAGE)
        except ContentError as error:
            ledger.give_up(cannot_read(error), Scope.MESSAGE)
        except ContentFailedError as rejected:
            if rejected.why.is_hard:
                ledger.fail(rejected.why, Scope.MESSAGE)
            else:
                ledger.give_up(rejected.why, Scope.MESSAGE)
        return False

    async def _prepared(self, session: Session) -> Outgoing | None:
        """What is offered; None: an address cannot be replaced, and nobody else is asked.

        Nothing has been said of the message yet, so that a session without it ends in order.
        """
        try:
            return await self._errand.prepare()
        except ContentFailedError as failed:
            # Told first: a server may keep us waiting for its goodbye.
            self._errand.ledger.give_up(failed.why, Scope.MESSAGE)
            await session.quit()
            return None
        except BaseException:
            session.close()
            raise

    async def _tls_failed(self, failed: TlsFailedError, turn: Turn, walk: Walk) -> None:
        level = turn.policy.level
        if failed.in_handshake:
            await self._try_in_the_clear(turn, walk)
        # Where TLS need not be, a server whose TLS does not work is not sick.
        scope = Scope.MESSAGE if failed.in_handshake and not level.is_required else Scope.SITE
        self._errand.ledger.fail(failed.why, scope)

    async def _broke(self, broken: ConnectionBrokenError, session: Session, turn: Turn, walk: Walk) -> None:
        ledger = self._errand.ledger
        if session.reuse_count:
            if broken.breakage is Breakage.LOST and broken.phase is not phases.DOT:
                self._try_anew(walk)
        elif session.tls and broken.breakage is not Breakage.LOCAL_ERROR and ledger.has_undecided:
            await self._try_in_the_clear(turn, walk)
        ledger.fail(broken.why(session.peer), Scope.SITE)

    def _try_anew(self, walk: Walk) -> None:
        """A session broke that had been kept: its server may be well, and is the next one, over a new connection."""
        reuse = self._errand.reuse
        assert reuse is not None
        reuse.let_down()
        self._errand.ledger.last_host = False
        walk.repeat()

    async def _try_in_the_clear(self, turn: Turn, walk: Walk) -> None:
        """The same server is the next one, without TLS, if that may be; for now its recipients are kept."""
        tls = self._errand.tls
        if tls is not None and await tls.may_be_left_out(turn.policy.level, turn.place):
            tls.try_in_the_clear(turn.place.candidate)
            self._errand.ledger.last_host = False
            walk.repeat()


def cannot_read(error: ContentError) -> DsnStatus:
    """The status of mail whose content cannot be read for now."""
    return DsnStatus("4.3.0", f"cannot read message content: {error}")
