"""What a login is made of: the secret, what ties it to its TLS channel, and all that a mechanism may use.

Flow: sasl/credentials.py finds name and secret; session/login.py makes a Login; a mechanism of sasl/ turns it into what is said.
Sources: RFC 4422 section 2; RFC 5056 section 2.1; RFC 5929 and RFC 9266 (kinds of channel bindings).
"""

import hmac
from dataclasses import dataclass, field

from twisted_mta.model.text import to_wire

_STARS = "****"


class Secret:
    """A text that nobody may see: it shows itself as stars wherever it is printed, logged or formatted."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep it.

        Args:
            text: what is secret.
        """
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that must send it or compute with it."""
        return self._text

    def __repr__(self) -> str:
        return _STARS

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return _STARS

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(to_wire(self._text), to_wire(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """What names one TLS connection, the same at both ends, and different if somebody sits between them.

    Attributes:
        kind: ``tls-exporter``, ``tls-unique`` or ``tls-server-end-point``.
        data: the octets.
    """

    kind: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """One login, as far as it is known before a mechanism is chosen.

    Attributes:
        user: the name to log in with, without blanks around it.
        password: the password, or the access token.
        is_token: whether `password` is an access token of OAuth2.
        authorization_id: whose rights are asked for; empty: those of `user`.
        service: ``smtp`` or ``lmtp``.
        host: the server's name.
        port: the server's; 0 for a local socket.
        local_host: our own name.
        binding: of the TLS connection; None: there is none.
        server_binds: whether the server offers any mechanism with channel binding.
        has_certificate: whether we have shown the server a certificate, or would have if it had asked.
    """

    user: str
    password: Secret
    is_token: bool = False
    authorization_id: str = ""
    service: str = "smtp"
    host: str = ""
    port: int = 0
    local_host: str = ""
    binding: ChannelBinding | None = None
    server_binds: bool = False
    has_certificate: bool = False
