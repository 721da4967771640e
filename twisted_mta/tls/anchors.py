"""Judge a server's certificates by associations: TLSA records, fingerprints, trust anchors.

This does what OpenSSL does with DANE inside a handshake, and gives what its callback would have been told, in the same order:

1. Where an association names the server's own certificate or key, nothing else counts: no dates, no issuers.
2. Otherwise the chain is built, of what the server sent and of certificates that associations hold, up to the first one that
   an association names. The server's own is never an issuer.
3. Where no such certificate comes up, a key that is given in full may have signed the top of the chain.
4. The chain must be fit for servers, strong enough, and not too long. Certificates must be within their dates; of the anchor
   itself the dates count only if it has signed itself.

Flow: tls/verification.py asks once a handshake is over.
Sources: RFC 6698 section 2.1; RFC 7671 section 5; X509_verify_cert(3); SSL_CTX_dane_enable(3);
postconf(5) smtp_tls_trust_anchor_file, smtp_tls_scert_verifydepth.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import crypto

from twisted_mta.tls.associations import ANCHOR, CERTIFICATE, KEY, LEAF, matches
from twisted_mta.tls.certificates import Certificate, read_certificate
from twisted_mta.tls.der import DerError
from twisted_mta.tls.digests import FULL
from twisted_mta.tls.faults import FOUND_AFTER_NAMES, CallbackEvent, Code
from twisted_mta.tls.library import CAN_BUILD_CHAINS, build_chain
from twisted_mta.tls.loglevel import LogClass
from twisted_mta.tls.policy import Association
from twisted_mta.tls.rules import VerificationRules
from twisted_mta.tls.strength import key_is_strong, signature_is_strong

_UNTRUSTED = frozenset(
    {Code.ISSUER_MISSING, Code.SELF_SIGNED, Code.SELF_SIGNED_ABOVE, Code.ISSUER_UNKNOWN, Code.NOT_TRUSTED}
)
"""What OpenSSL says where it has come to the end of a chain without an anchor."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it.

    Attributes:
        events: what OpenSSL's callback would have been told, but for names.
        match: the association that decided; None: none did.
        depth: of the certificate that matched, or that the key signed.
        by_key: whether a key that is in no certificate decided.
        built_chain: whether a chain was built at all.
    """

    events: tuple[CallbackEvent, ...]
    match: Association | None = None
    depth: int = 0
    by_key: bool = False
    built_chain: bool = False


def examine(
    associations: Sequence[Association], leaf: Certificate, sent: Sequence[bytes], rules: VerificationRules
) -> Examination:
    """Judge certificates by associations.

    Args:
        associations: usable ones, in the order in which they are tried.
        leaf: the server's own certificate.
        sent: the others that it sent, in DER.
        rules: of verification.
    """
    try:
        return _Examiner(associations, leaf, sent, rules).examine()
    except (crypto.Error, DerError):
        return Examination((CallbackEvent(0, Code.UNSPECIFIED, False),))


class _Examiner:
    """One examination; `events` grows as faults are found, in OpenSSL's order."""

    def __init__(
        self, associations: Sequence[Association], leaf: Certificate, sent: Sequence[bytes], rules: VerificationRules
    ) -> None:
        self._associations = associations
        self._leaf = leaf
        self._sent = sent
        self._rules = rules
        self._events: list[CallbackEvent] = []

    def examine(self) -> Examination:
        match = self._match(LEAF, self._leaf)
        by_chain = match is None and CAN_BUILD_CHAINS and any(each.usage == ANCHOR for each in self._associations)
        leaf = _load(self._leaf.der) if by_chain or self._rules.wants(LogClass.VERBOSE) else None
        if not key_is_strong(self._leaf.public_key):
            self._fault(0, Code.LEAF_KEY_WEAK, leaf)
        if leaf is not None and by_chain:
            return self._examine_chain(leaf)
        if match is None:
            self._fault(0, Code.NO_ASSOCIATION, leaf)
        else:
            self._fine(0, leaf)
        return Examination(tuple(self._events), match)

    def _examine_chain(self, leaf: crypto.X509) -> Examination:
        others, anchors = self._others()
        code, depth, chain = build_chain(leaf, others, anchors)
        longest = self._rules.depth_limit + 3  # the server's own, limit + 1 intermediates, and their issuer
        cut, chain = len(chain) > longest, chain[:longest]
        top, height = chain[-1], len(chain) - 1
        anchored = bool(anchors) and code not in _UNTRUSTED and not cut
        match = None
        if anchored:
            match = self._match(ANCHOR, _read(top))
        elif not cut:
            match = self._signer_of(top)
        if cut:
            self._fault(height, Code.CHAIN_TOO_LONG, top)
        if match is None:
            self._fault(height, Code.NO_ASSOCIATION, top)
            self._fault(height, code if code in _UNTRUSTED else Code.ISSUER_UNKNOWN, top)
        if not anchored:
            # What else is wrong with the chain shows once its top is taken for an anchor.
            code, depth, chain = build_chain(leaf, chain[1:], [top])
        by_key = match is not None and not anchored
        self._verify(chain, code, depth, by_key=by_key)
        return Examination(tuple(self._events), match, height, by_key, built_chain=True)

    # ---- what decides ----

    def _match(self, usage: int, certificate: Certificate) -> Association | None:
        digests, fingerprint = self._rules.record_digests, self._rules.fingerprint_digest
        fitting = (each for each in self._associations if each.usage == usage)
        return next((each for each in fitting if matches(each, certificate, digests, fingerprint)), None)

    def _others(self) -> tuple[list[crypto.X509], list[crypto.X509]]:
        """What a chain may be built of, and the anchors among it."""
        given = (
            each.data
            for each in self._associations
            if (each.usage, each.selector, each.matching_type) == (ANCHOR, CERTIFICATE, FULL)
        )
        others, anchors = [], []
        for der in (*given, *self._sent):
            try:
                raw, read = _load(der), read_certificate(der)
            except (crypto.Error, DerError):
                continue
            others.append(raw)
            if der != self._leaf.der and self._match(ANCHOR, read):
                anchors.append(raw)
        return others, anchors

    def _signer_of(self, top: crypto.X509) -> Association | None:
        """The key given in full that signed a certificate."""
        keys = (
            each
            for each in self._associations
            if (each.usage, each.selector, each.matching_type) == (ANCHOR, KEY, FULL)
        )
        return next((each for each in keys if has_signed(each.data, top)), None)

    # ---- what is wrong ----

    def _verify(self, chain: list[crypto.X509], code: int, depth: int, *, by_key: bool) -> None:
        """Find what is wrong with a chain, in the order of X509_verify_cert(3): uses, strength, signatures and dates."""
        links = [(raw, _read(raw)) for raw in chain]
        height = len(links) - 1
        late = code in FOUND_AFTER_NAMES
        if code and not late:
            self._fault(depth, code, chain[min(depth, height)])
        for at, (raw, read) in enumerate(links):
            if at > 0 and not key_is_strong(read.public_key):
                self._fault(at, Code.AUTHORITY_KEY_WEAK, raw)
            if at < height and not signature_is_strong(read):
                self._fault(at, Code.DIGEST_WEAK, raw)
        if not by_key and not links[height][1].is_self_issued:
            if height > 0:
                height -= 1
            else:
                self._fault(0, Code.LEAF_NOT_VERIFIED, links[0][0])
        now = datetime.now(UTC)
        for at in range(height, -1, -1):
            raw, read = links[at]
            if late and at == depth:
                self._fault(at, code, raw)
            for date_code in _wrong_dates(read, now):
                self._fault(at, date_code, raw)
            self._fine(at, raw)

    def _fault(self, depth: int, code: int, certificate: crypto.X509 | None) -> None:
        self._events.append(CallbackEvent(depth, code, False, certificate))

    def _fine(self, depth: int, certificate: crypto.X509 | None) -> None:
        self._events.append(CallbackEvent(depth, 0, True, certificate))


def _wrong_dates(certificate: Certificate, now: datetime) -> Iterator[Code]:
    begins, ends = certificate.dates
    if begins is None:
        yield Code.NOT_BEFORE_UNREADABLE
    elif begins > now:
        yield Code.NOT_YET_VALID
    if ends is None:
        yield Code.NOT_AFTER_UNREADABLE
    elif ends <= now:
        yield Code.EXPIRED


def has_signed(key: bytes, certificate: crypto.X509) -> bool:
    """Whether a key has signed a certificate.

    Args:
        key: SubjectPublicKeyInfo in DER.
        certificate: any.
    """
    try:
        signer = serialization.load_der_public_key(key)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of serial numbers and the like
            signed = x509.load_der_x509_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
            _verify_signature(signer, signed)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, crypto.Error):
        return False
    return True


def _verify_signature(signer: PublicKeyTypes, signed: x509.Certificate) -> None:
    signature, data = signed.signature, signed.tbs_certificate_bytes
    parameters, digest = signed.signature_algorithm_parameters, signed.signature_hash_algorithm
    match signer, parameters, digest:
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey(), None, None:
            signer.verify(signature, data)
        case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS(), hashes.HashAlgorithm():
            signer.verify(signature, data, parameters, digest)
        case ec.EllipticCurvePublicKey(), ec.ECDSA(), _:
            signer.verify(signature, data, parameters)
        case dsa.DSAPublicKey(), None, hashes.HashAlgorithm():
            signer.verify(signature, data, digest)
        case _:
            raise InvalidSignature


def _load(der: bytes) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_ASN1, der)


def _read(raw: crypto.X509) -> Certificate:
    return read_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, raw))
