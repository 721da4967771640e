"""That there is no policy for a server: it is passed over.

Flow: tls/policies.py and what it calls raise it; delivery/ goes on to the next server.
Sources: smtp(8); RFC 3463 (4.7.5).
"""

from twisted_mta.model.dsn import DsnStatus

CONFIGURATION_PROBLEM = DsnStatus("4.7.5", "client TLS configuration problem")
"""Something in main.cf, or in a table or file that it names, is wrong; the log says what."""

LOOKUP_PROBLEM = DsnStatus("4.3.0", "Temporary lookup error")
"""A table of smtp_tls_per_site could not be asked."""


class TlsPolicyError(Exception):
    """There is no policy for a server; the log says why.

    Attributes:
        why: what becomes of mail that no other server takes; None: what it was before.
    """

    def __init__(self, why: DsnStatus | None) -> None:
        """Keep the reason."""
        super().__init__(why.reason if why else "")
        self.why = why
