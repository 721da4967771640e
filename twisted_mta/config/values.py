"""Turn the text of a value into what it means: yes or no, a number, seconds, words.

Flow: the rows of parameters_*.py name one of these readers each; settings.py applies it to the expanded value.
Sources: postconf(5), for the types of values and their limits; the texts are those of a running Postfix.
"""

import re
from collections.abc import Collection

from twisted_mta.config.errors import ConfigError

SEPARATORS = ", \t\r\n"
"""What stands between the words of a list."""

LARGEST_INTEGER = 2**31 - 1
LARGEST_LONG = 2**63 - 1

SECONDS_IN = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
"""The units of time values."""

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_LEADING_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]*)")
_LARGEST_MAJOR = 2**43 - 1
_LARGEST_MINOR = 2**10 - 1
_MOST_DIGITS = 19
_BLANKS = " \t\r\n"


def read_boolean(name: str, text: str) -> bool:
    """Read ``yes`` or ``no``, in any case; nothing else will do.

    Raises:
        ConfigError: it is something else.
    """
    word = text.lower()
    if word not in ("yes", "no"):
        raise ConfigError(f"bad boolean configuration: {name} = {text}", parameter=name)
    return word == "yes"


def read_integer(name: str, text: str, minimum: int = 0, maximum: int = 0, largest: int = LARGEST_INTEGER) -> int:
    """Read a decimal number.

    Args:
        name: the parameter, for messages.
        text: blanks, a sign, digits.
        minimum: the smallest allowed; 0 means that there is no such limit, so that negative numbers pass.
        maximum: the largest allowed; 0 means that there is no such limit.
        largest: what the type can hold.

    Raises:
        ConfigError: it is no number, or out of range.
    """
    found = _INTEGER.fullmatch(text)
    number = int(found[1]) if found and len(found[1]) <= _MOST_DIGITS + 1 else None
    if number is None or not -largest - 1 <= number <= largest:
        raise ConfigError(f"bad numerical configuration: {name} = {text}", parameter=name)
    if minimum and number < minimum:
        raise ConfigError(f"invalid {name} parameter value {number} < {minimum}", parameter=name)
    if maximum and number > maximum:
        raise ConfigError(f"invalid {name} parameter value {number} > {maximum}", parameter=name)
    return number


def read_seconds(name: str, text: str, unit: str = "s", minimum: int = 0, maximum: int = 0) -> int:
    """Read a time: digits and at most one letter that matters, the one directly behind them.

    Args:
        name: the parameter, for messages.
        text: such as ``300s`` or ``5m``; a unit alone counts as zero of it, as in Postfix.
        unit: the unit of a bare number, a key of SECONDS_IN.
        minimum: the fewest seconds allowed; 0 means that there is no such limit.
        maximum: the most seconds allowed; 0 means that there is no such limit.

    Returns:
        Seconds.

    Raises:
        ConfigError: it is no time, or out of range.
    """
    found = _LEADING_NUMBER.match(text)
    sign, digits = (found[1], found[2]) if found else ("", "")
    behind = text[found.end() :] if found and digits else text
    seconds_in = SECONDS_IN.get(behind[:1] or unit)
    number = int(digits or "0") if len(digits) <= _MOST_DIGITS else LARGEST_LONG
    if sign == "-":
        number = -number
    if not text or seconds_in is None or number < 0 or not _fits(number, seconds_in):
        raise ConfigError(f"parameter {name}: bad time value or unit: {text}", parameter=name)
    seconds = number * seconds_in
    if minimum and seconds < minimum:
        raise ConfigError(f"invalid {name}: {seconds} (min {minimum})", parameter=name)
    if maximum and seconds > maximum:
        raise ConfigError(f"invalid {name}: {seconds} (max {maximum})", parameter=name)
    return seconds


def _fits(number: int, seconds_in: int) -> bool:
    """Whether so many units are accepted; with units larger than a second Postfix stops one short of the last that fits."""
    return number <= LARGEST_INTEGER if seconds_in == 1 else number < LARGEST_INTEGER // seconds_in


def read_text(name: str, text: str, shortest: int = 0, longest: int = 0) -> str:
    """Take a text as it is; its length is counted in bytes.

    Args:
        name: the parameter, for messages.
        text: the value.
        shortest: the fewest bytes allowed.
        longest: the most bytes allowed; 0 means that there is no such limit.

    Raises:
        ConfigError: it is too short or too long.
    """
    if shortest or longest:
        length = len(text.encode("utf-8", "surrogateescape"))
        if length < shortest:
            raise ConfigError(f"bad string length {length} < {shortest}: {name} = {text}", parameter=name)
        if longest and length > longest:
            raise ConfigError(f"bad string length {length} > {longest}: {name} = {text}", parameter=name)
    return text


def split_words(text: str, separators: str = SEPARATORS) -> tuple[str, ...]:
    """Split a list at commas and white space, or at other `separators`; empty words vanish."""
    for separator in separators:
        text = text.replace(separator, " ")
    return tuple(word for word in text.split(" ") if word)


def split_items(text: str) -> tuple[str, ...]:
    """Split a list at commas and white space, but not inside braces, as in ``inline:{a=b, c=d}``.

    A brace that is never closed protects all that follows.
    """
    if "{" not in text:
        return split_words(text)
    items: list[str] = []
    start, depth = 0, 0
    for at, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= depth > 0
        elif depth == 0 and character in SEPARATORS:
            items.append(text[start:at])
            start = at + 1
    items.append(text[start:])
    return tuple(item for item in items if item)


def read_mask(name: str, text: str, allowed: Collection[str]) -> frozenset[str]:
    """Read a list of words of a fixed vocabulary; case matters.

    Raises:
        ConfigError: a word is not among those allowed.
    """
    words = split_words(text)
    for word in words:
        if word not in allowed:
            raise ConfigError(f'unknown {name} value "{word}" in "{text}"', parameter=name)
    return frozenset(words)


INET_PROTOCOLS = ("ipv4", "ipv6")
"""The address families."""


def read_inet_protocols(name: str, text: str) -> tuple[str, ...]:
    """Read inet_protocols: members of INET_PROTOCOLS, IPv4 first; ``all``, or nothing at all, is both.

    Raises:
        ConfigError: a word is none of these.
    """
    words = read_mask(name, text, ("all", *INET_PROTOCOLS))
    return INET_PROTOCOLS if not words or "all" in words else tuple(each for each in INET_PROTOCOLS if each in words)


def parse_level(text: str) -> tuple[int, int, int]:
    """Read a compatibility level, ``major[.minor[.patch]]`` (postconf(5), compatibility_level).

    Returns:
        Its three numbers; what is missing is 0.

    Raises:
        ConfigError: it is malformed.
    """
    parts = text.split(".")
    numbers = [_level_number(part) for part in parts]
    if len(parts) > 3 or None in numbers:
        raise ConfigError(f'malformed compatibility level syntax: "{text}"')
    major, minor, patch = ([number or 0 for number in numbers] + [0, 0])[:3]
    if major > _LARGEST_MAJOR or max(minor, patch) > _LARGEST_MINOR:
        raise ConfigError(f'malformed compatibility level syntax: "{text}"')
    return major, minor, patch


def _level_number(part: str) -> int | None:
    found = _INTEGER.fullmatch(part)
    if found is None or len(found[1]) > _MOST_DIGITS:
        return None
    number = int(found[1])
    return number if number >= 0 else None


def parse_known_tcp_ports(text: str) -> tuple[dict[str, int], list[str]]:
    """Read known_tcp_ports: ``name = port`` or ``name = name = port``, separated by commas.

    Returns:
        The port of each service name, and a text for each item that is wrong and therefore ignored.
    """
    ports: dict[str, int] = {}
    warnings: list[str] = []
    for item in filter(None, text.split(",")):
        *names, port = (part.strip(_BLANKS) for part in item.split("="))
        problem = _port_problem(names, port, ports)
        if problem:
            warnings.append(f'known_tcp_ports: in "{item}"{problem}')
        else:
            ports.update(dict.fromkeys(names, int(port)))
    return ports, warnings


def _port_problem(names: list[str], port: str, known: dict[str, int]) -> str:
    if not names:
        return ' is not in "name = value" form'
    if not port:
        return ': missing port value after "="'
    if _has_blanks(port):
        return ": whitespace in port number"
    if not _is_number(port) or len(port) > _MOST_DIGITS:
        return ": non-numerical service port"
    for at, name in enumerate(names):
        if not name:
            return ': missing service name before "="'
        if _has_blanks(name):
            return ": whitespace in service name"
        if _is_number(name):
            return ": numerical service name"
        if name in known or name in names[:at]:
            return ": duplicate service name"
    return ""


def _has_blanks(text: str) -> bool:
    return any(blank in text for blank in _BLANKS)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
