"""What a login is made of: the secret, what ties it to its TLS channel, and all that a mechanism may use.

Flow: sasl/credentials.py finds name and secret; session/login.py makes a Login; a mechanism of sasl/ turns it into what is said.
Sources: RFC 4422 section 2; RFC 5056 section 2.1; RFC 5929 and RFC 9266 (kinds of channel bindings).
"""

import hmac
import re
from dataclasses import dataclass, field

from twisted_mta.model.text import printable, to_wire

_STARS = "****"
_SHORTEST_WORD = 4  # shorter ones may be anything
_UNREADABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


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


class Confidential:
    """What was said in confidence on one connection, to be taken out of all that anybody is told of it."""

    __slots__ = ("_words",)

    def __init__(self) -> None:
        """Nothing was said."""
        self._words: list[str] = []

    def add(self, word: str) -> None:
        """Never tell this; very short words are told all the same, as they may be anything.

        Args:
            word: a password, a token, or a response in base64.
        """
        # A server may repeat it, and what it says is read with question marks for what does no good in a log.
        forms = {word, _UNREADABLE.sub("?", word), printable(word, utf8=False)}
        forms = {form for form in forms if len(form) >= _SHORTEST_WORD}
        self._words = sorted({*self._words, *forms}, key=len, reverse=True)

    def out_of(self, text: str) -> str:
        """The text with stars in place of what was said in confidence, also of its beginning where a line ends within it."""
        if not self._words:
            return text
        for word in self._words:
            text = text.replace(word, _STARS)
        return "\n".join(map(self._without_beginnings, text.split("\n")))

    def _without_beginnings(self, line: str) -> str:
        for word in self._words:
            start = word[:_SHORTEST_WORD]
            at = line.find(start, max(len(line) - len(word), 0))
            while at >= 0:
                if word.startswith(line[at:]):
                    return line[:at] + _STARS
                at = line.find(start, at + 1)
        return line

    def __repr__(self) -> str:
        return _STARS


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
