"""Requests, as short as a test needs them."""

from typing import Any

from twisted_mta.model.request import DeliveryRequest, MessageStats, Recipient

ARRIVAL = 1_700_000_000_000_000
"""When the message of `make_request` arrived, in microseconds since the epoch."""


def make_request(*recipients: str | Recipient, **changes: Any) -> DeliveryRequest:
    """A request for these recipients."""
    values: dict[str, Any] = {
        "queue_id": "4Abc12",
        "nexthop": "dest.example",
        "sender": "sender@client.example",
        "stats": MessageStats(ARRIVAL, ARRIVAL + 10_000, ARRIVAL + 20_000),
        "size": 49,
        "encoding": "7bit",
        **changes,
    }
    names = tuple(Recipient(name) if isinstance(name, str) else name for name in recipients)
    return DeliveryRequest(recipients=names, **values)
