"""The one place where "next host, defer, or bounce" is decided.

The policy, in prose:
- A hard failure ends the recipients it concerns at once: other hosts would be asked in vain.
- A soft failure keeps them for the next host, if there is one; at the last one they are deferred.
- With soft_bounce a hard failure is treated like a soft one until the last host; there the report makes a deferral of it.
- A failure of the site itself holds the whole destination back; one of the message or of a recipient does not.

Flow: delivery/recipients.py asks for each failure.
Sources: RFC 5321 sections 4.2.1 and 4.5.4.1; postconf(5) soft_bounce; smtp(8).
"""

import enum
from dataclasses import dataclass

from twisted_mta.smtp.actions import Scope


class Disposition(enum.Enum):
    """What becomes of a recipient now."""

    NEXT_HOST = "next host"
    DEFER = "defer"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision.

    Attributes:
        disposition: for the recipients that the failure concerns.
        throttles: whether the destination is to be held back, if this is the fate of its mail.
    """

    disposition: Disposition
    throttles: bool


class Kind(enum.Enum):
    """What kind of failure it is, as far as the status tells."""

    SOFT = "soft"
    HARD = "hard"
    HARD_BUT_SOFT_BOUNCE = "hard, with soft_bounce"


_DISPOSITIONS = {
    # kind, is this the last host?
    (Kind.SOFT, False): Disposition.NEXT_HOST,
    (Kind.SOFT, True): Disposition.DEFER,
    (Kind.HARD, False): Disposition.BOUNCE,
    (Kind.HARD, True): Disposition.BOUNCE,
    (Kind.HARD_BUT_SOFT_BOUNCE, False): Disposition.NEXT_HOST,
    (Kind.HARD_BUT_SOFT_BOUNCE, True): Disposition.BOUNCE,
}

_THROTTLES = {Scope.SITE: True, Scope.MESSAGE: False, Scope.RECIPIENT: False}

VERDICTS = {
    (scope, kind, last): Verdict(disposition, throttles)
    for scope, throttles in _THROTTLES.items()
    for (kind, last), disposition in _DISPOSITIONS.items()
}
"""Every decision, by scope, kind and whether the host is the last one."""


def judge(scope: Scope, *, is_hard: bool, soft_bounce: bool, last_host: bool) -> Verdict:
    """Decide.

    Args:
        scope: whom the failure concerns.
        is_hard: whether its enhanced status begins with 5.
        soft_bounce: the parameter.
        last_host: whether no other host will be tried.
    """
    kind = Kind.SOFT if not is_hard else Kind.HARD_BUT_SOFT_BOUNCE if soft_bounce else Kind.HARD
    return VERDICTS[scope, kind, last_host]
