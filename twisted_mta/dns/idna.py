"""Internationalized domain names in the form that DNS knows.

Flow: routing/ checks destinations and converts each name before it asks; tls/ does so with the names of keys and servers.
Sources: UTS 46 (ToASCII, non-transitional unless said otherwise); RFC 5890 (A-label); RFC 3492 (Punycode);
postconf(5) smtputf8_enable, enable_idna2003_compatibility.
"""

import unicodedata
from functools import lru_cache

import idna

from twisted_mta.dns.hostnames import valid_hostname

_LONGEST_LABEL = 63
_LONGEST_NAME = 253
_CACHED_NAMES = 256

# The code points that IDNA2003 mapped away and UTS 46 keeps: sharp s, final sigma, and the two joiners.
_TRANSITIONAL = str.maketrans({"\u00df": "ss", "\u03c2": "\u03c3", "\u200c": None, "\u200d": None})


class DomainNameError(Exception):
    """A name has no A-label form; the text says why, in the words of the Unicode library's error names."""


@lru_cache(_CACHED_NAMES)
def to_a_labels(name: str, transitional: bool = False) -> str:
    """Convert a domain name to A-labels.

    Args:
        name: a domain name; one in ASCII comes back as it is.
        transitional: enable_idna2003_compatibility.

    Raises:
        DomainNameError: not convertible, or not a valid host name afterwards.
    """
    if name.isascii():
        return name
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DomainNameError("malformed UTF-8") from None
    try:
        mapped = idna.uts46_remap(name, std3_rules=False)
    except idna.InvalidCodepoint:
        raise DomainNameError("UIDNA_ERROR_DISALLOWED") from None
    except idna.IDNAError:
        raise DomainNameError("UIDNA_ERROR_DOMAIN_NAME_TOO_LONG") from None
    if transitional:
        mapped = unicodedata.normalize("NFC", mapped.translate(_TRANSITIONAL))
    labels = mapped.split(".")
    converted = ".".join(
        _to_a_label(label, is_root=not label and at > 0 and at == len(labels) - 1) for at, label in enumerate(labels)
    )
    if len(converted) > _LONGEST_NAME:
        raise DomainNameError("UIDNA_ERROR_DOMAIN_NAME_TOO_LONG")
    if not valid_hostname(converted):
        raise DomainNameError("malformed ASCII label(s)")
    return converted


def _to_a_label(label: str, *, is_root: bool) -> str:
    if not label and not is_root:
        raise DomainNameError("UIDNA_ERROR_EMPTY_LABEL")
    if label.startswith("xn--"):
        _check_a_label(label)
        return label
    if label.startswith("-"):
        raise DomainNameError("UIDNA_ERROR_LEADING_HYPHEN")
    if label.endswith("-"):
        raise DomainNameError("UIDNA_ERROR_TRAILING_HYPHEN")
    if label[2:4] == "--":
        raise DomainNameError("UIDNA_ERROR_HYPHEN_3_4")
    if label and unicodedata.category(label[0]).startswith("M"):
        raise DomainNameError("UIDNA_ERROR_LEADING_COMBINING_MARK")
    # Longer as code points means longer as Punycode: no need to spend quadratic time to learn it.
    if len(label) <= _LONGEST_LABEL and not label.isascii():
        label = "xn--" + label.encode("punycode").decode("ascii")
    if len(label) > _LONGEST_LABEL:
        raise DomainNameError("UIDNA_ERROR_LABEL_TOO_LONG")
    return label


def _check_a_label(label: str) -> None:
    """See that what claims to be an A-label is one."""
    if len(label) > _LONGEST_LABEL:
        raise DomainNameError("UIDNA_ERROR_LABEL_TOO_LONG")
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        raise DomainNameError("UIDNA_ERROR_PUNYCODE") from None
    try:
        mapped = idna.uts46_remap(decoded, std3_rules=False)
    except idna.IDNAError:
        mapped = ""
    if decoded.isascii() or mapped != decoded:
        raise DomainNameError("UIDNA_ERROR_INVALID_ACE_LABEL")
