"""Logging in once: a person consents in a browser, and tokens come of it.

Flow: cli/oauth.py calls the function of the account's grant, shows what the person has to do, and keeps the tokens.
Sources: RFC 8628 section 3; RFC 6749 section 4.1; RFC 8252.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredQueue
from twisted.internet.defer import TimeoutError as TooLateError
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_mta.oauth.grants import TokenServer
from twisted_mta.oauth.redirect import RedirectListener
from twisted_mta.sasl.oauth import GrantError, Remedy
from twisted_mta.sasl.oauth_account import Account
from twisted_mta.sasl.oauth_code import CodeLogin
from twisted_mta.sasl.oauth_device import DeviceCode, DevicePolling, device_request, read_device_code
from twisted_mta.sasl.oauth_tokens import Tokens

TIME_LIMIT_SECONDS = 900.0
"""For a person with a browser. A device code says itself how long it lives."""


async def log_in_by_device(
    account: Account, server: TokenServer, clock: IReactorTime, show: Callable[[DeviceCode], None]
) -> Tokens:
    """Have a person enter a code on a page of the provider.

    Args:
        account: whose.
        server: asks for the code, and then for the tokens.
        clock: for the time between questions.
        show: tells the person the page and the code.

    Raises:
        GrantError: nobody consented, or the server does not want that.
    """
    request = device_request(account)
    code = read_device_code(await server.send(account, request), request.secrets)
    show(code)
    polling = DevicePolling(account, code, clock.seconds())
    while True:
        await deferLater(clock, polling.wait_seconds)
        asked_at = clock.seconds()
        try:
            reply = await server.send(account, polling.request)
        except GrantError as error:
            if error.remedy is not Remedy.WAIT:
                raise
            polling.no_reply(clock.seconds())
            continue
        if (tokens := polling.read(reply, clock.seconds())) is not None:
            return Tokens.from_reply(tokens, asked_at)


async def log_in_by_browser(
    account: Account,
    user: str,
    server: TokenServer,
    reactor: Any,
    show: Callable[[str], None],
    complain: Callable[[str], None],
    pasted: AsyncIterator[str],
) -> Tokens:
    """Have a person open a page of the provider, which sends the browser back here with a code.

    Args:
        account: whose.
        user: whose consent is wanted.
        server: gives tokens for the code.
        reactor: listens.
        show: tells the person the URL to open.
        complain: says what is wrong with a URL that was pasted or opened.
        pasted: URLs that the person brings from a browser that runs elsewhere, and so cannot reach this machine.

    Raises:
        GrantError: nobody consented, or the server does not want that.
    """
    urls: DeferredQueue[str] = DeferredQueue(size=100)

    def take(url: str) -> None:
        if len(urls.pending) < 100:
            urls.put(url)

    listener = RedirectListener(reactor, take)
    try:
        login = CodeLogin(account, listener.listen(account.redirect_uri), user)
    except CannotListenError as error:
        raise GrantError(
            f"nothing can listen at {account.redirect_uri}: {error.socketError}", Remedy.CONFIGURE
        ) from error
    reading = Deferred.fromCoroutine(_read(pasted, take))
    reading.addErrback(lambda failure: None if failure.check(CancelledError) else complain(failure.getErrorMessage()))
    try:
        show(login.url)
        return await _answered(login, account, server, reactor, urls, complain)
    finally:
        reading.cancel()
        await listener.stop()


async def _read(pasted: AsyncIterator[str], take: Callable[[str], None]) -> None:
    async for line in pasted:
        if line.strip():
            take(line)


async def _answered(
    login: CodeLogin,
    account: Account,
    server: TokenServer,
    reactor: IReactorTime,
    urls: "DeferredQueue[str]",
    complain: Callable[[str], None],
) -> Tokens:
    """Wait for the URL that answers; any page can have a browser open another one here, which is not taken for it."""
    deadline = reactor.seconds() + TIME_LIMIT_SECONDS
    while True:
        try:
            url = await urls.get().addTimeout(max(deadline - reactor.seconds(), 0.0), reactor)
        except TooLateError:
            raise GrantError("nobody consented in time", Remedy.LOGIN) from None
        try:
            request = login.request(url)
        except GrantError as error:
            if error.code not in ("state", "url"):
                raise
            complain(error.problem)
        else:
            return await server.obtain(account, request)
