"""Tell the postmaster of sessions that saw errors: a notice with the transcript, which cleanup(8) takes into the queue.

A notice is a message of Postfix itself: from the double-bounce address, so that nothing can come back of it, and no notice is
sent about mail from that address, or without sender. It is made in one attempt; what becomes of it never changes a delivery.

Flow: delivery/witness.py asks what is wanted, and hands over transcripts.
Sources: cleanup(8); postconf(5) notify_classes, error_notice_recipient, double_bounce_sender, header_from_format,
internal_mail_filter_classes, smtputf8_autodetect_classes; RFC 5322 section 3.3 (dates); the notices of a running Postfix.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from twisted_mta.config.choices import FromFormat
from twisted_mta.config.settings import Settings
from twisted_mta.config.values import read_mask
from twisted_mta.ipc.attributes import AttributeList, encode, expect_among, read_int
from twisted_mta.ipc.client import ServiceClient, ServiceError
from twisted_mta.model.events import Emit, NoticeNotSent
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.session.transcript import Transcript
from twisted_mta.smtp.actions import ErrorClass

GREETING = (b"queue_id",)
"""What cleanup(8) greets with, besides the name of its protocol."""

LONGEST_WAIT = 60.0
"""Seconds for one notice; the delivery that it is about waits for it."""

_REWRITE, _FILTER, _AUTODETECT_UTF8 = 32, 2 + 64, 512  # what cleanup(8) is to do with a message

_FILTERED_CLASSES = ("bounce", "notify")
_AUTODETECTED_CLASSES = ("sendmail", "smtpd", "qmqpd", "forward", "bounce", "notify", "verify", "all")
_CLASSES = {"protocol": ErrorClass.PROTOCOL, "data": ErrorClass.DATA}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MICROSECONDS = 1_000_000
_LENGTH_BITS = 7


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """How notices look.

    Attributes:
        classes: of errors that are worth one.
        myhostname: in headers and in the sender.
        mail_name: of the mail system, for the subject.
        protocol: SMTP or LMTP.
        sender: the double-bounce address.
        recipient: as configured.
        from_format: of the headers From and To.
        flags: for cleanup(8).
    """

    classes: ErrorClass
    myhostname: str = "localhost"
    mail_name: str = "Postfix"
    protocol: str = "SMTP"
    sender: str = "double-bounce@localhost"
    recipient: str = "postmaster"
    from_format: FromFormat = FromFormat.STANDARD
    flags: int = _REWRITE

    @classmethod
    def from_settings(cls, settings: Settings) -> "NoticeSettings":
        """Read the parameters.

        Raises:
            ConfigError: notices are wanted, and a class of mail is none of those there are.
        """
        classes = ErrorClass.NONE
        for word in settings.notify_classes:
            classes |= _CLASSES.get(word, ErrorClass.NONE)
        return cls(
            classes,
            settings.myhostname,
            settings.mail_name,
            settings.protocol.upper(),
            f"{settings.double_bounce_sender}@{settings.myhostname}",
            settings.error_notice_recipient,
            settings.header_from_format,
            _flags(settings) if classes else 0,
        )


def _flags(settings: Settings) -> int:
    def words(parameter: str, allowed: tuple[str, ...]) -> frozenset[str]:
        return read_mask(parameter, settings.expanded(parameter) or "", allowed)

    filtered = words("internal_mail_filter_classes", _FILTERED_CLASSES)
    autodetected = words("smtputf8_autodetect_classes", _AUTODETECTED_CLASSES)
    return (
        _REWRITE
        | (_FILTER if "notify" in filtered else 0)
        | (_AUTODETECT_UTF8 if autodetected & {"notify", "all"} else 0)
    )


class PostmasterNotices:
    """Sends notices."""

    def __init__(self, settings: NoticeSettings, cleanup: ServiceClient, clock: IReactorTime, emit: Emit) -> None:
        """Set up.

        Args:
            settings: how they look.
            cleanup: asks cleanup(8), for LONGEST_WAIT at most; its greeting has GREETING.
            clock: gives wall time.
            emit: takes events.
        """
        self._settings = settings
        self._cleanup = cleanup
        self._clock = clock
        self._emit = emit

    def wanted(self, sender: str) -> ErrorClass:
        """The errors that are worth a notice where the mail is from this sender."""
        return self._settings.classes if sender and sender != self._settings.sender else ErrorClass.NONE

    async def send(self, relay: str, transcript: Transcript) -> None:
        """Send a notice about a session; never fails."""

        def say(greeting: tuple[bytes, ...]) -> bytes:
            queue_id = to_text(greeting[0])
            return encode_message(self._settings, relay, transcript, queue_id, self._clock.seconds())

        try:
            # cleanup(8) tells by itself why it does not take a message.
            await self._cleanup.answer_greeting(say, _read_status)
        except ServiceError as error:
            self._emit(error.event)
            self._emit(NoticeNotSent(error.problem))


def _read_status(reply: AttributeList) -> int:
    (status,) = expect_among(reply, (b"status",))
    return read_int(status, "status")


def encode_message(settings: NoticeSettings, relay: str, transcript: Transcript, queue_id: str, now: float) -> bytes:
    """A notice as cleanup(8) wants it: a list of attributes, then the records of a queue file.

    Args:
        settings: how it looks.
        relay: ``host[address]:port`` of the server.
        transcript: of the session.
        queue_id: of the notice.
        now: seconds since the epoch.
    """
    microseconds = int(now * _MICROSECONDS)
    records = [
        _record(b"T", f"{microseconds // _MICROSECONDS} {microseconds % _MICROSECONDS}"),
        _record(b"A", "log_message_origin=local"),
        _record(b"A", "trace_flags=0"),
        _record(b"S", settings.sender),
        _record(b"R", settings.recipient),
        _record(b"M"),
        *(_record(b"N", line) for line in _lines(settings, relay, transcript, queue_id, date_of(now))),
        _record(b"X"),
        _record(b"E"),
    ]
    return encode([("flags", settings.flags)]) + b"".join(records)


def _lines(settings: NoticeSettings, relay: str, transcript: Transcript, queue_id: str, date: str) -> Iterator[str]:
    sender = f"MAILER-DAEMON@{settings.myhostname}"
    yield f"Received: by {settings.myhostname} ({settings.mail_name})"
    yield f"\tid {queue_id}; {date}"
    yield f"Date: {date}"
    if settings.from_format is FromFormat.STANDARD:
        yield f"From: Mail Delivery System <{sender}>"
        yield f"To: Postmaster <{settings.recipient}>"
    else:
        yield f"From: {sender} (Mail Delivery System)"
        yield f"To: {settings.recipient} (Postmaster)"
    yield f"Subject: {settings.mail_name} {settings.protocol} client: errors from {relay}"
    yield ""
    yield f"Unexpected response from {relay}."
    yield ""
    yield "Transcript of session follows."
    yield ""
    yield from transcript.lines()
    yield ""
    yield "For other details, see the local mail logfile"


def _record(kind: bytes, text: str = "") -> bytes:
    payload = to_wire(text)
    size, length = len(payload), bytearray()
    while size >> _LENGTH_BITS:
        length.append(size & 127 | 128)
        size >>= _LENGTH_BITS
    length.append(size)
    return kind + bytes(length) + payload


def date_of(now: float) -> str:
    """A time as Postfix has it in headers, such as ``Sun,  1 Nov 2026 18:35:27 +0000 (UTC)``.

    Args:
        now: seconds since the epoch; shown in the local time zone.
    """
    local = time.localtime(now)
    sign, minutes = "-" if local.tm_gmtoff < 0 else "+", abs(local.tm_gmtoff) // 60
    # Not by strftime(3), which knows names of days in the language of the system.
    return (
        f"{_DAYS[local.tm_wday]}, {local.tm_mday:2d} {_MONTHS[local.tm_mon - 1]} {local.tm_year}"
        f" {local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}"
        f" {sign}{minutes // 60:02d}{minutes % 60:02d} ({local.tm_zone})"
    )
