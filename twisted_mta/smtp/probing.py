"""Does a kept connection still work? The question before its next transaction.

Flow: session/session.py performs it in front of the transaction, when a session is used again.
Sources: RFC 5321 section 4.1.1.5; smtp(8); postconf(5) smtp_rset_timeout.
"""

from typing import TypeVar

from twisted_mta.model.events import Event
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import AwaitReply, ConnectionBrokenError, Dialog, IsQuiet, Note, Write

T = TypeVar("T")


class NotServingError(Exception):
    """A connection that was kept does not work any more. Nobody is told: another one will do."""


def probed(transaction: Dialog[T], told: Event | None = None) -> Dialog[T]:
    """Say RSET, and go on with a transaction if the server takes it.

    Nothing of the transaction is said before the reply has come, and nothing else with it: what was said before, and not asked
    for, would be taken for an answer to something else.

    Args:
        transaction: what comes next.
        told: logged in between.

    Raises:
        NotServingError: the server does not take it.
    """
    yield Write(b"RSET\r\n")
    try:
        reply = yield AwaitReply(phases.PROBE)
    except ConnectionBrokenError:
        raise NotServingError from None
    assert reply is not None
    question = IsQuiet()
    yield question
    if not reply.is_positive or reply.garbled or not question.answer:
        raise NotServingError
    if told is not None:
        yield Note(told)
    return (yield from transaction)
