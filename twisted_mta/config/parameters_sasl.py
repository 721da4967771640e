"""Rows about logging in to a server.

Flow: settings.py composes them into Settings; sasl/ reads them. Sources: postconf(5), RFC 4954.
"""

from twisted_mta.config.parameter import Load, Rows, boolean, items, seconds, text, words


class GeneralSaslRows(Rows, load=Load.GENERAL):
    """What every daemon reads."""

    send_cyrus_sasl_authzid = boolean("no", doc="Whether the user name is also sent as authorization identity.")


class SaslRows(Rows, load=Load.AGENT):
    """Credentials, mechanisms, and what failure means."""

    smtp_sasl_auth_cache_time = seconds("90d", doc="How long a failed login is remembered.")
    smtp_sasl_password_maps = items("", doc="Tables with user:password, for a sender, host or next hop.")
    smtp_sasl_security_options = words(
        "noplaintext, noanonymous", doc="Kinds of mechanisms that are not used without TLS."
    )
    smtp_sasl_path = text("", doc="Text that is passed to the SASL implementation; no effect here.")
    smtp_sasl_tls_security_options = words("$smtp_sasl_security_options", doc="The same with TLS.")
    smtp_sasl_tls_verified_security_options = words(
        "$smtp_sasl_tls_security_options", doc="The same with TLS and a verified certificate."
    )
    smtp_sasl_mechanism_filter = items("", doc="Patterns of mechanisms that may be used; empty: any.")
    smtp_sasl_type = text("cyrus", 1, doc="Name of the SASL implementation.")
    smtp_sasl_auth_cache_name = text(
        "", doc="Table that remembers failed logins: proxy:type:name, or internal:name in memory."
    )
    smtp_sasl_password_result_delimiter = text(":", 1, 1, doc="Character between user name and password.")
    cyrus_sasl_config_path = text("", doc="Where Cyrus SASL looks for its configuration; no effect here.")
    smtp_sasl_auth_enable = boolean("no", doc="Whether to log in to servers that offer it.")
    smtp_sender_dependent_authentication = boolean("no", doc="Whether passwords are looked up by sender first.")
    smtp_sasl_auth_soft_bounce = boolean(
        "yes", doc="Whether mail is deferred, not returned, when a login is refused for good."
    )
    smtp_send_dummy_mail_auth = boolean("no", doc="Whether MAIL FROM has AUTH=<> after a login.")
