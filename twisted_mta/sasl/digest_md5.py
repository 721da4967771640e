r"""DIGEST-MD5: both sides show that they know the password.

The server's challenge is a list of directives, name=value, with commas between them; a value may stand in quotes, with ``\``
in front of characters that are meant as they are.

Flow: mechanisms.py has it in its table.
Sources: RFC 2831 section 2.1, historic since RFC 6331; where that leaves a choice, or is not followed by servers: what the Cyrus
SASL library does.
"""

import base64
import hmac
import re
import secrets
from collections.abc import Callable
from hashlib import md5

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

LONGEST_CHALLENGE = 2048
"""Octets (RFC 2831 section 2.1.1)."""

_NONCE_OCTETS = 32

_BLANK = rb"[ \t\r\n]*+"
_DIRECTIVE = re.compile(
    _BLANK
    + rb"(?:([!#$%&'*+\-.0-9A-Z^_`a-z|~]++)"
    + _BLANK
    + rb"="
    + _BLANK
    + rb'(?:"((?:[^"\\]|\\.)*+)"|([^\s",]*+))'
    + _BLANK
    + rb")?(?:,|\Z)",
    re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ONCE = frozenset({"nonce", "algorithm", "charset", "maxbuf", "stale", "rspauth"})


def _random_nonce() -> bytes:
    return base64.b64encode(secrets.token_bytes(_NONCE_OCTETS))


def digest_md5(login: Login, new_nonce: Callable[[], bytes] = _random_nonce) -> Steps:
    """A digest of name, realm, password and both sides' nonces; then the server's own, over the same.

    Args:
        login: who logs in where.
        new_nonce: makes our nonce.
    """
    challenge = yield None
    user = user_name(login)
    offered = _read(challenge)
    _check(offered)
    realms = offered.get("realm", [])
    # With several realms, or none, there is nothing to choose by.
    realm = realms[0] if len(realms) == 1 and realms[0] else to_wire(login.host)
    nonce = offered["nonce"][0]
    cnonce = new_nonce()
    uri = to_wire(f"{login.service}/{login.host}")
    on_behalf_of = to_wire(login.authorization_id) if login.authorization_id != user else b""
    key = md5(b":".join((_latin(to_wire(user)), _latin(realm), _latin(to_wire(login.password.reveal()))))).digest()
    session = b":".join((key, nonce, cnonce, *([on_behalf_of] if on_behalf_of else ())))

    def proof(method: bytes) -> bytes:
        request = _hex(md5(method + b":" + uri).digest())
        session_key = _hex(md5(session).digest())
        return _hex(md5(b":".join((session_key, nonce, b"00000001", cnonce, b"auth", request))).digest())

    directives = [
        b"username=%b" % _quoted(to_wire(user)),
        b"realm=%b" % _quoted(realm),
        b"nonce=%b" % _quoted(nonce),
        b"cnonce=%b" % _quoted(cnonce),
        b"nc=00000001",
        b"qop=auth",
        b"digest-uri=%b" % _quoted(uri),
        b"response=%b" % proof(b"AUTHENTICATE"),
    ]
    if "charset" in offered and not (user.isascii() and realm.isascii()):
        directives.append(b"charset=utf-8")
    if on_behalf_of:
        directives.append(b"authzid=%b" % _quoted(on_behalf_of))
    answer = yield b",".join(directives)
    shown = _read(answer).get("rspauth")
    if shown is None:
        raise failure(GENERIC_FAILURE, "DIGEST-MD5: the server does not show that it knows the password")
    if not hmac.compare_digest(shown[0], proof(b"")):
        raise failure(NOT_THE_SERVER, "DIGEST-MD5: This server wants us to believe that he knows shared secret")
    yield b""


def _read(challenge: bytes) -> dict[str, list[bytes]]:
    """The directives, each with its values in order, without quotes.

    Raises:
        SaslError: the challenge is none.
    """
    if not challenge:
        raise failure(GENERIC_FAILURE, "no server challenge")
    if len(challenge) > LONGEST_CHALLENGE:
        raise failure(BAD_PROTOCOL, f"DIGEST-MD5 input longer than {LONGEST_CHALLENGE} bytes")
    found: dict[str, list[bytes]] = {}
    at = 0
    while at < len(challenge):
        match = _DIRECTIVE.match(challenge, at)
        if match is None:
            raise failure(AUTHENTICATION_FAILURE, "Parse error")
        at = match.end()
        if match[1] is None:
            continue
        name = match[1].decode("ascii").lower()
        value = match[3] if match[2] is None else _ESCAPED.sub(rb"\1", match[2])
        if name in _ONCE and name in found:
            raise failure(AUTHENTICATION_FAILURE, f"More than one '{name}' in a challenge")
        found.setdefault(name, []).append(value)
    return found


def _check(offered: dict[str, list[bytes]]) -> None:
    """See whether we can do what the server asks for.

    Raises:
        SaslError: we cannot.
    """
    if not offered.get("nonce", [b""])[0]:
        raise failure(GENERIC_FAILURE, "Don't have nonce.")
    if "algorithm" not in offered:
        raise failure(GENERIC_FAILURE, "Must see 'algorithm' once. Didn't see at all")
    if offered["algorithm"][0].lower() != b"md5-sess":
        raise failure(GENERIC_FAILURE, "'algorithm' isn't 'md5-sess'")
    if offered.get("charset", [b"utf-8"])[0].lower() != b"utf-8":
        raise failure(AUTHENTICATION_FAILURE, "Charset must be UTF-8")
    protections = b",".join(offered.get("qop", [b"auth"])).lower().replace(b" ", b"").split(b",")
    if b"auth" not in protections:
        raise failure(GENERIC_FAILURE, 'Server doesn\'t support "no layer"')


def _latin(text: bytes) -> bytes:
    """UTF-8 as ISO 8859-1 where that has all its characters (RFC 2831 section 2.1.2.1); what is not UTF-8 stays as it is."""
    try:
        return to_text(text).encode("latin-1")
    except UnicodeEncodeError:
        return text


def _hex(digest: bytes) -> bytes:
    return digest.hex().encode()


def _quoted(value: bytes) -> bytes:
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
