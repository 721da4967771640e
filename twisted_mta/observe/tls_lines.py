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
    tls_events.CertificateNameOdd: (_WARNING, "tls_text_name: {server}: {problem}"),
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
    tls_events.TlsEngineStarted: (_INFO, "initializing the client-side TLS engine"),
    tls_events.TlsLibraryProblem: (_WARNING, "TLS library problem: {detail}"),
    tls_events.TlsLibraryLacks: (
        _WARNING,
        "the installed pyOpenSSL and cryptography are too old or too new for: {what}",
    ),
    tls_events.TlsDisabled: (_WARNING, "{reason}disabling TLS support"),
    tls_events.OpensslConfigurationWaits: (
        _WARNING,
        "tls_config_file = {file}, tls_config_name = {name}: OpenSSL was loaded without that; restart the service",
    ),
    tls_events.AuthoritiesUnusable: (
        _INFO,
        "cannot load Certification Authority data, {sources}: disabling TLS support",
    ),
    tls_events.ClientCertificateProblem: (_WARNING, "{problem}"),
    tls_events.TlsFileChanged: (_INFO, "file {path} has changed -- restarting"),
    tls_events.TlsOptionUnknown: (_WARNING, 'unknown {parameter} value "{word}" in "{text}"'),
    tls_events.TlsGroupUnknown: (_WARNING, 'ignoring unknown key exchange group "{name}"'),
    tls_events.TlsGroupsUnusable: (_WARNING, "{text}"),
    tls_events.RawPublicKeysUnsupported: (
        _INFO,
        "{parameter} has no effect: the TLS library cannot do raw public keys",
    ),
    tls_events.TlsSetUp: (_INFO, "setting up TLS connection to {server}"),
    tls_events.CipherListChosen: (_INFO, '{server}: TLS cipher list "{ciphers}"'),
    tls_events.ServerNameSent: (_INFO, "{server}: SNI hostname: {name}"),
    tls_events.TlsStartProblem: (_WARNING, "{server}: {problem}"),
    tls_events.HandshakeFailed: (_INFO, "SSL_connect error to {relay}: {problem}"),
    tls_events.SessionCacheAsked: (_INFO, "{doing} {cache} cache"),
    tls_events.SessionForgotten: (_INFO, "remove session {key} from client cache"),
    tls_events.SessionReused: (_INFO, "{server}: Reusing old session"),
    tls_events.TlsStep: (_INFO, "SSL_connect:{state}"),
    tls_events.TlsAlert: (_INFO, "SSL3 alert {direction}:{severity}:{description}"),
    tls_events.TlsDumpLine: (_INFO, "{text}"),
    tls_events.TlsSocketPolicyUnusable: (_WARNING, "TLS policy lookup error for {host}/{path}: {reason}"),
    tls_events.TlsPolicyEntryUnusable: (_WARNING, '{parameter}, next-hop destination "{key}": {problem}'),
    tls_events.TlsAttributeIgnored: (
        _WARNING,
        '{parameter}, next-hop destination "{key}": ignoring attribute "{attribute}" with TLS disabled',
    ),
    tls_events.TlsPerSiteIgnored: (_WARNING, "{per_site} ignored when {policy_maps} is not empty."),
    tls_events.TlsPerSiteLookupFailed: (_WARNING, '{parameter}: {kind} "{key}": per-site table lookup error'),
    tls_events.TlsPerSiteWordUnknown: (_WARNING, "{parameter}: unknown TLS policy '{word}' for {kind} {key}"),
    tls_events.ServernameInvalid: (_WARNING, '"{parameter} = {value}" specifies an invalid hostname'),
    tls_events.NoFingerprints: (
        _WARNING,
        "nexthop domain {nexthop}: configured at fingerprint security level, but with no fingerprints to match.",
    ),
    tls_events.WrappermodeNeedsEncryption: (
        _WARNING,
        '{wrappermode} requires "{security_level} = encrypt" (or stronger)',
    ),
    tls_events.OpportunisticTlsOnSocket: (
        _WARNING,
        "smtp_connect_local: opportunistic TLS encryption is not appropriate for unix-domain destinations.",
    ),
    tls_events.TrustAnchorFileUnreadable: (_WARNING, "error opening trust anchor file: {path}: {problem}"),
    tls_events.TrustAnchorFileDamaged: (_WARNING, "error reading trust anchor file: {path}: {problem}"),
    tls_events.TrustAnchorLoaded: (_INFO, "TA {kind} as TLSA record: {path}: {record}"),
    tls_events.DaneOnSocket: (
        _WARNING,
        '{path}: the "dane" security level is invalid for delivery via unix-domain sockets',
    ),
    tls_events.DaneImpossible: (_WARNING, "{nexthop}: {problem}"),
    tls_events.DnssecStatusUnknown: (_WARNING, "DNSSEC status lookup error for {name}: {problem}"),
    tls_events.TlsaLookupFailed: (_WARNING, "DANE TLSA lookup problem: {problem}"),
    tls_events.TlsaRecordFound: (_INFO, "DNSSEC-signed TLSA record: {name}: {record}"),
    tls_events.TlsaRecordTruncated: (_WARNING, "{name}: truncated TLSA RR length == {octets}"),
    tls_events.TlsaRecordUnsupported: (_WARNING, "{name} {problem}: {record}"),
}
"""The line of each event of TLS."""
