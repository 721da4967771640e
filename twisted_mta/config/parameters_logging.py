"""Rows about what is logged, where, and what the postmaster hears.

Flow: settings.py composes them into Settings. Sources: postconf(5).
"""

from twisted_mta.config.choices import AddressFormat, FromFormat
from twisted_mta.config.parameter import Load, Rows, choice, computed_boolean, integer, items, mask, text, words

NOTIFY_CLASSES = ("bounce", "2bounce", "data", "delay", "policy", "protocol", "resource", "software")
"""The classes of errors that the postmaster may ask to hear of."""


class FirstLoggingRows(Rows, load=Load.FIRST):
    """What every daemon reads first."""

    syslog_facility = text("mail", 1, doc="Facility of syslog messages.")
    maillog_file = text("", doc="Log file, written through postlogd(8); empty: syslog.")
    maillog_file_prefixes = words("/var, /dev/stdout", 1, doc="What the name in maillog_file may begin with.")
    maillog_file_compressor = text("gzip", 1, doc="Command that compresses rotated log files; no effect here.")
    maillog_file_rotate_suffix = text("%Y%m%d-%H%M%S", 1, doc="Suffix of rotated log files; no effect here.")
    maillog_file_permissions = text(
        "0600", 1, doc="Permissions of a log file that postlogd(8) creates; no effect here."
    )
    postlog_service_name = text("postlog", 1, doc="Socket of postlogd(8), below public.")
    respectful_logging = computed_boolean(
        "${{$compatibility_level} <level {3.6} ? {no} : {yes}}",
        doc="Whether log lines of postscreen(8) say allowlist and denylist; no effect here.",
    )


class LoggingRows(Rows, load=Load.GENERAL):
    """How log lines look, and which peers are watched."""

    syslog_name = text(
        "${multi_instance_name?{$multi_instance_name}:{postfix}}",
        1,
        doc="First part of the log tag; the name of the program follows after a slash.",
    )
    debug_peer_list = items("", doc="Next hops, hosts and addresses with which every dialog is logged in detail.")
    internal_mail_filter_classes = words(
        "", doc="Kinds of mail from Postfix itself that content filters see; notify: transcripts."
    )
    info_log_address_format = choice(
        AddressFormat,
        "external",
        'invalid parameter setting "{name} = {value}"',
        1,
        doc="Whether addresses in log lines are quoted as in headers (external), or not.",
    )
    debug_peer_level = integer(
        "2",
        1,
        doc="How much more Postfix logs about peers of debug_peer_list; no effect here, where it is always the dialog.",
    )
    delay_logging_resolution_limit = integer("2", 0, 6, doc="Digits after the decimal point of logged delays.")


class NoticeRows(Rows, load=Load.AGENT):
    """What the postmaster is told."""

    notify_classes = mask(
        "resource, software", NOTIFY_CLASSES, doc="Classes of errors whose transcripts go to the postmaster."
    )
    error_notice_recipient = text("postmaster", 1, doc="Who gets these transcripts.")
    header_from_format = choice(
        FromFormat,
        "standard",
        'invalid setting: "{name} = {value}"',
        1,
        doc="Form of From: headers of notices: Name <address>, or the obsolete address (Name).",
    )
