"""What ends the sending of a message from within.

Flow: raised by the room's cores; session/ lets it end the dialog, delivery/ decides what becomes of the mail.
Sources: RFC 3463.
"""

from twisted_mta.model.dsn import DsnStatus


class ContentFailedError(Exception):
    """The message cannot be sent as it must be.

    Attributes:
        why: a soft status if trying again may help; then no other server could help now.
    """

    def __init__(self, why: DsnStatus) -> None:
        super().__init__(why.reason)
        self.why = why
