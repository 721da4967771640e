"""Rows about mail as such: queue files, addresses, results that all delivery agents share.

Flow: settings.py composes them into Settings. Sources: postconf(5).
"""

from twisted_mta.config.parameter import Load, Rows, boolean, integer, items, long_integer, mask, seconds, text, words

EXTENSION_CLASSES = ("canonical", "virtual", "alias", "forward", "include", "generic")
"""The kinds of lookup that may keep an address extension."""


class MailRows(Rows, load=Load.GENERAL):
    """Settings that all of Postfix shares."""

    double_bounce_sender = text(
        "double-bounce", 1, doc="Local part of the sender of notices; mail from it never causes another notice."
    )
    hash_queue_names = words("deferred, defer", 1, doc="Queues that are spread over subdirectories.")
    recipient_delimiter = text("", doc="Characters that may begin the extension of a local part.")
    relay_domains = items(
        "${{$compatibility_level} <level {2} ? {$mydestination} : {}}",
        doc="Domains that this host relays; default of fast_flush_domains.",
    )
    fast_flush_domains = items("$relay_domains", doc="Next hops for which deferred mail is reported to flush(8).")
    default_verp_delimiters = text(
        "+=",
        2,
        2,
        doc="Separators of a VERP address, which must be in verp_delimiter_filter; nothing else is done with them.",
    )
    verp_delimiter_filter = text("-=+", 1, doc="Characters that may separate the parts of a VERP address.")
    parent_domain_matches_subdomains = items(
        "debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps",
        doc="Parameters in whose lists example.com stands for its subdomains, too.",
    )
    default_delivery_status_filter = items(
        "", doc="Tables that may change a status; default of smtp_delivery_status_filter."
    )
    smtputf8_autodetect_classes = words(
        "sendmail, verify", 1, doc="Origins of mail whose need of SMTPUTF8 is found out."
    )
    message_drop_headers = words(
        "bcc, content-length, resent-bcc, return-path", doc="Headers that cleanup(8) removes; no effect here."
    )
    dont_remove = integer("0", doc="Whether finished queue files are kept, for debugging; no effect here.")
    line_length_limit = integer("2048", 512, doc="Longest line of a reply, and longest text of a reply of many lines.")
    hash_queue_depth = integer("1", 1, doc="Levels of subdirectories of the queues in hash_queue_names.")
    deliver_lock_attempts = integer("20", 1, doc="How often locking a mailbox is tried; no effect here.")
    header_size_limit = integer("102400", 1, doc="Most bytes of one header that are looked at.")
    header_address_token_limit = integer(
        "10240", 1, doc="Most parts of the addresses of one header that cleanup(8) looks at; no effect here."
    )
    message_size_limit = long_integer("10240000", doc="Largest message that this system takes; no effect here.")
    soft_bounce = boolean("no", doc="Whether what would be returned is deferred instead.")
    owner_request_special = boolean("yes", doc="Whether owner-NAME and NAME-request are never split at a hyphen.")
    strict_8bitmime = boolean("no", doc="Whether 8-bit content must be declared on input; no effect here.")
    strict_7bit_headers = boolean("no", doc="Whether 8-bit headers are refused on input; no effect here.")
    strict_8bitmime_body = boolean("no", doc="Whether undeclared 8-bit bodies are refused on input; no effect here.")
    strict_mime_encoding_domain = boolean("no", doc="Whether bad MIME encodings are refused on input; no effect here.")
    disable_mime_input_processing = boolean("no", doc="Whether MIME is ignored on input; no effect here.")
    address_verify_negative_cache = boolean("yes", doc="Whether verify(8) is told of failed probes.")
    backwards_bounce_logfile_compatibility = boolean(
        "yes", doc="Whether bounce(8) writes its old format, too; no effect here."
    )
    enable_long_queue_ids = boolean(
        "no", doc="Whether new queue ids are of the long, never repeated form; no effect here, where both are read."
    )
    strict_smtputf8 = boolean("no", doc="Whether UTF-8 addresses must be declared on input; no effect here.")
    enable_original_recipient = boolean("yes", doc="Whether cleanup(8) keeps original recipients; no effect here.")
    deliver_lock_delay = seconds("1s", 1, doc="Pause between attempts to lock a mailbox; no effect here.")
    in_flow_delay = seconds("1s", 0, 10, doc="Pause that slows down input; no effect here.")


class AgentMailRows(Rows, load=Load.AGENT):
    """Settings of mail that delivery agents read."""

    queue_run_delay = seconds("300s", 1, doc="Pause between two looks of qmgr(8) at deferred mail; no effect here.")
    minimal_backoff_time = seconds(
        "300s", 1, doc="So long mail must have waited before it goes out in the clear where TLS may be used, but fails."
    )
    propagate_unmatched_extensions = mask(
        "canonical, virtual",
        EXTENSION_CLASSES,
        doc="Lookups that keep an address extension; generic: smtp_generic_maps does.",
    )
