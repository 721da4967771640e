"""The judgement of a finished handshake: is this the server that it should be?

A handshake never fails because of certificates; what OpenSSL had to say of them is collected and judged here, when it is
over. Where certification authorities decide, that is what counts, besides the names, which are compared here. Where TLSA
records, fingerprints or trust anchor files decide, tls/anchors.py looks at the certificates anew.

Of all that is wrong one thing is told: what is nearest to the server's own certificate, and there what came first, in the
order in which OpenSSL looks: the chain, what its certificates may be used for, how strong they are, names, signatures, dates.

Flow: tls/engine.py hands over the Demands (tls/demands.py), the certificates and the callback's events; it gets the Verdict.
Sources: RFC 5280 section 6; RFC 7671; RFC 7672; X509_verify_cert(3); postconf(5) smtp_tls_loglevel; TLS_README.
"""

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from OpenSSL import crypto

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import (
    CertificateExamined,
    CertificateNameOdd,
    PeerCertificateTold,
    PeerNameMatched,
    UntrustedSessionResumed,
)
from twisted_mta.tls.certificates import (
    COMMON_NAME,
    ORGANIZATION,
    Certificate,
    CertificateError,
    Name,
    read_certificate,
)
from twisted_mta.tls.demands import Demands
from twisted_mta.tls.faults import Code, Fault, told, worst_of
from twisted_mta.tls.fingerprints import fingerprint_of
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import name_on_one_line
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.names import Match, match_names
from twisted_mta.tls.rules import VerificationRules

_TELLS_CERTIFICATE = LogClass.CERTMATCH | LogClass.VERBOSE | LogClass.PEERCERT

_FOUND_AFTER_NAMES = frozenset({4, 6, 7, 9, 10, 13, 14, 21, 32, 76, 77, 78})
"""What OpenSSL finds when it looks at signatures and dates, after the names."""


@dataclass(frozen=True, slots=True)
class CallbackEvent:
    """One call of OpenSSL's verification callback.

    Attributes:
        depth: of the certificate that is concerned; 0: the server's own.
        error: the number of what is wrong, or was found wrong before.
        ok: whether nothing is wrong this time.
        certificate: the one that is concerned.
    """

    depth: int
    error: int
    ok: bool
    certificate: crypto.X509 | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server has proved. It may be kept with a TLS session, and counts again when that is taken up.

    Attributes:
        level: what was demanded in the end.
        has_certificate: whether the server showed one.
        trusted: whether nothing is wrong with it.
        matched: whether the server is the one that it should be.
    """

    level: Level
    has_certificate: bool
    trusted: bool
    matched: bool

    @property
    def secured(self) -> bool:
        """Matched, and nothing on the way there was insecure."""
        return self.matched and self.level is not Level.HALF_DANE


def tell_examined(event: CallbackEvent, server: str, emit: Emit) -> None:
    """Tell one call of the callback (smtp_tls_loglevel: verbose)."""
    subject = f" subject={name_on_one_line(event.certificate)}" if event.certificate else ""
    emit(CertificateExamined(server, event.depth, int(event.ok), subject))


def judge(
    demands: Demands, chain: Sequence[bytes], events: Sequence[CallbackEvent], rules: VerificationRules, emit: Emit
) -> Verdict:
    """Judge a full handshake; tells what is wrong, what matched, and whose certificate it is.

    Args:
        demands: of the policy.
        chain: the server's certificates in DER, as they were sent, its own first; empty: there are none. Only its own is
            looked at unless TLSA records or trust anchors decide.
        events: of OpenSSL's callback, in order.
        rules: of verification.
        emit: takes the lines.
    """
    if not chain:
        return Verdict(demands.level, has_certificate=False, trusted=False, matched=False)
    tells_certificate = rules.wants(_TELLS_CERTIFICATE)
    leaf = _read(chain[0]) if tells_certificate or demands.references or demands.associations else None
    finding = _finding(demands, leaf, events)
    fault = worst_of(finding.faults)
    matched = fault is None and demands.level.must_match
    whose = _whose(leaf, finding.names.peername, demands.server, rules, emit) if tells_certificate and leaf else None
    if fault is not None and demands.tells_why:
        emit(told(fault, demands.server))
    if tells_certificate and matched and finding.names.peername:
        emit(PeerNameMatched(demands.server, finding.names.peername))
    if whose is not None:
        emit(whose)
    return Verdict(demands.level, has_certificate=True, trusted=fault is None, matched=matched)


def judge_resumed(kept: Verdict, demands: Demands, emit: Emit) -> Verdict:
    """What counts where an earlier session was taken up: the certificates were judged when it began.

    Args:
        kept: the Verdict of that time.
        demands: of the policy now; where these differ in more than the log, the session must not be taken up.
        emit: told where the server was not verified then.
    """
    matched = kept.matched and demands.level.must_match
    if demands.level.must_match and not matched:
        emit(UntrustedSessionResumed(demands.server))
    return Verdict(demands.level, kept.has_certificate, kept.trusted, matched)


# ---- what is wrong ----


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was found.

    Attributes:
        faults: in the order in which OpenSSL finds them.
        names: what the comparison of names gave.
    """

    faults: tuple[Fault, ...]
    names: Match


_NO_NAMES = Match(names=True, address=True)
_FORCED = Fault(0, Code.UNSPECIFIED)


def _finding(demands: Demands, leaf: Certificate | None, events: Sequence[CallbackEvent]) -> _Finding:
    names = _names(demands, leaf)
    if demands.must_fail or demands.associations or not events:
        return _Finding((_FORCED,), names)
    early = sum(1 for _ in itertools.takewhile(_is_before_names, events))
    faults = (*_faults_of(events[:early]), *_name_faults(names), *_faults_of(events[early:]))
    return _Finding(faults, names)


def _is_before_names(event: CallbackEvent) -> bool:
    return not event.ok and event.error not in _FOUND_AFTER_NAMES


def _faults_of(events: Sequence[CallbackEvent]) -> Iterator[Fault]:
    for event in events:
        if not event.ok:
            issuer = name_on_one_line(event.certificate, issuer=True) if event.certificate else "<unknown>"
            yield Fault(event.depth, event.error, issuer)


def _names(demands: Demands, leaf: Certificate | None) -> Match:
    if leaf is None:
        return Match(names=not demands.references.names, address=not demands.references.address)
    return match_names(leaf, demands.references) if demands.references else _NO_NAMES


def _name_faults(names: Match) -> Iterator[Fault]:
    if not names.names:
        yield Fault(0, Code.NAME_MISMATCH)
    if not names.address:
        yield Fault(0, Code.ADDRESS_MISMATCH)


def _read(der: bytes) -> Certificate | None:
    try:
        return read_certificate(der)
    except CertificateError:
        return None


# ---- whose certificate it is ----

_LONGEST_NAME_SHOWN = 255


def _whose(leaf: Certificate, peername: str, server: str, rules: VerificationRules, emit: Emit) -> PeerCertificateTold:
    digest = rules.fingerprint_digest
    subject = _shown_name(leaf.subject, (COMMON_NAME,), "subject CN", server, emit)
    issuer = _shown_name(leaf.issuer, (COMMON_NAME, ORGANIZATION), "issuer CN", server, emit)
    return PeerCertificateTold(
        server,
        subject or peername,
        issuer,
        fingerprint_of(leaf.der, digest),
        fingerprint_of(leaf.public_key, digest),
    )


def _shown_name(name: Name, kinds: tuple[bytes, ...], what: str, server: str, emit: Emit) -> str:
    """The first attribute of the first kind that there is, if it is fit for a line."""
    for kind in kinds:
        for attribute in name:
            if attribute.kind == kind:
                text, problem = _fit_to_show(attribute.text, what)
                if problem:
                    emit(CertificateNameOdd(server, problem))
                return text
    return ""


def _fit_to_show(text: str | None, what: str) -> tuple[str, str]:
    if text is None:
        return "", f"error decoding peer {what} of ASN.1 string"
    octets = len(text.encode("utf-8", "surrogatepass"))
    if octets > _LONGEST_NAME_SHOWN:
        return "", f"peer {what} too long: {octets}"
    if "\0" in text:
        return "", f"NULL character in peer {what}"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "", f"non-printable content in peer {what}"
    return text, ""
