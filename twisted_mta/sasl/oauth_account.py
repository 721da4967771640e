"""An OAuth2 account: the client of a token server, as its administrator describes it in a small TOML file.

Flow: oauth/accounts.py reads the files; oauth.py makes requests from an Account; a password table refers to one by its name.
Sources: RFC 6749 sections 2.2, 2.3.1, 3.1, 3.2; RFC 8628 section 3.1; RFC 8252 section 7.3; the TOML specification 1.0.0; the
pages of Google and Microsoft about OAuth2 for SMTP.
"""

import enum
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from twisted_mta.config.errors import ConfigError

REFERENCE = "oauth2:"
"""How a password begins that names an account instead: ``oauth2:NAME``."""

LARGEST_FILE = 65536
"""Octets of an account file that are read; a sane one has a few hundred."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Grant(enum.Enum):
    """How the first token is obtained (RFC 6749 section 1.3; RFC 8628); the value is the word in an account file."""

    CLIENT_CREDENTIALS = "client_credentials"
    DEVICE_CODE = "device_code"
    AUTHORIZATION_CODE = "authorization_code"
    REFRESH_TOKEN = "refresh_token"

    @property
    def needs_consent(self) -> bool:
        """Whether a person has to agree once: then there is a refresh token, which has to be kept."""
        return self is not Grant.CLIENT_CREDENTIALS


class ClientAuthentication(enum.Enum):
    """Where the client's secret stands in a request (RFC 6749 section 2.3.1)."""

    BASIC = "basic"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Account:
    """A client of a token server.

    Attributes:
        name: what password tables call it.
        grant: how the first token is obtained.
        client_id: as the server has given it.
        client_secret: empty: the client has none, as it is a public one.
        token_endpoint: URL of the token server.
        device_authorization_endpoint: URL where a device code is asked for; empty where that is not the grant.
        authorization_endpoint: URL that a person opens to consent; empty where that is not the grant.
        revocation_endpoint: URL where a token is given up; empty: there is none.
        redirect_uri: where the browser is sent after the consent, without its port.
        scope: what is asked for, words with blanks between; empty: what the server thinks fit.
        client_authentication: where the secret stands.
        client_secret_file: the file that has the secret; empty: the secret stands in the account file, or there is none.
        token_directory: where tokens are kept; empty: the usual place.
        ca_file: the certificate authorities of the token server, in PEM; empty: those of the system.
        token_parameters: what else goes with each request for a token.
        authorization_parameters: what else goes into the URL that a person opens.
    """

    name: str
    grant: Grant
    client_id: str
    client_secret: str = field(default="", repr=False)
    token_endpoint: str = ""
    device_authorization_endpoint: str = ""
    authorization_endpoint: str = ""
    revocation_endpoint: str = ""
    redirect_uri: str = "http://127.0.0.1"
    scope: str = ""
    client_authentication: ClientAuthentication = ClientAuthentication.BASIC
    client_secret_file: str = ""
    token_directory: str = ""
    ca_file: str = ""
    token_parameters: tuple[tuple[str, str], ...] = ()
    authorization_parameters: tuple[tuple[str, str], ...] = ()


# ---- presets ----

MICROSOFT_SCOPES = {
    Grant.CLIENT_CREDENTIALS: "https://outlook.office365.com/.default",
    Grant.DEVICE_CODE: "https://outlook.office.com/SMTP.Send offline_access",
    Grant.AUTHORIZATION_CODE: "https://outlook.office.com/SMTP.Send offline_access",
    Grant.REFRESH_TOKEN: "https://outlook.office.com/SMTP.Send offline_access",
}
"""An application acts with all that was granted to it; a person grants sending mail, for as long as nobody objects."""

GOOGLE_GRANTS = (Grant.AUTHORIZATION_CODE, Grant.REFRESH_TOKEN)
"""Google's device codes are not given for the scope of mail, and its clients have no mail of their own."""

_GOOGLE = {
    "token_endpoint": "https://oauth2.googleapis.com/token",
    "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
    "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
    "scope": "https://mail.google.com/",
    "client_authentication": "body",
    # Without both there is a refresh token at the first consent only, or none at all.
    "authorization_parameters": {"access_type": "offline", "prompt": "consent"},
}

_MICROSOFT = {
    "token_endpoint": "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
    "device_authorization_endpoint": "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode",
    "authorization_endpoint": "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
    # The port is left out of the comparison for this name only.
    "redirect_uri": "http://localhost",
    "client_authentication": "body",
}

_SHARED_TENANTS = ("common", "organizations", "consumers")

# ---- the file ----

_TEXTS = (
    "provider",
    "tenant",
    "grant",
    "client_id",
    "client_secret",
    "client_secret_file",
    "client_authentication",
    "token_endpoint",
    "device_authorization_endpoint",
    "authorization_endpoint",
    "revocation_endpoint",
    "redirect_uri",
    "scope",
    "token_directory",
    "ca_file",
)

_TABLES = ("token_parameters", "authorization_parameters")

_ENDPOINTS = (
    "token_endpoint",
    "device_authorization_endpoint",
    "authorization_endpoint",
    "revocation_endpoint",
)

_PATHS = ("client_secret_file", "token_directory", "ca_file")

_NEEDED = {
    Grant.DEVICE_CODE: "device_authorization_endpoint",
    Grant.AUTHORIZATION_CODE: "authorization_endpoint",
}

_OWN_PARAMETERS = {
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "device_code",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "response_type",
    "scope",
    "state",
    "token",
}
"""What the requests say themselves."""


def account_of(password: str) -> str | None:
    """The account that stands in place of a password in a password table; None: it is a password.

    Args:
        password: what stands behind the user name and the delimiter.

    Raises:
        ConfigError: it begins like a reference, but what follows cannot be the name of an account.
    """
    if not password.startswith(REFERENCE):
        return None
    name = password.removeprefix(REFERENCE)
    if not is_account_name(name):
        # What it says stays unsaid: it may be a password all the same.
        raise ConfigError(f"what follows {REFERENCE} in a password table is not the name of an account")
    return name


def is_account_name(name: str) -> bool:
    """Whether a name could be that of an account: letters, digits, dots, hyphens and low lines, at most 64, no dot first."""
    return _NAME.fullmatch(name) is not None


def parse_account(name: str, text: str) -> Account:
    """Read an account file.

    Args:
        name: of the account.
        text: the content, TOML.

    Raises:
        ConfigError: it is no TOML, or a key is unknown, missing or wrong; never says what a secret is.
    """
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"this is no TOML: {error}") from error
    _check_keys(given)
    grant = _choice(given, "grant", Grant)
    values: dict[str, Any] = {**_preset(given, grant), **given}
    if not values.get("client_id"):
        raise ConfigError("client_id is missing", parameter="client_id")
    if values.get("client_secret") and values.get("client_secret_file"):
        raise ConfigError("give one of client_secret and client_secret_file", parameter="client_secret_file")
    if grant is Grant.CLIENT_CREDENTIALS and not (values.get("client_secret") or values.get("client_secret_file")):
        raise ConfigError(
            f"grant {grant.value} needs client_secret or client_secret_file", parameter="client_secret_file"
        )
    for key in ("token_endpoint", *([_NEEDED[grant]] if grant in _NEEDED else [])):
        if not values.get(key):
            raise ConfigError(f"{key} is missing; grant {grant.value} needs it", parameter=key)
    for key in _ENDPOINTS:
        if values.get(key):
            check_endpoint(key, values[key])
    if values.get("redirect_uri"):
        check_redirect_uri(values["redirect_uri"])
    for key in _PATHS:
        if values.get(key) and not values[key].startswith("/"):
            raise ConfigError(f'{key} is not absolute: "{values[key]}"', parameter=key)
    authentication = _choice(values, "client_authentication", ClientAuthentication, ClientAuthentication.BASIC)
    rest = {key: values[key] for key in _TEXTS if key in values and key not in ("provider", "tenant")}
    tables = {key: tuple(values[key].items()) for key in _TABLES if key in values}
    return Account(**{**rest, **tables, "name": name, "grant": grant, "client_authentication": authentication})


def _check_keys(given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if key in _TEXTS:
            if not isinstance(value, str):
                raise ConfigError(f"{key} is not a text between quotes", parameter=key)
            if _CONTROL.search(value):
                raise ConfigError(f"{key} has a control character in it", parameter=key)
        elif key in _TABLES:
            _check_parameters(key, value)
        else:
            near = get_close_matches(key, (*_TEXTS, *_TABLES), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f'unknown key "{key}"{hint}', parameter=key)


def _check_parameters(key: str, value: object) -> None:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ConfigError(f'{key} is not a table of texts, such as {{ audience = "..." }}', parameter=key)
    if own := sorted(_OWN_PARAMETERS & value.keys()):
        raise ConfigError(f"{key} cannot set {own[0]}", parameter=key)


def _choice(values: Mapping[str, Any], key: str, kind: type[Any], default: Any = None) -> Any:
    """The member of an enumeration that a key names."""
    if key not in values and default is not None:
        return default
    words = [member.value for member in kind]
    if key not in values:
        raise ConfigError(f"{key} is missing: one of {', '.join(words)}", parameter=key)
    if values[key] not in words:
        raise ConfigError(f'{key} is one of {", ".join(words)}, not "{values[key]}"', parameter=key)
    return kind(values[key])


def _preset(given: Mapping[str, Any], grant: Grant) -> dict[str, Any]:
    """What is known of a provider."""
    provider, tenant = given.get("provider", ""), given.get("tenant", "")
    if tenant and provider != "microsoft":
        raise ConfigError('tenant means something with provider = "microsoft" only', parameter="tenant")
    if provider == "google":
        if grant not in GOOGLE_GRANTS:
            possible = " or ".join(each.value for each in GOOGLE_GRANTS)
            raise ConfigError(
                f"google gives no tokens for mail by grant {grant.value}: use {possible}", parameter="grant"
            )
        return dict(_GOOGLE)
    if provider == "microsoft":
        return _microsoft(tenant, grant)
    if provider:
        raise ConfigError(f'provider is google or microsoft, not "{provider}"', parameter="provider")
    return {}


def _microsoft(tenant: str, grant: Grant) -> dict[str, Any]:
    tenant = tenant or "common"
    if not _NAME.fullmatch(tenant):
        raise ConfigError(f'tenant is an id or a domain, not "{tenant}"', parameter="tenant")
    if grant is Grant.CLIENT_CREDENTIALS and tenant in _SHARED_TENANTS:
        raise ConfigError(f"grant {grant.value} needs the tenant's id or domain", parameter="tenant")
    return {"scope": MICROSOFT_SCOPES[grant], **{key: url.format(tenant=tenant) for key, url in _MICROSOFT.items()}}


def check_endpoint(key: str, url: str) -> None:
    """Demand a URL that secrets may be sent to: https, or http within this machine (RFC 6749 section 3.2).

    Args:
        key: what it is.
        url: the URL.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f'{key} is no URL: "{url}"', parameter=key) from error
    if not host or port == 0 or not url.isascii() or " " in url:
        raise ConfigError(f'{key} is no URL: "{url}"', parameter=key)
    if parts.username is not None or parts.fragment:
        raise ConfigError(f"{key} has a user name or a fragment in it", parameter=key)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigError(f'{key} does not begin with https://: "{url}"', parameter=key)


def check_redirect_uri(url: str) -> None:
    """Demand a URL of this machine without a port, which is chosen when it is used (RFC 8252 section 7.3).

    Raises:
        ConfigError: it is none.
    """
    key = "redirect_uri"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f'{key} is no URL: "{url}"', parameter=key) from error
    loopback = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not loopback or port is not None or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(
            f'{key} is http://127.0.0.1, http://[::1] or http://localhost, perhaps with a path, but without a port: "{url}"',
            parameter=key,
        )


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
