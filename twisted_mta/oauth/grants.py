"""One exchange with a token server: a request is posted, and tokens come back.

Flow: provider.py refreshes, login.py logs in; both through a TokenServer.
Sources: RFC 6749 sections 4.4, 5 and 6; RFC 7009.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted_mta.sasl.oauth import (
    HttpReply,
    TokenRequest,
    client_credentials_request,
    read_object,
    read_token_reply,
    refresh_request,
    revocation_request,
)
from twisted_mta.sasl.oauth_account import Account
from twisted_mta.sasl.oauth_tokens import Tokens


class Post(Protocol):
    """Posts a form; `WebClient.post` of web.py is one."""

    def __call__(self, request: TokenRequest, ca_file: str = "", /) -> Awaitable[HttpReply]:
        """Post a form to a server that these authorities vouch for; raises GrantError."""


class TokenServer:
    """The token server of any account."""

    def __init__(self, post: Post, seconds: Callable[[], float]) -> None:
        """Prepare.

        Args:
            post: posts forms.
            seconds: the time since the epoch.
        """
        self._post = post
        self.seconds = seconds

    async def send(self, account: Account, request: TokenRequest) -> HttpReply:
        """Post a request of an account.

        Raises:
            GrantError: there is no reply.
        """
        return await self._post(request, account.ca_file)

    async def obtain(self, account: Account, request: TokenRequest, former: Tokens | None = None) -> Tokens:
        """Ask for tokens.

        Args:
            account: whose.
            request: the question.
            former: the tokens that there are.

        Raises:
            GrantError: there are none.
        """
        asked_at = self.seconds()
        reply = await self.send(account, request)
        return Tokens.from_reply(read_token_reply(reply, request.secrets), asked_at, former)

    async def client_credentials(self, account: Account) -> Tokens:
        """Ask for a token of the client's own; raises GrantError."""
        return await self.obtain(account, client_credentials_request(account))

    async def refresh(self, account: Account, former: Tokens) -> Tokens:
        """Ask for another access token with the refresh token that there is; raises GrantError."""
        return await self.obtain(account, refresh_request(account, former.refresh_token), former)

    async def revoke(self, account: Account, token: str) -> None:
        """Give a token up; nothing happens where the server has no endpoint for that.

        Raises:
            GrantError: the server says no. It need not say anything else than yes (RFC 7009 section 2.2).
        """
        if not account.revocation_endpoint:
            return
        request = revocation_request(account, token)
        reply = await self.send(account, request)
        if reply.status != 200:
            read_object(reply, request.secrets)
