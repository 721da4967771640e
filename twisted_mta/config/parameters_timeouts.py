"""Rows about the time that each phase of a dialog may take.

Flow: settings.py composes them into Settings; session/ makes deadlines of them. Sources: postconf(5), RFC 5321 section 4.5.3.2.
"""

from twisted_mta.config.parameter import Load, Rows, computed_boolean, integer, legacy, seconds


class TimeoutRows(Rows, load=Load.AGENT):
    """Time limits; 0 is no limit, where 0 is allowed."""

    smtp_connect_timeout = seconds(
        "30s", lmtp_default="0s", doc="Limit for connecting to one address; 0: that of the system."
    )
    smtp_helo_timeout = seconds(
        "300s", 1, lmtp="lmtp_lhlo_timeout", doc="Limit for the greeting, and for each EHLO, HELO or LHLO."
    )
    smtp_xforward_timeout = seconds("300s", 1, doc="Limit for XFORWARD and its reply.")
    smtp_mail_timeout = seconds("300s", 1, doc="Limit for MAIL FROM and its reply.")
    smtp_rcpt_timeout = seconds("300s", 1, doc="Limit for RCPT TO and its reply.")
    smtp_data_init_timeout = seconds("120s", 1, doc="Limit for DATA and its reply.")
    smtp_data_xfer_timeout = seconds(
        "180s", 1, doc="Limit for each write of content, or for all of it with a deadline per request."
    )
    smtp_data_done_timeout = seconds("600s", 1, doc="Limit for the final dot and its reply.")
    smtp_rset_timeout = seconds("20s", 1, doc="Limit for RSET and its reply.")
    smtp_quit_timeout = seconds("300s", 1, doc="Limit for QUIT and its reply, where that is waited for.")
    smtp_starttls_timeout = seconds(
        "300s", 1, doc="Limit for STARTTLS and its reply, for the handshake, and for the end of TLS."
    )
    smtp_min_data_rate = integer("500", 1, doc="Bytes of content a second that extend a deadline per request.")
    smtp_per_request_deadline = computed_boolean(
        "${smtp_per_record_deadline?{$smtp_per_record_deadline}:{no}}",
        doc="Whether a limit is for a whole command and its reply, not for each read and write.",
    )
    smtp_per_record_deadline = legacy(
        doc="Former name of smtp_per_request_deadline, for which it still supplies the default."
    )
