"""What the greeting of a Cisco PIX firewall calls for.

Flow: smtp/greeting.py asks once per session.
Sources: postconf(5) smtp_pix_workarounds, smtp_pix_workaround_threshold_time.
"""

from dataclasses import dataclass

from twisted_mta.smtp.settings import PIX_WORKAROUNDS, DialogSettings


@dataclass(frozen=True, slots=True)
class PixWorkarounds:
    """What to do differently.

    Attributes:
        disable_esmtp: say HELO.
        delay_dot: pause before the final dot.
    """

    disable_esmtp: bool = False
    delay_dot: bool = False

    @property
    def words(self) -> str:
        """The workarounds in the order of the log."""
        on = dict(zip(PIX_WORKAROUNDS, (self.disable_esmtp, self.delay_dot), strict=True))
        return " ".join(word for word in PIX_WORKAROUNDS if on[word])


def is_pix_greeting(text: str) -> bool:
    """Whether a greeting has been masked: nothing but ``2``, ``0``, ``*`` and white space."""
    return not text.strip("20* \t\n")


def workarounds_for(wanted: frozenset[str], settings: DialogSettings, message_age_seconds: float) -> PixWorkarounds:
    """The workarounds of those wanted for a message that arrived so many seconds ago: one that has waited is worth a delay."""
    return PixWorkarounds(
        "disable_esmtp" in wanted,
        "delay_dotcrlf" in wanted and message_age_seconds >= settings.pix_threshold_seconds,
    )
