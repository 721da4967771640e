"""What settings change in the content, worked out once per configuration.

Flow: assembly.py makes one from Settings; session/ and delivery/ read it for each message.
Sources: postconf(5) for the parameters named in `from_settings`; smtp(8) for flags.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twisted_mta.config.settings import Settings
from twisted_mta.content.generic import GenericRules
from twisted_mta.content.lookups import CHECKS, Asked
from twisted_mta.content.scanner import ScannerLimits


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """How content goes out.

    Attributes:
        parameters: the name of the parameter of each list that has tables.
        limits: of the scanner.
        generic: how addresses are replaced, if GENERIC has tables.
    """

    parameters: Mapping[Asked, str] = field(default_factory=dict)
    limits: ScannerLimits = field(default_factory=ScannerLimits)
    generic: GenericRules = field(default_factory=GenericRules)

    @property
    def maps_addresses(self) -> bool:
        """Whether addresses are replaced."""
        return Asked.GENERIC in self.parameters

    @property
    def has_checks(self) -> bool:
        """Whether headers or lines are checked."""
        return any(asked in self.parameters for asked in CHECKS)

    @classmethod
    def from_settings(cls, settings: Settings) -> "ContentSettings":
        """Read what concerns content."""
        return cls(
            {
                asked: settings.parameter_name(asked.value)
                for asked in (*CHECKS, Asked.GENERIC)
                if getattr(settings, asked.value)
            },
            ScannerLimits(settings.header_size_limit, settings.mime_nesting_limit, settings.mime_boundary_length_limit),
            GenericRules(
                settings.parameter_name(Asked.GENERIC.value), "generic" in settings.propagate_unmatched_extensions
            ),
        )
