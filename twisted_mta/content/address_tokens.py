"""Take a header of addresses apart into tokens.

Flow: address_list.py parses what comes out, and turns addresses back into tokens when it writes them.
Sources: RFC 822 section 3.3; RFC 5322 section 3.2; a running smtp(8), for what it makes of headers that are not well-formed.
"""

import enum
import re
from collections.abc import Iterator
from typing import NamedTuple


class Kind(enum.Enum):
    """What a token is."""

    ATOM = "a word"
    QUOTED = "a quoted string, or a word that should have been one"
    LITERAL = "a domain literal"
    COMMENT = "a comment"
    OPERATOR = "a single special character"
    GROUP_COLON = "the colon behind the name of a group"


class Token(NamedTuple):
    """A token.

    Attributes:
        kind: what it is.
        text: without quotes or brackets around it, and without backslashes; of a comment, as it was written.
    """

    kind: Kind
    text: str


_OPERATORS = '|%!()<>@,;:\\".[]'
_BLANKS = " \t\r\n"
_SPACES = str.maketrans("\t\r\n", "   ")
_TOKEN = re.compile(
    r"(?P<blanks>[ \t\r\n]+)"
    r"|(?P<atom>(?:[^" + re.escape(_OPERATORS + _BLANKS) + r"]+|\\(?s:.)|\\\Z)+)"
    r'|"(?P<quoted>(?s:[^"\\]+|\\.)*)\\?(?:"|\Z)'
    r"|\[(?P<literal>(?s:[^\]\\]+|\\.)*)\\?(?:\]|\Z)"
    r"|(?P<comment>\()"
    r"|(?P<operator>(?s:.))"
)
_NEEDS_QUOTES = re.compile(r"[\x00-\x20\x7f" + re.escape(_OPERATORS) + "]")
_ESCAPE = re.compile(r"\\(.|\Z)", re.DOTALL)
_IN_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)


def scan(text: str) -> Iterator[Token]:
    """The tokens of a header's value, or of an address in quoted form."""
    at = 0
    while match := _TOKEN.match(text, at):
        at = match.end()
        name = match.lastgroup
        if name == "atom":
            yield _word(match["atom"])
        elif name == "quoted":
            yield Token(Kind.QUOTED, _plain(match["quoted"]))
        elif name == "literal":
            yield Token(Kind.LITERAL, _plain(match["literal"]))
        elif name == "comment":
            at = _end_of_comment(text, match.start())
            yield Token(Kind.COMMENT, text[match.start() : at])
        elif name == "operator":
            yield Token(Kind.OPERATOR, match["operator"])


def _word(text: str) -> Token:
    if "\\" in text:
        text = _plain(text)
    elif text.isprintable():
        return Token(Kind.ATOM, text)
    return Token(Kind.QUOTED if _NEEDS_QUOTES.search(text) else Kind.ATOM, text)


def _plain(text: str) -> str:
    """The characters that are meant: no backslashes, and blanks of one sort."""
    if "\\" in text:
        text = _ESCAPE.sub(r"\1", text)
    return text if text.isprintable() else text.translate(_SPACES)


def _end_of_comment(text: str, at: int) -> int:
    """Where a comment ends, which may hold comments; one that is never closed takes all the rest."""
    depth = 0
    for match in _IN_COMMENT.finditer(text, at):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if not depth:
                return match.end()
    return len(text)
