"""What is to be said of TLS, as frozen values; observe/tls_lines.py turns them into lines.

Flow: tls/, session/ and delivery/ call their `emit` with them. A field holds what was seen, unescaped. `server` is
``host[address]:port`` in lower case, as these lines have it; `relay` is the same as it is written.
Sources: postconf(5) smtp_tls_loglevel; TLS_README; the recorded log of a running Postfix.
"""

from dataclasses import dataclass

from twisted_mta.model.events import Event


@dataclass(frozen=True, slots=True)
class TlsPolicyUnusable(Event):
    """No policy could be found for a server, which is passed over."""

    nexthop: str
    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlaintextBehindStartTls(Event):
    """A server, or somebody on the way to it, said more than the reply to STARTTLS before TLS began."""

    namaddr: str


@dataclass(frozen=True, slots=True)
class EarlyMailReply(Event):
    """A server sent the reply to the first MAIL inside TLS before MAIL was said; `parameter` forbids that."""

    namaddr: str
    parameter: str


@dataclass(frozen=True, slots=True)
class TlsLogLevelUnknown(Event):
    """A word of smtp_tls_loglevel means nothing, so that nothing of TLS is logged; `text` is the whole value."""

    parameter: str
    word: str
    text: str


# ---- verification ----


@dataclass(frozen=True, slots=True)
class CertificateExamined(Event):
    """A certificate of a server's chain was looked at (smtp_tls_loglevel: verbose); `subject` has its word in front.

    `verified` is 0 where something is wrong with it.
    """

    server: str
    depth: int
    verified: int
    subject: str


@dataclass(frozen=True, slots=True)
class VerificationFailed(Event):
    """Why a server could not be verified; `what` is certificate, server certificate or CA certificate."""

    what: str
    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class UntrustedSessionResumed(Event):
    """A TLS session was taken up whose server had not been verified when it began."""

    server: str


@dataclass(frozen=True, slots=True)
class PeerNameMatched(Event):
    """The name in a server's certificate that was demanded (smtp_tls_loglevel: certmatch)."""

    server: str
    name: str


@dataclass(frozen=True, slots=True)
class AssociationMatched(Event):
    """The fingerprint, trust anchor or TLSA record that a server proved itself by (smtp_tls_loglevel: certmatch)."""

    server: str
    what: str


@dataclass(frozen=True, slots=True)
class PeerCertificateTold(Event):
    """Whose certificate a server has (smtp_tls_loglevel: peercert, certmatch or verbose)."""

    server: str
    subject: str
    issuer: str
    certificate_fingerprint: str
    key_fingerprint: str


@dataclass(frozen=True, slots=True)
class CertificateNameOdd(Event):
    """A name in a server's certificate is not shown, because of what is in it; `problem` says which, and what."""

    server: str
    problem: str


@dataclass(frozen=True, slots=True)
class MatchNameIgnored(Event):
    """A name to match that cannot be one."""

    server: str
    name: str


@dataclass(frozen=True, slots=True)
class MatchNameRefused(Event):
    """A second address to match: a server has but one."""

    server: str
    name: str


@dataclass(frozen=True, slots=True)
class NoNameToMatch(Event):
    """None of the names to match can be one, so that no server can be verified."""

    server: str


@dataclass(frozen=True, slots=True)
class AssociationUnusable(Event):
    """A TLSA record, or a fingerprint, that no certificate can match; `record` as in ``3 1 1 <HEX>``."""

    server: str
    record: str


@dataclass(frozen=True, slots=True)
class AllAssociationsUnusable(Event):
    """No TLSA record, fingerprint or trust anchor is left; `what` names them and says what follows."""

    server: str
    what: str


@dataclass(frozen=True, slots=True)
class FingerprintMalformed(Event):
    """A fingerprint to match is no row of hexadecimal digits."""

    value: str


@dataclass(frozen=True, slots=True)
class FingerprintAsRecord(Event):
    """A fingerprint to match, in the form of a TLSA record (smtp_tls_loglevel: dane or verbose)."""

    record: str


@dataclass(frozen=True, slots=True)
class LegacyFingerprintDigest(Event):
    """A digest that is no longer safe is used because compatibility_level is old."""

    parameter: str
    digest: str


@dataclass(frozen=True, slots=True)
class DigestUnknown(Event):
    """There is no digest of this name, so that there is no TLS."""

    name: str


@dataclass(frozen=True, slots=True)
class TlsSummary(Event):
    """A TLS connection is ready; `word` says how far the server is known, `verb` whether the connection is new."""

    word: str
    verb: str
    relay: str
    protocol: str
    cipher: str
    used_bits: int
    cipher_bits: int
    details: str


# ---- the engine, at its start ----


@dataclass(frozen=True, slots=True)
class TlsEngineStarted(Event):
    """TLS is made ready (smtp_tls_loglevel: verbose)."""


@dataclass(frozen=True, slots=True)
class TlsLibraryProblem(Event):
    """What OpenSSL says of an error; `detail` holds number, library, reason and the rest between colons."""

    detail: str


@dataclass(frozen=True, slots=True)
class TlsLibraryLacks(Event):
    """The libraries that are installed cannot do something; `what` is a list."""

    what: str


@dataclass(frozen=True, slots=True)
class TlsDisabled(Event):
    """There is no TLS, because of what was told before or is told in `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpensslConfigurationWaits(Event):
    """Another configuration of OpenSSL is asked for than it was loaded with: tls_config_file and tls_config_name."""

    file: str
    name: str


@dataclass(frozen=True, slots=True)
class AuthoritiesUnusable(Event):
    """Certification authorities cannot be loaded, so that there is no TLS; `sources` are parameters with their values."""

    sources: str


@dataclass(frozen=True, slots=True)
class ClientCertificateProblem(Event):
    """A file with our keys or certificates is wrong, in whole words."""

    problem: str


@dataclass(frozen=True, slots=True)
class TlsFileChanged(Event):
    """A file with keys, certificates or authorities is another one now, and is read anew."""

    path: str


@dataclass(frozen=True, slots=True)
class TlsOptionUnknown(Event):
    """A word in tls_disable_workarounds or tls_ssl_options means nothing; `text` is the whole value."""

    parameter: str
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class TlsGroupUnknown(Event):
    """There is no key exchange group of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class TlsGroupsUnusable(Event):
    """No key exchange group is left, or what is done then."""

    text: str


@dataclass(frozen=True, slots=True)
class RawPublicKeysUnsupported(Event):
    """Raw public keys are asked for by a parameter, and the library has none."""

    parameter: str


# ---- handshakes ----


@dataclass(frozen=True, slots=True)
class TlsSetUp(Event):
    """A handshake is prepared (smtp_tls_loglevel: verbose)."""

    server: str


@dataclass(frozen=True, slots=True)
class CipherListChosen(Event):
    """The ciphers for a handshake (smtp_tls_loglevel: verbose)."""

    server: str
    ciphers: str


@dataclass(frozen=True, slots=True)
class ServerNameSent(Event):
    """The name that is asked for (smtp_tls_loglevel: ssl-debug)."""

    server: str
    name: str


@dataclass(frozen=True, slots=True)
class TlsStartProblem(Event):
    """A handshake cannot begin, or not as it was meant; in whole words behind the server."""

    server: str
    problem: str


@dataclass(frozen=True, slots=True)
class HandshakeFailed(Event):
    """A handshake failed; `problem` is -1 where the library tells more."""

    relay: str
    problem: str


@dataclass(frozen=True, slots=True)
class SessionCacheAsked(Event):
    """A session is looked for, was found, or is kept (smtp_tls_loglevel: cache); `doing` says which of these."""

    doing: str
    cache: str


@dataclass(frozen=True, slots=True)
class SessionForgotten(Event):
    """A session is not kept any longer, since a handshake failed (smtp_tls_loglevel: cache)."""

    key: str


@dataclass(frozen=True, slots=True)
class SessionReused(Event):
    """The server has taken an earlier session up (smtp_tls_loglevel: cache)."""

    server: str


@dataclass(frozen=True, slots=True)
class TlsStep(Event):
    """A step of the library (smtp_tls_loglevel: ssl-debug)."""

    state: str


@dataclass(frozen=True, slots=True)
class TlsAlert(Event):
    """An alert that was read or written (smtp_tls_loglevel: ssl-debug)."""

    direction: str
    severity: str
    description: str


@dataclass(frozen=True, slots=True)
class TlsDumpLine(Event):
    """A line of a dump of what goes over the network (smtp_tls_loglevel: 3)."""

    text: str


# ---- policies ----


@dataclass(frozen=True, slots=True)
class TlsSocketPolicyUnusable(Event):
    """No policy could be found for a local socket; `host` is our own name."""

    host: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class TlsPolicyEntryUnusable(Event):
    """What a table of policies has for a destination makes no sense, or it cannot be asked."""

    parameter: str
    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class TlsAttributeIgnored(Event):
    """An attribute of a policy that uses no TLS."""

    parameter: str
    key: str
    attribute: str


@dataclass(frozen=True, slots=True)
class TlsPerSiteIgnored(Event):
    """Both the obsolete and the present parameter for policies are set."""

    per_site: str
    policy_maps: str


@dataclass(frozen=True, slots=True)
class TlsPerSiteLookupFailed(Event):
    """An obsolete table of levels cannot be asked; `kind` says what the key is."""

    parameter: str
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class TlsPerSiteWordUnknown(Event):
    """An obsolete table of levels has a word that means nothing."""

    parameter: str
    word: str
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class ServernameInvalid(Event):
    """The name to ask for (SNI) is no host name."""

    parameter: str
    value: str


@dataclass(frozen=True, slots=True)
class NoFingerprints(Event):
    """At level fingerprint, there is none to match."""

    nexthop: str


@dataclass(frozen=True, slots=True)
class WrappermodeNeedsEncryption(Event):
    """Wrapper mode with a level that does not demand TLS."""

    wrappermode: str
    security_level: str


@dataclass(frozen=True, slots=True)
class OpportunisticTlsOnSocket(Event):
    """Level may for a local socket, which nobody can overhear."""


@dataclass(frozen=True, slots=True)
class TrustAnchorFileUnreadable(Event):
    """A file with trust anchors cannot be opened."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class TrustAnchorFileDamaged(Event):
    """What is in a file with trust anchors is damaged."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class TrustAnchorLoaded(Event):
    """A trust anchor, in the form of a TLSA record (smtp_tls_loglevel: dane or verbose); `kind` is cert or pkey."""

    kind: str
    path: str
    record: str


@dataclass(frozen=True, slots=True)
class DaneOnSocket(Event):
    """A DANE level for a local socket, which has no name in DNS."""

    path: str


@dataclass(frozen=True, slots=True)
class DaneImpossible(Event):
    """A DANE level, and settings with which DANE cannot work; `problem` says which."""

    nexthop: str
    problem: str


@dataclass(frozen=True, slots=True)
class DnssecStatusUnknown(Event):
    """Whether the alias of a mail exchanger is secure cannot be found out."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class TlsaLookupFailed(Event):
    """TLSA records cannot be looked up."""

    problem: str


@dataclass(frozen=True, slots=True)
class TlsaRecordFound(Event):
    """A TLSA record that counts (smtp_tls_loglevel: dane or verbose)."""

    name: str
    record: str


@dataclass(frozen=True, slots=True)
class TlsaRecordTruncated(Event):
    """A TLSA record that is too short; `name` has ``->`` in it where an alias led there."""

    name: str
    octets: int


@dataclass(frozen=True, slots=True)
class TlsaRecordUnsupported(Event):
    """A TLSA record that is of no use in mail; `problem` says why."""

    name: str
    problem: str
    record: str
