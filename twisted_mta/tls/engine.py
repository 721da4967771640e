"""What a session needs of TLS; there is no engine yet."""

from typing import Any

from OpenSSL import SSL

from twisted_mta.smtp.peer import Peer
from twisted_mta.tls.policy import TlsPolicy
from twisted_mta.tls.state import TlsState


class TlsStartError(Exception):
    """A setting is wrong, which has been told."""


class Handshake:
    """One handshake."""

    connection: SSL.Connection

    def completed(self) -> TlsState:
        """Judge."""
        raise NotImplementedError

    def failed(self, problem: SSL.Error | str) -> None:
        """Tell."""

    def application_data_came(self) -> None:
        """Keep the session."""

    def closed(self) -> None:
        """Over."""

    def channel_binding(self, kind: str) -> bytes | None:
        """None yet."""


class TlsEngine:
    """The engine."""

    fast_shutdown: bool = True

    @classmethod
    def from_settings(cls, settings: Any, emit: Any, clock: Any) -> "TlsEngine | None":
        """None yet."""
        return None

    async def begin(self, policy: TlsPolicy, peer: Peer, ehlo_name: str) -> Handshake:
        """Not yet."""
        raise TlsStartError
