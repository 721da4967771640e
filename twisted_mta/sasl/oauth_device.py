"""The device grant: a person consents in any browser, while we ask now and then whether that has happened.

Flow: oauth/login.py posts `device_request`, shows what DeviceCode says, and asks in the rhythm of a DevicePolling.
Sources: RFC 8628 sections 3.1 to 3.5.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from twisted_mta.model.text import printable
from twisted_mta.sasl.oauth import (
    GrantError,
    HttpReply,
    Remedy,
    TokenReply,
    TokenRequest,
    read_object,
    read_token_reply,
    request,
    token_request,
)
from twisted_mta.sasl.oauth_account import Account

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"

USUAL_INTERVAL_SECONDS = 5.0
"""RFC 8628 section 3.2, where the server says nothing."""

SLOW_DOWN_SECONDS = 5.0
"""RFC 8628 section 3.5: slow_down makes the interval longer by so much."""

LONGEST_INTERVAL_SECONDS = 60.0

LONGEST_LIFE_SECONDS = 3600.0
"""No person needs longer; 900 seconds are usual."""

_LONGEST_CODE = 2048


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person is told, and what we ask with.

    Attributes:
        device_code: ours.
        user_code: to be entered by the person.
        verification_uri: the page to open.
        complete_uri: the same with the code in it; empty: there is none.
        lifetime_seconds: how long the person has.
        interval_seconds: how long to wait between questions.
    """

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    complete_uri: str
    lifetime_seconds: float
    interval_seconds: float


def device_request(account: Account) -> TokenRequest:
    """Ask for a code (RFC 8628 section 3.1)."""
    parameters = {"client_id": account.client_id, "scope": account.scope, **dict(account.token_parameters)}
    return request(account, account.device_authorization_endpoint, parameters)


def read_device_code(reply: HttpReply, secrets: tuple[str, ...] = ()) -> DeviceCode:
    """What a reply to `device_request` says (RFC 8628 section 3.2).

    Args:
        reply: the reply.
        secrets: of the request.

    Raises:
        GrantError: it is an error, or makes no sense.
    """
    content = read_object(reply, secrets)
    # Google's name for it differs from that of the standard.
    uri = _text(content, "verification_uri") or _text(content, "verification_url")
    device_code, user_code = _text(content, "device_code"), _text(content, "user_code")
    if not (device_code and user_code and uri):
        raise GrantError("the reply of the device authorization endpoint makes no sense", Remedy.CONFIGURE)
    if not uri.startswith(("https://", "http://")):
        raise GrantError("the device authorization endpoint names a page that is no web page", Remedy.CONFIGURE)
    complete = _text(content, "verification_uri_complete")
    return DeviceCode(
        device_code,
        user_code,
        uri,
        complete if complete.startswith(("https://", "http://")) else "",
        min(max(_number(content, "expires_in", 900.0), 1.0), LONGEST_LIFE_SECONDS),
        min(max(_number(content, "interval", USUAL_INTERVAL_SECONDS), 1.0), LONGEST_INTERVAL_SECONDS),
    )


def _text(content: dict[str, Any], key: str) -> str:
    """A text of printable ASCII, as a person can type it; empty: there is none."""
    value = content.get(key)
    if not isinstance(value, str) or len(value) > _LONGEST_CODE or not value.isascii() or printable(value) != value:
        return ""
    return value


def _number(content: dict[str, Any], key: str, usual: float) -> float:
    value = content.get(key, usual)
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else usual
    except (ValueError, OverflowError):
        return usual
    return usual if math.isnan(number) else number


class DevicePolling:
    """When to ask next, and whether to ask at all."""

    def __init__(self, account: Account, code: DeviceCode, began_at: float) -> None:
        """Begin.

        Args:
            account: whose.
            code: what the server gave.
            began_at: when that was, in seconds.
        """
        self.request = token_request(account, GRANT_TYPE, [code.device_code], device_code=code.device_code)
        self.wait_seconds = code.interval_seconds
        self._ends_at = began_at + code.lifetime_seconds

    def read(self, reply: HttpReply, now: float) -> TokenReply | None:
        """What a reply says; None: ask again after `wait_seconds`.

        Raises:
            GrantError: it is over.
        """
        try:
            return read_token_reply(reply, self.request.secrets)
        except GrantError as error:
            if error.code == "slow_down":
                self.wait_seconds = min(self.wait_seconds + SLOW_DOWN_SECONDS, LONGEST_INTERVAL_SECONDS)
            elif error.code == "access_denied":
                raise GrantError("consent was refused", Remedy.LOGIN, code=error.code) from error
            elif error.code == "expired_token":
                raise self._too_late() from error
            elif error.code != "authorization_pending":
                if error.remedy is not Remedy.WAIT:
                    raise
                self.no_reply(now)
        self._check_time(now)
        return None

    def no_reply(self, now: float) -> None:
        """There was no usable reply: ask less often (RFC 8628 section 3.5).

        Raises:
            GrantError: it is over.
        """
        self.wait_seconds = min(self.wait_seconds * 2, LONGEST_INTERVAL_SECONDS)
        self._check_time(now)

    def _check_time(self, now: float) -> None:
        if now + self.wait_seconds >= self._ends_at:
            raise self._too_late()

    def _too_late(self) -> GrantError:
        return GrantError("nobody consented in time", Remedy.LOGIN, code="expired_token")
