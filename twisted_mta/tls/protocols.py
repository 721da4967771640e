"""Lists of protocol versions: ``>=TLSv1.2``, ``!SSLv3, !TLSv1``, ``TLSv1.2 TLSv1.3``.

Flow: tls/contexts.py asks for the limits that a policy's list means.
Sources: postconf(5) smtp_tls_mandatory_protocols; SSL_CTX_set_min_proto_version(3); SSL_CTX_set_options(3).
"""

import re
from dataclasses import dataclass

_BY_NAME = {
    "sslv2": 0x0002,
    "sslv3": 0x0300,
    "tlsv1": 0x0301,
    "tlsv1.1": 0x0302,
    "tlsv1.2": 0x0303,
    "tlsv1.3": 0x0304,
}

_OFF_BIT = {
    0x0002: 0,  # no library can do it any more; to name it means nothing
    0x0300: 0x02000000,
    0x0301: 0x04000000,
    0x0302: 0x10000000,
    0x0303: 0x08000000,
    0x0304: 0x20000000,
}
"""The option that turns a version off."""

OFF_BITS = sum(_OFF_BIT.values())
"""All of them."""

_SSL2, _SSL3 = 0x0002, 0x0300
_SSL = frozenset({_SSL2, _SSL3})


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """Which versions may be used.

    Attributes:
        minimum: number of the lowest one; 0: no limit.
        maximum: number of the highest one; 0: no limit.
        off: option bits that turn single versions off.
    """

    minimum: int = 0
    maximum: int = 0
    off: int = 0


def parse_protocols(text: str, *, for_dane: bool = False) -> ProtocolLimits | None:
    """Read a list, with commas, blanks or colons between its elements.

    Args:
        text: the list; empty: no limits.
        for_dane: whether SSL, before it was TLS, is always off.

    Returns:
        The limits; None: something in the list makes no sense.
    """
    limits = {">=": 0, "<=": 0}
    included, excluded = set[int](), set(_SSL if for_dane else ())
    for word in re.findall(r"[^,:\s]+", text):
        sign, name = re.fullmatch(r"(>=|<=|!)?(.*)", word.lower()).groups()  # type: ignore[union-attr]  # always matches
        version = _limit(name) if sign in limits else _BY_NAME.get(name)
        if version is None:
            return None
        if sign in limits:
            limits[sign] = version
        elif version != _SSL2:
            (excluded if sign else included).add(version)
    if included:
        excluded |= _OFF_BIT.keys() - included
    minimum, maximum = limits[">="], limits["<="]
    # The library has never heard of SSL 3.0, and takes it for a mistake: above it is everything, and nothing is left below.
    if maximum == _SSL3:
        maximum, excluded = 0, set(_OFF_BIT)
    return ProtocolLimits(0 if minimum == _SSL3 else minimum, maximum, sum(_OFF_BIT[version] for version in excluded))


def _limit(name: str) -> int | None:
    """The version behind ``>=`` or ``<=``: a name, ``none``, or a number in hexadecimal."""
    if name == "none":
        return 0
    if name == "sslv2":
        return None
    if name in _BY_NAME:
        return _BY_NAME[name]
    return int(name, 16) if re.fullmatch(r"(0x)?[0-9a-f]{1,8}", name) else None
