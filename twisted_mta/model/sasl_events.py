"""What is to be said of logins, as frozen values; observe/sasl_lines.py turns them into lines.

Flow: sasl/, smtp/ and session/ call their `emit` with them. A field holds what was seen, unescaped; never a secret.
Sources: postconf(5) smtp_sasl_*; SASL_README; the recorded log of a running Postfix.
"""

from dataclasses import dataclass

from twisted_mta.model.events import Event


@dataclass(frozen=True, slots=True)
class NoMechanismOffered(Event):
    """A server says AUTH, but names no mechanism that we may use; `offered` is what it names."""

    relay: str
    offered: str


@dataclass(frozen=True, slots=True)
class NullMechanismList(Event):
    """A server says AUTH, and names no mechanism."""

    relay: str


@dataclass(frozen=True, slots=True)
class SaslTrouble(Event):
    """A login went wrong on our side; `text` as the Cyrus SASL library says it."""

    text: str


@dataclass(frozen=True, slots=True)
class MechanismsPassedOver(Event):
    """No mechanism is left; `reasons` says of those that were allowed what stood in the way."""

    relay: str
    reasons: str


@dataclass(frozen=True, slots=True)
class RefusalExplained(Event):
    """What a server has said, within a mechanism, of why it refuses a login."""

    relay: str
    mechanism: str
    remark: str


@dataclass(frozen=True, slots=True)
class PasswordLookupFailed(Event):
    """The tables of passwords cannot be asked."""

    queue_id: str
    parameter: str


@dataclass(frozen=True, slots=True)
class BadCacheEntry(Event):
    """What is remembered of a refused login makes no sense, and is forgotten."""

    parameter: str
    key: str


@dataclass(frozen=True, slots=True)
class TokenObtained(Event):
    """A token server has given a new OAuth2 access token; `whose` names the account, and its user if it is a person's."""

    whose: str
    lifetime_seconds: int


@dataclass(frozen=True, slots=True)
class TokenUnavailable(Event):
    """An OAuth2 access token cannot be had, or not be kept; `problem` says why, and what to do if anything helps."""

    whose: str
    problem: str


@dataclass(frozen=True, slots=True)
class TokenRefused(Event):
    """A mail server has refused an OAuth2 access token before its end; the next login gets another one."""

    whose: str
