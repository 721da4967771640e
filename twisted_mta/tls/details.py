"""What the line about a TLS 1.3 connection says of key exchange and signatures.

Flow: tls/handshake.py puts it into the TlsState.
Sources: RFC 8446 sections 4.2.3 and 4.2.7; the "TLS connection established" lines of smtp(8).
"""

from OpenSSL import SSL

from twisted_mta.tls.library import Connection

_CURVES = {"secp256r1": "prime256v1", "secp384r1": "secp384r1", "secp521r1": "secp521r1"}
_MONTGOMERY = {"x25519": "X25519", "x448": "X448"}

_ECDSA = {0x0403: ("prime256v1", "SHA256"), 0x0503: ("secp384r1", "SHA384"), 0x0603: ("secp521r1", "SHA512")}
"""Curve and digest by signature scheme; the two belong together in TLS 1.3."""

_RSA = {
    0x0804: ("RSA-PSS", "SHA256"),
    0x0805: ("RSA-PSS", "SHA384"),
    0x0806: ("RSA-PSS", "SHA512"),
    0x0809: ("RSA-PSS", "SHA256"),
    0x080A: ("RSA-PSS", "SHA384"),
    0x080B: ("RSA-PSS", "SHA512"),
}
_EDWARDS = {0x0807: "ED25519", 0x0808: "ED448"}


def details_of(connection: Connection, *, resumed: bool, own_rsa_bits: int) -> str:
    """The details, with a space in front of each; empty before TLS 1.3, where the name of the cipher says it all.

    Args:
        connection: after its handshake.
        resumed: whether an earlier session was taken up, so that nobody signed anything.
        own_rsa_bits: size of our RSA key; 0: there is none.
    """
    if connection.get_protocol_version() != SSL.TLS1_3_VERSION:
        return ""
    text = _key_exchange(connection.get_group_name())
    if resumed:
        return text
    if connection.server_scheme is not None:
        text += _signature("server", connection.server_scheme, _rsa_bits(connection))
    if connection.client_scheme is not None:
        text += _signature("client", connection.client_scheme, own_rsa_bits)
    return text


def _key_exchange(group: str | None) -> str:
    if not group:
        return ""
    name = group.lower()
    if name in _CURVES:
        return f" key-exchange ECDHE ({_CURVES[name]})"
    if name.startswith("ffdhe"):
        return f" key-exchange DHE ({name.removeprefix('ffdhe')} bits)"
    return f" key-exchange {_MONTGOMERY.get(name, group)}"


def _signature(side: str, scheme: int, rsa_bits: int) -> str:
    if scheme in _RSA:
        kind, digest = _RSA[scheme]
        size = f" ({rsa_bits} bits)" if rsa_bits else ""
        return f" {side}-signature {kind}{size} {side}-digest {digest}"
    if scheme in _ECDSA:
        curve, digest = _ECDSA[scheme]
        return f" {side}-signature ECDSA ({curve}) {side}-digest {digest}"
    return f" {side}-signature {_EDWARDS.get(scheme, f'0x{scheme:04x}')}"


def _rsa_bits(connection: Connection) -> int:
    if connection.server_scheme not in _RSA:
        return 0
    certificate = connection.get_peer_certificate()
    return certificate.get_pubkey().bits() if certificate is not None else 0
