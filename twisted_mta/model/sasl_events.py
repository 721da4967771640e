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
