"""What a table of header_checks(5) or body_checks(5) wants done with a line.

Only actions that change a message, or say something about it, have an effect on delivery; the others belong to cleanup(8).

Flow: pipeline.py asks for each header and each line of the body, and does what the Verdict says.
Sources: header_checks(5); postconf(5) smtp_header_checks, smtp_mime_header_checks, smtp_nested_header_checks, smtp_body_checks.
"""

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from twisted_mta.content.held_events import HeldEvents
from twisted_mta.content.lookups import Asked, Core, Lookup
from twisted_mta.content.scanner import HEADER_NAME
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import (
    CheckActionUnsupported,
    CheckFailed,
    CheckMatched,
    CheckTextMissing,
    CheckTextNoHeader,
)
from twisted_mta.model.text import first_octets, to_text, to_wire

_BLANKS = re.compile(r"[ \t]+")
_SHOWN_OCTETS = 200
_LOGGED_AS = {"warn": "warning"}
_WITHOUT_CR = str.maketrans("\r", " ")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a line or a header.

    Attributes:
        before: lines to be put in front of it.
        replacement: the lines that take its place, perhaps none; None: it stays.
    """

    before: bytes = b""
    replacement: bytes | None = None


_KEEP = Verdict()
_DELETE = Verdict(replacement=b"")


class Checker:
    """Applies the check tables to one message."""

    def __init__(self, parameters: Mapping[Asked, str], queue_id: str, held: HeldEvents) -> None:
        """Prepare.

        Args:
            parameters: the name of the parameter of each list that has tables.
            queue_id: for the log.
            held: takes what is to be logged.
        """
        self._parameters = parameters
        self._queue_id = queue_id
        self._held = held

    def checks(self, asked: Asked) -> bool:
        """Whether there are tables to ask."""
        return asked in self._parameters

    def header(self, asked: Asked, text: bytes) -> Core[Verdict | None]:
        """Ask about a header.

        Args:
            asked: which list.
            text: the header; its lines are joined by LF.

        Returns:
            What to do; None: nothing.

        Raises:
            TableError: a table failed.
        """
        key = to_text(text)
        try:
            found: str | None = yield Lookup(asked, key)
        except TableError:
            self._held.hold(CheckFailed(self._queue_id, "header"))
            raise
        return None if found is None else self._verdict(asked, "header", key, found)

    def body(self, data: bytes) -> Generator[bytes | Lookup, Any, None]:
        """Ask about each line of a chunk that is not empty, and do what the tables want.

        Yields:
            What becomes of the lines; those before one of which there is something to tell are given away first.

        Raises:
            TableError: a table failed.
        """
        lines = _Lines(data)
        texts = to_text(data).split("\n")
        has_nul = b"\0" in data
        for index, text in enumerate(texts):
            if not text:
                continue
            key = text.partition("\0")[0] if has_nul else text
            failure = verdict = None
            try:
                found = yield Lookup(Asked.BODY_CHECKS, key)
            except TableError as error:
                failure = error
                self._held.hold(CheckFailed(self._queue_id, "body"))
            else:
                if found is None:
                    continue
                verdict = self._verdict(Asked.BODY_CHECKS, "body", key, found)
            if self._held:
                if before := lines.before(index):
                    yield before
                self._held.tell()
            if failure is not None:
                raise failure
            if verdict is not None:
                lines.changes[index] = verdict
        if rest := lines.rest():
            yield rest

    def _verdict(self, asked: Asked, where: str, line: str, result: str) -> Verdict | None:
        """Read what a table says; emits what is to be logged about it."""
        action, text = (*_BLANKS.split(result, maxsplit=1), "")[:2]
        word = action.lower()
        if word in ("dunno", "ok"):
            return None
        if word == "ignore":
            return _DELETE
        if word not in ("warn", "info", "strip", "replace", "prepend"):
            self._held.hold(CheckActionUnsupported(self._parameters[asked], result))
            return None
        if word in ("replace", "prepend") and not self._is_usable(asked, where, word.upper(), text):
            return None
        shown = first_octets(line, _SHOWN_OCTETS)
        self._held.hold(CheckMatched(self._queue_id, _LOGGED_AS.get(word, word), where, shown, text and f": {text}"))
        if word == "strip":
            return _DELETE
        if word == "replace":
            return Verdict(replacement=_lines(text, where))
        return Verdict(before=_lines(text, where)) if word == "prepend" else None

    def _is_usable(self, asked: Asked, where: str, action: str, text: str) -> bool:
        parameter = self._parameters[asked]
        if not text:
            self._held.hold(CheckTextMissing(parameter, action))
        elif where == "header" and not HEADER_NAME.match(to_wire(text)):
            self._held.hold(CheckTextNoHeader(parameter, action, text))
        else:
            return True
        return False


def _lines(text: str, where: str) -> bytes:
    """A table's text as lines of the message; only that of a header may be several."""
    text = text.partition("\0")[0].translate(_WITHOUT_CR)
    return to_wire(text if where == "header" else text.replace("\n", " ")) + b"\n"


class _Lines:
    """The lines of a chunk, which are given away from the first one on.

    Attributes:
        changes: what is to be done with lines that have not been given away.
    """

    def __init__(self, data: bytes) -> None:
        self.changes: dict[int, Verdict] = {}
        self._data = data
        self._lines: list[bytes] = []  # unless that is not needed
        self._given = 0

    def before(self, index: int) -> bytes:
        """The lines before one, without those that have been given away."""
        if index == self._given:
            return b""
        given = self._changed(index)
        self._given = index
        self.changes.clear()
        return given

    def rest(self) -> bytes:
        """All that have not been given away."""
        if not self._given and not self.changes:
            return self._data
        return self._changed(None)

    def _changed(self, end: int | None) -> bytes:
        if not self._lines:
            self._lines = self._data.split(b"\n")
        unfinished = len(self._lines) - 1
        pieces: list[bytes] = []
        for index, line in enumerate(self._lines[self._given : end], self._given):
            verdict = self.changes.get(index, _KEEP)
            line_end = b"" if index == unfinished else b"\n"
            pieces.append(verdict.before)
            if verdict.replacement is None:
                pieces.append(line + line_end)
            elif verdict.replacement:
                pieces.append(verdict.replacement[:-1] + line_end)
        return b"".join(pieces)
