"""Decide whether a text is a host name.

Flow: checks.py judges myhostname and mydomain with it; dns/hostnames.py offers it to all who look up names.
Sources: RFC 952, RFC 1123 section 2.1 and RFC 1035 section 2.3 for the form; the underscore of RFC 2782 is taken too; the
words are those of a running Postfix.
"""

import re

from twisted_mta.model.text import to_wire

LONGEST_NAME = 255
LONGEST_LABEL = 63

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"(?=[0-9.]*[^0-9.])(?=.{{1,{LONGEST_NAME}}}\Z)(?:{_LABEL}\.)*{_LABEL}\Z")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def valid_hostname(name: str) -> bool:
    """Whether `name` can be the name of a host: letters, digits, ``_``, inner ``-``; not digits and dots alone."""
    return _HOSTNAME.match(name) is not None


def hostname_problem(name: str, *, wildcard: bool = False) -> str:
    """Say what keeps `name` from being a host name.

    Args:
        name: without a final dot.
        wildcard: whether the first label may be ``*``.

    Returns:
        The problem and the name, e.g. ``misplaced hyphen: -a.example``; empty if there is no problem.
    """
    if _HOSTNAME.match(name):
        return ""
    if not name:
        return "empty hostname"
    problem = _first_bad_character(name, wildcard)
    if problem:
        return f"{problem}: {name}"
    if len(name) > LONGEST_NAME:
        return f"bad length {len(name)} for {name[:100]}..."
    if not name.strip("0123456789."):
        return f"numeric hostname: {name}"
    return ""


def _first_bad_character(name: str, wildcard: bool) -> str:
    """What is wrong at the first place that is wrong; empty if each character may stand where it stands."""
    label_length = 0
    last = len(name) - 1
    for place, character in enumerate(name):
        if character in _WORD or character == "-":
            label_length += 1
            if label_length > LONGEST_LABEL:
                return "hostname label too long"
            if character == "-" and (label_length == 1 or place == last or name[place + 1] == "."):
                return "misplaced hyphen"
        elif character == ".":
            if label_length == 0 or place == last:
                return "misplaced delimiter"
            label_length = 0
        elif character == "*" and wildcard:
            if place > 0 or name[1:2] not in ("", "."):
                return "'*' can be the first label only"
            label_length = 1
        else:
            return f"invalid character {to_wire(character)[0]}(decimal)"
    return ""
