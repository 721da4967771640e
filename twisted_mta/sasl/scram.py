"""SCRAM: both sides show that they know the password, and nobody who listens or breaks into the server learns it.

    C: n,,n=user,r=OURS               S: r=OURSTHEIRS,s=SALT,i=4096
    C: c=biws,r=OURSTHEIRS,p=PROOF    S: v=SIGNATURE

With the -PLUS forms the proof covers the TLS connection, so that it is worth nothing to somebody in the middle.

Flow: mechanisms.py has them in its table.
Sources: RFC 5802 sections 3, 5 and 7; RFC 7677; RFC 9266; RFC 5929 for the kinds of channel bindings.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from functools import lru_cache

from twisted_mta.model.login import Login
from twisted_mta.model.text import to_text, to_wire
from twisted_mta.sasl.conversation import (
    AUTHENTICATION_FAILURE,
    BAD_PROTOCOL,
    GENERIC_FAILURE,
    NOT_THE_SERVER,
    Steps,
    failure,
    user_name,
)
from twisted_mta.sasl.saslprep import SaslPrepError, saslprep

FEWEST_ITERATIONS = 4096
"""RFC 5802 section 5.1: with fewer, whoever plays the server could try passwords quickly."""

MOST_ITERATIONS = 65536
"""The limit of the Cyrus SASL library; so many take about 40 ms, in which nothing else happens here."""

_NONCE_OCTETS = 24
_KEYS_KEPT = 128

_FIRST = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/]+={0,2}),i=([0-9]{1,9})(?:,.*)?", re.ASCII | re.DOTALL)
_FINAL = re.compile(r"v=([A-Za-z0-9+/]+={0,2})(?:,.*)?", re.ASCII | re.DOTALL)
_ERROR = re.compile(r"e=([a-z0-9-]{1,60})(?:,.*)?", re.ASCII | re.DOTALL)


def _random_nonce() -> str:
    return secrets.token_urlsafe(_NONCE_OCTETS)


def scram(login: Login, hash_name: str, *, plus: bool, new_nonce: Callable[[], str] = _random_nonce) -> Steps:
    """One login.

    Args:
        login: who logs in where.
        hash_name: as hashlib has it.
        plus: whether the TLS connection is part of the proof; then `login` has a binding.
        new_nonce: makes our nonce, of printable characters, no comma among them.
    """
    mechanism = f"SCRAM-{hash_name.upper().replace('SHA', 'SHA-', 1)}" + ("-PLUS" if plus else "")
    header = _gs2_header(login, plus=plus)
    ours = new_nonce()
    first_bare = f"n={_escaped(_prepared(user_name(login), 'user name'))},r={ours}"
    first = to_text((yield to_wire(header + first_bare)))

    nonce, salt, iterations = _read_first(first, mechanism)
    if not nonce.startswith(ours) or len(nonce) == len(ours):
        raise failure(
            BAD_PROTOCOL, "The nonce received from the server doesn't start from the nonce sent by the client"
        )
    password = _prepared(login.password.reveal(), "password").encode()
    client_key, server_key = _keys(hash_name, password, salt, iterations)
    bound = header.encode() + (login.binding.data if plus and login.binding else b"")
    final_bare = f"c={base64.b64encode(bound).decode()},r={nonce}"
    everything = to_wire(f"{first_bare},{first},{final_bare}")
    signature = hmac.digest(hashlib.new(hash_name, client_key).digest(), everything, hash_name)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    final = yield f"{final_bare},p={base64.b64encode(proof).decode()}".encode()

    shown = _read_final(to_text(final), mechanism)
    if not hmac.compare_digest(shown, hmac.digest(server_key, everything, hash_name)):
        raise failure(NOT_THE_SERVER, f"{mechanism}: the server does not know the password")
    yield b""


def _gs2_header(login: Login, *, plus: bool) -> str:
    """What is said of channel binding, and whose rights are asked for (RFC 5802 section 7)."""
    if plus:
        assert login.binding is not None
        flag = f"p={login.binding.kind}"
    else:
        # A server that does bind must hear from us that we saw no such offer: somebody may have taken it out.
        flag = "y" if login.binding is not None and not login.server_binds else "n"
    on_behalf_of = login.authorization_id
    if not on_behalf_of:
        return f"{flag},,"
    return f"{flag},a={_escaped(_prepared(on_behalf_of, 'user name'))},"


def _prepared(text: str, what: str) -> str:
    try:
        return saslprep(text)
    except SaslPrepError as error:
        raise failure(GENERIC_FAILURE, f"SCRAM cannot use the {what}: it has {error}") from None


def _escaped(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")


def _read_first(message: str, mechanism: str) -> tuple[str, bytes, int]:
    """The nonce, the salt, and how often to hash.

    Raises:
        SaslError: it is not what a server says first, or asks too much or too little.
    """
    if message.startswith("m="):
        raise failure(BAD_PROTOCOL, f"Unsupported mandatory extension to {mechanism}")
    match = _FIRST.fullmatch(message)
    if match is None:
        raise _refused(message, mechanism)
    iterations = int(match[3])
    if iterations > MOST_ITERATIONS:
        raise failure(BAD_PROTOCOL, f"iteration-count is too big, refusing to compute ({iterations})")
    if iterations < FEWEST_ITERATIONS:
        raise failure(BAD_PROTOCOL, f"iteration-count is too small, refusing to compute ({iterations})")
    return match[1], _decoded(match[2], mechanism), iterations


def _read_final(message: str, mechanism: str) -> bytes:
    """The server's signature.

    Raises:
        SaslError: there is none.
    """
    match = _FINAL.fullmatch(message)
    if match is None:
        raise _refused(message, mechanism)
    return _decoded(match[1], mechanism)


def _refused(message: str, mechanism: str) -> Exception:
    """What is wrong with a message that is not the one expected: an error that it tells of, or that it makes no sense."""
    error = _ERROR.fullmatch(message)
    if error is not None:
        return failure(AUTHENTICATION_FAILURE, f"{mechanism}: the server says {error[1]}")
    return failure(BAD_PROTOCOL, f"Invalid {mechanism} input")


def _decoded(text: str, mechanism: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise failure(BAD_PROTOCOL, f"Invalid {mechanism} input") from None


# A server's salt for a user stays the same: whoever logs in a thousand times need not compute this a thousand times.
@lru_cache(_KEYS_KEPT)
def _keys(hash_name: str, password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """ClientKey and ServerKey (RFC 5802 section 3)."""
    salted = hashlib.pbkdf2_hmac(hash_name, password, salt, iterations)
    return hmac.digest(salted, b"Client Key", hash_name), hmac.digest(salted, b"Server Key", hash_name)
