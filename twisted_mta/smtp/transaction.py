"""The mail transaction: from MAIL FROM to the reply to the final dot, with command pipelining.

Two cursors walk the same list of states: `send`, the command to be built next, and `receive`, the reply expected next. The rules:
1. Commands gather in one group. The group is flushed, and all its replies are read, before the content, at the end, when the
   server has no PIPELINING, and when the next command would make the group longer than 4096 octets.
2. After the replies have been read the course is corrected: no MAIL, no recipient or no DATA accepted means RSET. A DATA that was
   accepted for nobody gets a lone dot, whose reply means nothing.
3. Whether QUIT follows the dot or RSET, or the connection shall serve again, is decided when that command is built, before
   its reply is known; what goes wrong later can only end the connection without a word.
4. A 2xx to the dot counts only if it can be the answer to the dot: not if it came before the dot was written; not behind a
   line that is no reply while more than one reply was due, since then it may be the answer to QUIT, or about the next
   recipient; and not if it is a 221 while QUIT was in the pipeline.
5. A connection lost within the content may have left a last reply: a refusal counts as the reply to the dot.

What cannot happen: content that goes out before a 354 was read as the reply to DATA; a recipient that is taken without a reply.

Flow: session/performing.py drives it after smtp/greeting.py; the findings it yields go to delivery/recipients.py.
Sources: RFC 5321 section 3.3; RFC 2920 section 3.1; RFC 2033 section 4.2; RFC 1870 section 6; postconf(5); smtp(8).
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from twisted_mta.model import events, tls_events
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.request import DeliveryRequest, Recipient
from twisted_mta.smtp import commands, phases
from twisted_mta.smtp.actions import (
    AwaitReply,
    Breakage,
    ConnectionBrokenError,
    Dialog,
    Finding,
    MessageFailed,
    MessageTaken,
    Milestone,
    Note,
    Pause,
    RecipientFailed,
    RecipientTaken,
    Scope,
    SendContent,
    Trouble,
    Write,
    said,
    trouble_of,
)
from twisted_mta.smtp.capabilities import Feature
from twisted_mta.smtp.greeting import Welcome
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.reply import Reply
from twisted_mta.smtp.settings import DialogSettings

GROUP_OCTETS = 4096
"""A group of pipelined commands is no longer than this: every server's receive buffer holds it."""

_GOODBYE = 221

LONG_IDLE_SECONDS = 10
"""After a longer pause the group is flushed, whatever its length."""


class State(enum.IntEnum):
    """What a cursor stands on; numbers, because they are looked up in tables for every command and reply."""

    XFORWARD_NAME = enum.auto()
    XFORWARD_PROTO = enum.auto()
    MAIL = enum.auto()
    RCPT = enum.auto()
    DATA = enum.auto()
    DOT = enum.auto()
    ABORT = enum.auto()
    QUIT = enum.auto()
    LAST = enum.auto()


_PHASES = {
    State.XFORWARD_NAME: phases.XFORWARD_NAME,
    State.XFORWARD_PROTO: phases.XFORWARD_PROTO,
    State.MAIL: phases.MAIL,
    State.RCPT: phases.RCPT,
    State.DATA: phases.DATA,
    State.DOT: phases.DOT,
    State.ABORT: phases.ABORT,
    State.QUIT: phases.QUIT,
}


_AWAITED = {state: AwaitReply(phase) for state, phase in _PHASES.items()}

_FIXED_COMMANDS = {
    State.DATA: b"DATA",
    State.DOT: b".",
    State.ABORT: b"RSET",
    State.QUIT: b"QUIT",
    State.LAST: b"",
}

_UNEXPECTED = DsnStatus("4.7.0", "unexpected server message")

_FOLLOWERS = {State.DATA: State.DOT, State.QUIT: State.LAST, State.LAST: State.LAST}

_Found = tuple[Finding | Note | Trouble, ...]


class Ending(enum.Enum):
    """How a transaction left the connection."""

    CLOSED = "closed"
    """QUIT has been said, or there is nothing more to say: close it."""
    DROPPED = "dropped"
    """It must be closed without a word."""
    OPEN = "open"
    """It may serve another transaction; QUIT has not been said."""


@dataclass(frozen=True, slots=True)
class TransactionEnd:
    """The end of a transaction.

    Attributes:
        ending: what is to become of the connection.
        completed: whether the transaction ran to its normal end, whatever became of the recipients.
    """

    ending: Ending
    completed: bool = True


def never() -> bool:
    """A connection that serves one transaction only."""
    return False


class Transaction:
    """One message to one server; `run` is the dialog."""

    def __init__(
        self,
        request: DeliveryRequest,
        recipients: tuple[Recipient, ...],
        peer: Peer,
        welcome: Welcome,
        settings: DialogSettings,
        *,
        keep: Callable[[], bool] = never,
        reused: bool = False,
        early_mail_parameter: str = "",
    ) -> None:
        """Prepare a transaction.

        Args:
            request: the message.
            recipients: those of its recipients that this transaction is for; findings count them from 0.
            peer: the server.
            welcome: what the server offers.
            settings: how to talk.
            keep: whether the connection shall serve again, asked when the dot or RSET is built: then no QUIT is sent.
            reused: whether it has served before.
            early_mail_parameter: the parameter that forbids a reply to MAIL before it is said; empty: none does.
        """
        self._request = request
        self._recipients = recipients
        self._peer = peer
        self._capabilities = welcome.capabilities
        self._delay_dot = welcome.pix.delay_dot
        self._settings = settings
        self._keep = keep
        self._keeps = False
        self._reused = reused
        self._early_mail_parameter = early_mail_parameter
        self._pipelining = self._capabilities.offers(Feature.PIPELINING)
        self._stops_at_rcpt = request.is_probe and not settings.probe_to_data
        self._xforward = commands.xforward(request, self._capabilities) if settings.send_xforward else (b"", b"")
        self._after_recipients = State.ABORT if self._stops_at_rcpt else State.DATA
        self._send = self._receive = self._first_state()
        self._named: list[int] = []  # the recipients that RCPT names, by index
        self._next = 0  # position in _named of the next RCPT
        self._replied = 0  # position in _named of the next reply to RCPT
        self._accepted: list[int] = []
        self._settled = 0  # LMTP: how many of the accepted have had their reply to the dot
        self._outstanding = 0  # commands whose replies have not been read
        self._mail_refused = False
        self._data_refused = False
        self._dot_garbled = False
        self._quit_in_pipeline = False
        self._must_drop = False
        self._idle_seconds = 0.0
        self._group = bytearray()

    def run(self) -> Dialog[TransactionEnd]:
        """The dialog.

        Raises:
            ConnectionBrokenError: the connection broke before the fate of the mail was settled.
        """
        refusal = self._refuse_locally()
        if refusal is not None:
            why, end = refusal
            yield MessageFailed(why)
            return end
        yield from self._refuse_unspeakable()
        if not self._named:
            return TransactionEnd(Ending.OPEN)
        while self._receive is not State.LAST:
            if self._send is State.MAIL:
                yield from self._before_mail()
            command, after = self._build()
            if self._must_synchronise(command):
                yield from self._collect_replies()
                if self._must_drop:
                    return TransactionEnd(Ending.DROPPED)
                if self._course_is_lost():
                    command, after = b"RSET", self._decide()
                    self._send = self._receive = State.ABORT
            if self._send is State.LAST:
                continue
            if self._send is State.DOT and self._accepted and (yield from self._send_content()):
                return TransactionEnd(Ending.DROPPED)
            self._quit_in_pipeline = self._quit_in_pipeline or self._send is State.QUIT
            self._group += command
            self._group += b"\r\n"
            self._outstanding += 1
            self._send = after
        if self._group:
            yield self._flush()
        return TransactionEnd(Ending.OPEN if self._keeps else Ending.CLOSED)

    # ---- building commands ----

    def _first_state(self) -> State:
        if self._xforward[0]:
            return State.XFORWARD_NAME
        return State.XFORWARD_PROTO if self._xforward[1] else State.MAIL

    def _before_mail(self) -> _Found:
        encoding = self._request.encoding
        if self._capabilities.offers(Feature.EIGHTBITMIME) and encoding.lower() not in ("", "7bit", "8bit"):
            return Milestone.SET_UP, Note(events.UnknownEncoding(self._request.queue_id, encoding))
        return (Milestone.SET_UP,)

    def _build(self) -> tuple[bytes, State]:
        """The command of the state to be sent, and the state that follows it."""
        state = self._send
        if state is State.RCPT:
            recipient = self._recipients[self._named[self._next]]
            self._next += 1
            command = commands.rcpt_to(recipient, self._request, self._capabilities, self._settings)
            return command, State.RCPT if self._next < len(self._named) else self._after_recipients
        if state is State.MAIL:
            return commands.mail_from(self._request, self._capabilities, self._settings), State.RCPT
        if state is State.XFORWARD_NAME:
            return self._xforward[0], State.XFORWARD_PROTO if self._xforward[1] else State.MAIL
        if state is State.XFORWARD_PROTO:
            return self._xforward[1], State.MAIL
        return _FIXED_COMMANDS[state], _FOLLOWERS.get(state) or self._decide()

    def _decide(self) -> State:
        """What follows the dot or RSET."""
        self._keeps = self._keep()
        return State.LAST if self._keeps else State.QUIT

    def _must_synchronise(self, command: bytes) -> bool:
        """Whether the replies that are outstanding must be read before this command is written."""
        if self._send is State.DOT or self._send is State.LAST:
            return True
        if not self._outstanding:
            return False
        if not self._pipelining or self._idle_seconds > LONG_IDLE_SECONDS:
            return True
        if self._receive is State.DOT and self._send is State.QUIT:
            return False
        return len(self._group) + len(command) + 2 > GROUP_OCTETS

    def _flush(self) -> Write:
        group = bytes(self._group)
        self._group.clear()
        return Write(group)

    def _send_content(self) -> Dialog[bool]:
        """Send the content; True if the connection was lost, and a refusal was its last word."""
        try:
            yield SendContent(commands.needs_downgrade(self._request, self._capabilities, self._settings))
        except ConnectionBrokenError as broken:
            if broken.breakage is not Breakage.LOST:
                raise
            self._receive = State.DOT
            while self._receive is State.DOT:
                try:
                    reply = yield AwaitReply(phases.DOT)
                except ConnectionBrokenError:
                    raise broken from None
                assert reply is not None
                yield from self._take_dot(reply)
            return True
        if self._delay_dot:
            self._idle_seconds = self._settings.pix_delay_seconds
            yield Pause(self._idle_seconds)
        return False

    # ---- reading replies ----

    def _collect_replies(self) -> Dialog[None]:
        """Read all replies that are outstanding, unless the connection must be dropped."""
        while self._outstanding and self._receive is not State.LAST and not self._must_drop:
            if self._group:
                yield self._flush()
            state = self._receive
            reply = yield _AWAITED[state]
            assert reply is not None
            self._idle_seconds = 0.0
            yield from self._take(state, reply)
            if state is not State.DOT or self._receive is not State.DOT:
                self._outstanding -= 1  # else LMTP: there are further replies to the same dot

    def _take(self, state: State, reply: Reply) -> _Found:
        """What a reply means; the receiving cursor moves on."""
        if state is State.RCPT:
            return self._take_rcpt(reply)
        if state is State.DOT:
            return self._take_dot(reply)
        if state is State.MAIL:
            return self._take_mail(reply)
        if state is State.DATA:
            return self._take_data(reply)
        if state is State.ABORT:
            self._receive = self._after_settled()
            return ()
        if state is State.QUIT:
            self._receive = State.LAST
            return ()
        return self._take_xforward(state, reply)

    def _take_xforward(self, state: State, reply: Reply) -> _Found:
        more = state is State.XFORWARD_NAME and self._xforward[1]
        self._receive = State.XFORWARD_PROTO if more else State.MAIL
        if reply.is_positive:
            return ()
        return (Note(events.XforwardRefused(self._peer.relay, reply.one_line, _PHASES[state].command)),)

    def _take_mail(self, reply: Reply) -> _Found:
        self._receive = State.RCPT
        if reply.early and self._early_mail_parameter:
            # Something from before TLS may have been put in front of what the server says.
            self._must_drop = True
            violation = Note(tls_events.EarlyMailReply(self._peer.namaddr, self._early_mail_parameter))
            return violation, MessageFailed(_UNEXPECTED, Scope.SITE)
        if reply.is_positive:
            return ()
        self._mail_refused = True
        return *trouble_of(reply), MessageFailed(said(self._peer, reply, phases.MAIL))

    def _take_rcpt(self, reply: Reply) -> _Found:
        index = self._named[self._replied]
        self._replied += 1
        if self._replied == len(self._named):
            self._receive = self._after_recipients
        if self._mail_refused:
            return ()
        if not reply.is_positive:
            return *trouble_of(reply), RecipientFailed(index, said(self._peer, reply, phases.RCPT))
        self._accepted.append(index)
        return (RecipientTaken(index, reply),) if self._stops_at_rcpt else ()

    def _take_data(self, reply: Reply) -> _Found:
        self._receive = State.DOT
        if reply.is_intermediate:
            if self._request.is_probe and self._accepted:
                # There is no way to take DATA back.
                self._must_drop = True
                return (MessageTaken(reply, "2.0.0"),)
            return ()
        if self._reused and reply.is_positive:
            # No server means that. What it answers is another command: it has said more than it was asked while nobody used it.
            raise ConnectionBrokenError(Breakage.LOST, phases.DATA)
        self._data_refused = True
        if not self._accepted:
            return ()
        self._accepted.clear()
        return *trouble_of(reply), MessageFailed(said(self._peer, reply, phases.DATA))

    def _take_dot(self, reply: Reply) -> _Found:
        """The reply to the dot, or with LMTP that for the next recipient.

        Raises:
            ConnectionBrokenError: it cannot be what it seems to be.
        """
        if not self._accepted:
            self._receive = self._after_settled()
            return ()
        if not self._can_answer_the_dot(reply):
            raise ConnectionBrokenError(Breakage.LOST, phases.CONTENT)
        trouble = () if reply.is_positive else trouble_of(reply)
        why = None if reply.is_positive else said(self._peer, reply, phases.DOT)
        if not self._settings.lmtp:
            self._receive = self._after_settled()
            return *trouble, Milestone.DONE, MessageTaken(reply, reply.status) if why is None else MessageFailed(why)
        index = self._accepted[self._settled]
        self._settled += 1
        if self._settled == len(self._accepted):
            self._receive = self._after_settled()
        return *trouble, Milestone.DONE, RecipientTaken(index, reply) if why is None else RecipientFailed(index, why)

    def _can_answer_the_dot(self, reply: Reply) -> bool:
        """Whether a reply in the place of the dot's means what it says: a refusal does, a 2xx is looked at twice."""
        self._dot_garbled = self._dot_garbled or reply.garbled
        if not reply.is_positive:
            return True
        more_are_due = self._quit_in_pipeline or (self._settings.lmtp and self._settled + 1 < len(self._accepted))
        is_goodbye = self._quit_in_pipeline and reply.code == _GOODBYE
        return not (reply.early or is_goodbye or (self._dot_garbled and more_are_due))

    def _after_settled(self) -> State:
        """After the dot or RSET: the reply to QUIT is waited for only on request."""
        return State.LAST if self._keeps or not self._settings.await_quit_reply else State.QUIT

    def _course_is_lost(self) -> bool:
        return (
            (self._send is State.RCPT and self._mail_refused)
            or (self._send is State.DATA and not self._accepted)
            or (self._send is State.DOT and self._data_refused)
        )

    # ---- before the first command ----

    def _refuse_locally(self) -> tuple[DsnStatus, TransactionEnd] | None:
        """What this server need not be asked, and how the transaction ends then."""
        request, namaddr = self._request, self._peer.namaddr
        if request.smtputf8.required and not self._capabilities.offers(Feature.SMTPUTF8):
            why = DsnStatus("5.6.7", f"SMTPUTF8 is required, but was not offered by host {namaddr}")
            # A server that cannot take the message has not shown that it can take any.
            return why, TransactionEnd(Ending.OPEN, completed=False)
        limit = self._capabilities.size_limit
        if 0 < limit < request.size:
            text = f"message size {request.size} exceeds size limit {limit} of server {namaddr}"
            return DsnStatus("5.3.4", text), TransactionEnd(Ending.OPEN if self._keep() else Ending.DROPPED)
        if not commands.is_speakable(request.sender):
            text = "sender address contains a line break or null character"
            return DsnStatus("5.1.7", text), TransactionEnd(Ending.OPEN)
        return None

    def _refuse_unspeakable(self) -> Dialog[None]:
        for index, recipient in enumerate(self._recipients):
            if commands.is_speakable(recipient.address):
                self._named.append(index)
            else:
                text = "recipient address contains a line break or null character"
                yield RecipientFailed(index, DsnStatus("5.1.3", text))
