"""What is said to a token server, and what its replies mean: forms and JSON, without I/O.

Flow: the shell in oauth/ posts a TokenRequest and brings back an HttpReply; `read_token_reply` makes a TokenReply of it, or says
what is wrong. oauth_account.py describes the accounts; oauth_device.py and oauth_code.py have what a person's consent takes.
Sources: RFC 6749 sections 2.3.1, 4.4, 5 and 6; RFC 6750 section 2.1; RFC 7009; RFC 9110 section 10.2.3 for Retry-After.

What a server says about its errors is shown to people, with the secrets of the request taken out, should it repeat them.
"""

import base64
import enum
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from twisted_mta.model.text import printable
from twisted_mta.sasl.oauth_account import Account, ClientAuthentication

LARGEST_REPLY = 65536
"""Octets of a reply's body that are read. Tokens of large providers have up to 4,000."""

LONGEST_TOKEN = 8192
"""Characters of a token. With base64 and the words around it, a longer one would not fit into a line of AUTH (RFC 4954, 4)."""

LONGEST_LIFETIME_SECONDS = 366 * 86400.0
"""What a server promises beyond that is not believed, so that sums stay sane."""

SHOWN_DESCRIPTION = 240
"""Characters of a server's explanation that are shown."""

LONGEST_WAIT_SECONDS = 900.0
"""A server can ask for no longer pause than this."""

_FORM = re.compile(r"[\x21-\x7e]+")
"""RFC 6749, A.12 and A.17, without the blank, which would end a word of the SASL message."""

_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A form to be posted.

    Attributes:
        url: where to.
        form: the content, application/x-www-form-urlencoded.
        authorization: the value of that header; empty: there is none.
        secrets: what is in it that nobody may see.
    """

    url: str
    form: bytes = field(repr=False)
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back.

    Attributes:
        status: of HTTP.
        body: no more than LARGEST_REPLY octets.
        retry_after: the value of that header; empty: there is none.
        location: where the server would have us go instead; empty: nowhere.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    retry_after: str = ""
    location: str = ""


@dataclass(frozen=True, slots=True)
class TokenReply:
    """Tokens as they came.

    Attributes:
        access_token: shown to mail servers.
        lifetime_seconds: how long it holds; None: the server does not tell.
        refresh_token: for the next access token; empty: the one that we have stays, if there is one.
        scope: what was granted; empty: what was asked for.
    """

    access_token: str = field(repr=False)
    lifetime_seconds: float | None = None
    refresh_token: str = field(default="", repr=False)
    scope: str = ""


class Remedy(enum.Enum):
    """What helps."""

    WAIT = "wait"
    LOGIN = "login"
    CONFIGURE = "configure"


class GrantError(Exception):
    """There is no token.

    Attributes:
        problem: what is wrong, on one line, without any secret.
        remedy: what helps.
        code: the server's word for it; empty: it has said none.
        retry_after_seconds: how long the server wants us to wait; 0: it has not said.
    """

    def __init__(self, problem: str, remedy: Remedy, *, code: str = "", retry_after_seconds: float = 0.0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.code = code
        self.retry_after_seconds = retry_after_seconds


_REMEDIES = {
    "invalid_grant": Remedy.LOGIN,
    "access_denied": Remedy.LOGIN,
    "consent_required": Remedy.LOGIN,
    "interaction_required": Remedy.LOGIN,
    "login_required": Remedy.LOGIN,
    "invalid_client": Remedy.CONFIGURE,
    "invalid_request": Remedy.CONFIGURE,
    "invalid_scope": Remedy.CONFIGURE,
    "invalid_target": Remedy.CONFIGURE,
    "unauthorized_client": Remedy.CONFIGURE,
    "unsupported_grant_type": Remedy.CONFIGURE,
}
"""The errors after which waiting alone does not help (RFC 6749 section 5.2; OpenID Connect Core section 3.1.2.6; RFC 8707)."""


# ---- requests ----


def request(account: Account, url: str, parameters: Mapping[str, str], secrets: Iterable[str] = ()) -> TokenRequest:
    """A request of a client that says who it is (RFC 6749 section 2.3.1).

    Args:
        account: the client.
        url: where to.
        parameters: the form; those that are empty are left out.
        secrets: which of its values nobody may see.
    """
    fields = {name: value for name, value in parameters.items() if value}
    authorization = ""
    if account.client_secret and account.client_authentication is ClientAuthentication.BASIC:
        pair = f"{quote_plus(account.client_id)}:{quote_plus(account.client_secret)}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        fields["client_id"] = account.client_id
        if account.client_secret:
            fields["client_secret"] = account.client_secret
    hidden = tuple(text for text in (account.client_secret, authorization.removeprefix("Basic "), *secrets) if text)
    return TokenRequest(url, urlencode(fields).encode(), authorization, hidden)


def token_request(account: Account, grant_type: str, secrets: Iterable[str] = (), **parameters: str) -> TokenRequest:
    """A request for a token.

    Args:
        account: whose.
        grant_type: the word of the protocol.
        secrets: which of the parameters nobody may see.
        parameters: what goes with it.
    """
    form = {"grant_type": grant_type, **parameters, **dict(account.token_parameters)}
    return request(account, account.token_endpoint, form, secrets)


def client_credentials_request(account: Account) -> TokenRequest:
    """Ask for a token of the client's own (RFC 6749 section 4.4.2)."""
    return token_request(account, "client_credentials", scope=account.scope)


def refresh_request(account: Account, refresh_token: str) -> TokenRequest:
    """Ask for another access token (RFC 6749 section 6), for all that was granted: so no scope is named."""
    return token_request(account, "refresh_token", [refresh_token], refresh_token=refresh_token)


def revocation_request(account: Account, token: str) -> TokenRequest:
    """Give up a token (RFC 7009 section 2.1)."""
    return request(account, account.revocation_endpoint, {"token": token}, [token])


# ---- replies ----


def read_token_reply(reply: HttpReply, secrets: Iterable[str] = ()) -> TokenReply:
    """Take tokens out of a reply (RFC 6749 section 5.1).

    Args:
        reply: what came.
        secrets: of the request: they are taken out of what the server says.

    Raises:
        GrantError: it is an error, or makes no sense.
    """
    content = read_object(reply, secrets)
    kind = content.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise GrantError("the token server gave a token of another type than Bearer", Remedy.CONFIGURE)
    refresh_token = content.get("refresh_token")
    scope = content.get("scope")
    return TokenReply(
        _token(content.get("access_token"), "access token"),
        _lifetime(content.get("expires_in")),
        "" if refresh_token in (None, "") else _token(refresh_token, "refresh token"),
        printable(scope).encode("ascii", "replace").decode()[:LONGEST_TOKEN] if isinstance(scope, str) else "",
    )


def _token(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise GrantError(f"the token server's reply has no {what}", Remedy.WAIT)
    if len(value) > LONGEST_TOKEN:
        raise GrantError(f"the token server gave a {what} of more than {LONGEST_TOKEN} characters", Remedy.WAIT)
    if not _FORM.fullmatch(value):
        raise GrantError(f"the token server gave a {what} with characters that no token has", Remedy.WAIT)
    return value


def _lifetime(value: object) -> float | None:
    """Seconds; some servers write the number as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_LIFETIME_SECONDS)


def read_object(reply: HttpReply, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object of a reply that says yes.

    Args:
        reply: what came.
        secrets: what must not be repeated.

    Raises:
        GrantError: the reply is an error, or has no object.
    """
    content = _parsed(reply.body)
    if 300 <= reply.status < 400:
        # Whoever could send us elsewhere would get the secrets.
        raise GrantError(
            f"the token server sends us elsewhere (HTTP {reply.status}), which is not followed", Remedy.CONFIGURE
        )
    if isinstance(content, dict) and isinstance(content.get("error"), str) and content["error"]:
        raise _refusal(reply, content, secrets)
    if reply.status != 200:
        raise GrantError(
            f"the token server replied with HTTP {reply.status}",
            Remedy.WAIT if reply.status >= 500 or reply.status in (408, 425, 429) else Remedy.CONFIGURE,
            retry_after_seconds=_seconds(reply.retry_after),
        )
    if not isinstance(content, dict):
        raise GrantError("the token server's reply is not a JSON object", Remedy.WAIT)
    return content


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _refusal(reply: HttpReply, content: Mapping[str, Any], secrets: Iterable[str]) -> GrantError:
    """The error that a server tells of (RFC 6749 section 5.2)."""
    code = content["error"] if _ERROR_CODE.fullmatch(content["error"]) else "an error without a name"
    code = without_secrets(code, secrets)
    remedy = _REMEDIES.get(code, Remedy.WAIT)
    if reply.status >= 500 or reply.status == 429:
        remedy = Remedy.WAIT
    description = content.get("error_description")
    said = shown(description, secrets) if isinstance(description, str) else ""
    problem = f"the token server says {code}" + (f" ({said})" if said else "")
    return GrantError(problem, remedy, code=code, retry_after_seconds=_seconds(reply.retry_after))


def _seconds(retry_after: str) -> float:
    """Retry-After in seconds; a date is too much trouble for what it gives."""
    text = retry_after.strip()
    return min(float(text), LONGEST_WAIT_SECONDS) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


def shown(text: str, secrets: Iterable[str]) -> str:
    """A server's explanation as it may be shown: on one line, of bearable length, and without secrets."""
    line = printable(" ".join(without_secrets(text, secrets).split()))
    return line if len(line) <= SHOWN_DESCRIPTION else line[:SHOWN_DESCRIPTION] + "..."


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with stars for every secret, also for those that stand there as in a URL."""
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text
