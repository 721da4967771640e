"""Delivery requests as a queue manager sends them, and agents that answer as told."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_mta.interfaces import IDeliveryAgent, IMessageContent, IStatusReporter
from twisted_mta.ipc.attributes import Long, Value, encode, encode_data
from twisted_mta.model.request import DeliveryRequest
from twisted_mta.model.result import FinalStatus

GREETING = b"protocol\0delivery_request_protocol\0\0"
COMPLETE = b"status\0\0diag_type\0\0diag_text\0\0mta_type\0\0mta_mname\0\0action\0\0reason\0\0status\0000\0\0"
TRY_AGAIN = COMPLETE.replace(b"status\0000", b"status\0004294967295")

INCOMING, ACTIVE = 1_700_000_000_123_456, 1_700_000_001_000_000
"""When the message of `wire_request` arrived, in microseconds."""


def wire_times(*microseconds: int, reuse_count: int = 0) -> bytes:
    """The attribute ``time``."""
    times = (*microseconds, 0, 0, 0, 0, 0)[:5]
    return encode_data(struct.pack("@10qi4x", *[part for t in times for part in divmod(t, 1_000_000)], reuse_count))


def wire_recipient(address: str = "b@example.net", offset: int = 597, **changes: Value) -> bytes:
    """The list of one recipient."""
    attributes: dict[str, Value] = {
        "original_recipient": address,
        "recipient": address,
        "offset": Long(offset),
        "dsn_orig_rcpt": f"rfc822;{address}",
        "notify_flags": 6,
    }
    return encode({**attributes, **changes}.items())


def wire_request(recipients: Sequence[bytes] = (), /, **changes: Value) -> bytes:
    """A whole request: what all recipients have in common, and the recipients (default: one).

    With a change of ``sendopts`` that attribute takes the place of ``smtputf8``.
    """
    options_name = "sendopts" if "sendopts" in changes else "smtputf8"
    recipients = recipients or [wire_recipient()]
    attributes: dict[str, Value] = {
        "flags": 3,
        "queue_name": "active",
        "queue_id": "1E2404A2B3",
        "offset": Long(674),
        "size": Long(312),
        "nexthop": "example.net",
        "encoding": "7bit",
        options_name: 0,
        "sender": "a@example.com",
        "envelope_id": "",
        "ret_flags": 0,
        "time": wire_times(INCOMING, ACTIVE),
        "log_client_name": "localhost",
        "log_client_address": "127.0.0.1",
        "log_client_port": "4711",
        "log_protocol_name": "ESMTP",
        "log_helo_name": "client.example",
        "sasl_method": "",
        "sasl_username": "",
        "sasl_sender": "",
        "log_ident": "1E2404A2B3",
        "rewrite_context": "local",
        "recipient_count": len(recipients),
    }
    return encode({**attributes, **changes}.items()) + b"".join(recipients)


@implementer(IDeliveryAgent)
@dataclass(slots=True)
class ToldAgent:
    """Answers with `status` at once, or when the test fires what `pending` holds; tries again what is cancelled.

    Attributes:
        status: the answer; None: it comes later.
        answer: makes the answer, instead; None: as above.
        requests: what it got.
        pending: one Deferred for each request that has no answer yet.
    """

    status: FinalStatus | None = None
    answer: Callable[[], Deferred[FinalStatus]] | None = None
    requests: list[DeliveryRequest] = field(default_factory=list)
    pending: list[Deferred[FinalStatus]] = field(default_factory=list)

    def deliver(
        self, request: DeliveryRequest, content: IMessageContent, reporter: IStatusReporter
    ) -> Deferred[FinalStatus]:
        """Take a request."""
        self.requests.append(request)
        if self.answer is not None:
            return self.answer()
        if self.status is not None:
            return succeed(self.status)
        later: Deferred[FinalStatus] = Deferred(lambda cancelled: cancelled.callback(FinalStatus(False)))
        self.pending.append(later)
        return later
