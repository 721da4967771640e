"""Templates with ``%`` letters, as queries, keys and results of database tables have them.

Flow: database.py and the database types parse their templates when a table is opened, and fill them in for each key.
Sources: mysql_table(5), ldap_table(5), memcache_table(5) for the letters; the texts are those of a running Postfix.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.config.errors import ConfigError

Quote = Callable[[str], str]
"""Makes a part of a key harmless where it is put in."""

_LETTERS = "%sudSUD123456789"
_PIECE = re.compile(r"[^%]+|%.?", re.DOTALL)


class KeyParts:
    """A key and its parts.

    Attributes:
        whole: the key.
        user: what is before the last ``@``; without an ``@``, the key. None if it is empty.
        domain: what is behind the last ``@``; None if that is nothing.
        labels: those of the domain, from the right.
    """

    __slots__ = ("domain", "labels", "user", "whole")

    def __init__(self, whole: str) -> None:
        self.whole = whole
        user, at, domain = whole.rpartition("@")
        self.user: str | None = (user or None) if at else whole
        self.domain: str | None = domain or None if at else None
        self.labels = [label for label in reversed(domain.split(".")) if label] if at else []

    def part(self, letter: str) -> str | None:
        """What a letter stands for; None if the key has no such part."""
        if letter in "sS":
            return self.whole
        if letter in "uU":
            return self.user
        if letter in "dD":
            return self.domain
        place = int(letter) - 1
        return self.labels[place] if place < len(self.labels) else None


@dataclass(frozen=True, slots=True)
class Template:
    """A template, taken apart.

    Attributes:
        pieces: literal texts, and letters, which the second field tells apart.
    """

    pieces: tuple[tuple[str, bool], ...]

    @property
    def letters(self) -> str:
        """All letters that stand for something."""
        return "".join(text for text, is_letter in self.pieces if is_letter)

    def fits(self, key: KeyParts, letters: str = "sudSUD123456789") -> bool:
        """Whether a key has all parts that are asked for by those of the letters that stand in the template."""
        return all(key.part(text) is not None for text, is_letter in self.pieces if is_letter and text in letters)

    def fill(self, key: KeyParts, quote: Quote) -> str | None:
        """The text for a key; None if the key has not all parts that are asked for."""
        return self._fill(key.part, quote)

    def fill_result(self, key: KeyParts, value: KeyParts) -> str | None:
        """The text for a value that was found: small letters are of the value, all others of the key."""
        return self._fill(lambda letter: (value if letter in "sud" else key).part(letter), _keep)

    def _fill(self, part: Callable[[str], str | None], quote: Quote) -> str | None:
        filled: list[str] = []
        for text, is_letter in self.pieces:
            if not is_letter:
                filled.append(text)
                continue
            found = part(text)
            if found is None:
                return None
            filled.append(quote(found))
        return "".join(filled)


def parse_template(text: str, source: str, kind: str) -> Template:
    """Take a template apart.

    Args:
        text: the template.
        source: where it comes from.
        kind: ``query`` or ``result``.

    Raises:
        ConfigError: a ``%`` has no letter that means something.
    """
    pieces: list[tuple[str, bool]] = []
    for found in _PIECE.finditer(text):
        piece = found[0]
        if not piece.startswith("%"):
            pieces.append((piece, False))
        elif len(piece) == 1 or piece[1] not in _LETTERS:
            raise ConfigError(f"db_common_parse: {source}: Invalid {kind} template: {text}")
        else:
            pieces.append(("%", False) if piece == "%%" else (piece[1], True))
    return Template(tuple(pieces))


def _keep(text: str) -> str:
    return text
