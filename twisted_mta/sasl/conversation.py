"""The frame of a mechanism: what the client says, written as one generator from the first word to the last.

Flow: plain.py, cram_md5.py, digest_md5.py, scram.py and their like write Steps; smtp/authentication.py drives the Conversation.
Sources: RFC 4422 sections 3 and 4; the words of problems are those of the Cyrus SASL library, which smtp(8) logs in with.
"""

from collections.abc import Generator

from zope.interface import implementer

from twisted_mta.interfaces import ISASLMechanism, SaslError
from twisted_mta.model.login import Login

Steps = Generator[bytes | None, bytes, None]
"""Yields the initial response, or None where the server speaks first; then, for each challenge sent into it, the response."""

GENERIC_FAILURE = "generic failure"
BAD_PROTOCOL = "bad protocol / cancel"
AUTHENTICATION_FAILURE = "authentication failure"
NOT_THE_SERVER = "server failed mutual authentication step"
NO_MECHANISM = "no mechanism available"

_BLANKS = " \t\n\v\f\r"


def failure(problem: str, text: str) -> SaslError:
    """The error that ends a login on our side.

    Args:
        problem: one of the words above.
        text: what the log says of it.
    """
    return SaslError(problem, f"SASL authentication failure: {text}")


def user_name(login: Login) -> str:
    """The name to log in with, without blanks around it.

    Raises:
        SaslError: nothing is left of it.
    """
    name = login.user.strip(_BLANKS)
    if not name:
        raise failure(GENERIC_FAILURE, "All-whitespace username.")
    return name


@implementer(ISASLMechanism)
class Conversation:
    """One login, by Steps.

    Attributes:
        name: of the mechanism.
        remark: always empty: these mechanisms leave explanations to the server's reply.
    """

    remark = ""

    def __init__(self, name: str, steps: Steps, *, proven_after: int = 0) -> None:
        """Begin.

        Args:
            name: of the mechanism.
            steps: what is said.
            proven_after: so many challenges must have been answered before we believe that the server knows us.
        """
        self.name = name
        self._steps = steps
        self._unproven = proven_after

    def start(self) -> bytes | None:
        """The initial response; None: the server speaks first (ISASLMechanism)."""
        return next(self._steps)

    def step(self, challenge: bytes) -> bytes:
        """The response to a challenge (ISASLMechanism)."""
        try:
            response = self._steps.send(challenge)
        except StopIteration:
            warning = "SASL authentication problem: attempting client step after doneflag"
            raise SaslError(GENERIC_FAILURE, warning) from None
        self._unproven -= 1
        return response or b""

    def succeeded(self) -> None:
        """The server says that we are logged in (ISASLMechanism)."""
        if self._unproven > 0:
            raise failure(NOT_THE_SERVER, f"{self.name}: the server has not shown that it knows the password")
