"""Whose certificate a server has, in one line: names and fingerprints.

Flow: tls/verification.py tells it once a server is judged.
Sources: the "subject_CN=" lines of smtp(8); postconf(5) smtp_tls_loglevel, smtp_tls_fingerprint_digest.
"""

import unicodedata

from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import CertificateNameOdd, PeerCertificateTold
from twisted_mta.tls.certificates import COMMON_NAME, ORGANIZATION, Certificate, Name
from twisted_mta.tls.digests import Digest
from twisted_mta.tls.fingerprints import fingerprint_of

_LONGEST_SHOWN = 255
"""Octets of a name in a line."""


def certificate_told(leaf: Certificate, peername: str, server: str, digest: Digest, emit: Emit) -> PeerCertificateTold:
    """The line of a certificate.

    Args:
        leaf: the server's own certificate.
        peername: the name that matched; shown where there is no common name.
        server: as lines have it.
        digest: of fingerprints.
        emit: told of names that are not fit for a line.
    """
    subject = _shown_name(leaf.subject, (COMMON_NAME,), "subject CN", server, emit)
    issuer = _shown_name(leaf.issuer, (COMMON_NAME, ORGANIZATION), "issuer CN", server, emit)
    return PeerCertificateTold(
        server,
        peername if subject is None else subject,
        issuer or "",
        fingerprint_of(leaf.der, digest),
        fingerprint_of(leaf.public_key, digest),
    )


def _shown_name(name: Name, kinds: tuple[bytes, ...], what: str, server: str, emit: Emit) -> str | None:
    """The first attribute of the first kind that there is, if it is fit for a line."""
    for kind in kinds:
        attribute = next((each for each in name if each.kind == kind), None)
        if attribute is not None:
            problem = _problem_of(attribute.text, what)
            if not problem:
                return attribute.text
            emit(CertificateNameOdd(server, problem))
    return None


def _problem_of(text: str | None, what: str) -> str:
    """Why a name cannot be shown; empty: it can."""
    if text is None:
        return f"error decoding peer {what} of ASN.1 string"
    octets = len(text.encode("utf-8", "surrogatepass"))
    if octets > _LONGEST_SHOWN:
        return f"peer {what} too long: {octets}"
    if "\0" in text:
        return f"NULL character in peer {what}"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return f"non-printable content in peer {what}"
    return ""
