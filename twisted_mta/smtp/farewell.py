"""Leaving politely.

Flow: session/session.py performs it where a transaction has not said QUIT already.
Sources: RFC 5321 section 4.1.1.10; postconf(5) smtp_skip_quit_response.
"""

from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import AwaitReply, ConnectionBrokenError, Dialog, Write
from twisted_mta.smtp.settings import DialogSettings


def quit_dialog(settings: DialogSettings) -> Dialog[None]:
    """Say QUIT; the reply is awaited only on request, and means nothing."""
    yield Write(b"QUIT\r\n")
    if settings.await_quit_reply:
        try:
            yield AwaitReply(phases.QUIT)
        except ConnectionBrokenError:
            return
