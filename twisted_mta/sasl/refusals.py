"""Logins that a server refused for good, remembered so that the same password is not tried again and again.

An entry stands under ``HOST;USER``, and is ``SECONDS;DIGEST;STATUS;REPLY``: when it was, a digest of the password, and what the
server said. So it can be shared with Postfix's own agents.

Flow: session/login.py asks before a login, and writes after a refusal.
Sources: postconf(5) smtp_sasl_auth_cache_name, smtp_sasl_auth_cache_time; what a running smtp(8) writes.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from twisted_mta.model.login import Secret
from twisted_mta.model.text import to_wire

REMEMBERED_CODE = 535
"""Authentication credentials invalid (RFC 4954 section 6); other refusals may have other reasons."""

_ENTRY = re.compile(r"([0-9]{1,15});([A-Za-z0-9+/=]+);(5\.[0-9]{1,3}\.[0-9]{1,3});(.+)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One entry.

    Attributes:
        at: when the login was refused, in seconds since the epoch.
        digest: of the password.
        status: the enhanced status, as the server gave it.
        reply: the whole reply, its lines parted by newlines.
    """

    at: int
    digest: str = field(repr=False)
    status: str
    reply: str

    def applies(self, password: Secret, now: int, lifetime_seconds: int) -> bool:
        """Whether it is of this password, and not too old."""
        return self.at + lifetime_seconds >= now and hmac.compare_digest(self.digest, digest_of(password))

    def to_text(self) -> str:
        """The form that a table keeps."""
        return f"{self.at};{self.digest};{self.status};{self.reply}"


def key_of(host: str, user: str) -> str:
    """What an entry is found by."""
    return f"{host};{user}"


def digest_of(password: Secret) -> str:
    """What tells passwords apart without showing them: others write it so, too."""
    return base64.b64encode(hashlib.sha1(to_wire(password.reveal()), usedforsecurity=False).digest()).decode()


def parse_refusal(text: str) -> Refusal | None:
    """Read an entry; None: it makes no sense."""
    match = _ENTRY.fullmatch(text)
    return Refusal(int(match[1]), match[2], match[3], match[4]) if match else None
