"""Delays as the delivery line shows them.

Flow: observe/maillog.py puts the text into the line.
Sources: postconf(5) delay_logging_resolution_limit; the delays of a running Postfix.
"""

import functools

from twisted_mta.model.request import MessageStats

_SECOND = 1_000_000


def format_delays(stats: MessageStats, decimals: int = 2) -> str:
    """``delay=D, delays=a/b/c/d``: before the queue manager, in it, connection set-up, transmission.

    Args:
        stats: `deliver_done` must be set.
        decimals: the most digits after the point.
    """
    now = stats.deliver_done
    set_up = stats.connection_setup_done
    if set_up:
        connecting, sending = set_up - stats.agent_handoff, now - set_up
    else:
        connecting, sending = 0, now - stats.agent_handoff
    return (
        f"delay={format_seconds(now - stats.incoming_arrival, decimals)},"
        f" delays={format_seconds(stats.active_arrival - stats.incoming_arrival, decimals)}"
        f"/{format_seconds(stats.agent_handoff - stats.active_arrival, decimals)}"
        f"/{format_seconds(connecting, decimals)}"
        f"/{format_seconds(sending, decimals)}"
    )


def format_seconds(microseconds: int, decimals: int = 2) -> str:
    """Show a duration with two digits that count, at most `decimals` of them behind the point; a negative one is 0."""
    if microseconds <= 0:
        return "0"
    resolution = 10 ** (6 - decimals)
    if decimals > 0:
        if microseconds >= 10 * _SECOND:
            resolution = _SECOND
        elif microseconds >= _SECOND:
            resolution = _SECOND // 10
        else:
            while microseconds >= 100 * resolution:
                resolution *= 10
    return _digits((microseconds + resolution // 2) // resolution * resolution)


@functools.lru_cache(maxsize=1024)
def _digits(microseconds: int) -> str:
    """Rounded durations are few, so that their texts are worth keeping."""
    seconds, rest = divmod(microseconds, _SECOND)
    return f"{seconds}.{rest:06d}".rstrip("0") if rest else str(seconds)
