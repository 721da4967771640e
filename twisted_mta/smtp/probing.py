"""Does a kept connection still work? The question before its next transaction.

Flow: session/session.py performs it when a session is lent again.
Sources: RFC 5321 section 4.1.1.5; smtp(8); postconf(5) smtp_rset_timeout.
"""

from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import AwaitReply, ConnectionBrokenError, Dialog, Write


def probe() -> Dialog[bool]:
    """Say RSET; whether the server took it. Nobody is told if not: another connection will do.

    A line that is no reply may be the rest of something that was said before, so that nobody knows what answers what.
    """
    yield Write(b"RSET\r\n")
    try:
        reply = yield AwaitReply(phases.PROBE)
    except ConnectionBrokenError:
        return False
    assert reply is not None
    return reply.is_positive and not reply.garbled
