"""Rows about keeping sessions for the next message.

Flow: settings.py composes them into Settings; delivery/cache.py reads them. Sources: postconf(5).
"""

from twisted_mta.config.parameter import Load, Rows, boolean, integer, items, legacy, seconds


class ConnectionCacheRows(Rows, load=Load.AGENT):
    """Which sessions are kept, and for how long."""

    smtp_connection_cache_time_limit = seconds("2s", 1, doc="How long an idle session is kept.")
    smtp_connection_reuse_time_limit = seconds("300s", 1, doc="Age at which a session is not kept any more.")
    smtp_connection_reuse_count_limit = integer(
        "0", doc="Times a session is used again at most; 0: the time limit alone counts."
    )
    smtp_connection_cache_destinations = items("", doc="Next hops whose sessions are always kept.")
    smtp_connection_cache_on_demand = boolean(
        "yes", doc="Whether sessions are kept when the queue manager asks for it."
    )
    lmtp_cache_connection = legacy(doc="Former way to keep LMTP sessions; no effect.")
