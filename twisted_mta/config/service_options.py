"""What the arguments of an entry in master.cf say to a delivery agent.

Flow: postfix/own_entry.py reads the arguments of our own entry; the command line takes the letters of ``flags=`` likewise.
Sources: smtp(8), "flags="; postconf(5), max_idle and max_use; master(5); texts as a running smtp(8) logs them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import parse_override

FLAG_LETTERS = "DORX"
"""Prepend Delivered-To, X-Original-To, Return-Path; delivery is final."""

_WITH_ARGUMENT = frozenset("imnorst")
_WITHOUT_ARGUMENT = frozenset("cdDlSuvVz")
_AS_PARAMETERS = {"i": "max_idle", "m": "max_use"}


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What an entry's arguments say to the delivery agent.

    Attributes:
        overrides: ``-o`` options in order, as names and values; the last of a name counts.
        verbosity: how often ``-v`` stands there.
        flags: the letters of ``flags=``.
    """

    overrides: tuple[tuple[str, str], ...] = ()
    verbosity: int = 0
    flags: str = ""


def read_options(arguments: Iterable[str]) -> ServiceOptions:
    """Read the arguments of a delivery agent: options first, then ``flags=``.

    Raises:
        ConfigError: an argument means nothing.
    """
    overrides: list[tuple[str, str]] = []
    verbosity = 0
    pending = list(arguments)
    while pending and pending[0].startswith("-") and pending[0] != "-":
        letters = pending.pop(0)[1:]
        if letters == "-":
            break
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _WITHOUT_ARGUMENT:
                verbosity += letter == "v"
                continue
            if letter not in _WITH_ARGUMENT or not (letters or pending):
                raise ConfigError(f"invalid option: {letter}")
            value, letters = letters or pending.pop(0), ""
            if letter == "o":
                overrides.append(parse_override(value))
            elif letter in _AS_PARAMETERS:
                overrides.append((_AS_PARAMETERS[letter], value))
    flags = ""
    for attribute in pending:
        flags = _read_attribute(attribute)
    return ServiceOptions(tuple(overrides), verbosity, flags)


def _read_attribute(attribute: str) -> str:
    word, equals, letters = attribute.partition("=")
    if not equals or word.lower() != "flags":
        raise ConfigError(f"unknown attribute name: {attribute}")
    check_flags(letters, attribute)
    return letters


def check_flags(letters: str, shown: str = "") -> None:
    """Demand that the letters of ``flags=`` are D, O, R or X; case matters, order does not (smtp(8), "flags=").

    Args:
        letters: what stands behind the equals sign.
        shown: how the error message calls the setting; ``flags=`` and the letters if empty.

    Raises:
        ConfigError: a letter is none of these.
    """
    for letter in letters:
        if letter not in FLAG_LETTERS:
            raise ConfigError(f'unknown {shown or "flags=" + letters} value "{letter}" in "{letters}"')
