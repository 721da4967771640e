"""The fate of a recipient, and the final status of a request.

Flow: delivery/recipients.py makes one RecipientResult for each recipient and hands it to an IStatusReporter; the request
source gets the FinalStatus.
"""

import enum
from dataclasses import dataclass

from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import MessageStats, Recipient


class Fate(enum.Enum):
    """What is to be reported of a recipient."""

    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """What became of one recipient.

    Attributes:
        recipient: whom this is about; its `notify` lacks SUCCESS where the server took over that duty.
        fate: what to report.
        dsn: why.
        relay: ``host[address]:port`` of the session, or ``none``.
        stats: the time stamps of this delivery.
    """

    recipient: Recipient
    fate: Fate
    dsn: DsnStatus
    relay: str
    stats: MessageStats


@dataclass(frozen=True, slots=True)
class FinalStatus:
    """The answer to a delivery request.

    Attributes:
        complete: whether every recipient is final; otherwise the message must be tried again.
        hop_status: set when the destination itself is sick, so that the queue manager holds it back.
    """

    complete: bool
    hop_status: DsnStatus | None = None
