"""The mechanisms that a server offers, as far as the filter lets them through.

A server may say AUTH in several lines, old ones with an equals sign behind it; their lists count together.

Flow: session/login.py reads the offer in each reply to EHLO or LHLO (smtp/capabilities.py).
Sources: RFC 4954 section 3; postconf(5) smtp_sasl_mechanism_filter; a running smtp(8).
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from twisted_mta.model.events import Emit
from twisted_mta.model.sasl_events import NoMechanismOffered, NullMechanismList

LONGEST_OFFER = 2048
"""Characters of all lists together; a list that begins behind them is not looked at."""

Filter = Callable[[str], Awaitable[bool]]
"""Whether a mechanism may be used; raises TableError."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server offers.

    Attributes:
        names: of the mechanisms that may be used, as the server wrote them, each once.
        binds: whether it offers any mechanism with channel binding, even one that may not be used (RFC 5802 section 6).
    """

    names: tuple[str, ...] = ()
    binds: bool = False


async def read_offer(lines: Iterable[str], wanted: Filter | None, relay: str, emit: Emit) -> Offer:
    """Read what stands behind AUTH.

    Args:
        lines: what stands behind each AUTH, in order.
        wanted: the filter; None: there is none.
        relay: the server, for the log.
        emit: takes what is to be logged.

    Raises:
        TableError: the filter cannot tell.
    """
    offer: dict[str, None] = {}
    length = 0
    binds = False
    for line in lines:
        if length >= LONGEST_OFFER:
            break
        names = dict.fromkeys(line.split())
        binds = binds or any(name.upper().endswith("-PLUS") for name in names)
        kept = [name for name in names if wanted is None or await wanted(name)]
        if kept:
            offer.update(dict.fromkeys(kept))
            length += len(" ".join(kept)) + 1
        elif not offer:
            emit(NoMechanismOffered(relay, line) if names else NullMechanismList(relay))
    return Offer(tuple(offer), binds)
