"""Access tokens for logins: kept in memory, refreshed in time, by one request at a time.

Flow: session/login.py asks for a token by user and account, and says when a server has refused one; assembly.py makes the
provider of a configuration.
Sources: RFC 6749 sections 1.5, 5.2 and 6; RFC 9700 section 4.14.

The tokens of a user are in one of these states:

- usable, and not due: given at once;
- usable, but due: given at once, and replaced meanwhile;
- not usable: whoever asks waits for the one request that is on its way;
- failed: until the next try is due, whoever asks is told why. A new token file, which a login makes, ends that.

Several processes may share a token file (workers, generations, the smtpdeliver command). Each takes the file's lock before it
refreshes, and then first looks whether another one has done so already.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.settings import Settings
from twisted_mta.interfaces import ITokenProvider, TokenError
from twisted_mta.model.events import Emit
from twisted_mta.model.sasl_events import TokenObtained, TokenRefused, TokenUnavailable
from twisted_mta.oauth.accounts import Accounts
from twisted_mta.oauth.grants import TokenServer
from twisted_mta.oauth.refreshing import Keeper, ShutdownHold, UnsavedError
from twisted_mta.oauth.store import NO_FILE, Stamp, TokenStore, store_of
from twisted_mta.sasl.oauth import GrantError, Remedy
from twisted_mta.sasl.oauth_account import Account
from twisted_mta.sasl.oauth_tokens import TokenFileError, Tokens
from twisted_mta.tables.opening import InThread

FIRST_PAUSE_SECONDS = 5.0
"""After a failure; each further one doubles it."""

LONGEST_PAUSE_SECONDS = 300.0

HOPELESS_PAUSE_SECONDS = 300.0
"""Where waiting does not help: somebody may mend what we cannot see, such as a permission at the provider."""

REPLACEMENT_SECONDS = 300.0
"""A token that a mail server refuses is replaced no more often than this."""

MOST_USERS = 10_000
"""So many users are remembered; beyond that those that nobody waits for are forgotten, and read from their files again."""

_log = Logger()

StoreOf = Callable[[Account], TokenStore]
"""Where the tokens of an account are kept."""


def _nothing_to_hold() -> Callable[[], None]:
    return lambda: None


@dataclass(slots=True)
class _Slot:
    """What is known of one user of one account; of the account itself where tokens are not a person's."""

    account: Account
    user: str
    tokens: Tokens = field(default_factory=Tokens)
    stamp: Stamp = NO_FILE
    waiting: list[Deferred[str]] = field(default_factory=list)
    is_busy: bool = False
    # What a reply brought, and no file has yet.
    unsaved: Tokens | None = None
    problem: str = ""
    failures: int = 0
    retry_at: float = 0.0
    # The access token that a mail server has refused, and from when on another one may be.
    refused: str = field(default="", repr=False)
    trusts_until: float = 0.0

    @property
    def whose(self) -> str:
        """The account and its user, for people."""
        return f"{self.account.name}, user {self.user}" if self.user else self.account.name

    def error(self) -> TokenError:
        """What whoever asks is told: a new error each time, as each one that is raised grows."""
        return TokenError(f"no access token of OAuth2 account {self.whose}: {self.problem}")

    def leave(self, waiter: Deferred[str]) -> None:
        """Somebody waits no more."""
        if waiter in self.waiting:
            self.waiting.remove(waiter)


@implementer(ITokenProvider)
class TokenProvider:
    """Gives access tokens.

    Attributes:
        accounts: those that there are.
    """

    def __init__(
        self,
        accounts: Accounts,
        store_of: StoreOf,
        server: TokenServer,
        clock: IReactorTime,
        emit: Emit,
        in_thread: InThread | None = None,
        hold_shutdown: Callable[[], Callable[[], None]] = _nothing_to_hold,
        most_users: int = MOST_USERS,
    ) -> None:
        """Prepare; nothing is asked for yet.

        Args:
            accounts: those that there are.
            store_of: gives the store of an account.
            server: asks token servers.
            clock: for pauses; its time is that since the epoch.
            emit: takes events.
            in_thread: for writing files; None: the caller may be blocked.
            hold_shutdown: keeps the process from ending, until what it returns is called.
            most_users: how many are remembered.
        """
        self.accounts = accounts
        self._store_of = store_of
        self._server = server
        self._clock = clock
        self._emit = emit
        self._in_thread = in_thread
        self._hold_shutdown = hold_shutdown
        self._most_users = most_users
        self._slots: dict[tuple[str, str], _Slot] = {}

    @classmethod
    def from_settings(cls, settings: Settings, reactor: Any, emit: Emit) -> "TokenProvider | None":
        """The provider of a configuration; reads all account files, which may be for root only.

        Args:
            settings: the parameters.
            reactor: connects to token servers.
            emit: takes events.

        Returns:
            None, if nobody is to log in anywhere.
        """
        if not settings.smtp_sasl_auth_enable:
            return None
        # What it takes to speak HTTP is not for those who never do.
        from twisted_mta.oauth.web import WebClient

        server = TokenServer(WebClient(reactor).post, reactor.seconds)
        accounts = Accounts(settings.config_directory)
        # The reactor's own threads: it does not stop before they have written what they were about to write.
        in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
        return cls(
            accounts, store_of(settings.data_directory), server, reactor, emit, in_thread, ShutdownHold(reactor).begin
        )

    # ---- ITokenProvider ----

    def access_token(self, user: str, account: str) -> Deferred[str]:
        """An access token (ITokenProvider)."""
        try:
            slot = self._slot(user, account)
        except ConfigError as error:
            return fail(TokenError(f"OAuth2 account {account} cannot be used: {error.describe()}"))
        now = self._clock.seconds()
        if not slot.is_busy:
            self._look_at_file(slot)
            if slot.tokens.is_due(now) and now >= slot.retry_at:
                self._start(slot)
        # Without a thread and a lock to wait for, that may be over already.
        if slot.tokens.is_usable(now):
            return succeed(slot.tokens.access_token)
        if not slot.is_busy:
            return fail(slot.error())
        waiter: Deferred[str] = Deferred(slot.leave)
        slot.waiting.append(waiter)
        return waiter

    def rejected(self, account: str, token: str) -> None:
        """A mail server did not take a token (ITokenProvider)."""
        for slot in self._slots.values():
            if slot.account.name != account or not slot.tokens.access_token:
                continue
            if not compare_digest(slot.tokens.access_token.encode(), token.encode("utf-8", "surrogateescape")):
                continue
            # A server that refuses the next token as well refuses the user: more tokens would not help.
            if self._clock.seconds() >= slot.trusts_until:
                slot.trusts_until = self._clock.seconds() + REPLACEMENT_SECONDS
                slot.refused = token
                slot.tokens = slot.tokens.without_access()
                self._emit(TokenRefused(slot.whose))

    # ---- users ----

    def _slot(self, user: str, account_name: str) -> _Slot:
        account = self.accounts.find(account_name)
        owner = user.lower() if account.grant.needs_consent else ""
        key = (account_name, owner)
        slot = self._slots.get(key)
        if slot is None:
            if len(self._slots) >= self._most_users:
                self._slots = {key: slot for key, slot in self._slots.items() if slot.is_busy or slot.unsaved}
            slot = self._slots[key] = _Slot(account, owner)
        return slot

    def _look_at_file(self, slot: _Slot) -> None:
        """Take up what another process has written, such as a login."""
        if not slot.account.grant.needs_consent:
            return
        store = self._store_of(slot.account)
        stamp = store.stamp(slot.account.name, slot.user)
        if stamp == slot.stamp:
            return
        slot.stamp = stamp
        slot.unsaved, slot.problem, slot.failures, slot.retry_at = None, "", 0, 0.0
        try:
            tokens = store.load(slot.account.name, slot.user) or Tokens()
        except TokenFileError:
            return  # refreshing will say what is wrong
        self._take(slot, tokens)

    def _take(self, slot: _Slot, tokens: Tokens) -> None:
        if slot.refused and tokens.access_token == slot.refused:
            tokens = tokens.without_access()
        slot.tokens = tokens

    # ---- refreshing ----

    def _start(self, slot: _Slot) -> None:
        slot.is_busy = True
        Deferred.fromCoroutine(self._renew(slot)).addCallbacks(self._renewed, self._failed, (slot,), {}, (slot,), {})

    async def _renew(self, slot: _Slot) -> Tokens:
        """New tokens, by whatever way there is.

        Raises:
            GrantError: the token server gives none.
            TokenFileError: files cannot be used.
        """
        if slot.account.grant.needs_consent:
            tokens = await self._refresh(slot)
        else:
            tokens = await self._server.client_credentials(slot.account)
            self._emit(TokenObtained(slot.whose, int(tokens.lifetime_seconds)))
        if not tokens.is_usable(self._clock.seconds()):
            raise GrantError("the token server gives tokens that have expired already", Remedy.WAIT)
        return tokens

    async def _refresh(self, slot: _Slot) -> Tokens:
        store = self._store_of(slot.account)
        keeper = Keeper(slot.account, slot.user, store, self._clock, self._in_thread)
        lock = await keeper.lock()
        try:
            if slot.unsaved is not None:
                # A refresh token that no file has is not used up.
                await keeper.save(slot.unsaved)
                slot.unsaved = None
            former = keeper.load()
            if former is None:
                raise GrantError("nobody has consented yet", Remedy.LOGIN)
            if not former.is_due(self._clock.seconds()) and former.access_token != slot.refused:
                return former
            if not former.refresh_token:
                raise GrantError("there is no refresh token", Remedy.LOGIN)
            release = self._hold_shutdown()
            try:
                tokens = await self._exchange(keeper, slot, former)
            finally:
                release()
            self._emit(TokenObtained(slot.whose, int(tokens.lifetime_seconds)))
            return tokens
        finally:
            slot.stamp = store.stamp(slot.account.name, slot.user)
            lock.release()

    async def _exchange(self, keeper: Keeper, slot: _Slot, former: Tokens) -> Tokens:
        try:
            return await keeper.refresh(self._server, former)
        except UnsavedError as error:
            slot.unsaved = error.tokens
            self._emit(TokenUnavailable(slot.whose, f"new tokens are kept in memory only: {error}"))
            return error.tokens

    # ---- the end of it ----

    def _renewed(self, tokens: Tokens, slot: _Slot) -> None:
        slot.is_busy = False
        slot.problem, slot.failures, slot.retry_at = "", 0, 0.0
        self._take(slot, tokens)
        while slot.waiting:
            slot.waiting.pop(0).callback(tokens.access_token)

    def _failed(self, failure: Failure, slot: _Slot) -> None:
        slot.is_busy = False
        slot.failures += 1
        error = failure.value
        pause = min(FIRST_PAUSE_SECONDS * 2 ** min(slot.failures - 1, 10), LONGEST_PAUSE_SECONDS)
        if isinstance(error, GrantError):
            if error.remedy is not Remedy.WAIT:
                pause = HOPELESS_PAUSE_SECONDS
            pause = max(pause, error.retry_after_seconds)
            slot.problem = error.problem + self._advice(slot, error.remedy)
        elif isinstance(error, TokenFileError):
            slot.problem = str(error)
        else:
            # Nobody has foreseen it: its text may hold anything, and is not for others.
            slot.problem = "refreshing it ended by a defect, which the log of errors describes"
            _log.failure("refreshing the token of OAuth2 account {whose}", failure, whose=slot.whose)
        slot.retry_at = self._clock.seconds() + pause
        self._emit(TokenUnavailable(slot.whose, slot.problem))
        while slot.waiting:
            slot.waiting.pop(0).errback(slot.error())

    def _advice(self, slot: _Slot, remedy: Remedy) -> str:
        """What an administrator can do."""
        if remedy is Remedy.LOGIN and slot.account.grant.needs_consent:
            return f"; run: smtpdeliver oauth login {slot.account.name} {slot.user}"
        if remedy is not Remedy.WAIT:
            return f"; see {self.accounts.path_of(slot.account.name)}"
        return ""
