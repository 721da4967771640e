"""Fingerprints: the digests that a server's certificate or key may have.

Flow: tls/policies.py reads the values of a policy; tls/demands.py makes associations of them; tls/verification.py tells the
fingerprints of certificates.
Sources: postconf(5) smtp_tls_fingerprint_cert_match, smtp_tls_fingerprint_digest.
"""

import re
from collections.abc import Iterable

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import FingerprintAsRecord, FingerprintMalformed, LegacyFingerprintDigest
from twisted_mta.tls.associations import CERTIFICATE, KEY, LEAF
from twisted_mta.tls.digests import PRIVATE_USE, Digest
from twisted_mta.tls.policy import Association
from twisted_mta.tls.record_text import record_text

_LONGEST = 192
_LONGEST_SHOWN = 100
_FORM = re.compile(r"[0-9a-f]{2}(?::?[0-9a-f]{2})*", re.IGNORECASE)


class Fingerprints:
    """Reads fingerprints of policies, and tells what it thinks of them."""

    def __init__(self, settings: Settings, emit: Emit, *, tells: bool = False) -> None:
        """Look at the parameters.

        Args:
            settings: for smtp_tls_fingerprint_digest.
            emit: takes events.
            tells: whether each fingerprint is told in the form of a TLSA record.
        """
        parameter = settings.parameter_name("smtp_tls_fingerprint_digest")
        name = settings.smtp_tls_fingerprint_digest
        by_default = name == "md5" and settings.origin(parameter) == "default"
        self._legacy = LegacyFingerprintDigest(parameter, name) if by_default else None
        self._emit = emit
        self._tells = tells

    def usable(self, values: Iterable[str]) -> tuple[str, ...]:
        """Those of the values that are fingerprints at all: hexadecimal digits in any case, maybe with a colon between octets."""
        if self._legacy is not None:
            self._emit(self._legacy)
        return tuple(value for value in values if self._is_usable(value))

    def _is_usable(self, value: str) -> bool:
        if len(value) > _LONGEST or not _FORM.fullmatch(value):
            shown = value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "..."
            self._emit(FingerprintMalformed(shown))
            return False
        if self._tells:
            self._emit(FingerprintAsRecord(record_text(associations_of(value)[0])))
        return True


def associations_of(fingerprint: str) -> tuple[Association, Association]:
    """A fingerprint as two associations: it may be that of the certificate, or that of its key.

    Args:
        fingerprint: a usable one.
    """
    digest = bytes.fromhex(fingerprint.replace(":", ""))
    return Association(LEAF, CERTIFICATE, PRIVATE_USE, digest), Association(LEAF, KEY, PRIVATE_USE, digest)


def fingerprint_of(data: bytes, digest: Digest) -> str:
    """The fingerprint of a certificate or key in DER, as lines have it: ``AA:BB:...``."""
    return digest.of(data).hex(":").upper()
