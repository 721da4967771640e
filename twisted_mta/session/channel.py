"""How safe a connection is, as far as logins care: what mechanisms must protect from on it, and what ties a login to it.

Flow: session/session.py describes the connection; session/login.py chooses the mechanism by it.
Sources: postconf(5) smtp_sasl_security_options, smtp_sasl_tls_security_options, smtp_sasl_tls_verified_security_options;
RFC 5929; RFC 9266 section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.config.settings import Settings
from twisted_mta.model.login import ChannelBinding
from twisted_mta.sasl.security import parse_security_options
from twisted_mta.tls.state import TlsState

_BINDINGS = {"TLSv1.3": ("tls-exporter", "tls-server-end-point")}
_OLDER_BINDINGS = ("tls-unique", "tls-server-end-point")


def _no_binding(kind: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Channel:
    """How safe the connection is.

    Attributes:
        tls: what came of TLS; None: the connection is in the clear.
        binding: gives the channel binding of a kind, None if there is none of it.
    """

    tls: TlsState | None = None
    binding: Callable[[str], bytes | None] = _no_binding

    def channel_binding(self) -> ChannelBinding | None:
        """The best binding there is."""
        if self.tls is None:
            return None
        for kind in _BINDINGS.get(self.tls.protocol, _OLDER_BINDINGS):
            data = self.binding(kind)
            if data is not None:
                return ChannelBinding(kind, data)
        return None


IN_THE_CLEAR = Channel()
"""A connection without TLS."""


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """What mechanisms must protect from: words of smtp_sasl_security_options.

    Attributes:
        in_the_clear: without TLS.
        encrypted: with TLS.
        verified: with TLS and a server that has proved who it is.
    """

    in_the_clear: frozenset[str]
    encrypted: frozenset[str]
    verified: frozenset[str]

    @classmethod
    def from_settings(cls, settings: Settings) -> "SecurityOptions":
        """Read the three parameters.

        Raises:
            ConfigError: a word in them means nothing.
        """

        def read(name: str) -> frozenset[str]:
            parameter = settings.parameter_name(name)
            return parse_security_options(settings.expanded(parameter) or "", parameter)

        return cls(
            read("smtp_sasl_security_options"),
            read("smtp_sasl_tls_security_options"),
            read("smtp_sasl_tls_verified_security_options"),
        )

    def on(self, tls: TlsState | None) -> frozenset[str]:
        """The words for a connection."""
        if tls is None:
            return self.in_the_clear
        return self.verified if tls.matched else self.encrypted
