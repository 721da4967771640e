"""What the rooms have to say, as frozen values; only observe/ turns them into lines.

Flow: any room calls its `emit` with an Event; observe/maillog.py renders it in Postfix's words.
A field holds what was seen, unescaped: rendering makes it printable. `queue_id` is empty where the line has none.
Sources: postconf(5), smtp(8), and the recorded log of a running Postfix.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.model.result import RecipientResult


class Severity(enum.Enum):
    """How serious an event is; the value is the word before the text in a Postfix log."""

    INFO = ""
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


Emit = Callable[[Event], None]
"""How a room says what happened: never blocks, never raises."""


# ---- recipients and requests ----


@dataclass(frozen=True, slots=True)
class RecipientLogged(Event):
    """The fate of a recipient has been recorded; `word` is sent, deferred, bounced, SOFTBOUNCE, deliverable, ..."""

    queue_id: str
    result: RecipientResult
    word: str


@dataclass(frozen=True, slots=True)
class HostSkipped(Event):
    """A soft failure: the recipients are kept for the next host."""

    queue_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class HostNotReached(Event):
    """A connection could not be made, or a host was passed over before any dialog."""

    reason: str


@dataclass(frozen=True, slots=True)
class RecipientPassedOn(Event):
    """A recipient was handed to another transport (best_mx_transport)."""

    queue_id: str
    recipient: str
    transport: str


@dataclass(frozen=True, slots=True)
class RequestMalformed(Event):
    """The peer of the delivery socket sent something that is no delivery request."""

    problem: str


@dataclass(frozen=True, slots=True)
class RequestOverdue(Event):
    """A delivery has no result yet, and the queue manager cannot be kept waiting longer."""

    queue_id: str
    seconds: int


@dataclass(frozen=True, slots=True)
class WorkerLost(Event):
    """A worker process ended without being told to; another one takes its place."""

    pid: int
    problem: str


@dataclass(frozen=True, slots=True)
class SocketRestored(Event):
    """The name of a listening socket was removed or replaced, and stands for that socket again."""

    path: str


@dataclass(frozen=True, slots=True)
class SocketTaken(Event):
    """Another process listens at the name of our socket; connections go there."""

    path: str


@dataclass(frozen=True, slots=True)
class SocketLost(Event):
    """The name of a listening socket was removed or replaced, and cannot be restored now."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class AcceptFailed(Event):
    """No connection can be taken for now; those that come wait in the backlog."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class HandoffRefused(Event):
    """A descriptor that was passed to the control socket is not served."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class DeliveryFailedUnexpectedly(Event):
    """A defect of ours ended a delivery; the mail is deferred."""

    queue_id: str
    traceback: str


@dataclass(frozen=True, slots=True)
class ConfigurationProblem(Event):
    """A setting cannot be used; `text` names it and says why."""

    text: str


@dataclass(frozen=True, slots=True)
class ConfigurationWarning(Event):
    """A setting is odd, and used all the same."""

    text: str


# ---- lookup tables ----


@dataclass(frozen=True, slots=True)
class TableProblem(Event):
    """A table cannot be opened; every lookup in it will fail."""

    table: str
    problem: str


@dataclass(frozen=True, slots=True)
class TableUnavailable(Event):
    """A lookup in a table that could not be opened."""

    table: str
    problem: str


@dataclass(frozen=True, slots=True)
class TableWarning(Event):
    """A table is odd, or a part of its source is not used, or a lookup went wrong; `text` names the table or the file."""

    text: str


@dataclass(frozen=True, slots=True)
class TableLookupFailed(Event):
    """A search over the tables of a parameter came to an error."""

    table: str
    key: str


@dataclass(frozen=True, slots=True)
class TableResultEmpty(Event):
    """A table has an empty value; `where` is the parameter, or the table, that was asked."""

    where: str
    key: str


@dataclass(frozen=True, slots=True)
class TableResultAdvice(Event):
    """What to do about empty values."""

    where: str


@dataclass(frozen=True, slots=True)
class TableChanged(Event):
    """What a table was made from has changed: the configuration is loaded anew."""

    table: str


# ---- queue file ----


@dataclass(frozen=True, slots=True)
class QueueFileUnusable(Event):
    """A queue file is absent, locked or not what it should be."""

    queue_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class BadContentRecord(Event):
    """A record that cannot stand in message content; -2: no record at all."""

    queue_id: str
    record_type: int


@dataclass(frozen=True, slots=True)
class RecordDamaged(Event):
    """Details of a damaged record; `path` is ``active/QUEUEID``."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class QueueFileCorrupt(Event):
    """A corrupt queue file has been put aside."""

    path: str


@dataclass(frozen=True, slots=True)
class StrayLineEnds(Event):
    """CR or LF inside a record became spaces."""

    queue_id: str


# ---- private services ----


@dataclass(frozen=True, slots=True)
class ServiceUnreachable(Event):
    """A connection to a private socket failed; `service` is ``private/bounce`` and the like."""

    service: str
    problem: str


@dataclass(frozen=True, slots=True)
class ServiceFailed(Event):
    """A private service did not do what it was asked."""

    queue_id: str
    service: str


@dataclass(frozen=True, slots=True)
class ServiceConfused(Event):
    """A private service sent something that its protocol does not allow."""

    service: str
    problem: str


@dataclass(frozen=True, slots=True)
class ConnectionCacheDisabled(Event):
    """scache(8) could not be asked, twice: it will not be asked again."""


@dataclass(frozen=True, slots=True)
class NoticeNotSent(Event):
    """A notice to the postmaster could not be handed to cleanup(8)."""

    problem: str


@dataclass(frozen=True, slots=True)
class WrongStatusClass(Event):
    """A status code of the wrong class was handed to a report (`function`: sent, defer_append or bounce_append)."""

    function: str
    status: str


@dataclass(frozen=True, slots=True)
class StatusFilterRefused(Event):
    """A delivery status filter gave no status, or one that turns success into failure or failure into success."""

    parameter: str
    found: str


# ---- name service and routing ----


@dataclass(frozen=True, slots=True)
class NumericDomainName(Event):
    """An address stands where a host name belongs; `where` is ``data`` or ``name``."""

    rdtype: str
    qname: str
    target: str
    where: str = "data"


@dataclass(frozen=True, slots=True)
class InvalidHostname(Event):
    """A name is not a valid host name; `problem` says why, and which name."""

    problem: str


@dataclass(frozen=True, slots=True)
class MalformedDomainName(Event):
    """A record holds, or stands at, an invalid name; `where` is ``data`` or ``name``."""

    where: str
    rdtype: str
    qname: str
    name: str


@dataclass(frozen=True, slots=True)
class BadRecordClass(Event):
    """A record of an answer has another class than IN."""

    rdclass: int


@dataclass(frozen=True, slots=True)
class BadAddressLength(Event):
    """An A or AAAA record does not hold an address; `length` is in octets."""

    length: int


@dataclass(frozen=True, slots=True)
class NameServerLoop(Event):
    """A chain of aliases is too long."""

    name: str


@dataclass(frozen=True, slots=True)
class RecordLimitExceeded(Event):
    """An answer holds more records than are used."""

    limit: int
    qname: str
    rdtype: str


@dataclass(frozen=True, slots=True)
class RecordIgnored(Event):
    """A DNS reply filter dropped a record."""

    record: str


@dataclass(frozen=True, slots=True)
class UnknownFilterAction(Event):
    """The tables of a DNS reply filter have something else than IGNORE."""

    parameter: str
    action: str


@dataclass(frozen=True, slots=True)
class ValidationInDoubt(Event):
    """No answer of the resolver was ever validated, not even that to the probe."""


@dataclass(frozen=True, slots=True)
class ProbeNotValidated(Event):
    """What came of the probe; `probe` as configured."""

    probe: str
    problem: str


@dataclass(frozen=True, slots=True)
class NoHostHasAddress(Event):
    """None of the MX or SRV hosts has an address; `rdtype` is ``MX`` or ``SRV``."""

    rdtype: str
    name: str


@dataclass(frozen=True, slots=True)
class SrvLookupSkipped(Event):
    """An SRV lookup failed and the lookup without SRV takes its place."""

    qname: str
    reason: str


@dataclass(frozen=True, slots=True)
class AddressFamilySkipped(Event):
    """A native lookup gave an address of a family that is turned off."""

    family: int
    host: str


@dataclass(frozen=True, slots=True)
class AddressFamilyDisabled(Event):
    """The system cannot do what inet_protocols asks for; `family` is IPv4 or IPv6."""

    family: str
    problem: str


@dataclass(frozen=True, slots=True)
class DomainNotConverted(Event):
    """An internationalized domain has no A-label form."""

    domain: str
    problem: str


@dataclass(frozen=True, slots=True)
class ResolverUnusable(Event):
    """resolv.conf cannot be read or has a line that means nothing."""

    problem: str


@dataclass(frozen=True, slots=True)
class WrappermodeNeeded(Event):
    """Port 465 is used without wrapper mode; `prefix` is smtp or lmtp."""

    prefix: str


@dataclass(frozen=True, slots=True)
class RelayConfigurationProblem(Event):
    """A relay that the administrator named does not exist; `what` is ``relayhost`` or ``smtp_fallback_relay``."""

    what: str


@dataclass(frozen=True, slots=True)
class FallbackIgnored(Event):
    """lmtp_fallback_relay has no meaning for a local socket."""

    value: str


@dataclass(frozen=True, slots=True)
class SocketNameTooLong(Event):
    """The path of a local socket has no room in a socket address."""

    path: str


@dataclass(frozen=True, slots=True)
class BindFailed(Event):
    """The local address could not be used."""

    address: str
    problem: str


# ---- dialog ----


@dataclass(frozen=True, slots=True)
class GreetedWithOwnName(Event):
    """The server's greeting has our own host name."""

    relay: str
    name: str


@dataclass(frozen=True, slots=True)
class RepliedWithOwnName(Event):
    """The server's EHLO reply has our own host name."""

    relay: str
    name: str


@dataclass(frozen=True, slots=True)
class PixWorkaroundsEnabled(Event):
    """The greeting is that of a PIX firewall."""

    queue_id: str
    words: str
    relay: str


@dataclass(frozen=True, slots=True)
class EhloKeywordsDiscarded(Event):
    """Keywords that are treated as not offered."""

    keywords: str


@dataclass(frozen=True, slots=True)
class SmtpUtf8Without8BitMime(Event):
    """The server offers SMTPUTF8 without what it needs."""

    namaddr: str


@dataclass(frozen=True, slots=True)
class StartTlsOfferNoted(Event):
    """The server offered STARTTLS, which is not used."""

    host: str


@dataclass(frozen=True, slots=True)
class SizeLimitUnreadable(Event):
    """The EHLO keyword SIZE has a parameter that is no number."""

    word: str
    relay: str


@dataclass(frozen=True, slots=True)
class DialogSaid(Event):
    """We said something to a server that is watched (debug_peer_list)."""

    relay: str
    command: str


@dataclass(frozen=True, slots=True)
class DialogHeard(Event):
    """A server that is watched said something (debug_peer_list)."""

    relay: str
    line: str


@dataclass(frozen=True, slots=True)
class ReplyTooLong(Event):
    """A reply line was cut."""

    relay: str
    limit: int
    start: str


@dataclass(frozen=True, slots=True)
class ReplyEndless(Event):
    """A reply line did not end within twice the limit."""

    relay: str


@dataclass(frozen=True, slots=True)
class MultilineReplyTooLong(Event):
    """Lines of a reply were dropped."""

    relay: str
    limit: int
    start: str


@dataclass(frozen=True, slots=True)
class ReplyReplaced(Event):
    """A reply filter changed a reply line."""

    relay: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class ReplyFilterFailed(Event):
    """A reply filter cannot tell what a line is to be."""

    queue_id: str
    table: str
    line: str


@dataclass(frozen=True, slots=True)
class PeerTableFailed(Event):
    """The tables of a parameter cannot be asked about a server's address."""

    queue_id: str
    parameter: str
    address: str


@dataclass(frozen=True, slots=True)
class GarbageReply(Event):
    """A line that is no reply came while commands were pipelined; `protocol` is ESMTP or LMTP."""

    queue_id: str
    protocol: str
    relay: str
    line: str


@dataclass(frozen=True, slots=True)
class PipeliningAdvice(Event):
    """What to do about garbage replies; `parameter` names the setting."""

    address: str
    parameter: str


@dataclass(frozen=True, slots=True)
class XforwardRefused(Event):
    """The server does not want to know; `command` as in ``XFORWARD name/address command``."""

    relay: str
    reply: str
    command: str


@dataclass(frozen=True, slots=True)
class UnknownEncoding(Event):
    """The message has an encoding that is neither 7bit nor 8bit."""

    queue_id: str
    encoding: str


@dataclass(frozen=True, slots=True)
class CheckMatched(Event):
    """A check table has an action for a header or a line; `where` is header or body, `remark` empty or begins with a colon."""

    queue_id: str
    action: str
    where: str
    line: str
    remark: str


@dataclass(frozen=True, slots=True)
class CheckActionUnsupported(Event):
    """A check table wants something that delivery cannot do."""

    parameter: str
    result: str


@dataclass(frozen=True, slots=True)
class CheckTextMissing(Event):
    """REPLACE or PREPEND has no text."""

    parameter: str
    action: str


@dataclass(frozen=True, slots=True)
class CheckTextNoHeader(Event):
    """The text of REPLACE or PREPEND for a header is no header."""

    parameter: str
    action: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckFailed(Event):
    """A check table could not be asked; `where` is header or body."""

    queue_id: str
    where: str


@dataclass(frozen=True, slots=True)
class MappingFailed(Event):
    """An address could not be replaced, so the mail must wait."""

    queue_id: str
    parameter: str
    address: str


@dataclass(frozen=True, slots=True)
class MappingMultiValued(Event):
    """A table has several addresses for one; the first counts."""

    parameter: str
    address: str


@dataclass(frozen=True, slots=True)
class MappingNotAnAddress(Event):
    """What a table has for an address is none."""

    parameter: str
    address: str
    result: str


@dataclass(frozen=True, slots=True)
class CommentsStripped(Event):
    """What stood beside an address in a rewritten header was too long; `start` of it."""

    start: str


@dataclass(frozen=True, slots=True)
class RecipientLimitNeeded(Event):
    """A flag of the service works for one recipient at a time only."""

    flag: str
    service: str


@dataclass(frozen=True, slots=True)
class LongLineBroken(Event):
    """A line of the content was longer than the limit."""

    queue_id: str
    limit: int
