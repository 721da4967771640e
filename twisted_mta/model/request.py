"""What is to be delivered: one delivery request, as the queue manager hands it over.

Flow: made by a request source (postfix/requests.py and the like), read by every later stage, changed by none.
Sources: postfix-ipc of the delivery request (qmgr(8), bounce(5)); RFC 3461 for the DSN fields; RFC 6531 for SMTPUTF8.
"""

import enum
from dataclasses import dataclass, field


class RequestFlags(enum.IntFlag):
    """What the queue manager wants done with a request (Postfix's DEL_REQ_FLAG_*)."""

    SUCCESS = 1
    """Mark delivered recipients done in the queue file."""
    BOUNCE = 2
    """Always set, no function."""
    MTA_VRFY = 256
    """An address probe of verify(8): deliver nothing, report to verify(8)."""
    USR_VRFY = 512
    """``sendmail -bv``: deliver nothing, report to trace(8)."""
    RECORD = 1024
    """``sendmail -v``: deliver, and report to trace(8) as well."""
    CONN_LOAD = 2048
    """A cached connection may be used."""
    CONN_STORE = 4096
    """The connection may be cached afterwards."""
    REC_DLY_SENT = 8192
    """Report the delivery of mail that was reported as delayed."""


PROBE_FLAGS = RequestFlags.MTA_VRFY | RequestFlags.USR_VRFY
"""The requests that deliver nothing."""

TRACE_FLAGS = PROBE_FLAGS | RequestFlags.RECORD | RequestFlags.REC_DLY_SENT
"""The flags that go along to bounce(8), defer(8) and trace(8)."""


class Notify(enum.IntFlag):
    """When the sender wants to be told (RFC 3461 section 4.1)."""

    NONE = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


class Return(enum.IntEnum):
    """How much of the message a report should hold (RFC 3461 section 4.3)."""

    UNSPECIFIED = 0
    FULL = 1
    HEADERS = 2


class SmtpUtf8(enum.IntFlag):
    """What is known of a message's need for SMTPUTF8 (RFC 6531), as the queue manager computed it."""

    NONE = 0
    REQUESTED = 1
    HEADER = 2
    SENDER = 4
    RECIPIENT = 8

    @property
    def required(self) -> bool:
        """Whether a server without SMTPUTF8 cannot take this message."""
        return bool(int(self) & _UTF8_REQUESTED) and bool(int(self) & _UTF8_PRESENT)


# As plain numbers: operations on flags cost more than all else that is asked of a message.
_PROBE = int(PROBE_FLAGS)
_UTF8_REQUESTED = int(SmtpUtf8.REQUESTED)
_UTF8_PRESENT = int(SmtpUtf8.HEADER | SmtpUtf8.SENDER | SmtpUtf8.RECIPIENT)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a request.

    Attributes:
        address: where to deliver, in internal (unquoted) form.
        original: the address before rewriting; may be empty.
        offset: where the recipient's record begins in the queue file, in octets; -1: do not mark it.
        dsn_orcpt: ``type;address`` with xtext decoded (RFC 3461 section 4.2), or empty.
        notify: when the sender wants to be told.
    """

    address: str
    original: str = ""
    offset: int = -1
    dsn_orcpt: str = ""
    notify: Notify = Notify.NONE


@dataclass(frozen=True, slots=True)
class LogClient:
    """The client that brought the message, for XFORWARD; an empty field is unknown."""

    name: str = ""
    address: str = ""
    port: str = ""
    protocol: str = ""
    helo: str = ""
    ident: str = ""


@dataclass(frozen=True, slots=True)
class MessageStats:
    """Time stamps of a delivery, in microseconds since the epoch; 0: not yet.

    Attributes:
        incoming_arrival: when the message arrived.
        active_arrival: when it entered the active queue.
        agent_handoff: when the request had been read.
        connection_setup_done: when MAIL FROM was about to be sent, or the set-up failed.
        deliver_done: when the reply to the end of data came, or the session failed.
        reuse_count: how often the connection had been used before.
    """

    incoming_arrival: int
    active_arrival: int
    agent_handoff: int
    connection_setup_done: int = 0
    deliver_done: int = 0
    reuse_count: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """One message, one destination, one or more recipients.

    Attributes:
        queue_id: names the message in the log.
        nexthop: the destination as the resolver wrote it, e.g. ``example.com`` or ``[192.0.2.1]:587``.
        sender: the envelope sender in internal form; empty: the null sender.
        recipients: at least one.
        stats: arrival time stamps.
        size: what MAIL ... SIZE= says, in octets as the queue file counts them.
        encoding: ``7bit``, ``8bit`` or empty.
        rewrite_context: ``local`` or ``remote``.
    """

    queue_id: str
    nexthop: str
    sender: str
    recipients: tuple[Recipient, ...]
    stats: MessageStats
    size: int = 0
    flags: RequestFlags = RequestFlags.SUCCESS | RequestFlags.BOUNCE
    queue_name: str = "active"
    content_offset: int = 0
    encoding: str = ""
    smtputf8: SmtpUtf8 = SmtpUtf8.NONE
    envelope_id: str = ""
    ret: Return = Return.UNSPECIFIED
    client: LogClient = field(default_factory=LogClient)
    sasl_method: str = ""
    sasl_username: str = ""
    sasl_sender: str = ""
    rewrite_context: str = "local"

    @property
    def is_probe(self) -> bool:
        """Whether the server is only asked about the recipients."""
        return bool(int(self.flags) & _PROBE)
