"""What main.cf says of verification, for all servers.

Flow: tls/engine.py makes the rules once; tls/demands.py and tls/verification.py go by them.
Sources: postconf(5) for the parameters named in `from_settings`.
"""

from dataclasses import dataclass

from twisted_mta.config.settings import Settings
from twisted_mta.model.events import Emit
from twisted_mta.model.tls_events import DigestUnknown, TlsDisabled
from twisted_mta.tls.digests import DEFAULT_RECORD_DIGESTS, SHA256, Digest, RecordDigests, digest_named, record_digests
from twisted_mta.tls.loglevel import SILENT, LogClass


@dataclass(frozen=True, slots=True)
class VerificationRules:
    """How certificates are judged, and what of it is told.

    Attributes:
        classes: of lines that are wanted (smtp_tls_loglevel).
        depth_limit: how many intermediate certificates above the first one a chain may have (smtp_tls_scert_verifydepth).
        fingerprint_digest: of fingerprints (smtp_tls_fingerprint_digest).
        record_digests: which digests of TLSA records count, and which is best (tls_dane_digests).
        transitional: enable_idna2003_compatibility.
    """

    classes: LogClass = SILENT
    depth_limit: int = 9
    fingerprint_digest: Digest = SHA256
    record_digests: RecordDigests = DEFAULT_RECORD_DIGESTS
    transitional: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, classes: LogClass, emit: Emit) -> "VerificationRules | None":
        """Read smtp_tls_scert_verifydepth, smtp_tls_fingerprint_digest and tls_dane_digests.

        Args:
            settings: for the parameters.
            classes: of lines that are wanted.
            emit: takes events.

        Returns:
            The rules; None, which has been told: there can be no TLS.
        """
        digest = digest_named(settings.smtp_tls_fingerprint_digest)
        if digest is None:
            emit(DigestUnknown(settings.smtp_tls_fingerprint_digest))
            emit(TlsDisabled(""))
            return None
        return cls(
            classes=classes,
            depth_limit=settings.smtp_tls_scert_verifydepth,
            fingerprint_digest=digest,
            record_digests=record_digests(settings.tls_dane_digests, emit),
            transitional=settings.enable_idna2003_compatibility,
        )

    @property
    def tells_certificates(self) -> bool:
        """Whether the log says whose certificate a server has."""
        return self.wants(LogClass.CERTMATCH | LogClass.VERBOSE | LogClass.PEERCERT)

    def wants(self, classes: LogClass) -> bool:
        """Whether any of these classes of lines is wanted."""
        return bool(self.classes & classes)
