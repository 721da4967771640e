"""One session with one server: greeting, TLS, login, transactions, farewell.

Flow: delivery/factory.py opens it, delivery/offering.py uses it.
Sources: RFC 5321 section 3; RFC 3207 section 4; RFC 4954 section 3; smtp(8).
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer

from twisted_mta.interfaces import IMessageContent
from twisted_mta.model import events, tls_events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Event
from twisted_mta.model.request import DeliveryRequest, Recipient
from twisted_mta.sasl.offer import Offer
from twisted_mta.session.channel import IN_THE_CLEAR, Channel
from twisted_mta.session.login import LoginRules, Outcome
from twisted_mta.session.overhearing import Ear
from twisted_mta.session.protocol import DialogProtocol
from twisted_mta.session.secure_transport import HandshakeFailedError
from twisted_mta.smtp import starttls
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, Dialog, ErrorClass, Finding
from twisted_mta.smtp.capabilities import Capabilities, Feature
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.greeting import Occasion, Rebuff, Welcome, greet, introduce
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.probing import probed
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.transaction import Ending, Transaction, never
from twisted_mta.smtp.workarounds import PixWorkarounds
from twisted_mta.tls.engine import Handshake, TlsEngine, TlsStartError
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import NO_TLS, TlsPolicy
from twisted_mta.tls.state import TlsState

T = TypeVar("T")

NO_HANDSHAKE = DsnStatus("4.7.5", "Cannot start TLS: handshake failure")
"""Why there is no mail for a server whose TLS does not work."""
_NOT_VERIFIED = DsnStatus("4.7.5", "Server certificate not verified")
_UNEXPECTED = DsnStatus("4.7.0", "unexpected server message")


class TlsFailedError(Exception):
    """TLS did not come about, and the connection is gone.

    Attributes:
        why: the status of the mail, if no other host takes it.
        in_handshake: whether the handshake failed, so that the same host may do without TLS where the level allows that.
    """

    def __init__(self, why: DsnStatus, *, in_handshake: bool) -> None:
        """Keep the reason."""
        super().__init__(why.reason)
        self.why = why
        self.in_handshake = in_handshake


@dataclass(frozen=True, slots=True)
class TlsTerms:
    """What a session is to do about TLS.

    Attributes:
        policy: what is demanded of this server.
        engine: does TLS; None: it cannot be done.
        wrapper: whether TLS begins before the greeting.
        notes_offer: whether an offer that is not wanted is logged.
        early_mail_parameter: the parameter that forbids a reply to MAIL before it is said; empty: none does.
    """

    policy: TlsPolicy = NO_TLS
    engine: TlsEngine | None = None
    wrapper: bool = False
    notes_offer: bool = False
    early_mail_parameter: str = ""


NO_TERMS = TlsTerms()
"""No TLS."""


def _unexpected(finding: Finding) -> None:
    raise AssertionError(f"a dialog without mail came to a finding: {finding}")


class Session:
    """A connection that speaks SMTP or LMTP.

    Attributes:
        peer: the server.
        welcome: what the server offers; empty before `greet`.
        reuse_count: how many requests it has served before the present one.
        is_open: whether it may serve another one, now that a `transact` has ended.
        serves_until: when it is too old to be kept for another one, in the clock's seconds; None: it never is kept.
        kept: a note of whoever keeps it between messages.
        tls: what came of the TLS handshake; None: the connection is in the clear.
        handshake: that handshake, for the certificates and the channel; None: none was begun.
    """

    def __init__(
        self,
        protocol: DialogProtocol,
        settings: DialogSettings,
        tls: TlsTerms = NO_TERMS,
        logins: LoginRules | None = None,
    ) -> None:
        """Wrap a connection that has just been made.

        Args:
            protocol: the connection.
            settings: how to talk.
            tls: what to do about TLS.
            logins: how to log in; None: not at all.
        """
        self.peer: Peer = protocol.incoming.peer
        self.welcome = Welcome(Capabilities(), PixWorkarounds())
        self.reuse_count = 0
        self.is_open = False
        self.serves_until: float | None = None
        self.kept: Any = None
        self._must_ask = False
        self._told: Event | None = None
        self.tls: TlsState | None = None
        self.handshake: Handshake | None = None
        self._protocol = protocol
        self._incoming = protocol.incoming
        self._settings = settings
        self._terms = tls
        self._logins = logins

    @property
    def troubles(self) -> ErrorClass:
        """The errors seen so far that the postmaster may want to hear of."""
        return self._incoming.troubles

    async def greet(self, occasion: Occasion) -> Rebuff | None:
        """Hear the greeting, introduce ourselves, start TLS as the terms say, and log in.

        Returns:
            None, and `welcome` is set; or why the server gets no mail from us: then there is nothing left but to `quit`.

        Raises:
            ConnectionBrokenError: the connection is gone, and the session over.
            TlsFailedError: the same, because of TLS.
        """
        try:
            outcome = await self._greet(occasion)
        except ConnectionBrokenError as broken:
            self._incoming.troubles |= broken.trouble
            if broken.breakage is Breakage.LOCAL_ERROR:
                # The server is not to blame, and no mail is under way.
                await self._perform_quit(replace(self._settings, await_quit_reply=False))
            else:
                self._protocol.abort()
            raise
        except BaseException:
            self._protocol.abort()
            raise
        if isinstance(outcome, Rebuff):
            return outcome
        self.welcome = outcome
        return None

    async def _greet(self, occasion: Occasion) -> Welcome | Rebuff:
        if self._terms.wrapper and (rebuff := await self._secure("")):
            return rebuff
        outcome = await self._protocol.perform(
            greet(self.peer, self._settings, occasion), _unexpected, occasion.queue_id
        )
        if isinstance(outcome, Rebuff):
            return outcome
        offer = await self._take_in(outcome)
        if self.tls is None:
            in_the_clear, outcome = outcome, await self._upgrade(outcome, occasion)
            if isinstance(outcome, Rebuff):
                return outcome
            if outcome is not in_the_clear:
                offer = await self._take_in(outcome)
        return outcome if offer is None else await self._log_in(outcome, offer, occasion)

    # ---- logging in ----

    async def _take_in(self, welcome: Welcome) -> Offer | None:
        """Note what the server can do; what it offers for logins, or None: nothing, or nobody wants to know."""
        self._incoming.pipelining = welcome.capabilities.offers(Feature.PIPELINING)
        if self._logins is None or not welcome.capabilities.offers(Feature.AUTH):
            return None
        return await self._logins.hear(welcome.capabilities, self.peer)

    async def _log_in(self, welcome: Welcome, offer: Offer, occasion: Occasion) -> Welcome | Rebuff:
        """Log in if that is wanted; where it is not, the server is taken not to have offered it."""
        assert self._logins is not None

        def perform(dialog: Dialog[T]) -> Deferred[T]:
            return self._protocol.perform(dialog, _unexpected, occasion.queue_id)

        channel = Channel(self.tls, self.handshake.channel_binding) if self.handshake and self.tls else IN_THE_CLEAR
        outcome = await self._logins.log_in(self.peer, offer, occasion, channel, perform, self._incoming.confidential)
        self._incoming.logged_in = outcome is Outcome.AUTHENTICATED
        if isinstance(outcome, Rebuff) or outcome is Outcome.AUTHENTICATED:
            return outcome if isinstance(outcome, Rebuff) else welcome
        features = welcome.capabilities.features & ~Feature.AUTH
        return replace(welcome, capabilities=replace(welcome.capabilities, features=features))

    # ---- TLS ----

    async def _upgrade(self, welcome: Welcome, occasion: Occasion) -> Welcome | Rebuff:
        """Start TLS if it is wanted and can be had, and introduce ourselves again."""
        terms, peer = self._terms, self.peer
        level = terms.policy.level
        if level is Level.NONE and terms.notes_offer and welcome.capabilities.offers(Feature.STARTTLS):
            self._protocol.emit(events.StartTlsOfferNoted(peer.host))
        answer = starttls.choose(
            peer,
            welcome.capabilities,
            wanted=level > Level.NONE,
            required=level.is_required,
            has_engine=terms.engine is not None,
        )
        if answer is starttls.Answer.TLS:
            answer = await self._protocol.perform(
                starttls.ask(peer, required=level.is_required), _unexpected, occasion.queue_id
            )
        if isinstance(answer, Rebuff):
            return answer
        if answer is starttls.Answer.PLAINTEXT:
            return welcome
        if self._incoming.has_unread:
            # RFC 3207 4.2: nothing may follow; somebody on the way may have put it there.
            self._protocol.emit(tls_events.PlaintextBehindStartTls(peer.namaddr))
            raise TlsFailedError(_UNEXPECTED, in_handshake=False)
        if rebuff := await self._secure(welcome.capabilities.name):
            return rebuff
        # What the server said in the clear is forgotten, but for its greeting.
        again = await self._protocol.perform(
            introduce(peer, self._settings, extended=True, queue_id=occasion.queue_id), _unexpected, occasion.queue_id
        )
        return replace(again, pix=welcome.pix) if isinstance(again, Welcome) else again

    async def _secure(self, ehlo_name: str) -> Rebuff | None:
        """Shake hands; why the server gets no mail, if it does not prove what the policy demands.

        Args:
            ehlo_name: as the server called itself; empty before its greeting.
        """
        engine, wire = self._terms.engine, cast("IPushProducer", self._protocol.transport)
        if engine is None:
            # In wrapper mode: there is nobody to say goodbye to.
            raise TlsFailedError(starttls.NO_ENGINE, in_handshake=False)
        if engine.may_wait:
            wire.pauseProducing()  # nothing more is heard in the clear meanwhile
        try:
            try:
                self.handshake = await engine.begin(self._terms.policy, self.peer, ehlo_name)
                securing = self._protocol.secure(self.handshake, fast_shutdown=engine.fast_shutdown)
            finally:
                if engine.may_wait:
                    wire.resumeProducing()
            self.tls = await securing
        except (TlsStartError, HandshakeFailedError):
            raise TlsFailedError(NO_HANDSHAKE, in_handshake=True) from None
        return None if self.tls.serves else Rebuff(_NOT_VERIFIED)

    async def transact(
        self,
        request: DeliveryRequest,
        recipients: tuple[Recipient, ...],
        content: IMessageContent,
        sink: Callable[[Finding], None],
        keep: Callable[[], bool] = never,
    ) -> bool:
        """Send a message; the session is over afterwards, unless `is_open` says that it may `rest` for the next one.

        Args:
            request: the message.
            recipients: whom it is for.
            content: what it says.
            sink: takes the findings.
            keep: whether the session shall serve again, if nothing in itself forbids that; asked more than once.

        Returns:
            Whether the transaction ran to its normal end.

        Raises:
            NotServingError: it was kept, and the server serves no more: nothing has happened to the mail.
            ConnectionBrokenError: the connection broke while the fate of the mail was open.
            ContentError: the content cannot be read.
        """
        may_keep = keep if keep is never else lambda: self._can_serve_again and keep()
        # Nothing from before TLS can be left over when the connection is used again.
        early_mail_parameter = self._terms.early_mail_parameter if self.tls and not self.reuse_count else ""
        transaction = Transaction(
            request,
            recipients,
            self.peer,
            self.welcome,
            self._settings,
            keep=may_keep,
            reused=self.reuse_count > 0,
            early_mail_parameter=early_mail_parameter,
        )
        dialog = transaction.run()
        if self._must_ask:
            self._must_ask = False
            dialog = probed(dialog, self._told)
        try:
            end = await self._protocol.perform(dialog, sink, request.queue_id, content)
        except ConnectionBrokenError as broken:
            self._incoming.troubles |= broken.trouble
            self._protocol.abort()
            if broken.phase.silent:
                return True
            raise
        except BaseException:
            # Without the final dot the server must forget what it has got.
            self._protocol.close()
            raise
        if end.ending is not Ending.OPEN:
            self._protocol.close()
        elif end.completed and may_keep():
            self.is_open = True
        elif keep is not never and self._is_misunderstood:
            # The last command was not followed by QUIT because all was well then.
            self._protocol.close()
        else:
            await self.quit()
        return end.completed

    # ---- between messages ----

    @property
    def _is_misunderstood(self) -> bool:
        troubles = self._incoming.troubles
        return troubles is not ErrorClass.NONE and bool(troubles & ErrorClass.PROTOCOL)

    @property
    def _can_serve_again(self) -> bool:
        """Whether nothing in the session itself is against it."""
        return not self._is_misunderstood and (self.tls is None or self._terms.policy.connection_reuse)

    def rest(self, disturbed: Callable[[], None]) -> bool:
        """Wait for the next message, after a `transact` that has left the session open.

        Args:
            disturbed: called once, when the server hangs up or says anything before `wake`; the session is over then.

        Returns:
            False if that has happened already.
        """
        # As in smtp(8): what a server offers is remembered, how large a message it takes is not.
        if self.welcome.capabilities.size_limit:
            self.welcome = replace(self.welcome, capabilities=replace(self.welcome.capabilities, size_limit=0))
        return self._protocol.rest(disturbed)

    def wake(self, peer: Peer, ear: Ear | None, told: Event | None = None) -> bool:
        """Make ready for another message; the next `transact` asks the server first whether it still serves.

        Args:
            peer: the server, as the present delivery knows it.
            ear: overhears the session from now on; None: nobody does.
            told: logged when the server has said that it does; None: nothing.

        Returns:
            False if the server has disturbed the session: then it is over.
        """
        protocol = self._protocol
        self.is_open = False
        self.peer = self._incoming.peer = peer
        self._incoming.ear = ear
        if not protocol.wake():
            protocol.close()
            return False
        self.reuse_count += 1
        self._must_ask, self._told = True, told
        return True

    def release(self) -> socket.socket | None:
        """Give the connection away, which is in the clear, after a `transact` that has left the session open.

        Returns:
            The connection, for another process to use; None if the server has disturbed it, and it is closed.
        """
        self.is_open = False
        return self._protocol.release()

    def resume(self, welcome: Welcome, reuse_count: int, serves_until: float) -> None:
        """Go on where another process has left the session; `wake` comes next.

        Args:
            welcome: what the server offers.
            reuse_count: how often it was used again.
            serves_until: as above.
        """
        self.welcome = welcome
        self._incoming.pipelining = welcome.capabilities.offers(Feature.PIPELINING)
        self.reuse_count = reuse_count
        self.serves_until = serves_until

    def close(self) -> None:
        """Close without a word, in order."""
        self.is_open = False
        self._protocol.close()

    async def quit(self) -> None:
        """Say QUIT and close."""
        await self._perform_quit(self._settings)

    async def _perform_quit(self, settings: DialogSettings) -> None:
        await self._protocol.perform(quit_dialog(settings), _unexpected)
        self._protocol.close()
