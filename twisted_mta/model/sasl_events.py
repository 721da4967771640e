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
