"""The text that a pattern's rule gives: ``$1``, ``${1}``, ``$(1)`` are what a group has matched, ``$$`` is a dollar.

Flow: pattern_rules.py parses one for each rule.
Sources: regexp_table(5), pcre_table(5), "TEXT SUBSTITUTION"; a running postmap(1).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted_mta.model.text import to_text

_WORD = re.compile(rb"[A-Za-z0-9_]*")
_CLOSING = {b"{": b"}", b"(": b")"}
_MOST_DIGITS = 9


class Groups(Protocol):
    """What the groups of a pattern matched."""

    def __call__(self, number: int) -> bytes | None:
        """The text of a group, counted from 1; None if it took no part."""


class ReplacementError(Exception):
    """A text that cannot be used.

    Attributes:
        problem: why; empty where `cause` says it all.
        cause: what is to be told before, without the rule's place; empty if there is nothing.
    """

    def __init__(self, problem: str, cause: str = "") -> None:
        super().__init__(cause or problem)
        self.problem = problem
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Replacement:
    """A text with places for groups.

    Attributes:
        parts: pieces of text, and numbers of groups.
        groups: the highest number of a group; 0 if there are none.
    """

    parts: Sequence[bytes | int]
    groups: int

    @property
    def constant(self) -> str:
        """The text where it has no groups."""
        return to_text(b"".join(part for part in self.parts if isinstance(part, bytes)))

    def fill(self, groups: Groups) -> str:
        """The text with what the groups matched; nothing for one that took no part."""
        return to_text(b"".join(part if isinstance(part, bytes) else groups(part) or b"" for part in self.parts))


def parse_replacement(text: bytes) -> Replacement:
    """Read a text.

    Raises:
        ReplacementError: a ``$`` is followed by no number of a group.
    """
    parts: list[bytes | int] = []
    highest = done = 0
    while (dollar := text.find(b"$", done)) >= 0:
        parts.append(text[done:dollar])
        opening = text[dollar + 1 : dollar + 2]
        if opening == b"$":
            parts.append(b"$")
            done = dollar + 2
            continue
        if opening in _CLOSING:
            end = _end_of_group(text, dollar + 1)
            if not end:
                raise ReplacementError("bad replacement syntax", f'truncated macro reference: "{to_text(text)}"')
            name, done = text[dollar + 2 : end - 1], end
        else:
            done = _WORD.match(text, dollar + 1).end()  # type: ignore[union-attr]  # it matches the empty text, too
            name = text[dollar + 1 : done]
        number = _group_number(name, text)
        parts.append(number)
        highest = max(highest, number)
    parts.append(text[done:])
    return Replacement(tuple(part for part in parts if part != b""), highest)


def _end_of_group(text: bytes, start: int) -> int:
    """Where the group is over that opens at `start`: behind its closing sign; 0 if it never is."""
    opening = text[start : start + 1]
    closing = _CLOSING[opening]
    depth = 0
    for at in range(start, len(text)):
        character = text[at : at + 1]
        depth += (character == opening) - (character == closing)
        if depth == 0:
            return at + 1
    return 0


def _group_number(name: bytes, text: bytes) -> int:
    if not name:
        raise ReplacementError("bad replacement syntax", f'empty macro name: "{to_text(text)}"')
    if not name.isdigit():
        raise ReplacementError("bad replacement syntax", f'non-numeric replacement index "{to_text(name)}"')
    if len(name.lstrip(b"0")) > _MOST_DIGITS:
        raise ReplacementError(f'out of range replacement index "{to_text(name)}"')
    number = int(name)
    if not number:
        raise ReplacementError("bad replacement syntax", f'out of range replacement index "{number}"')
    return number
