"""Reply lines that wait until the dialog wants to read them, to go through a reply filter.

A filter is asked no earlier than a reply is read: what nobody reads, such as the reply to QUIT, is not looked up, and the log
tells of lines in the order in which the dialog learns of them. One line is looked up at a time, so they stay in order even if
the table must be waited for.

Flow: session/incoming.py puts lines in as they come, and pulls when the dialog awaits a reply.
Sources: postconf(5) smtp_reply_filter.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.answer import answer

UNREAD_OCTETS_LIMIT = 1024 * 1024
"""A server that is so far ahead is cut off; as much as one reply may have."""

_LINE_OVERHEAD = 64  # octets that even an empty line takes in memory


class LineTaker(Protocol):
    """Takes a line."""

    def __call__(self, line: str, instead: str | None, *, early: bool) -> bool:
        """Take a line, and what the filter made of it; True: nothing more is wanted now."""


class FilteredLines:
    """The lines of one connection."""

    __slots__ = ("_asked", "_closed", "_early", "_failed", "_lines", "_ready", "_size", "_table", "_take")

    def __init__(
        self, table: ILookupTable, take: LineTaker, failed: Callable[[str, Exception], None], ready: Callable[[], None]
    ) -> None:
        """Start with no line.

        Args:
            table: the filter.
            take: takes lines, in order.
            failed: told that there is no answer for a line, and why; no line follows.
            ready: called when a line that had to wait has been taken.
        """
        self._table = table
        self._take = take
        self._failed = failed
        self._ready = ready
        self._lines: deque[tuple[str, bool]] = deque()
        self._size = 0
        self._early = 0
        self._asked: Deferred[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> bool:
        """Whether the table has yet to answer."""
        return self._asked is not None

    @property
    def too_many(self) -> bool:
        """Whether more lines are unread than any honest server sends."""
        return self._size > UNREAD_OCTETS_LIMIT

    @property
    def unread(self) -> bool:
        """Whether there are lines that nobody has read."""
        return bool(self._lines)

    def add(self, line: str, *, early: bool) -> None:
        """A line has come; `early`: before all that was written had left."""
        if not self._closed:
            self._lines.append((line, early))
            self._size += len(line) + _LINE_OVERHEAD

    def distrust(self) -> None:
        """Something new is said: the lines that are here cannot be the answer to it."""
        self._early = len(self._lines)

    def pull(self) -> None:
        """Give lines away until no more are wanted, or the table must be waited for."""
        if self._asked is not None:
            return
        pulling = answer(self._pull())
        if isinstance(pulling, Deferred) and not pulling.called:
            self._asked = pulling
            pulling.addCallback(self._pulled)

    def close(self) -> None:
        """Nothing more is wanted, ever."""
        self._forget()
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()

    async def _pull(self) -> None:
        while self._lines:
            line = self._lines[0][0]
            try:
                instead = self._table.lookup(line)
                if isinstance(instead, Deferred):
                    instead = await instead
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a table, the mail must not go on without it
                if not self._closed:
                    self._forget()
                    self._failed(line, error)
                return
            if self._closed or self._give(instead):
                return

    def _pulled(self, _: None) -> None:
        if self._asked is not None:
            self._asked = None
            self._ready()

    def _forget(self) -> None:
        self._closed = True
        self._lines.clear()
        self._size = 0

    def _give(self, instead: str | None) -> bool:
        line, early = self._lines.popleft()
        self._size -= len(line) + _LINE_OVERHEAD
        if self._early:
            self._early -= 1
            early = True
        return self._take(line, instead, early=early)
