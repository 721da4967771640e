"""The lists of a delivery request, and of the reply to it.

Flow: postfix/requests.py feeds what the queue manager sends to a RequestReader, and sends back what `encode_reply` makes of the
final status. postfix/pass_on.py sends what `encode_request` makes, and has the reply read by `read_reply`.
Sources: Postfix's delivery request protocol, as qmgr(8) speaks it; RFC 3461 (envelope id, notify, return).
"""

import re
import struct
from dataclasses import replace

from twisted_mta.ipc.attributes import (
    AttributeList,
    Decoder,
    IpcError,
    Long,
    encode,
    encode_data,
    expect,
    read_data,
    read_int,
    read_long,
    read_texts,
)
from twisted_mta.ipc.version import PostfixVersion
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import (
    DeliveryRequest,
    LogClient,
    MessageStats,
    Notify,
    Recipient,
    RequestFlags,
    Return,
    SmtpUtf8,
)
from twisted_mta.model.result import FinalStatus
from twisted_mta.postfix.dsn_attributes import DSN_NAMES, dsn_attributes

MOST_RECIPIENTS = 100_000
"""Of one request. The queue manager holds 20,000 in memory at most, unless qmgr_message_recipient_limit is raised."""

LONGEST_REQUEST = 32 << 20
"""Octets of one request: more than MOST_RECIPIENTS addresses of ordinary length need."""

_BEFORE_OPTIONS = (
    b"flags", b"queue_name", b"queue_id", b"offset", b"size", b"nexthop", b"encoding"
)  # fmt: skip
_BEHIND_OPTIONS = (
    b"sender", b"envelope_id", b"ret_flags", b"time",
    b"log_client_name", b"log_client_address", b"log_client_port", b"log_protocol_name", b"log_helo_name",
    b"sasl_method", b"sasl_username", b"sasl_sender", b"log_ident", b"rewrite_context", b"recipient_count",
)  # fmt: skip
_RECIPIENT = (b"original_recipient", b"recipient", b"offset", b"dsn_orig_rcpt", b"notify_flags")
_REPLY = (*(name.encode("ascii") for name in DSN_NAMES), b"status")

_QUEUE_NAME = re.compile(r"[A-Za-z0-9]{1,100}")
_QUEUE_ID = re.compile(r"[A-Za-z0-9_]{1,255}")

_TIMES = struct.Struct("@10qi4x")
"""Five times as seconds and microseconds, then how often the connection was used: a structure of the machine."""

# Bits that later versions may add mean nothing here; and an IntFlag remembers each new value for ever.
_KNOWN_FLAGS = sum(RequestFlags)
_KNOWN_OPTIONS = sum(SmtpUtf8)
_KNOWN_NOTIFY = sum(Notify)
_NOTIFY = tuple(Notify(bits) for bits in range(_KNOWN_NOTIFY + 1))
_KNOWN_RETURN = frozenset(Return)


class RequestReader:
    """Reads one delivery request, however it is cut.

    Args:
        names: of the attributes that all recipients have in common (`request_names`).
    """

    __slots__ = ("_common", "_count", "_decoder", "_names", "_octets", "_recipients")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self._names = names
        self._decoder = Decoder()
        self._octets = 0
        self._common: AttributeList | None = None
        self._count = 0
        self._recipients: list[AttributeList] = []

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return self._octets > 0

    def feed(self, data: bytes, now: float) -> DeliveryRequest | None:
        """Take what the queue manager sent.

        Args:
            data: the bytes.
            now: seconds since the epoch: when the request had been read, if it is complete now.

        Returns:
            The request as soon as it is complete; what follows it is ignored.

        Raises:
            IpcError: it is no delivery request; nothing more should be fed.
        """
        self._octets += len(data)
        if self._octets > LONGEST_REQUEST:
            raise IpcError(f"more than {LONGEST_REQUEST} octets")
        for found in self._decoder.feed(data):
            if self._common is None:
                self._begin(found)
            else:
                self._recipients.append(found)
                if len(self._recipients) == self._count:
                    return self._request(self._common, now)
        return None

    def _begin(self, common: AttributeList) -> None:
        count = read_int(expect(common, self._names)[-1], "recipient_count")
        if not 1 <= count <= MOST_RECIPIENTS:
            raise IpcError(f"{_name_of(common)}: {count} recipients, not 1 to {MOST_RECIPIENTS}")
        self._common, self._count = common, count

    def _request(self, common: AttributeList, now: float) -> DeliveryRequest:
        values = common.values
        (
            _, queue_name, queue_id, _, _, nexthop, encoding, _, sender, envelope_id, _, _,
            client_name, client_address, client_port, protocol, helo,
            sasl_method, sasl_username, sasl_sender, ident, rewrite_context, _,
        ) = read_texts(values)  # fmt: skip
        if not _QUEUE_NAME.fullmatch(queue_name):
            raise IpcError(f'"{queue_name[:100]}" cannot be the name of a queue')
        if not _QUEUE_ID.fullmatch(queue_id):
            raise IpcError(f'"{queue_id[:255]}" cannot be a queue id')
        try:
            return DeliveryRequest(
                queue_id=queue_id,
                nexthop=nexthop,
                sender=sender,
                recipients=_recipients(self._recipients),
                stats=_stats(values[11], now),
                size=_position(values[4], "size"),
                flags=RequestFlags(read_int(values[0], "flags") & _KNOWN_FLAGS),
                queue_name=queue_name,
                content_offset=_position(values[3], "offset"),
                encoding=encoding,
                smtputf8=SmtpUtf8(read_int(values[7], "smtputf8") & _KNOWN_OPTIONS),
                envelope_id=envelope_id,
                ret=_return(values[10]),
                client=LogClient(client_name, client_address, client_port, protocol, helo, ident),
                sasl_method=sasl_method,
                sasl_username=sasl_username,
                sasl_sender=sasl_sender,
                rewrite_context=rewrite_context,
            )
        except IpcError as error:
            raise IpcError(f"{queue_id}: {error}") from error


def request_names(version: PostfixVersion) -> tuple[bytes, ...]:
    """The attributes that all recipients of a request have in common, in their order."""
    return (*_BEFORE_OPTIONS, version.send_options_name.encode("ascii"), *_BEHIND_OPTIONS)


def _name_of(common: AttributeList) -> str:
    return read_texts(common.values)[2][:255]


def _recipients(lists: list[AttributeList]) -> tuple[Recipient, ...]:
    """All recipients; their text is decoded in one step."""
    width = len(_RECIPIENT)
    values: list[bytes] = []
    for found in lists:
        values += expect(found, _RECIPIENT)
    texts = read_texts(tuple(values))
    return tuple(
        map(
            Recipient,
            texts[1::width],
            texts[0::width],
            map(_offset, values[2::width]),
            texts[3::width],
            map(_notify, values[4::width]),
        )
    )


def _offset(value: bytes) -> int:
    offset = read_long(value, "offset")
    if offset == 0 or offset < -1:
        raise IpcError(f"impossible offset of a recipient: {offset}")
    return offset


def _notify(value: bytes) -> Notify:
    return _NOTIFY[read_int(value, "notify_flags") & _KNOWN_NOTIFY]


def _position(value: bytes, name: str) -> int:
    number = read_long(value, name)
    if number < 0:
        raise IpcError(f"attribute {name}: {number} is negative")
    return number


def _return(value: bytes) -> Return:
    number = read_int(value, "ret_flags")
    if number not in _KNOWN_RETURN:
        raise IpcError(f"attribute ret_flags: {number} has no meaning")
    return Return(number)


def _stats(value: bytes, now: float) -> MessageStats:
    octets = read_data(value, "time")
    if len(octets) != _TIMES.size:
        raise IpcError(
            f"attribute time: {len(octets)} octets instead of {_TIMES.size}: the queue manager was built for another machine"
        )
    times = _TIMES.unpack(octets)
    incoming, active, handoff, set_up, done = [times[i] * 1_000_000 + times[i + 1] for i in range(0, 10, 2)]
    return MessageStats(incoming, active, handoff if times[4] else int(now * 1_000_000), set_up, done, times[10])


def encode_request(request: DeliveryRequest, recipient: Recipient, version: PostfixVersion) -> bytes:
    """A request for one of the recipients of another one, to be sent in ONE write.

    Args:
        request: what was received.
        recipient: one of its recipients.
        version: of the Postfix whose agents get it.

    Raises:
        IpcError: something in it cannot be sent.
    """
    stats, client = request.stats, request.client
    times = (
        stats.incoming_arrival,
        stats.active_arrival,
        stats.agent_handoff,
        stats.connection_setup_done,
        stats.deliver_done,
    )
    seconds = [part for stamp in times for part in divmod(stamp, 1_000_000)]
    common = (
        int(request.flags), request.queue_name, request.queue_id, Long(request.content_offset), Long(request.size),
        request.nexthop, request.encoding, int(request.smtputf8), request.sender, request.envelope_id, int(request.ret),
        encode_data(_TIMES.pack(*seconds, stats.reuse_count)),
        client.name, client.address, client.port, client.protocol, client.helo,
        request.sasl_method, request.sasl_username, request.sasl_sender, client.ident, request.rewrite_context, 1,
    )  # fmt: skip
    own = (recipient.original, recipient.address, Long(recipient.offset), recipient.dsn_orcpt, int(recipient.notify))
    names = ([name.decode("ascii") for name in group] for group in (request_names(version), _RECIPIENT))
    return b"".join(encode(zip(group, values, strict=True)) for group, values in zip(names, (common, own), strict=True))


# ---- the reply ----


def read_reply(reply: AttributeList) -> bool:
    """Whether all recipients of a request are final; what is said of the destination is for the queue manager alone.

    Raises:
        IpcError: it is no reply to a delivery request.
    """
    return read_int(expect(reply, _REPLY)[-1], "status") == 0


def encode_reply(status: FinalStatus) -> bytes:
    """The reply to a request; send it in ONE write: the queue manager stands still until it has all of it."""
    if status.hop_status is None:
        return COMPLETE if status.complete else TRY_AGAIN
    return _encode_reply(status.complete, status.hop_status)


def _encode_reply(complete: bool, hop: DsnStatus) -> bytes:
    # What is done about it is the queue manager's to say.
    return encode((*dsn_attributes(replace(hop, action="")), ("status", 0 if complete else -1)))


_HEALTHY = DsnStatus("", "")

COMPLETE = _encode_reply(True, _HEALTHY)
"""All recipients are final: an order to delete the message, or their part of it."""

TRY_AGAIN = _encode_reply(False, _HEALTHY)
"""Some recipients are not final; nothing is said against the destination."""
