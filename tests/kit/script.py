"""What a scripted server says: its side of a dialog, and the faults it plays.

    Script(("RCPT TO:<bad@", "550 5.1.1 no such user"), ("DATA", Reset(), None))

reads: refuse that recipient; reset the connection at the first DATA, behave at the second. Whatever no rule names gets
the reply of a friendly server.

Flow: a test writes a Script; tests/kit/smtp_server.py plays it.
Sources: RFC 5321 section 4; RFC 2033 for LMTP.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from OpenSSL import SSL

CONNECT = "CONNECT"
"""The event of a new connection; the answer is the greeting."""

BODY = "BODY"
"""The event of content; an answer is a fault, played when the first octet comes, or later with After."""

END_OF_DATA = "."
"""The event of the final dot. In LMTP there is one for each accepted recipient: ``. recipient``."""


@dataclass(frozen=True, slots=True)
class Close:
    """Say `reply`, if any, and close the connection."""

    reply: str = ""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection, so that what is in flight is lost."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Say nothing, and leave the connection open."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Send bytes that need not be a reply at all."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Endless:
    """Send `chunk` over and over, as fast as it is taken, until the client goes away."""

    chunk: bytes = b"2" * 4096


@dataclass(frozen=True, slots=True)
class Late:
    """Give the answer after `seconds`."""

    seconds: float
    answer: "Answer" = None


@dataclass(frozen=True, slots=True)
class Deaf:
    """Give the answer, and then read nothing for `seconds`."""

    seconds: float
    answer: "Answer" = None


@dataclass(frozen=True, slots=True)
class After:
    """Give the answer, one to BODY, when so many octets of content have come."""

    octets: int
    answer: "Answer" = None


@dataclass(frozen=True, slots=True)
class Unasked:
    """Give the answer, and after `seconds` another one that nobody has asked for."""

    seconds: float
    more: "Answer"
    answer: "Answer" = None


@dataclass(frozen=True, slots=True)
class Drip:
    """Send bytes one by one, `seconds` apart; what comes meanwhile must wait."""

    data: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Say `reply`, if any, close our side alone, and listen on."""

    reply: str = ""


Answer = str | Close | Reset | Silence | Raw | Endless | Late | Deaf | After | Unasked | Drip | HalfClose | None
"""A reply (its lines joined by newlines), a fault, or None: what a friendly server would say."""

Rule = tuple[str, *tuple[Answer, ...]]
"""The start of a line, without regard to case, and the answers to it in their order; the last one stays."""

KEYWORDS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
"""The service extensions that a server offers unless its script says otherwise."""

FRIENDLY = {
    CONNECT: "220 {hostname} ESMTP",
    "HELO": "250 {hostname}",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 End data with <CR><LF>.<CR><LF>",
    END_OF_DATA: "250 2.0.0 Ok: queued",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "VRFY": "252 2.0.0 Ok",
    "XFORWARD": "250 2.0.0 Ok",
    "STARTTLS": "220 2.0.0 Ready to start TLS",
    "QUIT": "221 2.0.0 Bye",
}
"""The replies of a server that finds nothing wrong, by verb; EHLO and LHLO are put together."""


class Script:
    """A server's behaviour, and how far it has been played: rules are counted over all connections.

    Attributes:
        lmtp: whether this is LMTP.
        tls: what STARTTLS begins TLS with; None: there is none.
        wrapper: whether TLS begins before the greeting.
    """

    def __init__(
        self,
        *rules: Rule,
        hostname: str = "server.example",
        keywords: Sequence[str] = KEYWORDS,
        lmtp: bool = False,
        tls: SSL.Context | None = None,
        wrapper: bool = False,
    ) -> None:
        self.lmtp = lmtp
        self.tls = tls
        self.wrapper = wrapper
        self._rules = [(start.upper(), answers) for start, *answers in rules]
        self._hostname = hostname
        self._keywords = keywords
        self._used: Counter[int] = Counter()

    def answer(self, event: str) -> Answer:
        """What to do at `event`: CONNECT, a command line, BODY, or END_OF_DATA; None: be friendly."""
        answer: Answer
        seen = event.upper()
        for number, (start, answers) in enumerate(self._rules):
            if seen.startswith(start):
                position = min(self._used[number], len(answers) - 1)
                self._used[number] += 1
                answer = answers[position]
                break
        else:
            answer = None
        if seen == "QUIT" and (answer is None or isinstance(answer, str)):
            return Close(answer or self.friendly(event))
        return answer

    def friendly(self, event: str) -> str:
        """The reply of a server that finds nothing wrong; lines joined by newlines."""
        verb = event.partition(" ")[0].upper()
        if verb == "STARTTLS" and self.tls is None:
            return "502 5.5.1 Error: command not implemented"
        if verb == ("LHLO" if self.lmtp else "EHLO"):
            lines = [self._hostname, *self._keywords]
            return "\n".join([f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"])
        return FRIENDLY.get(verb, "500 5.5.2 Error: command not recognized").format(hostname=self._hostname)
