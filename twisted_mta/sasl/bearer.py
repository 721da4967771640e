"""OAUTHBEARER and XOAUTH2: an access token in place of a password.

A server that does not take the token says why in a challenge, as JSON; it gets an empty answer, and then refuses the login.

Flow: mechanisms.py has them in its table; session/login.py gets the token.
Sources: RFC 7628 section 3; RFC 6750 section 2.1; the pages of Google and Microsoft about XOAUTH2.
"""

from zope.interface import implementer

from twisted_mta.interfaces import ISASLMechanism, SaslError
from twisted_mta.model.login import Login
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.sasl.conversation import GENERIC_FAILURE, failure, user_name

_LONGEST_REMARK = 400
_END = b"\x01"


@implementer(ISASLMechanism)
class Bearer:
    """One login with a token.

    Attributes:
        name: of the mechanism.
        remark: what the server says of the token, if it does not take it.
    """

    def __init__(self, name: str, first: bytes, acknowledgement: bytes) -> None:
        """Begin.

        Args:
            name: of the mechanism.
            first: all that there is to say.
            acknowledgement: what answers an error.
        """
        self.name = name
        self.remark = ""
        self._first = first
        self._acknowledgement = acknowledgement

    def start(self) -> bytes:
        """The token, and who it is for (ISASLMechanism)."""
        return self._first

    def step(self, challenge: bytes) -> bytes:
        """Hear an error, and acknowledge it (ISASLMechanism)."""
        if self.remark:
            raise SaslError(
                GENERIC_FAILURE, f"SASL authentication problem: {self.name}: the server says more than an error"
            )
        self.remark = to_text(challenge)[:_LONGEST_REMARK] or "(nothing)"
        return self._acknowledgement

    def succeeded(self) -> None:
        """The server says that we are logged in (ISASLMechanism)."""
        if self.remark:
            raise failure(GENERIC_FAILURE, f"{self.name}: the server says yes behind an error")


def _words(login: Login) -> tuple[str, str]:
    """The user's name, and the token; neither may end the field that it stands in.

    Raises:
        SaslError: it would.
    """
    user, token = user_name(login), login.password.reveal()
    if "\x01" in user + token:
        raise failure(GENERIC_FAILURE, "a separator in the user name or the token")
    return user, token


def oauthbearer(login: Login) -> Bearer:
    """OAUTHBEARER (RFC 7628 section 3.1)."""
    name, token = _words(login)
    user = name.replace("=", "=3D").replace(",", "=2C")
    fields = [b"n,a=%b," % to_wire(user), b"host=%b" % to_wire(login.host)]
    if login.port:
        fields.append(b"port=%d" % login.port)
    fields += [b"auth=Bearer %b" % to_wire(token), b"", b""]
    return Bearer("OAUTHBEARER", _END.join(fields), _END)


def xoauth2(login: Login) -> Bearer:
    """XOAUTH2."""
    user, token = map(to_wire, _words(login))
    return Bearer("XOAUTH2", b"user=%b\x01auth=Bearer %b\x01\x01" % (user, token), b"")
