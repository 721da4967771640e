"""Rows about TLS with a server.

Flow: settings.py composes them into Settings; tls/ reads them. Sources: postconf(5), RFC 3207, RFC 7672.
"""

from twisted_mta.config.choices import InsecureMxPolicy, TlsLevel
from twisted_mta.config.parameter import Load, Rows, boolean, choice, integer, items, legacy, seconds, text, words


class TlsRows(Rows, load=Load.AGENT):
    """Levels, keys, trust, names."""

    smtp_tls_scert_verifydepth = integer("9", doc="Longest certificate chain of a server that is trusted.")
    smtp_tls_chain_files = words(
        "", doc="Files with key and certificate chain; they replace those of the single types."
    )
    smtp_tls_cert_file = text("", doc="RSA certificate chain of this client.")
    smtp_tls_key_file = text("$smtp_tls_cert_file", doc="RSA key of this client.")
    smtp_tls_dcert_file = text("", doc="DSA certificate chain of this client.")
    smtp_tls_dkey_file = text("$smtp_tls_dcert_file", doc="DSA key of this client.")
    smtp_tls_CAfile = text("", doc="File with the certification authorities that are trusted.")
    smtp_tls_CApath = text("", doc="Directory of such authorities, by hash.")
    smtp_tls_mandatory_ciphers = text("medium", 1, doc="Weakest grade of ciphers where TLS is mandatory.")
    smtp_tls_exclude_ciphers = words("", doc="Ciphers that are never used.")
    smtp_tls_mandatory_exclude_ciphers = words("", doc="More ciphers that are not used where TLS is mandatory.")
    smtp_tls_mandatory_protocols = words(">=TLSv1", colons=True, doc="TLS versions where TLS is mandatory.")
    smtp_tls_verify_cert_match = words(
        "hostname", 1, colons=True, doc="Names that a certificate may have at level verify."
    )
    smtp_tls_secure_cert_match = words(
        "nexthop, dot-nexthop",
        1,
        colons=True,
        lmtp_default="nexthop",
        doc="Names that a certificate may have at level secure.",
    )
    smtp_tls_fingerprint_cert_match = words("", doc="Fingerprints that are accepted at level fingerprint.")
    smtp_tls_fingerprint_digest = text(
        "${{$compatibility_level} <level {3.6} ? {md5} : {sha256}}", 1, doc="Digest of fingerprints."
    )
    smtp_tls_trust_anchor_file = words(
        "", doc="Files with trust anchors that replace smtp_tls_CAfile and smtp_tls_CApath."
    )
    smtp_tls_protocols = words(">=TLSv1", colons=True, doc="TLS versions at level may.")
    smtp_tls_ciphers = text("medium", 1, doc="Weakest grade of ciphers at level may.")
    smtp_tls_eccert_file = text("", doc="ECDSA certificate chain of this client.")
    smtp_tls_eckey_file = text("$smtp_tls_eccert_file", doc="ECDSA key of this client.")
    smtp_tls_loglevel = text("0", doc="How much of TLS is logged.")
    smtp_tls_servername = text("", doc="Name to ask for (SNI): hostname, nexthop, or the name itself; empty: none.")
    smtp_tls_dane_insecure_mx_policy = choice(
        InsecureMxPolicy,
        "dane",
        'invalid {name}: "{value}"',
        lmtp=None,
        doc="Level for a host with secure TLSA records that an insecure MX lookup gave.",
    )
    smtp_tls_per_site = items("", doc="Obsolete tables with a level for a next hop or host.")
    smtp_tls_security_level = choice(
        TlsLevel,
        "",
        'Invalid TLS level "{value}"',
        doc="Level of TLS that is wanted; empty: see smtp_use_tls and smtp_enforce_tls.",
    )
    smtp_tls_policy_maps = items("", doc="Tables with level and other wishes for a next hop.")
    smtp_use_tls = boolean("no", doc="Obsolete: yes is level may.")
    smtp_enforce_tls = boolean("no", doc="Obsolete: yes is level encrypt, or verify with smtp_tls_enforce_peername.")
    smtp_tls_connection_reuse = boolean("no", doc="Whether sessions with TLS are kept for the next message, too.")
    smtp_tls_enforce_peername = boolean("yes", doc="Obsolete: whether smtp_enforce_tls checks names.")
    smtp_tls_note_starttls_offer = boolean("no", doc="Whether an offer of STARTTLS that is not used is logged.")
    smtp_tls_block_early_mail_reply = boolean(
        "no", doc="Whether a reply that comes before its MAIL FROM ends the session."
    )
    smtp_tls_force_insecure_host_tlsa_lookup = boolean(
        "no", doc="Whether TLSA is looked up even for hosts with insecure addresses."
    )
    smtp_tls_wrappermode = boolean("no", doc="Whether TLS begins with the first byte, without STARTTLS.")
    smtp_tls_enable_rpk = boolean("no", doc="Whether raw public keys (RFC 7250) are asked for.")
    smtp_tls_cipherlist = legacy(lmtp=None, doc="Former list of ciphers; no effect.")


class TlsLibraryRows(Rows, load=Load.TLS):
    """What all users of TLS in Postfix share."""

    tls_daemon_random_bytes = integer(
        "32", 1, doc="Bytes of randomness that are asked of tlsmgr(8); no effect here, where the system's are used."
    )
    tls_high_cipherlist = text(
        "aNULL:-aNULL:HIGH:!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5:@STRENGTH",
        1,
        doc="Ciphers of grade high.",
    )
    tls_medium_cipherlist = text(
        "aNULL:-aNULL:HIGH:MEDIUM:!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5:+RC4:@STRENGTH",
        1,
        doc="Ciphers of grade medium, low and export.",
    )
    tls_null_cipherlist = text("eNULL:!kDH:!kECDH:!aDSS:!MD5:!aNULL", 1, doc="Ciphers of grade null.")
    tls_low_cipherlist = text("", doc="Former list of grade low; no effect.")
    tls_export_cipherlist = text("", doc="Former list of grade export; no effect.")
    tls_eecdh_auto_curves = words(
        "X25519 X448 prime256v1 secp521r1 secp384r1", doc="Elliptic curves that are offered; empty: the library's."
    )
    tls_eecdh_strong_curve = text("prime256v1", doc="Curve of servers; no effect here.")
    tls_eecdh_ultra_curve = text("secp384r1", doc="Curve of servers; no effect here.")
    tls_ffdhe_auto_groups = words(
        "ffdhe2048 ffdhe3072", doc="Finite-field groups that are offered with TLS 1.3; empty: the library's."
    )
    tls_disable_workarounds = words("", doc="Workarounds of OpenSSL to turn off, by name or as a mask.")
    tls_ssl_options = words("", doc="Options of OpenSSL to turn on, by name or as a mask.")
    tls_dane_digests = words("sha512 sha256", 1, doc="Digests of TLSA records that are used, the best one first.")
    tls_dane_digest_agility = legacy(doc="Former switch of digest agility, which is always on; no effect.")
    tls_dane_trust_anchor_digest_enable = legacy(
        doc="Former switch of digests of trust anchors, which are always used; no effect."
    )
    tlsmgr_service_name = text("tlsmgr", 1, doc="Socket of tlsmgr(8), below private, which keeps TLS sessions.")
    tls_session_ticket_cipher = text("aes-256-cbc", doc="Cipher of a server's session tickets; no effect here.")
    tls_server_sni_maps = items("", doc="Tables of servers; no effect here.")
    tls_config_file = text("default", doc="Configuration file of OpenSSL: default, none, or its name.")
    tls_config_name = text("", doc="Section of that file.")
    openssl_path = text("openssl", 1, doc="The openssl(1) command; no effect here.")
    tls_append_default_CA = boolean(
        "no", doc="Whether the system's authorities are trusted besides those that are named."
    )
    tls_legacy_public_key_fingerprints = boolean(
        "no", doc="Whether public key fingerprints are made in the old, wrong way; no effect here."
    )
    tls_preempt_cipherlist = boolean("no", doc="Whether a server's order of ciphers counts; no effect here.")
    tls_wildcard_matches_multiple_labels = boolean(
        "yes", doc="Whether * stood for many labels; no effect since it never does."
    )
    tls_fast_shutdown_enable = boolean("yes", doc="Whether the end of TLS is not waited for.")


class TlsManagerRows(Rows, load=Load.OTHERS):
    """What tlsmgr(8) reads for its clients."""

    smtp_tls_session_cache_database = text("", doc="Table, type:name, in which TLS sessions are kept; empty: none.")
    smtp_tls_session_cache_timeout = seconds("3600s", 0, 8640000, doc="How long TLS sessions are kept; 0: not at all.")
    tls_random_source = text("dev:/dev/urandom", doc="Where tlsmgr(8) takes randomness from; no effect here.")
