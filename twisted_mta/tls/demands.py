"""What one handshake has to show, worked out before it begins.

A policy says what is wanted; whether that can be had depends on what its associations are worth: digests that are too short,
records that nobody can use. What is left decides how the handshake is shaped, so it must be known before.

Flow: tls/engine.py asks for the Demands of a policy, shapes the connection by their level, and hands them to
tls/verification.py when the handshake is over.
Sources: RFC 7672 sections 2.2 and 3.1; postconf(5) smtp_tls_policy_maps; TLS_README.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import AllAssociationsUnusable, AssociationUnusable, NoNameToMatch
from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.associations import best_of, is_usable
from twisted_mta.tls.fingerprints import associations_of
from twisted_mta.tls.levels import Level
from twisted_mta.tls.library import CAN_TELL_TRUST
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.names import NO_REFERENCES, References, names_meant, references_of
from twisted_mta.tls.policy import Association, TlsPolicy
from twisted_mta.tls.record_text import record_text
from twisted_mta.tls.rules import VerificationRules


@dataclass(frozen=True, slots=True)
class Demands:
    """What a server has to show.

    Attributes:
        level: what is demanded in the end: DANE without usable records becomes encrypt.
        server: ``host[address]:port`` in lower case, as lines have it.
        associations: what decides instead of certification authorities, in a fixed order; empty: those decide.
        references: the names of which a certificate must have one; empty: any will do.
        names_of_leaf: whether names count also where an association names the server's own certificate.
        must_fail: whether nothing that the server shows can do.
        tells_why: whether the log says why a server was not verified.
        examined: whether certificates are looked at one by one. Otherwise all that counts is whether the library trusts them;
            it looks no further than to the first thing that is wrong, and is spared most of the work where nothing is.
    """

    level: Level
    server: str
    associations: tuple[Association, ...] = ()
    references: References = NO_REFERENCES
    names_of_leaf: bool = True
    must_fail: bool = False
    tells_why: bool = False
    examined: bool = True

    @property
    def ignores_authorities(self) -> bool:
        """Whether it does not matter what OpenSSL thinks of the server's certificates during the handshake."""
        return self.must_fail or bool(self.associations)


def demands_of(policy: TlsPolicy, peer: Peer, rules: VerificationRules, emit: Emit) -> Demands:
    """Work out what a policy demands of a server.

    Args:
        policy: any.
        peer: the server.
        rules: of verification.
        emit: told what of the policy cannot be used.
    """
    server = peer.relay.lower()
    tells_why = policy.level.must_match or rules.wants(LogClass.UNTRUSTED)
    if policy.level.needs_authority:
        return _by_name(policy, peer, server, rules, emit)
    if policy.level.is_dane:
        return _by_records(policy, server, rules, emit)
    if policy.level is Level.FINGERPRINT:
        return _by_fingerprint(policy, server, rules, emit)
    examined = tells_why or rules.tells_certificates or not CAN_TELL_TRUST
    return Demands(policy.level, server, tells_why=tells_why, examined=examined)


def _by_name(policy: TlsPolicy, peer: Peer, server: str, rules: VerificationRules, emit: Emit) -> Demands:
    references = _references(names_meant(policy.matches, peer.host, policy.nexthop), server, rules, emit)
    anchors = _usable(policy.trust_anchors, server, rules, emit)
    none_left = bool(policy.trust_anchors) and not anchors
    if none_left:
        emit(AllAssociationsUnusable(server, "trust anchors unusable"))
    return Demands(policy.level, server, anchors, references, must_fail=none_left or not references, tells_why=True)


def _by_records(policy: TlsPolicy, server: str, rules: VerificationRules, emit: Emit) -> Demands:
    records = _usable(policy.associations, server, rules, emit)
    if records:
        references = _references(policy.dane_names, server, rules, emit)
        return Demands(
            policy.level,
            server,
            records,
            references,
            names_of_leaf=False,
            must_fail=not references,
            tells_why=True,
        )
    if policy.level is Level.DANE_ONLY:
        emit(AllAssociationsUnusable(server, "TLSA records unusable"))
        return Demands(policy.level, server, must_fail=True, tells_why=True)
    emit(AllAssociationsUnusable(server, "TLSA records unusable, fallback to unauthenticated TLS"))
    return Demands(Level.ENCRYPT, server, tells_why=True)


def _by_fingerprint(policy: TlsPolicy, server: str, rules: VerificationRules, emit: Emit) -> Demands:
    given = tuple(each for value in policy.matches for each in associations_of(value))
    fingerprints = _usable(given, server, rules, emit)
    if not fingerprints:
        emit(AllAssociationsUnusable(server, "fingerprints unusable"))
    return Demands(policy.level, server, fingerprints, names_of_leaf=False, must_fail=not fingerprints, tells_why=True)


def _references(names: Iterable[str], server: str, rules: VerificationRules, emit: Emit) -> References:
    references = references_of(names, server, emit, transitional=rules.transitional)
    if not references:
        emit(NoNameToMatch(server))
    return references


def _usable(
    associations: tuple[Association, ...], server: str, rules: VerificationRules, emit: Emit
) -> tuple[Association, ...]:
    usable = []
    for each in reversed(associations):  # told in the order in which Postfix tells them
        if is_usable(each, rules.record_digests, rules.fingerprint_digest):
            usable.append(each)
        else:
            emit(AssociationUnusable(server, record_text(each)))
    return best_of(usable, rules.record_digests)
