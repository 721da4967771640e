"""The phases of a dialog: one row each, with its time limit and the words that the log uses for it.

Flow: smtp/greeting.py, smtp/starttls.py, smtp/authentication.py and smtp/transaction.py name the phase whose reply they wait
for; session/ takes the limit from it, delivery/ the words.
Sources: postconf(5) smtp_*_timeout; RFC 5321 section 4.5.3.2; the log lines of smtp(8).
"""

from dataclasses import dataclass


# Two rows may say the same, and are still two.
@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """One row.

    Attributes:
        limit: the parameter with the time limit, under its SMTP name.
        doing: as in ``lost connection with HOST while ...``.
        command: as in ``(in reply to ...)``; empty where no such text exists.
        continues: whether a deadline for the whole request goes on from the phase before.
        silent: whether a failure here matters to nobody: the mail's fate is settled.
    """

    limit: str
    doing: str
    command: str = ""
    continues: bool = False
    silent: bool = False


GREETING = Phase("smtp_helo_timeout", "receiving the initial server greeting")
EHLO = Phase("smtp_helo_timeout", "performing the EHLO handshake", continues=True)
HELO = Phase("smtp_helo_timeout", "performing the HELO handshake", continues=True)
LHLO = Phase("smtp_helo_timeout", "performing the LHLO handshake", continues=True)
AUTH = Phase("smtp_helo_timeout", "performing the EHLO handshake", continues=True)
AUTH_AFTER_LHLO = Phase("smtp_helo_timeout", "performing the LHLO handshake", continues=True)
STARTTLS = Phase("smtp_starttls_timeout", "receiving the STARTTLS response")
XFORWARD_NAME = Phase("smtp_xforward_timeout", "sending XFORWARD name/address", "XFORWARD name/address command")
XFORWARD_PROTO = Phase("smtp_xforward_timeout", "sending XFORWARD protocol/helo_name", "XFORWARD helo/protocol command")
MAIL = Phase("smtp_mail_timeout", "sending MAIL FROM", "MAIL FROM command")
RCPT = Phase("smtp_rcpt_timeout", "sending RCPT TO", "RCPT TO command")
DATA = Phase("smtp_data_init_timeout", "sending DATA command", "DATA command")
CONTENT = Phase("smtp_data_xfer_timeout", "sending message body")
DOT = Phase(
    "smtp_data_done_timeout", "sending end of data -- message may be sent more than once", "end of DATA command"
)
ABORT = Phase("smtp_rset_timeout", "sending final RSET", silent=True)
PROBE = Phase("smtp_rset_timeout", "sending RSET probe", silent=True)
QUIT = Phase("smtp_quit_timeout", "sending QUIT", silent=True)
