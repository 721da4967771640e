"""Overhear a dialog: what is said and heard, line by line, in the order in which the dialog says and reads it.

Replies may come before they are read, several at a time. A listener must not learn of them earlier than the dialog does, or the
order would be wrong, and the reply to QUIT, which nobody reads, would be there or not as chance has it.

Secrets do not come here: the connection takes out what was said in confidence, also where the server repeats it.

Flow: delivery/ gives a session an Ear if there is anybody to listen; session/performing.py and session/incoming.py tell it;
listeners are a Transcript (session/transcript.py) and the detailed log of debug_peer_list.
Sources: postconf(5) debug_peer_list, notify_classes, line_length_limit.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twisted_mta.model.events import DialogHeard, DialogSaid, Emit
from twisted_mta.model.text import first_octets, octets_in, printable

_SHOWN_OCTETS = 100  # of a reply line, in the log


class Listener(Protocol):
    """Wants to know what is said."""

    def said(self, command: str) -> None:
        """We said this."""

    def heard(self, line: str) -> None:
        """The server said this, as one line of a reply."""

    def replaced(self, line: str) -> None:
        """The last line that was heard is taken to be this one instead."""

    def dropped(self, line: str) -> None:
        """The server said this, too, but the reply was so long already that nobody will see it."""


@dataclass(slots=True)
class _Heard:
    """The lines of a reply: each with what it was replaced by, and whether there is room for it."""

    lines: list[tuple[str, str | None, bool]] = field(default_factory=list)
    octets: int = -1


class Ear:
    """Overhears one connection during one delivery."""

    __slots__ = ("_listeners", "_partial", "_reply_limit", "_unread", "_utf8")

    def __init__(self, listeners: Sequence[Listener], reply_limit: int, *, utf8: bool = True) -> None:
        """Begin to listen.

        Args:
            listeners: to be told.
            reply_limit: octets of a reply after which its further lines are dropped (line_length_limit).
            utf8: whether commands may hold characters outside ASCII (smtputf8_enable); lines of replies are censored already.
        """
        self._listeners = listeners
        self._reply_limit = reply_limit
        self._utf8 = utf8
        self._unread: deque[_Heard] = deque()
        self._partial = _Heard()

    def said(self, commands: str) -> None:
        """A group of commands is written, each with its line end."""
        for command in commands.removesuffix("\r\n").split("\r\n"):
            shown = printable(command, utf8=self._utf8)
            for listener in self._listeners:
                listener.said(shown)

    def came(self, line: str, instead: str | None = None) -> None:
        """A line of a reply came; `instead`: what a reply filter made of it."""
        partial = self._partial
        has_room = partial.octets < self._reply_limit
        partial.lines.append((line if has_room else line[:_SHOWN_OCTETS], instead, has_room))
        if has_room:
            partial.octets += octets_in(line if instead is None else instead) + 1

    def completed(self) -> None:
        """The last line that came ended a reply."""
        self._unread.append(self._partial)
        self._partial = _Heard()

    def read(self) -> None:
        """The dialog takes the next reply; or what there is of it, and there will be no more."""
        if self._unread:
            heard = self._unread.popleft()
        else:
            heard, self._partial = self._partial, _Heard()
        for line, instead, has_room in heard.lines:
            for listener in self._listeners:
                if not has_room:
                    listener.dropped(line)
                    continue
                listener.heard(line)
                if instead is not None:
                    listener.replaced(instead)


class DetailedLog:
    """Logs a dialog, as Postfix's daemons do when they are verbose."""

    __slots__ = ("_emit", "_relay")

    def __init__(self, relay: str, emit: Emit) -> None:
        """Begin.

        Args:
            relay: ``host[address]:port`` of the server.
            emit: takes an event for each line.
        """
        self._relay = relay
        self._emit = emit

    def said(self, command: str) -> None:
        """Log a command."""
        self._emit(DialogSaid(self._relay, command))

    def heard(self, line: str) -> None:
        """Log the beginning of a reply line."""
        self._emit(DialogHeard(self._relay, first_octets(line, _SHOWN_OCTETS)))

    def dropped(self, line: str) -> None:
        """Log it all the same."""
        self.heard(line)

    def replaced(self, line: str) -> None:
        """This is logged for everybody (ReplyReplaced)."""
