"""Refreshing the tokens that a file keeps: under its lock, and without ever losing a refresh token on the way.

Flow: provider.py does it for deliveries, cli/oauth.py for people.
Sources: RFC 6749 section 6; RFC 9700 section 4.14.2.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_mta.oauth.grants import TokenServer
from twisted_mta.oauth.store import Lock, TokenStore
from twisted_mta.sasl.oauth_account import Account
from twisted_mta.sasl.oauth_tokens import TokenFileError, Tokens, to_text
from twisted_mta.tables.opening import InThread

T = TypeVar("T")

LOCK_PAUSE_SECONDS = 0.2
"""How often a lock that another process has is tried again."""

LONGEST_LOCK_SECONDS = 60.0
"""Twice as long as a request may take."""

LONGEST_HOLD_SECONDS = 8.0
"""As long as deliveries get to come to their end."""


class UnsavedError(TokenFileError):
    """New tokens have come, but could not be kept.

    Attributes:
        tokens: they.
    """

    def __init__(self, problem: str, tokens: Tokens) -> None:
        super().__init__(problem)
        self.tokens = tokens


class Keeper:
    """The token file of one user of an account."""

    def __init__(
        self, account: Account, user: str, store: TokenStore, clock: IReactorTime, in_thread: InThread | None = None
    ) -> None:
        """Take a file, which need not be there.

        Args:
            account: whose.
            user: whose.
            store: has the file.
            clock: for waiting.
            in_thread: for writing; None: the caller may be blocked.
        """
        self.account = account
        self.user = user
        self._store = store
        self._clock = clock
        self._in_thread = in_thread

    async def lock(self) -> Lock:
        """Keep everybody else from refreshing; waits for whoever does.

        Raises:
            TokenFileError: that takes too long, or the lock cannot be made.
        """
        deadline = self._clock.seconds() + LONGEST_LOCK_SECONDS
        while (lock := self._store.try_lock(self.account.name, self.user)) is None:
            if self._clock.seconds() >= deadline:
                raise TokenFileError("another process is refreshing the token, and does not come to an end")
            await deferLater(self._clock, LOCK_PAUSE_SECONDS)
        return lock

    def load(self) -> Tokens | None:
        """The tokens; None: there is no file.

        Raises:
            TokenFileError: it cannot be used.
        """
        return self._store.load(self.account.name, self.user)

    async def save(self, tokens: Tokens) -> None:
        """Keep tokens; whoever calls this has the lock.

        Raises:
            TokenFileError: they cannot be kept.
        """
        await self._blocking(lambda: self._store.save(self.account.name, self.user, tokens))

    async def refresh(self, server: TokenServer, former: Tokens) -> Tokens:
        """Get new tokens, and keep them before anybody has them; whoever calls this has the lock.

        Args:
            server: asks for them.
            former: those that there are, with a refresh token.

        Raises:
            GrantError: the server gives none.
            UnsavedError: they have come, but could not be kept.
            TokenFileError: they could not have been kept, so that nobody was asked.
        """
        name, user = self.account.name, self.user
        room = await self._blocking(lambda: self._store.reserve(name, user))
        try:
            tokens = await server.refresh(self.account, former)
        except BaseException:
            room.discard()
            raise
        try:
            await self._blocking(lambda: room.commit(to_text(name, user, tokens)))
        except TokenFileError as error:
            raise UnsavedError(str(error), tokens) from error
        return tokens

    def _blocking(self, work: Callable[[], T]) -> Deferred[T]:
        return maybeDeferred(work) if self._in_thread is None else self._in_thread(work)


class ShutdownHold:
    """Lets a refresh that has begun come to its end before the process does: its refresh token is used up already."""

    def __init__(self, reactor: Any, longest_seconds: float = LONGEST_HOLD_SECONDS) -> None:
        """Prepare.

        Args:
            reactor: would end otherwise.
            longest_seconds: no longer than this.
        """
        self._reactor = reactor
        self._longest = longest_seconds

    def begin(self) -> Callable[[], None]:
        """Something has begun that should not be broken off.

        Returns:
            Is to be called at its end.
        """
        ended: Deferred[None] = Deferred()
        is_ending = False

        def hold() -> Deferred[None]:
            nonlocal is_ending
            is_ending = True
            # Too late is as good as never: somebody would kill the process.
            return ended.addTimeout(self._longest, self._reactor).addErrback(lambda _: None)

        trigger = self._reactor.addSystemEventTrigger("before", "shutdown", hold)

        def end() -> None:
            if not is_ending:
                self._reactor.removeSystemEventTrigger(trigger)
            if not ended.called:
                ended.callback(None)

        return end
