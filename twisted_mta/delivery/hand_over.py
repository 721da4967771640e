"""What a delivery needs of another transport that takes mail which would loop (best_mx_transport).

Flow: delivery/deliver.py hands recipients over; postfix/pass_on.py is such a transport.
Sources: postconf(5) best_mx_transport.
"""

from typing import Protocol

from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import DeliveryRequest, Recipient


class HandOverError(Exception):
    """Nobody knows what became of a recipient.

    Attributes:
        why: the status of its mail.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.why = DsnStatus("4.3.0", reason)


class OtherTransport(Protocol):
    """Takes over recipients, reports what became of them, and marks them in the queue."""

    @property
    def name(self) -> str:
        """The name of the transport, for the log."""

    async def hand_over(self, request: DeliveryRequest, recipient: Recipient) -> bool:
        """Have a recipient of a request delivered to; whether it is final.

        Raises:
            HandOverError: nobody knows what became of it.
        """
