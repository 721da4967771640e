"""What a server says, until a dialog reads it: octets in, replies out.

Replies that come while nobody waits are kept, in order, and no more of them than a limit. Lines that are no replies are told
when the reply they belong to is read: only then is it known whether commands are pipelined.

Flow: session/protocol.py feeds it; session/performing.py reads.
Sources: RFC 5321 section 4.2; RFC 2920 section 3.1; postconf(5) line_length_limit, helpful_warnings, smtp_reply_filter.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.model import events
from twisted_mta.model.events import Emit
from twisted_mta.model.login import Confidential
from twisted_mta.model.text import first_octets
from twisted_mta.session.filtering import FilteredLines
from twisted_mta.session.overhearing import Ear
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, ErrorClass
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.phases import Phase
from twisted_mta.smtp.reply import (
    EndlessLine,
    GarbageLine,
    LineReader,
    OverlongLine,
    OverlongReply,
    Reply,
    ReplyAssembler,
    plain_replies,
)
from twisted_mta.smtp.settings import DialogSettings

UNREAD_REPLIES_LIMIT = 1000
"""A server that is so many replies ahead is cut off; no group of commands is as long."""

_SHOWN_OCTETS = 100  # of a garbage line, in the log


class Incoming:
    """What one server says.

    Attributes:
        peer: the server.
        pipelining: whether commands are pipelined; then garbage in replies is worth a warning.
        troubles: the errors seen so far that the postmaster may want to hear of.
        ear: hears what is said; None: nobody listens.
        confidential: what nobody is told of it, be it said by us or repeated by the server.
        logged_in: whether that is taken out of replies before dialogs read them; a login itself must read what is said.
        queue_id: for the log.
        is_over: whether nothing more is taken in.
        ended_by: why, if that is so.
        filtered: lines that wait to be filtered; None: nothing is filtered.
    """

    __slots__ = (
        "_assembler",
        "_emit",
        "_filter",
        "_garbage",
        "_garbage_came",
        "_garbage_counts",
        "_lines",
        "_replies",
        "_settings",
        "_stop",
        "confidential",
        "ear",
        "ended_by",
        "filtered",
        "is_over",
        "logged_in",
        "peer",
        "pipelining",
        "queue_id",
        "troubles",
    )

    def __init__(self, peer: Peer, settings: DialogSettings, emit: Emit) -> None:
        """Begin with nothing said.

        Args:
            peer: the server.
            settings: how to talk.
            emit: takes what is to be logged.
        """
        self.peer = peer
        self.pipelining = False
        self.troubles = ErrorClass.NONE
        self.ear: Ear | None = None
        self.confidential = Confidential()
        self.logged_in = False
        self.queue_id = ""
        self.is_over = False
        self.ended_by = Breakage.LOST
        self._settings = settings
        self._emit = emit
        self._lines = LineReader(settings.line_length_limit, utf8=settings.utf8)
        self._assembler = ReplyAssembler(settings.line_length_limit)
        self._filter: ILookupTable | None = None
        self.filtered: FilteredLines | None = None
        self._stop: Callable[[], None] | None = None
        self._replies: deque[Reply] = deque()
        self._garbage: deque[str] = deque()  # lines that have not been told of
        self._garbage_counts: deque[int] = deque()  # how many of them belong to each garbled reply
        self._garbage_came = 0  # how many belong to the reply that is not complete

    def filter_by(self, table: ILookupTable, ready: Callable[[], None], stop: Callable[[], None]) -> None:
        """Have lines looked up before they count, from the start of the connection.

        Args:
            table: may replace a line.
            ready: called when a line that had to wait has been taken.
            stop: called when the table cannot be asked: nothing that comes counts any more.
        """
        self._filter, self._stop = table, stop
        self.filtered = FilteredLines(table, self._hear, self._filter_failed, ready)

    # ---- taking in ----

    def feed(self, data: bytes, *, early: bool) -> bool:
        """Take octets.

        Args:
            data: as they came; nothing, once it is over.
            early: whether what they answer cannot have been heard by the server.

        Returns:
            Whether more is wanted.
        """
        if self.ear is None and self.filtered is None and self._assembler.is_idle and not self._lines.has_leftover:
            replies = plain_replies(data, self._settings.line_length_limit)
            if replies is not None:
                for reply in replies:
                    self._take_reply(reply, early=early)
                return not self.is_over
        endless = False
        for item in self._lines.feed(data):
            if isinstance(item, str):
                if self.filtered is None:
                    self._hear(item, early=early)
                else:
                    self.filtered.add(item, early=early)
                if self.nothing_can_come and not endless:
                    # Patience has ended in the middle of this segment: the rest of it counts no more than a later one.
                    break
            elif isinstance(item, OverlongLine):
                self._emit(
                    events.ReplyTooLong(self.peer.relay, self._settings.line_length_limit, self._told(item.start))
                )
            else:
                endless = True  # what there is of that line still counts, and is the last
                self._end_of_patience()
        return not self.is_over

    def limit_filtered(self) -> bool:
        """Whether so much waits for the filter, though a dialog has read what it could, that no more is taken in."""
        if self.is_over or self.filtered is None or not self.filtered.too_many:
            return False
        self._end_of_patience()
        return True

    def distrust(self) -> None:
        """Something is said: what is here already cannot be the answer to it."""
        if self._replies:
            self._replies = deque(replace(reply, early=True) for reply in self._replies)
        if self.filtered is not None:
            self.filtered.distrust()

    def close(self) -> None:
        """Nobody will read any more."""
        if self.filtered is not None:
            self.filtered.close()

    def _hear(self, line: str, instead: str | None = None, *, early: bool = False) -> bool:
        """Take a line, or what stands instead of it; True if it ends a reply, or there is none to be hoped for."""
        if instead is not None:
            self._emit(events.ReplyReplaced(self.peer.relay, self._told(line), self._told(instead)))
        if self.ear is not None:
            self.ear.came(self._told(line), None if instead is None else self._told(instead))
        for taken in self._assembler.add(line if instead is None else instead):
            if isinstance(taken, Reply):
                self._take_reply(taken, early=early)
                return True
            if isinstance(taken, EndlessLine):
                self._end_of_patience()
                return True
            if isinstance(taken, GarbageLine):
                self._take_garbage(taken.line)
            elif isinstance(taken, OverlongReply):
                limit = self._settings.line_length_limit
                self._emit(events.MultilineReplyTooLong(self.peer.relay, limit, self._told(taken.start)))
        return False

    def _told(self, line: str) -> str:
        """What may be told of a line: some servers repeat what they did not understand."""
        return self.confidential.out_of(line)

    def _filter_failed(self, line: str, error: Exception) -> None:
        """Nobody can tell what the server says: it is not listened to any more."""
        table, stop = self._filter, self._stop
        assert table is not None and stop is not None
        if self.ear is not None:
            self.ear.came(self._told(line))
        self._emit(events.ReplyFilterFailed(self.queue_id, table.name, self._told(line)))
        if not isinstance(error, TableError):
            # A defect of the table, which would be hidden otherwise.
            self._emit(events.TableWarning(f"{table.name}: {error!r}"))
        self.ended_by = Breakage.LOCAL_ERROR
        self.is_over = True
        stop()

    def _take_reply(self, reply: Reply, *, early: bool) -> None:
        if len(self._replies) >= UNREAD_REPLIES_LIMIT:
            self._end_of_patience()
            return
        self._replies.append(replace(reply, early=True) if early else reply)
        if reply.garbled:
            self._garbage_counts.append(self._garbage_came)
            self._garbage_came = 0
        if self.ear is not None:
            self.ear.completed()

    def _take_garbage(self, line: str) -> None:
        self._garbage_came += 1
        self._garbage.append(first_octets(self._told(line), _SHOWN_OCTETS))
        if len(self._garbage) > UNREAD_REPLIES_LIMIT:
            self._end_of_patience()

    def _end_of_patience(self) -> None:
        """What comes from this server has no end: take no more of it."""
        if not self.is_over:
            self._emit(events.ReplyEndless(self.peer.relay))
            self.is_over = True

    # ---- reading ----

    @property
    def has_unread(self) -> bool:
        """Whether the server has said more than anybody has read, be it a part of a line."""
        filtered = self.filtered is not None and self.filtered.unread
        return bool(self._replies) or filtered or self._lines.has_leftover or not self._assembler.is_idle

    @property
    def nothing_can_come(self) -> bool:
        """Whether there never will be another reply."""
        return self.is_over and not (self.filtered is not None and self.filtered.waiting)

    def read(self) -> Reply | None:
        """The first of the replies that are there; lines that wait go through the filter for it."""
        if not self._replies:
            if self.filtered is not None:
                self.filtered.pull()
            if not self._replies:
                return None
        reply = self._replies.popleft()
        if self.logged_in:
            reply = replace(reply, text=self._told(reply.text))
        if reply.garbled:
            self._read_garbage(self._garbage_counts.popleft())
        if self.ear is not None:
            self.ear.read()
        return reply

    def broken(self, how: Breakage, phase: Phase) -> ConnectionBrokenError:
        """What ends a dialog that waits for a reply; a part of the reply may have come, and is read now."""
        if self._garbage_came:
            self._read_garbage(self._garbage_came)
            self._garbage_came = 0
        if self.ear is not None:
            self.ear.read()
        return ConnectionBrokenError(how, phase)

    def _read_garbage(self, count: int) -> None:
        self.troubles |= ErrorClass.PROTOCOL
        settings, peer = self._settings, self.peer
        for _ in range(count):
            shown = self._garbage.popleft()
            if not self.pipelining:
                continue
            self._emit(events.GarbageReply(self.queue_id, settings.protocol_word, peer.relay, shown))
            if settings.helpful:
                self._emit(events.PipeliningAdvice(peer.address, settings.discard_maps))
