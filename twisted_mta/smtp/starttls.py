"""From the server's offer to the moment before the TLS handshake.

The rules, in order:
1. Where TLS is not wanted, nothing is said.
2. An offer that can be taken is taken, once: after EHLO or LHLO, before anything else.
3. Where TLS must be, no offer, no engine and a refusal all end the session. Where it may be, they all leave it in the clear.
4. A refusal counts as the server means it: 5xx sends the mail back.

Flow: session/session.py decides with `choose`, performs `ask`, and begins the handshake.
Sources: RFC 3207 section 4; postconf(5) smtp_tls_security_level; TLS_README.
"""

import enum

from twisted_mta.model.dsn import DsnStatus, from_server
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import AwaitReply, Dialog, Write, trouble_of
from twisted_mta.smtp.capabilities import Capabilities, Feature
from twisted_mta.smtp.greeting import Rebuff
from twisted_mta.smtp.peer import Peer

NO_ENGINE = DsnStatus("4.7.5", "TLS is required, but our TLS engine is unavailable")


class Answer(enum.Enum):
    """What is to be done next."""

    TLS = "tls"
    PLAINTEXT = "plaintext"


def choose(
    peer: Peer, capabilities: Capabilities, *, wanted: bool, required: bool, has_engine: bool
) -> Answer | Rebuff:
    """Whether to say STARTTLS.

    Args:
        peer: the server.
        capabilities: what it offers.
        wanted: whether TLS is used with it at all.
        required: whether no mail may go out in the clear.
        has_engine: whether we can do TLS.
    """
    if not wanted:
        return Answer.PLAINTEXT
    if capabilities.offers(Feature.STARTTLS):
        if has_engine:
            return Answer.TLS
        return Rebuff(NO_ENGINE) if required else Answer.PLAINTEXT
    if required:
        return Rebuff(DsnStatus("4.7.4", f"TLS is required, but was not offered by host {peer.namaddr}"))
    return Answer.PLAINTEXT


def ask(peer: Peer, *, required: bool) -> Dialog[Answer | Rebuff]:
    """Say STARTTLS.

    Args:
        peer: the server.
        required: whether no mail may go out in the clear.
    """
    yield Write(b"STARTTLS\r\n")
    reply = yield AwaitReply(phases.STARTTLS)
    assert reply is not None
    if reply.is_positive:
        return Answer.TLS
    if not required:
        return Answer.PLAINTEXT
    yield from trouble_of(reply)
    why = f"TLS is required, but host {peer.namaddr} refused to start TLS: {reply.one_line}"
    return Rebuff(from_server(reply.status, why, peer.host, reply.text))
