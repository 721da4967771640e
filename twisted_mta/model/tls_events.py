"""What is to be said of TLS, as frozen values; observe/tls_lines.py turns them into lines.

Flow: tls/, session/ and delivery/ call their `emit` with them. A field holds what was seen, unescaped. `server` is
``host[address]:port`` in lower case, as these lines have it; `relay` is the same as it is written.
Sources: postconf(5) smtp_tls_loglevel; TLS_README; the recorded log of a running Postfix.
"""

from dataclasses import dataclass

from twisted_mta.model.events import Event


@dataclass(frozen=True, slots=True)
class TlsPolicyUnusable(Event):
    """No policy could be found for a server, which is passed over."""

    nexthop: str
    host: str
    reason: str
