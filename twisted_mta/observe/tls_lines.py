"""The lines of the events of TLS: how serious, and the text with the event's fields in braces.

Flow: observe/maillog.py has them among its templates.
Sources: as for model/tls_events.py.
"""

from twisted_mta.model import tls_events
from twisted_mta.model.events import Event, Severity

_INFO, _WARNING = Severity.INFO, Severity.WARNING

TLS_TEMPLATES: dict[type[Event], tuple[Severity, str]] = {
    tls_events.TlsPolicyUnusable: (_WARNING, "TLS policy lookup for {nexthop}/{host}: {reason}"),
    tls_events.PlaintextBehindStartTls: (
        _WARNING,
        "host {namaddr} sent plaintext behind its reply to STARTTLS; the connection is not used",
    ),
    tls_events.EarlyMailReply: (_WARNING, "server {namaddr} violates {parameter} policy"),
    tls_events.TlsLogLevelUnknown: (_WARNING, 'unknown {parameter} value "{word}" in "{text}"'),
    tls_events.CertificateExamined: (_INFO, "{server}: depth={depth} verify={verified}{subject}"),
    tls_events.VerificationFailed: (_INFO, "{what} verification failed for {server}: {reason}"),
    tls_events.UntrustedSessionResumed: (
        _INFO,
        "{server}: re-using session with untrusted peer credential, look for details earlier in the log",
    ),
    tls_events.PeerNameMatched: (_INFO, "{server}: matched peername: {name}"),
    tls_events.AssociationMatched: (_INFO, "{server}: Matched {what}"),
    tls_events.PeerCertificateTold: (
        _INFO,
        "{server}: subject_CN={subject}, issuer={issuer}, cert fingerprint={certificate_fingerprint},"
        " pkey fingerprint={key_fingerprint}",
    ),
    tls_events.MatchNameIgnored: (_WARNING, '{server}: ignoring invalid match name: "{name}"'),
    tls_events.MatchNameRefused: (_WARNING, '{server}: error loading match name: "{name}"'),
    tls_events.NoNameToMatch: (_WARNING, "{server}: could not configure peer name checks"),
    tls_events.AssociationUnusable: (_WARNING, "{server}: unusable TLSA RR: {record}"),
    tls_events.AllAssociationsUnusable: (_WARNING, "{server}: all {what}"),
    tls_events.FingerprintMalformed: (_WARNING, "malformed fingerprint value: {value}"),
    tls_events.FingerprintAsRecord: (_INFO, "fingerprint: digest as private-use TLSA record: {record}"),
    tls_events.LegacyFingerprintDigest: (
        _INFO,
        "using backwards-compatible default setting {parameter}={digest} to compute certificate fingerprints",
    ),
    tls_events.DigestUnknown: (_WARNING, 'Digest algorithm "{name}" not found'),
    tls_events.TlsSummary: (
        _INFO,
        "{word} TLS connection {verb} to {relay}: {protocol} with cipher {cipher}"
        " ({used_bits}/{cipher_bits} bits){details}",
    ),
}
"""The line of each event of TLS."""
