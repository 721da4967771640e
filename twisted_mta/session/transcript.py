"""The transcript of a session, for a notice to the postmaster.

Flow: delivery/ lets one listen to each session from which a notice may come; postfix/notices.py puts it into the notice.
Sources: postconf(5) notify_classes; the notices of a running Postfix.
"""

import re
from collections.abc import Iterator

from twisted_mta.model.text import to_wire

LONGEST_TRANSCRIPT = 256 * 1024
"""Characters; a session with a thousand recipients has fewer. A server that says more wants to fill the memory."""

_LINE_OCTETS = 78
_INDENT = "    "
_WORD = re.compile(r" *[^ ]+")


class Transcript:
    """What was said in a session (see `Listener`)."""

    __slots__ = ("_entries", "_size")

    def __init__(self) -> None:
        self._entries: list[str] = []
        self._size = 0

    def said(self, command: str) -> None:
        """Write a command down."""
        self._add(f"Out: {command}")

    def heard(self, line: str) -> None:
        """Write a line of a reply down."""
        self._add(f"In:  {line}")

    def replaced(self, line: str) -> None:
        """Write down what the last line was replaced by."""
        self._add("Replaced-by: ")
        self._add(f"     {line}")

    def dropped(self, line: str) -> None:
        """Lines that nobody saw are not in a transcript."""

    def lines(self) -> Iterator[str]:
        """The transcript as lines of at most 79 octets, where blanks permit that."""
        for entry in self._entries:
            for line in wrapped(entry):
                yield f" {line}"

    def _add(self, entry: str) -> None:
        if self._size > LONGEST_TRANSCRIPT:
            return
        self._size += len(entry)
        self._entries.append(entry if self._size <= LONGEST_TRANSCRIPT else "(more was said than is written down here)")


def wrapped(entry: str) -> Iterator[str]:
    """Break an entry at blanks into lines of at most 78 octets, the second and later ones indented; blanks at ends go."""
    line, room = "", _LINE_OCTETS
    for word in _WORD.findall(entry):
        if line and len(to_wire(line + word)) > room:
            yield line
            line, room = _INDENT + word.lstrip(" "), _LINE_OCTETS
        else:
            line += word
    yield line
