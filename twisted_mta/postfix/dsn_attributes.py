"""The seven attributes by which Postfix's programs tell each other of a delivery status.

Flow: postfix/reporter.py puts them into records of bounce(8), defer(8) and trace(8), postfix/delivery_protocol.py into the reply
to the queue manager.
Sources: Postfix's bounce and delivery request protocols; RFC 3464 section 2.3.
"""

from twisted_mta.model.dsn import DsnStatus

DSN_NAMES = ("status", "diag_type", "diag_text", "mta_type", "mta_mname", "action", "reason")
"""Their names, in the order of the protocols."""

_LONGEST_TEXT = 8192
"""Characters: about twice what a reply is cut at; who reads must not run out of memory by us."""


def dsn_attributes(dsn: DsnStatus) -> tuple[tuple[str, str], ...]:
    """A status as attributes; a diagnostic without type, or a type without diagnostic, is left out, and so with the MTA."""
    diag = (dsn.diag_type, _text(dsn.diag_text)) if dsn.diag_type and dsn.diag_text else ("", "")
    mta = (dsn.mta_type, _text(dsn.mta_name)) if dsn.mta_type and dsn.mta_name else ("", "")
    return tuple(zip(DSN_NAMES, (dsn.status, *diag, *mta, dsn.action, _text(dsn.reason)), strict=True))


def _text(text: str) -> str:
    return text[:_LONGEST_TEXT].replace("\0", "?")
