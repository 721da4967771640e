"""What is written down of a session that scache(8) keeps: two texts of ``name=value`` lines.

Flow: postfix/scache.py sends and receives them.
Sources: the properties that smtp(8) leaves with scache(8), as seen there; postfix-doc, CONNECTION_CACHE_README.
"""

import socket
from dataclasses import dataclass

from twisted_mta.smtp.capabilities import Capabilities, Feature
from twisted_mta.smtp.greeting import Welcome
from twisted_mta.smtp.workarounds import PixWorkarounds

_FEATURES = {
    Feature.ESMTP: 1,
    Feature.EIGHTBITMIME: 2,
    Feature.PIPELINING: 4,
    Feature.SIZE: 8,
    Feature.STARTTLS: 16,
    Feature.AUTH: 32,
    Feature.XFORWARD_NAME: 128,
    Feature.XFORWARD_ADDR: 256,
    Feature.XFORWARD_PROTO: 512,
    Feature.XFORWARD_HELO: 1024,
    Feature.XFORWARD_SOURCE: 2048,
    Feature.DSN: 32768,
    Feature.XFORWARD_PORT: 262144,
    Feature.XFORWARD_IDENT: 1048576,
    Feature.SMTPUTF8: 2097152,
}
_BEST_MX = 4096
_PIX_NO_ESMTP = 65536
_PIX_DELAY = 131072
_BEHIND_PROXY = 4194304

_ENDPOINT = ("tls_level", "reuse_count", "endpoint_features", "expire_time")
_DESTINATION = ("destination", "host_name", "host_addr", "destination_features")
_DESTINATION_WITH_PORT = ("destination", "host_name", "host_addr", "host_port", "destination_features")
_LARGEST = 2**63


class PropertiesError(Exception):
    """Properties make no sense, or are those of a session that only a process of Postfix's can use."""


@dataclass(frozen=True, slots=True)
class EndpointProperties:
    """What is known of a session.

    Attributes:
        level: of TLS, as a number.
        reuse_count: how often it was used again.
        features: what the server offers, as bits.
        expires: when it is too old to be kept, in seconds since the epoch.
    """

    level: int
    reuse_count: int
    features: int
    expires: int

    @classmethod
    def of(cls, welcome: Welcome, *, level: int, reuse_count: int, expires: float) -> "EndpointProperties":
        """Those of a session of ours.

        Args:
            welcome: what the server offers.
            level: of TLS.
            reuse_count: as above.
            expires: as above.
        """
        offered = welcome.capabilities.features
        features = sum(bit for feature, bit in _FEATURES.items() if feature in offered)
        features |= (_PIX_NO_ESMTP if welcome.pix.disable_esmtp else 0) | (_PIX_DELAY if welcome.pix.delay_dot else 0)
        return cls(level, reuse_count, features, int(expires))

    @classmethod
    def parse(cls, text: str) -> "EndpointProperties":
        """Read a text.

        Raises:
            PropertiesError: it makes no sense, or tells of TLS that tlsproxy(8) has.
        """
        level, reuse_count, features, expires = map(_number, _values(text, _ENDPOINT))
        if features & _BEHIND_PROXY:
            raise PropertiesError("the session goes through tlsproxy(8)")
        return cls(level, reuse_count, features, expires)

    @property
    def welcome(self) -> Welcome:
        """What the server offers."""
        features = Feature.NONE
        for feature, bit in _FEATURES.items():
            if self.features & bit:
                features |= feature
        pix = PixWorkarounds(bool(self.features & _PIX_NO_ESMTP), bool(self.features & _PIX_DELAY))
        return Welcome(Capabilities(features), pix)

    @property
    def text(self) -> str:
        """As it is written."""
        return _written(_ENDPOINT, (self.level, self.reuse_count, self.features, self.expires))


@dataclass(frozen=True, slots=True)
class DestinationProperties:
    """Where a session of a destination leads.

    Attributes:
        site: the destination, or the fallback relay, that led there.
        host: name of the server.
        address: its address, or the path of a local socket.
        port: 0 where it is not known, or there is none.
        is_best: whether it had the best preference.
    """

    site: str
    host: str
    address: str
    port: int
    is_best: bool

    @classmethod
    def parse(cls, text: str, *, with_port: bool) -> "DestinationProperties":
        """Read a text.

        Args:
            text: the text.
            with_port: whether this version of Postfix writes the port down.

        Raises:
            PropertiesError: it makes no sense.
        """
        names = _DESTINATION_WITH_PORT if with_port else _DESTINATION
        values = dict(zip(names, _values(text, names), strict=True))
        port = _number(values["host_port"]) if with_port else 0
        if port > 0xFFFF:
            raise PropertiesError(f"host_port: {port}")
        best = bool(_number(values["destination_features"]) & _BEST_MX)
        return cls(values["destination"], values["host_name"], values["host_addr"], socket.ntohs(port), best)

    def text(self, *, with_port: bool) -> str:
        """As it is written; the port as the bytes of the network make a number of this machine's."""
        best = _BEST_MX if self.is_best else 0
        if with_port:
            values = (self.site, self.host, self.address, socket.htons(self.port), best)
            return _written(_DESTINATION_WITH_PORT, values)
        return _written(_DESTINATION, (self.site, self.host, self.address, best))


def _written(names: tuple[str, ...], values: tuple[str | int, ...]) -> str:
    return "".join(f"{name}={value}\n" for name, value in zip(names, values, strict=True)) + "\n"


def _values(text: str, names: tuple[str, ...]) -> list[str]:
    """The values of exactly these lines, in this order.

    Raises:
        PropertiesError: there are others.
    """
    lines = text.split("\n")
    if len(lines) != len(names) + 2 or lines[-2:] != ["", ""]:
        raise PropertiesError(f"{len(lines)} lines where {len(names) + 2} are due")
    values = []
    for name, line in zip(names, lines, strict=False):
        found, equals, value = line.partition("=")
        if found != name or not equals:
            raise PropertiesError(f"no {name}")
        values.append(value)
    return values


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) >= _LARGEST:
        raise PropertiesError("a number is none")
    return int(text)
