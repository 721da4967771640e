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
    """No TLSA record, or no fingerprint, is left; `what` names them and says what follows."""

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
