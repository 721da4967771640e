"""Rows about the dialog itself: names, keywords, workarounds, replies.

Flow: settings.py composes them into Settings; smtp/ and session/ read them. Sources: postconf(5).
"""

from twisted_mta.config.choices import VerifyTarget
from twisted_mta.config.parameter import Load, Rows, boolean, choice, items, legacy, seconds, text, words


class DialogRows(Rows, load=Load.AGENT):
    """What is said to a server, and what is made of its answers."""

    smtp_pix_workaround_threshold_time = seconds(
        "500s", doc="Age of mail from which delay_dotcrlf applies; 0: at once."
    )
    smtp_pix_workaround_delay_time = seconds("10s", 1, doc="Pause before the final dot with delay_dotcrlf.")
    smtp_address_verify_target = choice(
        VerifyTarget,
        "rcpt",
        'bad protocol stage: "smtp_address_verify_target = {value}"',
        1,
        doc="Command after whose reply a probe is over: rcpt, or data.",
    )
    smtp_helo_name = text("$myhostname", 1, lmtp="lmtp_lhlo_name", doc="Name that EHLO, HELO or LHLO gives.")
    smtp_discard_ehlo_keywords = words(
        "", fold=True, lmtp="lmtp_discard_lhlo_keywords", doc="Keywords of the EHLO reply that count as not offered."
    )
    smtp_discard_ehlo_keyword_address_maps = items(
        "", lmtp="lmtp_discard_lhlo_keyword_address_maps", doc="Tables that give such keywords for a server's address."
    )
    smtp_pix_workarounds = words(
        "disable_esmtp,delay_dotcrlf", fold=True, doc="Workarounds for a PIX firewall's SMTP filter."
    )
    smtp_pix_workaround_maps = items("", doc="Tables that give such workarounds for a server's address.")
    smtp_reply_filter = text("", doc="Table, type:name, that may replace a reply line.")
    smtp_delivery_status_filter = items(
        "$default_delivery_status_filter", doc="Tables that may change the status of a recipient."
    )
    smtp_skip_5xx_greeting = boolean(
        "yes", doc="Whether a greeting that refuses leads to the next host, not to a return."
    )
    smtp_skip_4xx_greeting = legacy(
        lmtp=None, doc="Former switch for greetings that refuse for now, which always lead to the next host; no effect."
    )
    smtp_skip_quit_response = boolean("yes", lmtp_default="no", doc="Whether the reply to QUIT is not waited for.")
    smtp_always_send_ehlo = boolean(
        "yes", lmtp=None, doc="Whether EHLO is sent even if the greeting does not say ESMTP."
    )
    smtp_never_send_ehlo = boolean("no", lmtp=None, doc="Whether HELO is sent in any case.")
    smtp_quote_rfc821_envelope = boolean(
        "yes", doc="Whether local parts in MAIL FROM and RCPT TO are quoted where they must be."
    )
    smtp_send_xforward_command = boolean(
        "no", doc="Whether a server that offers XFORWARD hears where the mail came from."
    )
    lmtp_assume_final = boolean(
        "no", doc="Whether LMTP delivery counts as final if the server lacks DSN; now flags=X in master.cf."
    )
