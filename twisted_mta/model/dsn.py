"""What became of a recipient, in the terms of RFC 3463 and RFC 3464.

Flow: a stage that fails or succeeds makes a DsnStatus; delivery/verdict.py decides what follows from it; reporters pass it on.
Sources: RFC 3463 section 2; RFC 3464 section 2.3; the DSN structure of Postfix's bounce(8) protocol.
"""

import re
from dataclasses import dataclass, replace

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def is_enhanced_status(text: str) -> bool:
    """Whether `text` is an enhanced status code such as ``4.4.1`` (RFC 3463 section 2)."""
    return _STATUS.fullmatch(text) is not None and text.isascii()


@dataclass(frozen=True, slots=True)
class DsnStatus:
    """A status with its reason.

    Attributes:
        status: enhanced status code, ``D.D.D``.
        reason: free text for people and logs, never empty.
        action: RFC 3464 section 2.3.3, e.g. ``relayed``; empty: supplied when it is reported.
        diag_type: ``smtp``, ``x-unix``, ``x-sasl``; empty together with `diag_text`.
        diag_text: the whole reply of the server on one line.
        mta_type: ``dns`` when the status came from a host; empty together with `mta_name`.
        mta_name: that host.
    """

    status: str
    reason: str
    action: str = ""
    diag_type: str = ""
    diag_text: str = ""
    mta_type: str = ""
    mta_name: str = ""

    @property
    def is_soft(self) -> bool:
        """Whether trying again may help: the first digit of the enhanced status decides, never the reply code."""
        return self.status[0] == "4"

    @property
    def is_hard(self) -> bool:
        """Whether trying again cannot help."""
        return self.status[0] == "5"

    def softened(self) -> "DsnStatus":
        """The same with a first digit of 4."""
        return replace(self, status="4" + self.status[1:])


def from_server(status: str, reason: str, host: str, reply_text: str) -> DsnStatus:
    """A status that a server gave.

    Args:
        status: enhanced status of the reply.
        reason: the text for the log.
        host: the server's name.
        reply_text: the reply, lines joined by newlines.
    """
    return DsnStatus(status, reason, "", "smtp", reply_text.replace("\n", " "), "dns", host)
