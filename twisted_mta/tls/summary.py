"""The line that tells how a connection came to be secure.

Flow: tls/engine.py tells it once a handshake is judged; session/ tells it again when a kept connection is used anew.
Sources: postconf(5) smtp_tls_loglevel; the "TLS connection established" lines of smtp(8).
"""

from twisted_mta.model.tls_events import TlsSummary
from twisted_mta.tls.state import TlsState


def trust_word(state: TlsState) -> str:
    """How far the server is known, in one word."""
    if not state.has_certificate:
        return "Anonymous"
    if state.secured:
        return "Verified"
    return "Trusted" if state.trusted else "Untrusted"


def summary_of(state: TlsState, relay: str, *, kept: bool = False) -> TlsSummary:
    """The line of a connection.

    Args:
        state: what the handshake came to.
        relay: ``host[address]:port`` of the server.
        kept: whether the connection has carried mail before. A TLS session that was taken up is a new connection.
    """
    verb = "reused" if kept else "established"
    return TlsSummary(
        trust_word(state),
        verb,
        relay.lower(),
        state.protocol,
        state.cipher,
        state.used_bits,
        state.cipher_bits,
        state.details,
    )
