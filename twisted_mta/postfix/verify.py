"""Tell verify(8) what came of an address probe.

Flow: postfix/reporter.py updates the recipients of a probe request instead of bouncing or deferring them.
Sources: verify(8); postconf(5) address_verify_service_name; the address verification protocol of Postfix.
"""

import enum

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_mta.ipc.attributes import encode
from twisted_mta.ipc.client import PersistentClient, ServiceError, read_status
from twisted_mta.model.events import Emit
from twisted_mta.model.request import Recipient

_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0


class ProbeOutcome(enum.IntEnum):
    """What verify(8) learns of an address."""

    OK = 0
    DEFER = 1
    BOUNCE = 2


class VerifyService:
    """verify(8).

    Args:
        name: address_verify_service_name.
        client: asks it, over a connection that is kept.
        clock: for the pause before another attempt.
        emit: takes events.

    Attributes:
        name: as above.
    """

    def __init__(self, name: str, client: PersistentClient, clock: IReactorTime, emit: Emit) -> None:
        self.name = name
        self._client = client
        self._clock = clock
        self._emit = emit

    async def update(self, recipient: Recipient, outcome: ProbeOutcome, reason: str) -> bool:
        """Say what is known of a recipient's address: the one that was asked about, and the one that it became.

        Returns:
            Whether it is stored; if not, it has been tried several times.
        """
        addresses = dict.fromkeys(filter(None, (recipient.original, recipient.address)))
        for address in addresses:
            if not await self._update(address, outcome, reason):
                return False
        return True

    async def _update(self, address: str, outcome: ProbeOutcome, reason: str) -> bool:
        request = encode(
            (
                ("request", "update"),
                ("address", address),
                ("recipient_status", int(outcome)),
                ("reason", reason.replace("\0", "?")),
            )
        )
        for attempt in range(_ATTEMPTS):
            if attempt:
                await deferLater(self._clock, _PAUSE_SECONDS)
            try:
                return await self._client.ask(request, read_status) == 0
            except ServiceError as error:
                self._emit(error.event)
        return False
