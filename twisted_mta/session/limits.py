"""Time limits of a dialog, per read and write or as a budget for a whole phase.

Flow: assembly.py makes TimeLimits from Settings; session/alarm.py asks a Deadline how long it may wait.
Sources: postconf(5) smtp_*_timeout, smtp_per_request_deadline, smtp_min_data_rate; RFC 5321 section 4.5.3.2.
"""

from dataclasses import dataclass

from twisted_mta.config.settings import Settings
from twisted_mta.smtp import phases
from twisted_mta.smtp.phases import Phase

_PHASES = [value for value in vars(phases).values() if isinstance(value, Phase)]


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The limits of one personality.

    Attributes:
        seconds: for each parameter that a Phase names.
        per_request: whether a limit is a budget for the whole phase, however many reads and writes it takes.
        min_data_rate: octets per second by which the budget for the content grows with each write.
    """

    seconds: dict[str, int]
    per_request: bool = False
    min_data_rate: int = 500

    @classmethod
    def from_settings(cls, settings: Settings) -> "TimeLimits":
        """Read the limits of all phases."""
        return cls(
            {phase.limit: getattr(settings, phase.limit) for phase in _PHASES},
            settings.smtp_per_request_deadline,
            settings.smtp_min_data_rate,
        )


class Deadline:
    """Until when the peer must do something; moved by what it does."""

    def __init__(self, limits: TimeLimits) -> None:
        """Start without any limit.

        Args:
            limits: the settings.
        """
        self._limits = limits
        self._limit = 0.0
        self._budget = 0.0
        self._since = 0.0
        self.at: float | None = None
        """When the peer is too late, in the clock's seconds; None: nothing is awaited."""
        self.in_content = False
        """Whether it is the content that the peer is to take."""

    def start(self, phase: Phase, now: float) -> None:
        """Begin to wait in a phase."""
        self.in_content = phase is phases.CONTENT
        self._limit = self._limits.seconds[phase.limit]
        if not (self._limits.per_request and phase.continues):
            self._budget = self._limit
        self._since = now
        self.at = now + (self._budget if self._limits.per_request else self._limit)

    def go_on(self, now: float) -> None:
        """Wait further, after a `stop`, in the same phase."""
        self._since = now
        self.at = now + (self._budget if self._limits.per_request else self._limit)

    def progress(self, now: float) -> None:
        """Octets were read, or written outside of the content: without deadlines for whole requests the time starts anew."""
        if self.at is not None and not self._limits.per_request:
            self.at = now + self._limit

    def wrote_content(self, octets: int, now: float) -> None:
        """Octets of the content were taken by the peer's side: the budget shrinks by the time, and grows by the octets."""
        if self.at is None:
            return
        if self._limits.per_request:
            self._budget += self._since - now + octets / self._limits.min_data_rate
            self._budget = min(self._budget, self._limit)
            self._since = now
            self.at = now + self._budget
        else:
            self.at = now + self._limit

    def stop(self, now: float) -> None:
        """Nothing is awaited any more; only time spent waiting counts."""
        if self.at is not None:
            self._budget -= now - self._since
            self.at = None
