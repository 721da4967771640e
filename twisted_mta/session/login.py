"""Logging in to a server, once for each connection: with which credentials, by which mechanism, and what follows if that fails.

The rules, in order:
1. Without credentials for the server there is no login, and mail goes out as if it had not offered AUTH.
2. With credentials there is no mail without a login.
3. A login that the server has refused before is not tried again, as long as that is remembered.
4. The mechanism is the best that the server offers, the filter lets through, the connection is safe enough for, and these
   credentials can be used with; there is no second one.

Flow: assembly.py makes the rules of a configuration; session/session.py has each connection logged in by them.
Sources: postconf(5) smtp_sasl_*, send_cyrus_sasl_authzid; SASL_README; RFC 4954.
"""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.interfaces import ISASLMechanism, ISASLMechanismFactory, ITokenProvider, SaslError, TableError
from twisted_mta.model.events import Emit
from twisted_mta.model.login import Confidential, Login, Secret
from twisted_mta.model.sasl_events import MechanismsPassedOver, PasswordLookupFailed, SaslTrouble
from twisted_mta.sasl.choice import Mechanisms
from twisted_mta.sasl.conversation import NO_MECHANISM
from twisted_mta.sasl.credentials import Credentials, CredentialTables
from twisted_mta.sasl.oauth_account import account_of
from twisted_mta.sasl.offer import Filter, Offer, read_offer
from twisted_mta.session.channel import Channel, SecurityOptions
from twisted_mta.session.refusal_memory import RefusalMemory
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, Dialog
from twisted_mta.smtp.authentication import (
    Authentication,
    AuthTerms,
    authenticate,
    cannot_authenticate,
    nothing_offered,
    refused_before,
)
from twisted_mta.smtp.capabilities import Capabilities
from twisted_mta.smtp.greeting import Occasion, Rebuff
from twisted_mta.smtp.peer import Peer
from twisted_mta.tables.address_lookup import address_search
from twisted_mta.tables.match_list import MatchKind
from twisted_mta.tables.opening import InThread
from twisted_mta.tables.table_set import TableSet

T = TypeVar("T")

_NOT_WORTHY = "SASL authentication failure: No worthy mechs found"
_UNSPEAKABLE = "a line break or null character in the credentials"
_NO_TOKENS = "OAuth2 accounts cannot be used here"
_CERTIFICATES = ("smtp_tls_chain_files", "smtp_tls_cert_file", "smtp_tls_dcert_file", "smtp_tls_eccert_file")


class Outcome(enum.Enum):
    """A login, if it did not fail."""

    AUTHENTICATED = "authenticated"
    NOT_WANTED = "not wanted"
    """There are no credentials for this server."""


class Perform(Protocol):
    """Performs a dialog on the connection."""

    def __call__(self, dialog: Dialog[T]) -> Awaitable[T]:
        """Perform it to its end; raises ConnectionBrokenError."""


@dataclass(frozen=True, slots=True)
class Helpers:
    """What the rules need beside settings and tables.

    Attributes:
        emit: takes what is to be logged.
        now: the time in seconds since the epoch.
        in_thread: for mechanisms that may take long; None: they may, here.
        tokens: gives access tokens; None: there are none.
    """

    emit: Emit
    now: Callable[[], float]
    in_thread: InThread | None = None
    tokens: ITokenProvider | None = None


@dataclass(frozen=True, slots=True)
class LoginRules:
    """The rules of one configuration.

    Attributes:
        credentials: where passwords are.
        security: what mechanisms must protect from.
        helpers: emits events, tells the time, gives tokens.
        mechanisms: those that there are.
        wanted: the filter of mechanisms; None: there is none.
        terms: for the dialog.
        memory: of refused logins; None: nothing is remembered.
        sends_authorization_id: whether the name is also sent as authorization identity.
        has_certificate: whether there is a client certificate for TLS.
        local_host: our own name.
    """

    credentials: CredentialTables
    security: SecurityOptions
    helpers: Helpers
    mechanisms: Mechanisms = field(default_factory=Mechanisms)
    wanted: Filter | None = None
    terms: AuthTerms = field(default_factory=AuthTerms)
    memory: RefusalMemory | None = None
    sends_authorization_id: bool = False
    has_certificate: bool = False
    local_host: str = "localhost"

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        tables: TableSet,
        mechanisms: Mechanisms,
        is_own_address: Callable[[str], bool],
        helpers: Helpers,
    ) -> "LoginRules | None":
        """Read the settings, and open the tables.

        Args:
            settings: the parameters.
            tables: opens tables.
            mechanisms: those that there are.
            is_own_address: whether an IP address is this machine's.
            helpers: see there.

        Returns:
            None, if nobody is to log in anywhere.

        Raises:
            ConfigError: where smtp(8) would end: a value means nothing, or a table cannot be used.
        """
        if not settings.smtp_sasl_auth_enable:
            return None
        maps = tables.maps(settings.parameter_name("smtp_sasl_password_maps"), settings.smtp_sasl_password_maps)
        lmtp = settings.protocol == "lmtp"
        find_sender = None
        if settings.smtp_sender_dependent_authentication and not lmtp:
            find_sender = address_search(settings, tables, maps, is_own_address, plain_too=True)
        filter_name = settings.parameter_name("smtp_sasl_mechanism_filter")
        wanted = tables.match_list(filter_name, settings.smtp_sasl_mechanism_filter, MatchKind.STRING)
        return cls(
            CredentialTables(maps, settings.smtp_sasl_password_result_delimiter, find_sender),
            SecurityOptions.from_settings(settings),
            helpers,
            mechanisms,
            wanted.matches if wanted else None,
            AuthTerms(lmtp, settings.smtp_sasl_auth_soft_bounce),
            RefusalMemory.from_settings(settings, tables, helpers.now, helpers.emit),
            settings.send_cyrus_sasl_authzid,
            any(getattr(settings, name) for name in _CERTIFICATES),
            settings.myhostname,
        )

    async def hear(self, capabilities: Capabilities, peer: Peer) -> Offer:
        """The mechanisms that a server offers and that may be used; what it should not offer so is logged.

        Raises:
            ConnectionBrokenError: nobody can tell: no mail goes out.
        """
        try:
            return await read_offer(capabilities.auth_mechanisms, self.wanted, peer.relay, self.helpers.emit)
        except TableError:
            raise ConnectionBrokenError(Breakage.LOCAL_ERROR, phases.AUTH) from None

    async def find_credentials(self, sender: str, host: str, destination: str) -> Credentials | None:
        """The credentials for a server; None: mail goes there without a login.

        Args:
            sender: of the message, in internal form.
            host: the server's name.
            destination: as it is configured, without ``unix:``.

        Raises:
            TableError: the tables cannot tell.
        """
        return await self.credentials.find(sender, host, destination)

    async def may_log_in(self, sender: str, host: str, destination: str) -> bool:
        """Whether there are credentials for a server; where the tables cannot tell, there may be. As `find_credentials`."""
        try:
            return await self.find_credentials(sender, host, destination) is not None
        except TableError:
            return True

    async def log_in(
        self,
        peer: Peer,
        offer: Offer,
        occasion: Occasion,
        channel: Channel,
        perform: Perform,
        confidential: Confidential,
    ) -> Outcome | Rebuff:
        """Log in to a server that has said AUTH.

        Args:
            peer: the server.
            offer: as `hear` found it, in the reply that counts.
            occasion: the message.
            channel: the connection.
            perform: talks to the server.
            confidential: what must not be told of the connection; passwords are added to it.

        Returns:
            The outcome; or why this server gets no mail.

        Raises:
            ConnectionBrokenError: the connection broke, or the tables cannot tell.
        """
        try:
            credentials = await self.find_credentials(occasion.sender, peer.host, occasion.destination)
        except TableError:
            self.helpers.emit(PasswordLookupFailed(occasion.queue_id, self.credentials.maps.parameter))
            raise ConnectionBrokenError(Breakage.LOCAL_ERROR, phases.AUTH) from None
        if credentials is None:
            return Outcome.NOT_WANTED
        if not offer.names:
            return Rebuff(nothing_offered(peer))
        try:
            return await _Attempt(self, peer, credentials, perform, confidential).run(offer, channel)
        except SaslError as error:
            if error.warning:
                self.helpers.emit(SaslTrouble(error.warning))
            return Rebuff(cannot_authenticate(peer, error.problem))


class _Attempt:
    """One login."""

    def __init__(
        self,
        rules: LoginRules,
        peer: Peer,
        credentials: Credentials,
        perform: Perform,
        confidential: Confidential,
    ) -> None:
        self._rules = rules
        self._peer = peer
        self._credentials = credentials
        self._perform = perform
        self._confidential = confidential
        self._account: str | None = None

    async def run(self, offer: Offer, channel: Channel) -> Outcome | Rebuff:
        """Do it; raises SaslError where it cannot be done."""
        rules, peer = self._rules, self._peer
        if not self._credentials.is_speakable:
            raise SaslError(_UNSPEAKABLE)
        self._account = _account(self._credentials)
        memory = rules.memory if self._account is None else None
        if memory is not None and (refusal := await memory.find(peer.host, self._credentials)):
            return Rebuff(refused_before(peer, refusal.status, refusal.reply, rules.terms))
        login = self._login(offer, channel)
        factory = self._choose(offer, channel, login)
        secret = login.password
        if self._account is not None:
            secret = await self._token(self._account)
            login = replace(login, password=secret)
        self._confidential.add(secret.reveal())
        mechanism = await self._make(factory, login)
        ended = await self._perform(authenticate(peer, mechanism, rules.terms, self._confidential))
        if ended.rebuff is None:
            return Outcome.AUTHENTICATED
        await self._learn(ended, memory, secret)
        return ended.rebuff

    def _login(self, offer: Offer, channel: Channel) -> Login:
        rules, peer, credentials = self._rules, self._peer, self._credentials
        port = peer.relay.rpartition("]:")[2]
        wants_binding = any(name.upper().startswith("SCRAM-") for name in offer.names)
        return Login(
            credentials.user,
            credentials.password,
            is_token=self._account is not None,
            authorization_id=credentials.user if rules.sends_authorization_id else "",
            service="lmtp" if rules.terms.lmtp else "smtp",
            host=peer.host,
            port=int(port) if port.isdigit() else 0,
            local_host=rules.local_host,
            binding=channel.channel_binding() if wants_binding else None,
            server_binds=offer.binds,
            has_certificate=channel.tls is not None and rules.has_certificate,
        )

    def _choose(self, offer: Offer, channel: Channel, login: Login) -> ISASLMechanismFactory:
        rules = self._rules
        choice = rules.mechanisms.choose(offer.names, rules.security.on(channel.tls), login)
        if choice.factory is not None:
            return choice.factory
        if choice.passed_over:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in choice.passed_over)
            rules.helpers.emit(MechanismsPassedOver(self._peer.relay, reasons))
        raise SaslError(NO_MECHANISM, _NOT_WORTHY)

    async def _token(self, account: str) -> Secret:
        tokens = self._rules.helpers.tokens
        if tokens is None:
            raise SaslError(_NO_TOKENS)
        return Secret(await tokens.access_token(self._credentials.user, account))

    async def _make(self, factory: ISASLMechanismFactory, login: Login) -> ISASLMechanism:
        in_thread = self._rules.helpers.in_thread
        if factory.blocks and in_thread is not None:
            return await in_thread(partial(factory.make, login))
        made: ISASLMechanism = factory.make(login)
        return made

    async def _learn(self, ended: Authentication, memory: RefusalMemory | None, secret: Secret) -> None:
        """Keep a refusal from happening again."""
        reply, tokens = ended.refusal, self._rules.helpers.tokens
        if reply is None:
            return
        if memory is not None:
            await memory.remember(self._peer.host, self._credentials, reply)
        if self._account is not None and tokens is not None and 500 <= reply.code < 600:
            tokens.rejected(self._account, secret.reveal())


def _account(credentials: Credentials) -> str | None:
    """The OAuth2 account that stands in place of a password; None: it is a password."""
    try:
        return account_of(credentials.password.reveal())
    except ConfigError as error:
        raise SaslError(error.text) from None
