"""Rows about the other services of Postfix: their sockets, and how long they may take.

Flow: settings.py composes them into Settings. Sources: postconf(5).
"""

from twisted_mta.config.parameter import Load, Rows, integer, long_integer, seconds, text


class ServiceRows(Rows, load=Load.GENERAL):
    """Names of sockets, time limits, and what tables need."""

    bounce_service_name = text("bounce", 1, doc="Socket of bounce(8), below private.")
    cleanup_service_name = text("cleanup", 1, doc="Socket of cleanup(8), below public, which takes new notices.")
    defer_service_name = text("defer", 1, doc="Socket of defer(8), below private.")
    pickup_service_name = text("pickup", 1, doc="Socket of pickup(8), below public; no effect here.")
    queue_service_name = text("qmgr", 1, doc="Socket of qmgr(8), below public; no effect here.")
    rewrite_service_name = text(
        "rewrite", 1, doc="Socket of trivial-rewrite(8), below private, which completes addresses."
    )
    showq_service_name = text("showq", 1, doc="Socket of showq(8), below public; no effect here.")
    error_service_name = text("error", 1, doc="Socket of error(8), below private; no effect here.")
    flush_service_name = text("flush", 1, doc="Socket of flush(8), below public, which notes deferred destinations.")
    address_verify_service_name = text(
        "verify", 1, doc="Socket of verify(8), below private, which keeps the results of probes."
    )
    trace_service_name = text("trace", 1, doc="Socket of trace(8), below private, which reports successful delivery.")
    proxymap_service_name = text("proxymap", 1, doc="Socket of proxymap(8), below private, for tables to read.")
    proxywrite_service_name = text("proxywrite", 1, doc="Socket of proxymap(8), below private, for tables to write.")
    berkeley_db_create_buffer_size = integer(
        "16777216", 1, doc="Memory for building Berkeley DB files; no effect here."
    )
    berkeley_db_read_buffer_size = integer("131072", 1, doc="Memory for reading Berkeley DB files; no effect here.")
    lmdb_map_size = long_integer(
        "16777216", 1, doc="First size of an LMDB file in memory; no effect here, where it is that of the file."
    )
    ipc_timeout = seconds("3600s", 1, doc="Limit for sending to, or hearing from, another service.")
    ipc_idle = seconds("5s", 1, doc="Idle time after which a connection to a service is closed.")
    ipc_ttl = seconds("1000s", 1, doc="Age at which a connection to a service is closed.")
    trigger_timeout = seconds("10s", 1, doc="Limit for waking a service; no effect here.")


class AgentServiceRows(Rows, load=Load.AGENT):
    """Services that only delivery over a network uses."""

    connection_cache_protocol_timeout = seconds("5s", 1, doc="Limit for each exchange with scache(8).")
    connection_cache_service_name = text(
        "scache", 1, doc="Socket of scache(8), below private, which keeps idle connections."
    )
    tlsproxy_service_name = text(
        "tlsproxy", 1, doc="Socket of tlsproxy(8), below private; no effect here, where TLS is done in this process."
    )
