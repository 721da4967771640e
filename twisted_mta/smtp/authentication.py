"""The AUTH dialog: one login by one mechanism.

The rules, in order:
1. What the mechanism says first goes along with AUTH if there is room in the line; otherwise, and if it is empty, it answers an
   empty challenge.
2. A 3xx is a challenge: base64 behind its code. Any other reply is the end, and only a 2xx is a good one.
3. What the mechanism cannot answer ends the login without a word: QUIT follows, which the server takes for an answer.
4. A server that was to prove itself, and has not, is not believed when it says yes.
5. Some servers repeat in a refusal what they did not understand: what we have said in confidence is taken out of it.

There is no second try with another mechanism, and no mail without the login.

Flow: session/login.py chooses the mechanism and drives this through session/performing.py.
Sources: RFC 4954 section 4; RFC 4422 section 4; postconf(5) smtp_sasl_auth_soft_bounce; smtp(8).
"""

import base64
import re
from dataclasses import dataclass, replace

from twisted_mta.interfaces import ISASLMechanism, SaslError
from twisted_mta.model.dsn import DsnStatus, from_server
from twisted_mta.model.login import Confidential
from twisted_mta.model.sasl_events import RefusalExplained, SaslTrouble
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import AwaitReply, Dialog, Note, Write, trouble_of
from twisted_mta.smtp.greeting import Rebuff
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.reply import Reply

LONGEST_COMMAND = 512
"""Octets of AUTH with what goes along, and its line end: older servers take no more (RFC 5321 section 4.5.3.1.4)."""

MOST_CHALLENGES = 100
"""More than any mechanism has."""

_COMMAND_OCTETS = len("AUTH  \r\n")
_FIRST_WORD_END = re.compile(r"[- \t\n]")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AuthTerms:
    """What settings change in the dialog.

    Attributes:
        lmtp: whether this is LMTP.
        soft_bounce: whether a refusal for good defers mail, and does not return it.
    """

    lmtp: bool = False
    soft_bounce: bool = True


@dataclass(frozen=True, slots=True)
class Authentication:
    """How a login ended.

    Attributes:
        rebuff: why there will be no mail; None: we are logged in.
        refusal: the reply of a server that refused; None: there is none.
    """

    rebuff: Rebuff | None = None
    refusal: Reply | None = None


def authenticate(
    peer: Peer, mechanism: ISASLMechanism, terms: AuthTerms, confidential: Confidential
) -> Dialog[Authentication]:
    """Log in.

    Args:
        peer: the server.
        mechanism: says what we say.
        terms: settings.
        confidential: has the password, or the token; what we say is added to it, before it is said.
    """
    try:
        reply = yield from _converse(peer, mechanism, terms, confidential)
        if isinstance(reply, DsnStatus):
            return Authentication(Rebuff(reply))
        if reply.is_positive:
            mechanism.succeeded()
            return Authentication()
    except SaslError as error:
        if error.warning:
            yield Note(SaslTrouble(confidential.out_of(error.warning)))
        return Authentication(Rebuff(cannot_authenticate(peer, error.problem)))
    if mechanism.remark:
        yield Note(RefusalExplained(peer.relay, mechanism.name, confidential.out_of(mechanism.remark)))
    yield from trouble_of(reply)
    reply = replace(reply, text=confidential.out_of(reply.text))
    return Authentication(Rebuff(refused(peer, reply, terms)), reply)


def _converse(
    peer: Peer, mechanism: ISASLMechanism, terms: AuthTerms, confidential: Confidential
) -> Dialog[Reply | DsnStatus]:
    """Say what there is to say.

    Args:
        peer: the server.
        mechanism: says what we say.
        terms: settings.
        confidential: what we say is added to it.

    Returns:
        The last reply; or why there is no going on.

    Raises:
        SaslError: the mechanism cannot go on.
    """
    phase = phases.AUTH_AFTER_LHLO if terms.lmtp else phases.AUTH
    first = mechanism.start()
    command = b"AUTH " + mechanism.name.encode("ascii")
    encoded = base64.b64encode(first or b"")
    confidential.add(encoded.decode("ascii"))
    if encoded and len(mechanism.name) + len(encoded) + _COMMAND_OCTETS <= LONGEST_COMMAND:
        command += b" " + encoded
        first = None
    yield Write(command + b"\r\n")
    for _ in range(MOST_CHALLENGES + 1):
        reply = yield AwaitReply(phase)
        assert reply is not None
        if not reply.is_intermediate:
            return reply
        challenge = _behind_code(reply.text)
        if first is None:
            encoded = base64.b64encode(mechanism.step(decode_base64(challenge)))
            confidential.add(encoded.decode("ascii"))
        elif challenge:
            return _unexpected_challenge(peer, mechanism.name)
        else:
            first = None
        yield Write(encoded + b"\r\n")
    return DsnStatus("4.3.0", f"SASL authentication failed; authentication protocol loop with server {peer.namaddr}")


def _behind_code(text: str) -> str:
    """What follows the first word of a reply; of several lines, with all that stands in them."""
    parts = _FIRST_WORD_END.split(text, maxsplit=1)
    return parts[1] if len(parts) > 1 else ""


def decode_base64(text: str) -> bytes:
    """Decode a challenge (RFC 4648 section 4).

    Raises:
        SaslError: it is no base64, in the words of the Cyrus SASL library.
    """
    whole = len(text) - len(text) % 4
    match = _BASE64.fullmatch(text, 0, whole)
    if match is None or (whole < len(text) and text[whole - 1 : whole] == "="):
        raise SaslError("bad protocol / cancel")
    if whole < len(text):
        raise SaslError("another step is needed in authentication")
    return base64.b64decode(text)


# ---- reasons ----


def cannot_authenticate(peer: Peer, problem: str) -> DsnStatus:
    """The status of mail after a failure on our side; `problem` is in words for reports."""
    reason = f"SASL authentication failed; cannot authenticate to server {peer.namaddr}: {problem}"
    return DsnStatus("4.7.0", reason, diag_type="x-sasl", diag_text=problem)


def nothing_offered(peer: Peer) -> DsnStatus:
    """The status of mail for a server that says AUTH, but no mechanism that we may use."""
    reason = (
        f"SASL authentication failed: server {peer.namaddr} offered no compatible authentication mechanisms"
        " for this type of connection security"
    )
    return DsnStatus("4.7.0", reason)


def refused(peer: Peer, reply: Reply, terms: AuthTerms) -> DsnStatus:
    """The status of mail after a reply that is no yes."""
    reason = f"SASL authentication failed; server {peer.namaddr} said: {reply.text}"
    return _refusal(peer, reply.status, reason, reply.text, terms, is_hard_reply=500 <= reply.code < 600)


def refused_before(peer: Peer, status: str, reply_text: str, terms: AuthTerms) -> DsnStatus:
    """The status of mail for a server that has refused this very login before.

    Args:
        peer: the server.
        status: as it was.
        reply_text: as it was, lines joined by newlines.
        terms: settings.
    """
    reason = f"SASL [CACHED] authentication failed; server {peer.host} said: {reply_text.partition(chr(10))[0]}"
    return _refusal(peer, status, reason, reply_text, terms, is_hard_reply=True)


def _refusal(
    peer: Peer, status: str, reason: str, reply_text: str, terms: AuthTerms, *, is_hard_reply: bool
) -> DsnStatus:
    why = from_server(status, reason, peer.host, reply_text)
    if terms.lmtp:
        why = replace(why, diag_type="lmtp")
    return why.softened() if terms.soft_bounce and is_hard_reply else why


def _unexpected_challenge(peer: Peer, name: str) -> DsnStatus:
    # Postfix shows at the end what it was about to say, which is the password.
    reason = f"SASL authentication failed; non-empty initial {name} challenge from server {peer.namaddr}"
    return DsnStatus("4.7.0", reason)
