"""The rows of the benchmark: what is delivered, how, and which figures are shown.

Flow: program.py chooses from ROWS; bench.py does what a row says; report.py shows its metrics.
Sources: postconf(5) smtp_connection_cache_on_demand, default_destination_concurrency_limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.agents import OUR_NAME, POSTFIX_NAME
from benchmarks.messages import MessageMaker, base64_message, text_message
from benchmarks.namespace import SINK_ADDRESS

DOMAIN = "bench.example"
SINK_NEXTHOP = f"[{SINK_ADDRESS}]"

_NO_CACHE = {"smtp_connection_cache_on_demand": "no"}
_MAY = {"smtp_tls_security_level": "may"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that a measurement gives: its key in JSON, its name in the report, its digits after the point."""

    key: str
    title: str
    digits: int


MESSAGES_PER_SECOND = Metric("messages_per_second", "messages/s", 0)
CPU_PER_1000_MESSAGES = Metric("cpu_seconds_per_1000_messages", "CPU s/1,000 messages", 3)
HELPERS_CPU_PER_1000_MESSAGES = Metric("helpers_cpu_seconds_per_1000_messages", "and of its helpers", 3)
MEGABYTES_PER_SECOND = Metric("megabytes_per_second", "MB/s", 0)
CPU_PER_GIGABYTE = Metric("cpu_seconds_per_gigabyte", "CPU s/GB", 2)
KIB_PER_SESSION = Metric("kib_per_session", "KiB/session", 1)
BASE_MIB = Metric("base_mib", "MiB without sessions", 1)

_BY_MESSAGE = (MESSAGES_PER_SECOND, CPU_PER_1000_MESSAGES)
_BY_SIZE = (MEGABYTES_PER_SECOND, CPU_PER_GIGABYTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """Deliver a queue full of messages as fast as it goes.

    Args:
        name: what `--only` calls it.
        title: what the report calls it.
        metrics: the figures to show.
        share: how many messages, as a part of `--messages`.
        octets: the size of a body.
        make_message: makes the message.
        recipients: of each message, all in one domain.
        ttl: how long DNS records live, in seconds; None for no DNS.
        tls: whether the server takes mail inside TLS only.
        main_cf: settings for both agents.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...] = _BY_MESSAGE
    share: float = 1.0
    octets: int = 5_000
    make_message: MessageMaker = text_message
    recipients: int = 1
    ttl: int | None = None
    tls: bool = False
    main_cf: Mapping[str, str] = field(default_factory=lambda: _NO_CACHE)

    @property
    def nexthop(self) -> str:
        """Where the messages go: an address, or a domain that must be looked up."""
        return SINK_NEXTHOP if self.ttl is None else DOMAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """Hold sessions open, few and then many, and see what one more takes.

    Args:
        name: what `--only` calls it.
        title: what the report calls it.
        sessions: few and many, by the agent's name.
        quick_sessions: the same for a quick run.
        metrics: the figures to show.
        octets: the size of each body.
    """

    name: str
    title: str
    sessions: Mapping[str, tuple[int, int]]
    quick_sessions: Mapping[str, tuple[int, int]]
    metrics: tuple[Metric, ...] = (KIB_PER_SESSION, BASE_MIB)
    octets: int = 5_000


Row = DeliveryRow | MemoryRow

ROWS: tuple[Row, ...] = (
    DeliveryRow(name="new-connection", title="a new connection for each message"),
    DeliveryRow(
        name="cache",
        title="connections kept on demand (the default)",
        metrics=(*_BY_MESSAGE, HELPERS_CPU_PER_1000_MESSAGES),
        main_cf={},
    ),
    DeliveryRow(
        name="starttls",
        title="STARTTLS, a new connection for each",
        tls=True,
        share=0.4,
        main_cf=_NO_CACHE | _MAY,
    ),
    DeliveryRow(
        name="starttls-resumed",
        title="the same, with a TLS session cache",
        metrics=(*_BY_MESSAGE, HELPERS_CPU_PER_1000_MESSAGES),
        tls=True,
        share=0.4,
        main_cf=_NO_CACHE | _MAY | {"smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache"},
    ),
    DeliveryRow(
        name="starttls-kept",
        title="STARTTLS, connections kept",
        metrics=(*_BY_MESSAGE, HELPERS_CPU_PER_1000_MESSAGES),
        tls=True,
        share=0.4,
        main_cf=_MAY | {"smtp_tls_connection_reuse": "yes"},
    ),
    DeliveryRow(name="recipients", title="20 recipients", recipients=20, share=0.4),
    DeliveryRow(name="mx-ttl-0", title="MX look-ups, one domain, TTL 0", ttl=0),
    DeliveryRow(name="mx-ttl-3600", title="MX look-ups, one domain, TTL 3600", ttl=3600),
    DeliveryRow(
        name="1mb",
        title="1 MB, base64",
        metrics=_BY_SIZE,
        share=0.04,
        octets=1_000_000,
        make_message=base64_message,
    ),
    DeliveryRow(
        name="10mb",
        title="10 MB, base64",
        metrics=_BY_SIZE,
        share=0.006,
        octets=10_000_000,
        make_message=base64_message,
    ),
    DeliveryRow(
        name="10mb-text",
        title="10 MB, text",
        metrics=_BY_SIZE,
        share=0.006,
        octets=10_000_000,
    ),
    MemoryRow(
        name="memory",
        title="waiting for the reply to 5 KB",
        sessions={POSTFIX_NAME: (100, 500), OUR_NAME: (100, 1000)},
        quick_sessions={POSTFIX_NAME: (10, 50), OUR_NAME: (100, 500)},
    ),
)
