"""What TLS is demanded of every server: nothing, or encryption, by the parameters for all."""

from typing import Any

from twisted_mta.config.choices import TlsLevel
from twisted_mta.config.settings import Settings
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.tls.levels import Level
from twisted_mta.tls.policy import NO_TLS, TlsPolicy


class TlsPolicyError(Exception):
    """A server is to be passed over."""

    def __init__(self, why: DsnStatus | None) -> None:
        """Keep why."""
        super().__init__()
        self.why = why


class RequestPolicies:
    """The policies for one request."""

    def __init__(self, policy: TlsPolicy) -> None:
        """Keep the one for all."""
        self._policy = policy

    async def find(self, candidate: Any, destination: Any, route: Any) -> TlsPolicy:
        """The policy for a server."""
        return self._policy


class TlsPolicies:
    """The policies of a configuration."""

    def __init__(self, policy: TlsPolicy) -> None:
        """Keep the one for all."""
        self._policy = policy
        self.uses_tls = policy is not NO_TLS

    @classmethod
    def from_settings(cls, settings: Settings, tables: Any, dns: Any, emit: Any) -> "TlsPolicies":
        """Tables of policies count as if they demanded TLS of every server."""
        demanded = settings.smtp_tls_policy_maps or settings.smtp_tls_per_site or settings.smtp_tls_wrappermode
        level = settings.smtp_tls_security_level
        if level is TlsLevel.UNSET:
            demanded = demanded or settings.smtp_enforce_tls
        elif level not in (TlsLevel.NONE, TlsLevel.MAY):
            demanded = True
        return cls(TlsPolicy(Level.ENCRYPT) if demanded else NO_TLS)

    def for_request(self) -> RequestPolicies:
        """For one request."""
        return RequestPolicies(self._policy)
