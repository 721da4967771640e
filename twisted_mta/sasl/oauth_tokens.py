"""The tokens of one user of an account: how long they serve, and how a file keeps them.

Flow: oauth/provider.py asks whether a token is still good; oauth/store.py keeps the text that `to_text` makes.
Sources: RFC 6749 sections 1.4, 1.5, 5.1, 6; RFC 9700 section 4.14 for refresh tokens that change with each use.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twisted_mta.sasl.oauth import LONGEST_TOKEN, TokenReply

ASSUMED_LIFETIME_SECONDS = 3600.0
"""Of an access token whose server does not tell; if it ends earlier, the mail server says so."""

EARLIEST_SECONDS = 300.0
"""So long before its end a token is replaced, while mail goes on with the old one."""

EARLY_SHARE = 0.2
"""But no earlier than in this last part of its life, or tokens that live for minutes would be replaced all the time."""

LAST_SECONDS = 30.0
"""So long before its end a token is used no more: a login may take a while, and clocks differ."""

LAST_SHARE = 0.1

BACKWARD_SECONDS = 60.0
"""A clock that has gone back by more than this makes all times doubtful."""

_FORM = 1


class TokenFileError(Exception):
    """The content of a token file makes no sense; the text says how, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a user of an account has.

    Attributes:
        access_token: empty: there is none yet.
        obtained_at: when it was asked for, in seconds since the epoch.
        expires_at: when it ends.
        refresh_token: for the next one; empty: there is none.
        scope: what was granted, as far as the server has said.
    """

    access_token: str = field(default="", repr=False)
    obtained_at: float = 0.0
    expires_at: float = 0.0
    refresh_token: str = field(default="", repr=False)
    scope: str = ""

    @classmethod
    def from_reply(cls, reply: TokenReply, asked_at: float, former: "Tokens | None" = None) -> "Tokens":
        """What a reply gives.

        Args:
            reply: the reply.
            asked_at: when the request was sent: the life of the token began no earlier.
            former: what we had: its refresh token stays if there is no new one.
        """
        lifetime = ASSUMED_LIFETIME_SECONDS if reply.lifetime_seconds is None else reply.lifetime_seconds
        kept = former.refresh_token if former else ""
        scope = reply.scope or (former.scope if former else "")
        return cls(reply.access_token, asked_at, asked_at + lifetime, reply.refresh_token or kept, scope)

    @property
    def lifetime_seconds(self) -> float:
        """How long the access token holds altogether."""
        return self.expires_at - self.obtained_at

    def is_usable(self, now: float) -> bool:
        """Whether a mail server would still take the access token by the end of a login."""
        return bool(self.access_token) and now < self.expires_at - min(LAST_SECONDS, LAST_SHARE * self.lifetime_seconds)

    def is_due(self, now: float) -> bool:
        """Whether it is time for another access token."""
        early = min(EARLIEST_SECONDS, EARLY_SHARE * self.lifetime_seconds)
        return not self.is_usable(now) or now >= self.expires_at - early or now < self.obtained_at - BACKWARD_SECONDS

    def without_access(self) -> "Tokens":
        """The same after the access token has turned out to be of no use."""
        return replace(self, access_token="", obtained_at=0.0, expires_at=0.0)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see."""
        return tuple(text for text in (self.access_token, self.refresh_token) if text)


def to_text(account: str, user: str, tokens: Tokens) -> str:
    """The content of a token file.

    Args:
        account: whose it is.
        user: whose it is.
        tokens: what to keep.
    """
    content = {
        "form": _FORM,
        "account": account,
        "user": user,
        "access_token": tokens.access_token,
        "obtained_at": tokens.obtained_at,
        "expires_at": tokens.expires_at,
        "refresh_token": tokens.refresh_token,
        "scope": tokens.scope,
    }
    return json.dumps(content, indent=1) + "\n"


def from_text(text: bytes, account: str, user: str) -> Tokens:
    """Read the content of a token file.

    Args:
        text: the content.
        account: whose it must be.
        user: whose it must be, in any case.

    Raises:
        TokenFileError: it is damaged, or somebody else's.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokenFileError("it is damaged: this is no JSON") from error
    if not isinstance(content, dict) or content.get("form") != _FORM:
        raise TokenFileError("it is damaged, or was written by another version")
    if content.get("account") != account or str(content.get("user")).lower() != user.lower():
        raise TokenFileError("it belongs to another account or user")
    return Tokens(
        _text(content, "access_token"),
        _number(content, "obtained_at"),
        _number(content, "expires_at"),
        _text(content, "refresh_token"),
        _text(content, "scope"),
    )


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or len(value) > LONGEST_TOKEN or not (value.isascii() and value.isprintable()):
        raise TokenFileError(f"it is damaged: {key} makes no sense")
    return value


def _number(content: Mapping[str, Any], key: str) -> float:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenFileError(f"it is damaged: {key} makes no sense")
    return float(value)
