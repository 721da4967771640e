"""What main.cf says of each level: protocols, ciphers, names to match.

Flow: tls/policies.py makes the terms of all levels once, and policies from them.
Sources: postconf(5), the parameters named in `terms_of_levels`; TLS_README.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from twisted_mta.config.choices import TlsLevel
from twisted_mta.config.settings import Settings
from twisted_mta.tls.levels import Level


@dataclass(frozen=True, slots=True)
class LevelTerms:
    """The terms of a level, as far as a table does not say otherwise.

    Attributes:
        protocols: the list of protocol versions, as it is written.
        grade: the grade of ciphers.
        exclusions: the lists of ciphers to leave out.
        always_excluded: what is left out at this level, whatever lists say.
        matches: names or fingerprints to match.
    """

    protocols: str
    grade: str
    exclusions: str
    always_excluded: str
    matches: tuple[str, ...] = ()

    def all_exclusions(self, own: str | None) -> str:
        """The ciphers to leave out.

        Args:
            own: the list of a table, which replaces those of main.cf; None: there is none.
        """
        listed = self.exclusions if own is None else own
        return " ".join(part for part in (listed, self.always_excluded) if part)


def global_level(settings: Settings) -> Level:
    """smtp_tls_security_level, or what smtp_enforce_tls, smtp_tls_enforce_peername and smtp_use_tls say where it is empty."""
    if settings.smtp_tls_security_level is not TlsLevel.UNSET:
        return Level[settings.smtp_tls_security_level.name]
    if settings.smtp_enforce_tls:
        return Level.VERIFY if settings.smtp_tls_enforce_peername else Level.ENCRYPT
    return Level.MAY if settings.smtp_use_tls else Level.NONE


def terms_of_levels(settings: Settings) -> Mapping[Level, LevelTerms]:
    """Read smtp_tls_protocols, smtp_tls_ciphers, smtp_tls_exclude_ciphers, their mandatory forms, and what to match."""
    matches = {
        Level.FINGERPRINT: settings.smtp_tls_fingerprint_cert_match,
        Level.VERIFY: settings.smtp_tls_verify_cert_match,
        Level.SECURE: settings.smtp_tls_secure_cert_match,
    }
    excluded = settings.smtp_tls_exclude_ciphers
    mandatory_excluded = (*excluded, *settings.smtp_tls_mandatory_exclude_ciphers)
    opportunistic = LevelTerms(
        _as_written(settings, "smtp_tls_protocols"), settings.smtp_tls_ciphers, " ".join(excluded), ""
    )
    terms = {Level.MAY: opportunistic}
    for level in Level:
        if level.is_required:
            terms[level] = LevelTerms(
                _as_written(settings, "smtp_tls_mandatory_protocols"),
                settings.smtp_tls_mandatory_ciphers,
                " ".join(mandatory_excluded),
                "aNULL" if level.must_match else "eNULL",
                matches.get(level, ()),
            )
    return terms


def _as_written(settings: Settings, name: str) -> str:
    return settings.expanded(settings.parameter_name(name)) or ""
