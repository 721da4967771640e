"""Events as the lines that Postfix would log: pure functions.

Flow: resident.py gives every room an `emit` that renders with `line_of` and hands the text to a log writer (postfix/postlog.py).
Sources: smtp(8) and postconf(5); the recorded log of a running Postfix; RFC 3463 for the codes.
"""

import re
from dataclasses import dataclass

from twisted_mta.model import events
from twisted_mta.model.address import quote_5322
from twisted_mta.model.events import Event, Severity
from twisted_mta.model.text import printable
from twisted_mta.observe.delays import format_delays
from twisted_mta.observe.sasl_lines import SASL_TEMPLATES
from twisted_mta.observe.tls_lines import TLS_TEMPLATES

LONGEST_TEXT = 2000
"""Octets of a log text; Postfix cuts there."""

_INFO, _WARNING, _ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR

TEMPLATES: dict[type[Event], tuple[Severity, str]] = (
    {
        events.HostSkipped: (_INFO, "{queue_id}: {reason}"),
        events.HostNotReached: (_INFO, "{reason}"),
        events.RecipientPassedOn: (_INFO, "{queue_id}: passing <{recipient}> to transport={transport}"),
        events.RequestMalformed: (_WARNING, "delivery request: {problem}"),
        events.RequestOverdue: (
            _WARNING,
            "{queue_id}: no result after {seconds} seconds, the queue manager is asked to try again",
        ),
        events.WorkerLost: (_WARNING, "worker process {pid}: {problem}"),
        events.SocketRestored: (_WARNING, "{path} was removed or replaced: listening there again"),
        events.SocketTaken: (
            _ERROR,
            "{path} now belongs to another process, which gets the mail instead of this one; list the entry in"
            " master_service_disable, or stop this service",
        ),
        events.SocketLost: (_ERROR, "{path} was removed or replaced, and cannot be restored: {problem}"),
        events.AcceptFailed: (_WARNING, "accept connection on {path}: {problem}"),
        events.HandoffRefused: (_WARNING, "{path}: connection refused: {problem}"),
        events.DeliveryFailedUnexpectedly: (
            _ERROR,
            "{queue_id}: delivery ended by a defect, mail is deferred: {traceback}",
        ),
        events.ConfigurationProblem: (_ERROR, "{text}"),
        events.ConfigurationWarning: (_WARNING, "{text}"),
        events.TableProblem: (_ERROR, "{problem}"),
        events.TableUnavailable: (_WARNING, "{table} is unavailable. {problem}"),
        events.TableWarning: (_WARNING, "{text}"),
        events.TableLookupFailed: (_WARNING, '{table} lookup error for "{key}"'),
        events.TableResultEmpty: (_WARNING, "{where} lookup of {key} returns an empty string result"),
        events.TableResultAdvice: (_WARNING, "{where} should return NO RESULT in case of NOT FOUND"),
        events.TableChanged: (_INFO, "table {table} has changed -- restarting"),
        events.QueueFileUnusable: (_WARNING, "{queue_id}: {problem}"),
        events.BadContentRecord: (_WARNING, "{queue_id}: bad record type: {record_type} in message content"),
        events.RecordDamaged: (_WARNING, "{path}: {problem}"),
        events.QueueFileCorrupt: (_WARNING, "corrupted queue file: {path}"),
        events.StrayLineEnds: (_WARNING, "{queue_id}: replacing stray <CR> or <LF> in message content by SPACE"),
        events.ServiceUnreachable: (_WARNING, "connect to {service}: {problem}"),
        events.ServiceFailed: (_WARNING, "{queue_id}: {service} service failure"),
        events.ServiceConfused: (_WARNING, "{service}: {problem}"),
        events.ConnectionCacheDisabled: (_WARNING, "disabling connection caching"),
        events.NoticeNotSent: (_WARNING, "postmaster notify: {problem}"),
        events.WrongStatusClass: (_WARNING, '{function}: ignoring dsn code "{status}"'),
        events.StatusFilterRefused: (_WARNING, "{parameter}: bad status code: {found}"),
        events.NumericDomainName: (
            _WARNING,
            "numeric domain name in resource {where} of {rdtype} record for {qname}: {target}",
        ),
        events.InvalidHostname: (_WARNING, "valid_hostname: {problem}"),
        events.MalformedDomainName: (
            _WARNING,
            "malformed domain name in resource {where} of {rdtype} record for {qname}: {name}",
        ),
        events.BadRecordClass: (_WARNING, "dns_get_fixed: bad class: {rdclass}"),
        events.BadAddressLength: (_WARNING, "extract_answer: bad address length: {length}"),
        events.NameServerLoop: (_WARNING, "dns_lookup: Name server loop for {name}"),
        events.RecordLimitExceeded: (
            _WARNING,
            "DNS record count limit ({limit}) exceeded -- dropping excess record(s) after qname={qname} qtype={rdtype}",
        ),
        events.RecordIgnored: (_INFO, "ignoring DNS RR: {record}"),
        events.UnknownFilterAction: (_WARNING, '{parameter}: unknown DNS filter action: "{action}"'),
        events.ValidationInDoubt: (_WARNING, "DNSSEC validation may be unavailable"),
        events.ProbeNotValidated: (_WARNING, "reason: dnssec_probe '{probe}' {problem}"),
        events.NoHostHasAddress: (_WARNING, "no {rdtype} host for {name} has a valid address record"),
        events.SrvLookupSkipped: (_INFO, "skipping SRV lookup for {qname}: {reason}"),
        events.AddressFamilySkipped: (_INFO, "skipping address family {family} for host {host}"),
        events.AddressFamilyDisabled: (
            _WARNING,
            "inet_protocols: disabling {family} name/address support: {problem}",
        ),
        events.DomainNotConverted: (
            _WARNING,
            'midna_domain_to_ascii_create: Problem translating domain "{domain}" to ASCII form: {problem}',
        ),
        events.ResolverUnusable: (_WARNING, "{problem}"),
        events.WrappermodeNeeded: (
            _INFO,
            'SMTPS wrappermode (TCP port 465) requires setting "{prefix}_tls_wrappermode = yes",'
            ' and "{prefix}_tls_security_level = encrypt" (or stronger)',
        ),
        events.RelayConfigurationProblem: (_WARNING, "{what} configuration problem"),
        events.FallbackIgnored: (_WARNING, 'ignoring "lmtp_fallback_relay = {value}" setting for non-TCP connections'),
        events.SocketNameTooLong: (_WARNING, "unix-domain name too long: {path}"),
        events.BindFailed: (_WARNING, "smtp_connect_addr: bind {address}: {problem}"),
        events.GreetedWithOwnName: (_WARNING, "host {relay} greeted me with my own hostname {name}"),
        events.RepliedWithOwnName: (_WARNING, "host {relay} replied to HELO/EHLO with my own hostname {name}"),
        events.PixWorkaroundsEnabled: (_INFO, "{queue_id}: enabling PIX workarounds: {words} for {relay}"),
        events.EhloKeywordsDiscarded: (_INFO, "discarding EHLO keywords: {keywords}"),
        events.SmtpUtf8Without8BitMime: (_INFO, "host {namaddr} offers SMTPUTF8 support, but not 8BITMIME"),
        events.StartTlsOfferNoted: (_INFO, "Host offered STARTTLS: [{host}]"),
        events.SizeLimitUnreadable: (_WARNING, 'bad EHLO SIZE limit "{word}" from {relay}'),
        events.DialogSaid: (_INFO, "> {relay}: {command}"),
        events.DialogHeard: (_INFO, "< {relay}: {line}"),
        events.ReplyTooLong: (_WARNING, "{relay}: response longer than {limit}: {start}..."),
        events.ReplyEndless: (_WARNING, "disabling input from unknown_stream"),
        events.MultilineReplyTooLong: (_WARNING, "{relay}: multi-line response longer than {limit} {start}..."),
        events.ReplyReplaced: (_INFO, '{relay}: replacing server reply "{old}" with "{new}"'),
        events.ReplyFilterFailed: (_WARNING, "{queue_id}: table {table} lookup error for {line}"),
        events.PeerTableFailed: (_WARNING, "{queue_id}: {parameter} map lookup error for {address}"),
        events.GarbageReply: (_WARNING, "{queue_id}: non-{protocol} response from {relay}: {line}"),
        events.PipeliningAdvice: (
            _WARNING,
            "to prevent loss of mail, turn off command pipelining for {address} with the {parameter} parameter",
        ),
        events.XforwardRefused: (_WARNING, "host {relay} said: {reply} (in reply to {command})"),
        events.UnknownEncoding: (_WARNING, "{queue_id}: unknown content encoding: {encoding}"),
        events.CheckMatched: (_INFO, "{queue_id}: {action}: {where} {line}{remark}"),
        events.CheckActionUnsupported: (_WARNING, "unsupported command in {parameter} map: {result}"),
        events.CheckTextMissing: (_WARNING, "{action} action without text in {parameter} map"),
        events.CheckTextNoHeader: (
            _WARNING,
            'bad {action} header text "{text}" in {parameter} map -- need "headername: headervalue"',
        ),
        events.CheckFailed: (_WARNING, "{queue_id}: smtp {where} checks lookup error"),
        events.MappingFailed: (_WARNING, "{queue_id}: {parameter} map lookup problem for {address}"),
        events.MappingMultiValued: (_WARNING, "multi-valued {parameter} result for {address}"),
        events.MappingNotAnAddress: (_WARNING, '{parameter} lookup of {address} returns non-address result "{result}"'),
        events.CommentsStripped: (_WARNING, "stripping too many comments from address: {start}..."),
        events.RecipientLimitNeeded: (
            _WARNING,
            "flag `{flag}' requires {service}_destination_recipient_limit = 1",
        ),
        events.LongLineBroken: (_INFO, "{queue_id}: breaking line > {limit} bytes with <CR><LF>SPACE"),
    }
    | TLS_TEMPLATES
    | SASL_TEMPLATES
)
"""The line of each event but RecipientLogged: how serious, and its text with the event's fields in braces."""


_FIELD = re.compile(r"\{(\w+)\}")
_SHOW = {kind: (severity, _FIELD.sub(r"{0.\1}", text).format) for kind, (severity, text) in TEMPLATES.items()}


@dataclass(frozen=True, slots=True)
class LogStyle:
    """What settings change in log lines.

    Attributes:
        quote_addresses: info_log_address_format = external.
        delay_decimals: delay_logging_resolution_limit.
        utf8: smtputf8_enable.
    """

    quote_addresses: bool = True
    delay_decimals: int = 2
    utf8: bool = True


def line_of(event: Event, style: LogStyle) -> tuple[Severity, str]:
    """Render an event.

    Returns:
        The severity, and the text without it: printable, at most LONGEST_TEXT octets.
    """
    if isinstance(event, events.RecipientLogged):
        severity, text = _INFO, recipient_text(event, style)
    else:
        severity, show = _SHOW[type(event)]
        text = show(event)
    return severity, shorten(printable(text, utf8=style.utf8))


def recipient_text(event: events.RecipientLogged, style: LogStyle) -> str:
    """The delivery line: ``QID: to=<...>, relay=..., delay=..., delays=a/b/c/d, dsn=..., status=... (...)``."""
    result = event.result
    recipient, stats = result.recipient, result.stats
    show = quote_5322 if style.quote_addresses else str
    original = ""
    if recipient.original and recipient.original.lower() != recipient.address.lower():
        original = f" orig_to=<{show(recipient.original)}>,"
    reuse = f" conn_use={stats.reuse_count + 1}," if stats.reuse_count > 0 else ""
    return (
        f"{event.queue_id}: to=<{show(recipient.address)}>,{original} relay={result.relay},{reuse}"
        f" {format_delays(stats, style.delay_decimals)}, dsn={result.dsn.status},"
        f" status={event.word} ({result.dsn.reason})"
    )


def shorten(text: str) -> str:
    """Cut a text to LONGEST_TEXT octets of UTF-8, never within a character."""
    if len(text) <= LONGEST_TEXT and text.isascii():
        return text
    return text.encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore")
