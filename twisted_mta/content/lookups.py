"""What the cores of this room ask of tables: the vocabulary between them and their shell.

A core is a generator. It yields a Lookup and is resumed with the answer; a TableError, or whatever else went wrong, is thrown
into it. None of them knows a table, and none waits.

Flow: yielded by checks.py and generic.py; answered by session/answering.py.
Sources: postconf(5) smtp_header_checks, smtp_body_checks, smtp_generic_maps.
"""

import enum
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Asked(enum.Enum):
    """Who is asked, and what the answer is."""

    HEADER_CHECKS = "smtp_header_checks"
    """The text of an action, or None."""
    MIME_HEADER_CHECKS = "smtp_mime_header_checks"
    """The same."""
    NESTED_HEADER_CHECKS = "smtp_nested_header_checks"
    """The same."""
    BODY_CHECKS = "smtp_body_checks"
    """The same."""
    GENERIC = "smtp_generic_maps"
    """The key is an address in internal form; a Replacement, or None."""
    REWRITE = "rewrite"
    """The key is an address in quoted form; its canonical form, also quoted."""


CHECKS = (Asked.HEADER_CHECKS, Asked.MIME_HEADER_CHECKS, Asked.NESTED_HEADER_CHECKS, Asked.BODY_CHECKS)
"""The lists that check headers and lines."""


class Lookup(NamedTuple):
    """A question; there may be one for each line of a message.

    Attributes:
        asked: to whom.
        key: about what.
    """

    asked: Asked
    key: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """What an address lookup has found.

    Attributes:
        value: the table's.
        extension: what had to be left out of the local part to find it, with its delimiter; empty: nothing.
    """

    value: str
    extension: str = ""


Core = Generator[Lookup, Any, T]
