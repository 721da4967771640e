r"""Read the records ``key value`` and ``name = value`` of text tables.

A key ends at the first white space outside double quotes. A backslash protects the character behind it. Quotes and backslashes
stay part of the key.
Flow: texthash.py and inline.py call it.
Sources: postmap(1), "INPUT FILE FORMAT"; a running postmap(1).
"""

import re

from twisted_mta.tables.braces import WHITESPACE

# Atomic groups, as a text whose quote never ends must not be split in all possible ways; possessive repeats go wrong in re.
_QUOTED = r'"(?>(?:[^"\\]|\\.)*)"'
_KEY = rf'(?>(?:[^\s"\\]|\\.|{_QUOTED})+)'
_NAME = rf'(?>(?:[^\s"\\=]|\\.|{_QUOTED})*)'
_FLAGS = re.ASCII | re.DOTALL
_KEY_VALUE = re.compile(rf"({_KEY})\s+(.+)", _FLAGS)
_NAME_VALUE = re.compile(rf"({_NAME})\s*=\s*(.*)", _FLAGS)
_KEY_WITH_OPEN_QUOTE = re.compile(rf'(?>{_KEY}?)"', _FLAGS)
_NAME_WITH_OPEN_QUOTE = re.compile(rf'{_NAME}"', _FLAGS)


class RecordError(Exception):
    """A text that is no record.

    Attributes:
        problem: why.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def split_key_value(line: str) -> tuple[str, str]:
    """Split a logical line ``key value``.

    Returns:
        The key with its quotes, and the value without white space at its ends; neither is empty.

    Raises:
        RecordError: there is no value, or a quote is not closed.
    """
    text = line.strip(WHITESPACE)
    found = _KEY_VALUE.fullmatch(text)
    if found:
        return found[1], found[2]
    if _KEY_WITH_OPEN_QUOTE.match(text):
        raise RecordError(f"unbalanced '\"' in '{line}'")
    raise RecordError("expected format: key whitespace value")


def split_name_value(item: str) -> tuple[str, str]:
    """Split ``name = value``.

    Returns:
        The name with its quotes, and the value without white space at its ends; both may be empty.

    Raises:
        RecordError: there is no equals sign behind the name, or a quote is not closed.
    """
    text = item.strip(WHITESPACE)
    found = _NAME_VALUE.fullmatch(text)
    if found:
        return found[1], found[2]
    if not text:
        raise RecordError("no key found; expected format: key = value")
    if _NAME_WITH_OPEN_QUOTE.match(text):
        raise RecordError("unbalanced '\"'")
    raise RecordError("missing '=' after attribute name")
