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


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong at one place of a text.

    Attributes:
        text: in words.
        has_place: whether it is told with the place of the rule; what has to do with no group in particular is not.
    """

    text: str
    has_place: bool = True


class ReplacementError(Exception):
    """A text that cannot be used.

    Attributes:
        problem: why.
        causes: what is to be told before.
    """

    def __init__(self, problem: str, causes: Sequence[Cause] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.causes = tuple(causes)


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


def parse_replacement(text: bytes, no_group: str = "out of range") -> Replacement:
    """Read a text.

    Args:
        text: what stands behind a pattern.
        no_group: the words for a number that no group can have.

    Raises:
        ReplacementError: a ``$`` is followed by no number of a group.
    """
    parts: list[bytes | int] = []
    causes: list[Cause] = []
    highest = done = 0
    while (dollar := text.find(b"$", done)) >= 0:
        parts.append(text[done:dollar])
        if text[dollar + 1 : dollar + 2] == b"$":
            parts.append(b"$")
            done = dollar + 2
            continue
        name, done = _group_at(text, dollar + 1)
        if causes and done and text[dollar + 1 : dollar + 2] in _CLOSING:
            break  # as in Postfix: once something is wrong, all is told up to the next whole group with braces
        if not name:
            # Where the next one begins is anybody's guess.
            what = "empty macro name" if done else "truncated macro reference"
            causes.append(Cause(f'{what}: "{to_text(text)}"', has_place=False))
            break
        if not name.isdigit():
            causes.append(Cause(f'non-numeric replacement index "{to_text(name)}"'))
        elif len(digits := name.lstrip(b"0")) > _MOST_DIGITS:
            raise ReplacementError(f'out of range replacement index "{to_text(name)}"')
        elif number := int(digits or b"0"):  # without the zeros, which could be more than int() takes
            parts.append(number)
            highest = max(highest, number)
        else:
            causes.append(Cause(f'{no_group} replacement index "0"'))
    if causes:
        raise ReplacementError("bad replacement syntax", causes)
    parts.append(text[done:])
    return Replacement(tuple(part for part in parts if part != b""), highest)


def _group_at(text: bytes, start: int) -> tuple[bytes, int]:
    """What names the group, and where that is over; 0 if it never is."""
    if text[start : start + 1] in _CLOSING:
        end = _end_of_group(text, start)
        return (text[start + 1 : end - 1] if end else b""), end
    end = _WORD.match(text, start).end()  # type: ignore[union-attr]  # it matches the empty text, too
    return text[start:end], end


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
