"""The time limits of smtp(8), those that are equal there a second apart, so that a test sees which one acts."""

SECONDS = {
    "smtp_helo_timeout": 300,
    "smtp_xforward_timeout": 301,
    "smtp_mail_timeout": 302,
    "smtp_rcpt_timeout": 303,
    "smtp_data_init_timeout": 120,
    "smtp_data_xfer_timeout": 180,
    "smtp_data_done_timeout": 600,
    "smtp_rset_timeout": 20,
    "smtp_quit_timeout": 304,
    "smtp_starttls_timeout": 305,
}
"""By the parameter's name, in seconds."""
