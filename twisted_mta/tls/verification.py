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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from OpenSSL import crypto

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import (
    AssociationMatched,
    CertificateExamined,
    PeerNameMatched,
    UntrustedSessionResumed,
)
from twisted_mta.tls.anchors import Examination, examine
from twisted_mta.tls.associations import LEAF
from twisted_mta.tls.certificate_line import certificate_told
from twisted_mta.tls.certificates import Certificate, read_certificate
from twisted_mta.tls.demands import Demands
from twisted_mta.tls.der import DerError
from twisted_mta.tls.faults import FOUND_AFTER_NAMES, CallbackEvent, Code, Fault, told, worst_of
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import name_on_one_line
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.names import Match, match_names
from twisted_mta.tls.record_text import data_text, record_text
from twisted_mta.tls.rules import VerificationRules

__all__ = ["CallbackEvent", "Verdict", "judge", "judge_resumed", "own_events", "tell_examined"]


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


def own_events(demands: Demands, chain: Sequence[bytes], rules: VerificationRules) -> tuple[CallbackEvent, ...]:
    """What OpenSSL's callback would be told besides, if it knew of names and associations.

    Args:
        demands: of the policy.
        chain: the server's certificates in DER, as they were sent, its own first.
        rules: of verification.

    Returns:
        In order: everything where associations decide; otherwise what is wrong with the names.
    """
    if not chain:
        return ()
    finding = _found(demands, _read(chain[0]), chain, (), rules)
    leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, chain[0])
    return tuple(
        event if event.certificate or event.depth else replace(event, certificate=leaf) for event in finding.events
    )


def judge(
    demands: Demands,
    chain: Sequence[bytes],
    events: Sequence[CallbackEvent],
    rules: VerificationRules,
    emit: Emit,
    *,
    tells_events: bool = True,
) -> Verdict:
    """Judge a full handshake; tells what is wrong, what matched, and whose certificate it is.

    Args:
        demands: of the policy.
        chain: the server's certificates in DER, as they were sent, its own first; empty: there are none. Only its own is
            looked at unless TLSA records or trust anchors decide.
        events: of OpenSSL's callback, in order.
        rules: of verification.
        emit: takes the lines.
        tells_events: whether the events of associations are told where that is wanted; not if they have been.
    """
    if not chain:
        return Verdict(demands.level, has_certificate=False, trusted=False, matched=False)
    tells_certificate = rules.tells_certificates
    leaf = _read(chain[0]) if tells_certificate or demands.references or demands.associations else None
    finding = _found(demands, leaf, chain, events, rules)
    fault = worst_of(finding.faults)
    matched = fault is None and demands.level.must_match
    if finding.examination is not None and tells_events and rules.wants(LogClass.VERBOSE):
        for event in finding.events:
            tell_examined(event, demands.server, emit)
    peername = finding.names.peername
    whose = (
        certificate_told(leaf, peername, demands.server, rules.fingerprint_digest, emit)
        if tells_certificate and leaf is not None
        else None
    )
    if fault is not None and demands.tells_why:
        emit(told(Fault(fault.depth, fault.error, _issuer(fault.certificate)), demands.server))
    if matched and tells_certificate:
        _tell_match(demands, finding, emit)
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
        events: of OpenSSL's callback, those about names included.
        names: what the comparison of names gave.
        examination: what associations gave; None: authorities decide.
        forced: whether nothing that the server shows can do.
    """

    events: tuple[CallbackEvent, ...]
    names: Match
    examination: Examination | None = None
    forced: bool = False

    @property
    def faults(self) -> Iterator[CallbackEvent]:
        """In the order in which OpenSSL finds them."""
        if self.forced:
            yield _FORCED
        elif not any(event.ok and event.depth == 0 for event in self.events) and all(e.ok for e in self.events):
            yield _FORCED  # nobody has come as far as the server's own certificate
        else:
            for event in self.events:
                if not event.ok:
                    yield event


_FORCED = CallbackEvent(0, Code.UNSPECIFIED, ok=False)
_ANY_NAME = Match(names=True, address=True)


def _found(
    demands: Demands,
    leaf: Certificate | None,
    chain: Sequence[bytes],
    events: Sequence[CallbackEvent],
    rules: VerificationRules,
) -> _Finding:
    if leaf is None and (demands.references or demands.associations):
        return _Finding((), _ANY_NAME, forced=True)
    names = match_names(leaf, demands.references) if leaf is not None and demands.references else _ANY_NAME
    if demands.must_fail:
        return _Finding((), names, forced=True)
    if not demands.associations or leaf is None:
        return _Finding(_with_names(events, names), names)
    examination = examine(demands.associations, leaf, chain[1:], rules)
    if not demands.names_of_leaf and not examination.built_chain:
        return _Finding(examination.events, _ANY_NAME, examination)
    return _Finding(_with_names(examination.events, names), names, examination)


def _with_names(events: Sequence[CallbackEvent], names: Match) -> tuple[CallbackEvent, ...]:
    """Put in what is wrong with the names, at the place where OpenSSL would find it."""
    if names.names and names.address:
        return tuple(events)
    early = tuple(itertools.takewhile(lambda event: not event.ok and event.error not in FOUND_AFTER_NAMES, events))
    leaf = next((event.certificate for event in events if event.depth == 0), None)
    wrong = [(names.names, Code.NAME_MISMATCH), (names.address, Code.ADDRESS_MISMATCH)]
    return (*early, *(CallbackEvent(0, code, False, leaf) for fine, code in wrong if not fine), *events[len(early) :])


def _issuer(certificate: crypto.X509 | None) -> str:
    return name_on_one_line(certificate, issuer=True) if certificate is not None else "<unknown>"


def _tell_match(demands: Demands, finding: _Finding, emit: Emit) -> None:
    if finding.names.peername:
        emit(PeerNameMatched(demands.server, finding.names.peername))
    if finding.examination is not None and finding.examination.match is not None:
        emit(AssociationMatched(demands.server, _match_text(demands.level, finding.examination)))


def _match_text(level: Level, examination: Examination) -> str:
    match, depth = examination.match, examination.depth
    assert match is not None
    if level is Level.FINGERPRINT:
        return f"fingerprint: {data_text(match.data)}"
    if level.needs_authority:
        return f"trust anchor at depth {depth}"
    if match.usage == LEAF:
        what = "EE certificate"
    else:
        what = "TA public key verified certificate" if examination.by_key else "TA certificate"
    return f"DANE {what} at depth {depth}: {record_text(match)}"


def _read(der: bytes) -> Certificate | None:
    try:
        return read_certificate(der)
    except DerError:
        return None
