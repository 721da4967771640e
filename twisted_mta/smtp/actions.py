"""What a dialog wants done: the vocabulary between the sans-IO cores and their shell.

A dialog is a generator. It yields Actions; the shell performs them and resumes it with what they give: a Reply for AwaitReply,
nothing for the others. A connection that breaks while the shell performs an action is thrown into the dialog as a
ConnectionBrokenError; one that does not catch it ends.

Flow: yielded by smtp/greeting.py and smtp/transaction.py; performed by session/performing.py.
Sources: RFC 2920 (why commands are written in groups).
"""

import enum
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from twisted_mta.model.dsn import DsnStatus, from_server
from twisted_mta.model.events import Event
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.phases import Phase
from twisted_mta.smtp.reply import Reply


class ErrorClass(enum.Flag):
    """Kinds of errors that a session may see, as the words of notify_classes name them (postconf(5))."""

    NONE = 0
    PROTOCOL = enum.auto()
    """The server did not understand us, or we not the server: the connection is not used again."""
    DATA = enum.auto()
    """What a lookup table should have said is not known."""


class Breakage(enum.Enum):
    """How a connection broke; the value is Postfix's text."""

    LOST = "lost connection with {namaddr} while {doing}"
    TIMED_OUT = "conversation with {namaddr} timed out while {doing}"
    LOCAL_ERROR = "local data error while talking to {namaddr}"


class ConnectionBrokenError(Exception):
    """The connection cannot be used any more."""

    def __init__(self, breakage: Breakage, phase: Phase) -> None:
        """Keep what happened and when."""
        super().__init__(breakage.name, phase.doing)
        self.breakage = breakage
        self.phase = phase

    @property
    def trouble(self) -> ErrorClass:
        """What the postmaster may want to hear of; connections that break are too common for that."""
        return ErrorClass.DATA if self.breakage is Breakage.LOCAL_ERROR else ErrorClass.NONE

    def why(self, peer: Peer) -> DsnStatus:
        """The status of mail whose fate this decides (RFC 3463 X.4.2, X.3.0)."""
        status = "4.3.0" if self.breakage is Breakage.LOCAL_ERROR else "4.4.2"
        return DsnStatus(status, self.breakage.value.format(namaddr=peer.namaddr, doing=self.phase.doing))


@dataclass(frozen=True, slots=True)
class Write:
    """Put octets into the output buffer; they leave with the next AwaitReply, SendContent or Pause, or at the end."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AwaitReply:
    """Flush, then wait for one reply; resumes with the Reply."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class SendContent:
    """Send the content of the message, up to the dot that ends it; the dot is the dialog's.

    Attributes:
        convert: whether it must be made 7bit for this server.
    """

    convert: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Flush, then wait for some seconds."""

    seconds: float


class PeerTable(enum.Enum):
    """Tables that are asked about a server, by its address."""

    DISCARDED_KEYWORDS = "smtp_discard_ehlo_keyword_address_maps"
    PIX_WORKAROUNDS = "smtp_pix_workaround_maps"


@dataclass(slots=True)
class LookUp:
    """Ask a table; the performer writes the answer into it, before it resumes the dialog.

    Attributes:
        table: which one; only yielded where settings say that it is there.
        key: what to look up.
        found: the value; None: there is none.
        failed: the table cannot be asked, which has been told.
    """

    table: PeerTable
    key: str
    found: str | None = None
    failed: bool = False


@dataclass(slots=True)
class IsQuiet:
    """Ask whether the server has said nothing more than was read; the performer writes the answer into it.

    Attributes:
        answer: whether that is so.
    """

    answer: bool = True


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be logged."""

    event: Event


@dataclass(frozen=True, slots=True)
class Trouble:
    """The session has seen an error that the postmaster may want to hear of."""

    error_class: ErrorClass


class Scope(enum.Enum):
    """Whom a failure concerns."""

    SITE = "site"
    """Every recipient, and the destination is sick: connection, greeting, EHLO, TLS, AUTH, lost connections."""
    MESSAGE = "message"
    """Every recipient, but the destination is well: MAIL, DATA, end of data, size."""
    RECIPIENT = "recipient"
    """One recipient."""


@dataclass(frozen=True, slots=True)
class RecipientFailed:
    """One recipient was refused; `index` counts the recipients of this transaction."""

    index: int
    why: DsnStatus


@dataclass(frozen=True, slots=True)
class MessageFailed:
    """All recipients whose fate is open were refused; a `scope` of SITE holds the destination back, too."""

    why: DsnStatus
    scope: Scope = Scope.MESSAGE


@dataclass(frozen=True, slots=True)
class RecipientTaken:
    """One recipient was taken: delivered, or in a probe, accepted."""

    index: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class MessageTaken:
    """All recipients whose fate is open were taken; `status` differs from that of `reply` for a probe up to DATA."""

    reply: Reply
    status: str


class Milestone(enum.Enum):
    """A moment to take the time of, for the delays in the log."""

    SET_UP = "connection_setup_done"
    """MAIL is about to be sent."""
    DONE = "deliver_done"
    """The reply to the end of data has come."""


@dataclass(frozen=True, slots=True)
class LineBroken:
    """A line of the content was longer than `limit` octets."""

    limit: int


Finding = RecipientFailed | MessageFailed | RecipientTaken | MessageTaken | Milestone | LineBroken
Action = Write | AwaitReply | SendContent | Pause | LookUp | IsQuiet | Note | Trouble | Finding

T = TypeVar("T")
Dialog = Generator[Action, Reply | None, T]


_MISUNDERSTANDING = (Trouble(ErrorClass.PROTOCOL),)


def trouble_of(reply: Reply) -> tuple[Trouble, ...]:
    """What else is to be said of a reply that lets a command fail: nothing, or that it smells of a misunderstanding."""
    return _MISUNDERSTANDING if reply.smells_of_client_error else ()


def said(peer: Peer, reply: Reply, phase: Phase) -> DsnStatus:
    """The status of a reply that is not what the command hoped for.

    A reply whose status is neither soft nor hard cannot refuse anything: that is a protocol error, and a hard one.
    """
    reason = f"host {peer.namaddr} said: {reply.one_line} (in reply to {phase.command})"
    if reply.status[0] in "45":
        return from_server(reply.status, reason, peer.host, reply.text)
    return from_server("5.5.0", "Protocol error: " + reason, peer.host, reply.text)


def refused_to_talk(peer: Peer, reply: Reply) -> DsnStatus:
    """The status of a greeting, HELO or LHLO reply that ends the session before it began."""
    return from_server(
        reply.status, f"host {peer.namaddr} refused to talk to me: {reply.one_line}", peer.host, reply.text
    )
