"""What a server offers in its EHLO or LHLO reply.

Flow: smtp/greeting.py parses the reply; smtp/transaction.py and smtp/commands.py ask what is there.
Sources: RFC 5321 section 4.1.1.1; RFC 1870 (SIZE); RFC 1891 and 3461 (DSN); RFC 2920 (PIPELINING); RFC 3207 (STARTTLS);
RFC 4954 (AUTH); RFC 6152 (8BITMIME); RFC 6531 (SMTPUTF8); postconf(5) smtp_discard_ehlo_keywords; XFORWARD_README.
"""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


class Feature(enum.Flag):
    """Extensions that change what the client does."""

    NONE = 0
    ESMTP = enum.auto()
    EIGHTBITMIME = enum.auto()
    PIPELINING = enum.auto()
    SIZE = enum.auto()
    DSN = enum.auto()
    SMTPUTF8 = enum.auto()
    STARTTLS = enum.auto()
    AUTH = enum.auto()
    XFORWARD_NAME = enum.auto()
    XFORWARD_ADDR = enum.auto()
    XFORWARD_PORT = enum.auto()
    XFORWARD_PROTO = enum.auto()
    XFORWARD_HELO = enum.auto()
    XFORWARD_IDENT = enum.auto()
    XFORWARD_SOURCE = enum.auto()


_KEYWORDS = {
    "8BITMIME": Feature.EIGHTBITMIME,
    "PIPELINING": Feature.PIPELINING,
    "SIZE": Feature.SIZE,
    "DSN": Feature.DSN,
    "SMTPUTF8": Feature.SMTPUTF8,
    "STARTTLS": Feature.STARTTLS,
    "AUTH": Feature.AUTH,
}

_XFORWARD_ATTRIBUTES = {
    name: Feature[f"XFORWARD_{name}"] for name in ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
}

DISCARDABLE = {
    "8bitmime": "8BITMIME",
    "auth": "AUTH",
    "etrn": "ETRN",
    "pipelining": "PIPELINING",
    "size": "SIZE",
    "verp": "VERP",
    "vrfy": "VRFY",
    "xclient": "XCLIENT",
    "xforward": "XFORWARD",
    "starttls": "STARTTLS",
    "enhancedstatuscodes": "ENHANCEDSTATUSCODES",
    "dsn": "DSN",
    "smtputf8": "EHLO_MASK_SMTPUTF8",
    "chunking": "CHUNKING",
}
"""The words of smtp_discard_ehlo_keywords, and how the log names them, in the order of the log."""

_SIZE_LIMIT_MAX = 2**63 - 1
_PARSED_REPLIES = 256

# Possessive: what has been read as code and separator is never taken back to serve as a keyword.
_LINE = re.compile(r"[^- ]*+[- ]?+[ \t=]*+([^ \t=]+)[ \t=]*(.*)", re.DOTALL)
_SIZE = re.compile(r"[^ \t=]+")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one server offers.

    Attributes:
        features: the extensions, less the discarded ones.
        size_limit: octets that the server takes; 0: no limit known.
        name: what the server calls itself.
        auth_mechanisms: the parameters of each AUTH line, in order.
        bad_size: the parameter of SIZE, where it is no number.
    """

    features: Feature = Feature.NONE
    size_limit: int = 0
    name: str = ""
    auth_mechanisms: tuple[str, ...] = ()
    bad_size: str = ""

    def offers(self, feature: Feature) -> bool:
        """Whether all of `feature` is offered."""
        return feature in self.features


# A server says the same to everybody, and a reply's text is bounded.
@lru_cache(_PARSED_REPLIES)
def parse_ehlo(text: str, discard: frozenset[str] = frozenset()) -> Capabilities:
    """Read an EHLO or LHLO reply.

    Args:
        text: its lines, codes included, joined by newlines.
        discard: words of DISCARDABLE that are to be treated as not offered.

    Returns:
        What is offered; ESMTP always is.
    """
    features = Feature.ESMTP
    size_limit, bad_size = 0, ""
    name: str | None = None
    mechanisms: list[str] = []
    for line in text.split("\n"):
        match = _LINE.match(line)
        if match is None:
            continue
        word, parameters = match[1], match[2]
        if name is None:
            # The first line with a word on it is the server's name, even if it is not the first line.
            name = word
            continue
        keyword = word.upper()
        if keyword.lower() in discard:
            continue
        if keyword == "XFORWARD":
            for attribute in parameters.upper().split():
                features |= _XFORWARD_ATTRIBUTES.get(attribute, Feature.NONE)
            continue
        features |= _KEYWORDS.get(keyword, Feature.NONE)
        if keyword == "SIZE" and parameters:
            size = _SIZE.match(parameters)
            assert size is not None
            if size[0].isascii() and size[0].isdigit():
                size_limit = _size_limit(size[0])
            else:
                bad_size = size[0]
        elif keyword == "AUTH":
            mechanisms.append(parameters)
    return Capabilities(features, size_limit, name or "", tuple(mechanisms), bad_size)


def _size_limit(digits: str) -> int:
    """The limit; 0 if the number is too large to be one."""
    significant = digits.lstrip("0")
    if len(significant) > len(str(_SIZE_LIMIT_MAX)):
        return 0
    limit = int(significant or "0")
    return limit if limit <= _SIZE_LIMIT_MAX else 0


def parse_discard_words(words: Iterable[str]) -> frozenset[str]:
    """The words of smtp_discard_ehlo_keywords in lower case; unknown ones have no effect."""
    return frozenset(word.lower() for word in words) & (DISCARDABLE.keys() | {"silent-discard"})


def discarded_for_log(discard: frozenset[str]) -> str:
    """What the log says of discarded keywords; empty: nothing."""
    if "silent-discard" in discard:
        return ""
    return " ".join(shown for word, shown in DISCARDABLE.items() if word in discard)
