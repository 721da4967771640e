"""What ``smtpdeliver oauth`` shows: accounts, tokens and their ends, and what a person has to do; never a secret.

Flow: cli/oauth.py asks for lines, and writes them.
Sources: RFC 8628 section 3.3 for what a person is told; ISO 8601 for times.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from twisted_mta.model.text import printable
from twisted_mta.oauth.store import TokenStore
from twisted_mta.sasl.oauth_account import Account
from twisted_mta.sasl.oauth_device import DeviceCode
from twisted_mta.sasl.oauth_tokens import TokenFileError, Tokens

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class UserView:
    """A user of an account who has consented.

    Attributes:
        name: as in the password table, in lower case.
        file: keeps the tokens.
        tokens: they; None: they cannot be read.
        problem: why not.
    """

    name: str
    file: str
    tokens: Tokens | None = None
    problem: str = ""

    def as_object(self, now: float) -> dict[str, Any]:
        """All that is shown of it, for JSON."""
        return {"user": self.name, "file": self.file, "problem": self.problem, **_facts(self.tokens, now)}


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account.

    Attributes:
        name: of its file.
        file: its path.
        account: what it says; None: it cannot be used.
        problem: why not.
        users: those who have consented.
    """

    name: str
    file: str
    account: Account | None = None
    problem: str = ""
    users: tuple[UserView, ...] = field(default=())

    def as_object(self, now: float) -> dict[str, Any]:
        """All that is shown of it, for JSON."""
        account = self.account
        return {
            "account": self.name,
            "file": self.file,
            "problem": self.problem,
            "grant": account.grant.value if account else None,
            "client_id": account.client_id if account else None,
            "scope": account.scope if account else None,
            "token_endpoint": account.token_endpoint if account else None,
            "users": [user.as_object(now) for user in self.users],
        }


def view_of(account: Account, file: str, store: TokenStore) -> AccountView:
    """Look at an account that can be used, and at its token files.

    Args:
        account: it.
        file: its path.
        store: has its tokens.
    """
    if not account.grant.needs_consent:
        return AccountView(account.name, file, account)
    try:
        users = tuple(_user_view(account, user, store) for user in store.users(account.name))
    except TokenFileError as error:
        return AccountView(account.name, file, account, problem=str(error))
    return AccountView(account.name, file, account, users=users)


def _user_view(account: Account, user: str, store: TokenStore) -> UserView:
    file = str(store.path(account.name, user))
    try:
        return UserView(user, file, store.load(account.name, user))
    except TokenFileError as error:
        return UserView(user, file, problem=str(error))


def as_text(view: AccountView, now: float) -> Iterator[str]:
    """An account as people read it."""
    account = view.account
    if account is None:
        yield printable(f"{view.name}: {view.problem}")
        return
    yield printable(f"{view.name}: {account.grant.value}, {urlsplit(account.token_endpoint).hostname}")
    if view.problem:
        yield printable(f"    {view.problem}")
    elif not account.grant.needs_consent:
        yield "    tokens are asked for when they are needed, and not kept"
    elif not view.users:
        yield printable(f"    nobody has consented yet; run: smtpdeliver oauth login {view.name} USER")
    for user in view.users:
        yield printable(f"    {user.name}: {user.problem or _state(user.tokens, now)}")


def _state(tokens: Tokens | None, now: float) -> str:
    if tokens is None:
        return "no tokens"
    left = tokens.expires_at - now
    access = f"access token for {duration(left)}" if tokens.access_token and left > 0 else "access token expired"
    if tokens.refresh_token:
        return f"{access}, refreshed when it is needed"
    return f"{access}, no refresh token"


def duration(seconds: float) -> str:
    """A time span in its largest whole unit: ``52 minutes``."""
    for length, unit in _UNITS:
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a second"


def _facts(tokens: Tokens | None, now: float) -> dict[str, Any]:
    return {
        "expires_at": _iso(tokens.expires_at) if tokens and tokens.access_token else None,
        "is_usable": bool(tokens and tokens.is_usable(now)),
        "has_refresh_token": bool(tokens and tokens.refresh_token),
        "scope": tokens.scope if tokens else None,
    }


def _iso(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return None


def login_result(account: Account, user: str, tokens: Tokens, now: float, *, as_json: bool) -> list[str]:
    """What came of a login or a refresh; `user` is empty where the token is the account's own."""
    if as_json:
        return [json.dumps({"account": account.name, "user": user or None, **_facts(tokens, now)})]
    whose = f" for {user}" if user else ""
    kept = f", {_state(tokens, now).partition(', ')[2]}" if user else ", which is not kept"
    return [printable(f"{account.name}: access token{whose}, good for {duration(tokens.lifetime_seconds)}{kept}")]


def code_lines(code: DeviceCode, *, as_json: bool) -> list[str]:
    """What a person does with a device code."""
    if as_json:
        content = {
            "verification_uri": code.verification_uri,
            "verification_uri_complete": code.complete_uri or None,
            "user_code": code.user_code,
            "expires_in": code.lifetime_seconds,
        }
        return [json.dumps(content)]
    lines = [f"Open {code.verification_uri} in any browser, and enter the code {code.user_code}"]
    if code.complete_uri:
        lines.append(f"(or open {code.complete_uri})")
    return [*lines, f"Waiting for consent, at most {duration(code.lifetime_seconds)} ..."]


def url_lines(url: str, *, as_json: bool) -> list[str]:
    """What a person does with the URL of an authorization endpoint."""
    if as_json:
        return [json.dumps({"authorization_url": url})]
    return [
        "Open this page in a browser, and consent:",
        url,
        "If the browser runs on another machine, it ends at a page that does not load: paste the URL of that page here.",
    ]
