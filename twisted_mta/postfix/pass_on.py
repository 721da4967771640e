"""Hand mail that would loop to another transport (best_mx_transport), as if the queue manager had chosen it.

The other transport's agent gets a delivery request for each recipient, over its own private socket. It reports, and marks the
recipient in the queue file, whose lock we share with it; we only learn whether the recipient is final.

Flow: delivery/deliver.py hands recipients over when a route has turned out to lead back to ourselves.
Sources: postconf(5) best_mx_transport, ipc_timeout; qmgr(8), whose protocol it is; what a running smtp(8) sends.
"""

from dataclasses import replace

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_mta.delivery.hand_over import HandOverError
from twisted_mta.ipc.client import Say, ServiceClient, ServiceError, ServiceUnreachableError
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.events import Emit
from twisted_mta.model.request import DeliveryRequest, Recipient
from twisted_mta.postfix.delivery_protocol import encode_request, read_reply

_UNAVAILABLE = "mail transport unavailable"
_NO_RESULT = "unknown mail transport error"
_RETRY_PAUSES = (0.5, 1.0, 2.0)
"""Seconds between attempts to connect: Postfix may just be restarting its services."""

_PATIENCE_AGAIN = 60.0
"""Seconds after a failure for which one attempt must do: not every recipient shall wait for a transport that is not there."""


class PrivateTransport:
    """Another transport of the same Postfix.

    Attributes:
        name: of the transport, and of its socket below private.
    """

    def __init__(
        self, name: str, nexthop: str, client: ServiceClient, version: PostfixVersion, clock: IReactorTime, emit: Emit
    ) -> None:
        """Set up.

        Args:
            name: of the transport.
            nexthop: for its requests; empty: that of the request.
            client: asks it.
            version: of the Postfix it belongs to.
            clock: for pauses.
            emit: takes events.
        """
        self.name = name
        self._nexthop = nexthop
        self._client = client
        self._version = version
        self._clock = clock
        self._emit = emit
        self._patient_from = 0.0

    async def hand_over(self, request: DeliveryRequest, recipient: Recipient) -> bool:
        """Have a recipient delivered to.

        Returns:
            Whether the recipient is final.

        Raises:
            HandOverError: nobody knows what became of it.
        """
        passed = encode_request(
            replace(request, nexthop=self._nexthop) if self._nexthop else request, recipient, self._version
        )
        sent = False

        def say(_: tuple[bytes, ...]) -> bytes:
            nonlocal sent
            sent = True
            return passed

        try:
            return await self._ask(say)
        except ServiceError as error:
            self._emit(error.event)
            raise HandOverError(_NO_RESULT if sent else _UNAVAILABLE) from error

    async def _ask(self, say: Say) -> bool:
        for pause in _RETRY_PAUSES if self._clock.seconds() >= self._patient_from else ():
            try:
                return await self._client.answer_greeting(say, read_reply)
            except ServiceUnreachableError as error:
                self._emit(error.event)
            await deferLater(self._clock, pause)
        try:
            return await self._client.answer_greeting(say, read_reply)
        except ServiceUnreachableError:
            self._patient_from = self._clock.seconds() + _PATIENCE_AGAIN
            raise
