"""A scripted SMTP or LMTP server, for unit tests and for real deliveries.

It plays a Script, and keeps what it was told: the commands of each session, and the messages as they arrived.

Flow: a test listens with a ScriptedServer (or drives one ScriptedSession over a memory transport), lets something
deliver to it, then reads `sessions` and `messages`.
Sources: RFC 5321 sections 4.1, 4.5.2; RFC 2033 section 4.2.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IListeningPort,
    IPullProducer,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.kit.script import (
    BODY,
    CONNECT,
    END_OF_DATA,
    After,
    Answer,
    Close,
    Deaf,
    Drip,
    Endless,
    HalfClose,
    Late,
    Raw,
    Reset,
    Script,
    Silence,
    Unasked,
)
from tests.kit.server_tls import ServerHandshake, begin_tls


@dataclass(slots=True)
class Message:
    """A message whose final dot came.

    Attributes:
        sender: the argument of MAIL, with its parameters.
        recipients: the arguments of the RCPT commands that were accepted, each with its parameters.
        content: as on the wire, but without the dots that were stuffed; lines end with CRLF.
        replies: to the final dot; in LMTP one for each recipient.
    """

    sender: str
    recipients: list[str]
    content: bytes = b""
    replies: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether the server took it, in LMTP for at least one recipient."""
        return any(reply.startswith("2") for reply in self.replies)


@dataclass(slots=True)
class SessionRecord:
    """What came in one connection.

    Attributes:
        number: counts the connections of a server from 1.
        peer: the client's address; empty for a local socket.
        commands: the lines in their order; a final dot stands as ``.``.
        open: whether the connection is still there.
        unfinished_octets: of the content whose final dot did not come.
        handshake: of TLS; None: it was not begun.
    """

    number: int
    peer: str = ""
    commands: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    open: bool = True
    unfinished_octets: int = 0
    handshake: ServerHandshake | None = None


class BodyReader:
    """Collects content up to the final dot, in bulk."""

    def __init__(self) -> None:
        # The end of the DATA line counts as the line end before the first line.
        self._data = bytearray(b"\r\n")

    def __len__(self) -> int:
        return len(self._data) - 2

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Take more; returns the content and what stands behind the final dot, once it is there."""
        searched = max(0, len(self._data) - 4)
        self._data += data
        end = self._data.find(b"\r\n.\r\n", searched)
        if end < 0:
            return None
        content = bytes(self._data[: end + 2]).replace(b"\r\n..", b"\r\n.")[2:]
        return content, bytes(self._data[end + 5 :])


@implementer(IPullProducer)
class Flood:
    """Writes one chunk over and over."""

    def __init__(self, consumer: IConsumer, chunk: bytes) -> None:
        self._consumer = consumer
        self._chunk = chunk

    def resumeProducing(self) -> None:
        """Send the chunk once more."""
        self._consumer.write(self._chunk)

    def stopProducing(self) -> None:
        """The client went away."""


class ScriptedSession(Protocol):
    """One connection of a scripted server.

    It works down what came. While an answer is late, `_pending` holds bytes that are not yet looked at, and `_behind` the
    answers that must not overtake it.
    """

    transport: Connection

    def __init__(
        self,
        script: Script,
        record: SessionRecord,
        clock: IReactorTime,
        accepted: Callable[[Message], None],
        changed: Callable[[], None],
    ) -> None:
        self.record = record
        self._accepted = accepted
        self._script = script
        self._clock = clock
        self._changed = changed
        self._pending = b""
        self._behind: deque[tuple[Answer, str]] = deque()
        self._busy = False
        self._finished = False
        self._mute = False
        self._later: list[IDelayedCall] = []
        self._sender = ""
        self._recipients: list[str] = []
        self._body: BodyReader | None = None
        self._body_fault: After | None = None
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Greet."""
        if self._script.wrapper:
            self._begin_tls(self._greet)
        else:
            self._greet()

    def _greet(self) -> None:
        self._answer(CONNECT)
        self._work()

    def dataReceived(self, data: bytes) -> None:
        """Take what came, and look at it unless an answer is being prepared."""
        self._pending += data
        self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end."""
        self._finished = True
        for call in self._later:
            if call.active():
                call.cancel()
        self.record.open = False
        if self._body is not None:
            self.record.unfinished_octets = len(self._body)
        self._changed()
        self.lost.callback(None)

    def _work(self) -> None:
        while self._pending and not self._busy and not self._finished:
            if self._body is not None:
                self._read_body(self._body)
            else:
                line, end, rest = self._pending.partition(b"\n")
                if not end:
                    return
                self._pending = rest
                self._command(line.rstrip(b"\r").decode("utf-8", "surrogateescape"))
        self._changed()

    def _command(self, line: str) -> None:
        self.record.commands.append(line)
        verb, _, arguments = line.partition(" ")
        code = self._answer(line)
        match verb.upper(), code[:1]:
            case "MAIL", "2":
                self._sender, self._recipients = arguments.partition(":")[2], []
            case "RCPT", "2":
                self._recipients.append(arguments.partition(":")[2])
            case "STARTTLS", "2" if self._script.tls and not self._finished:
                self._begin_tls(lambda: None)
            case "RSET", _:
                self._sender, self._recipients = "", []
            case "DATA", "3":
                self._body = BodyReader()
                fault = self._script.answer(BODY)
                self._body_fault = fault if isinstance(fault, After) or fault is None else After(0, fault)

    def _begin_tls(self, then: Callable[[], None]) -> None:
        """What came in the clear is forgotten."""
        assert self._script.tls is not None
        self._pending = b""
        self.record.handshake = begin_tls(self, self._script.tls, then)

    def _read_body(self, body: BodyReader) -> None:
        data, self._pending = self._pending, b""
        complete = body.feed(data)
        if self._body_fault is not None and (complete or len(body) >= self._body_fault.octets):
            fault, self._body_fault = self._body_fault, None
            if complete:
                self._pending = complete[1]
            self._perform(fault.answer, "")
        if complete is None or self._finished:
            return
        content, self._pending = complete
        self._body = None
        message = Message(self._sender, self._recipients, content)
        self.record.commands.append(END_OF_DATA)
        self.record.messages.append(message)
        for event in [f"{END_OF_DATA} {name}" for name in message.recipients] if self._script.lmtp else [END_OF_DATA]:
            if reply := self._answer(event):
                message.replies.append(reply)
        if message.accepted:
            self._accepted(message)
        self._sender, self._recipients = "", []

    def _answer(self, event: str) -> str:
        """Do what the script says, now or in its turn; returns the reply that was, or will be, sent."""
        answer, friendly = self._script.answer(event), self._script.friendly(event)
        if event.upper() == "DATA" and not self._recipients:
            friendly = "554 5.5.1 Error: no valid recipients"
        self._perform(answer, friendly)
        return reply_of(answer, friendly)

    def _perform(self, answer: Answer, friendly: str) -> None:
        if self._busy:
            self._behind.append((answer, friendly))
            return
        match answer:
            case None | str():
                self._say(reply_of(answer, friendly))
            case Close(reply):
                self._say(reply)
                self._end(self.transport.loseConnection)
            case Reset():
                self._end(self.transport.abortConnection)
            case Raw(data):
                self._send(data)
            case Endless(chunk):
                self._finished = True
                self.transport.registerProducer(Flood(self.transport, chunk), False)
            case Deaf(seconds, later):
                self._perform(later, friendly)
                self.transport.pauseProducing()
                self._call_later(seconds, self._listen_again)
            case Late(seconds, later):
                self._busy = True
                self._call_later(seconds, self._perform_late, later, friendly)
            case Unasked(seconds, more, asked):
                self._perform(asked, friendly)
                self._call_later(seconds, self._perform, more, "")
            case Drip(data, seconds):
                self._busy = True
                self._drip(data, seconds)
            case HalfClose(reply):
                self._say(reply)
                self._mute = True
                self.transport.loseWriteConnection()
            case Silence() | After():
                pass

    def _call_later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self._later.append(self._clock.callLater(seconds, call, *arguments))

    def _drip(self, data: bytes, seconds: float) -> None:
        self._send(data[:1])
        if len(data) > 1:
            self._call_later(seconds, self._drip, data[1:], seconds)
        else:
            self._perform_late(Silence(), "")

    def _perform_late(self, answer: Answer, friendly: str) -> None:
        self._busy = False
        if self._finished:
            return
        self._perform(answer, friendly)
        while self._behind and not self._busy:
            self._perform(*self._behind.popleft())
        self._work()

    def _listen_again(self) -> None:
        if not self._finished:
            self.transport.resumeProducing()

    def _say(self, reply: str) -> None:
        if reply:
            self._send(b"".join(line.encode() + b"\r\n" for line in reply.splitlines()))

    def _send(self, data: bytes) -> None:
        if not self._finished and not self._mute:
            self.transport.write(data)

    def _end(self, how: Callable[[], None]) -> None:
        if not self._finished:
            self._finished = True
            how()


def reply_of(answer: Answer, friendly: str) -> str:
    """The reply that an answer gives in the end; empty: none."""
    match answer:
        case None:
            return friendly
        case str(reply) | Close(reply) | HalfClose(reply):
            return reply
        case Late(_, later) | Deaf(_, later) | Unasked(_, _, later):
            return reply_of(later, friendly)
        case _:
            return ""


class ScriptedServer(Factory):
    """A server with any number of sessions, all by one script.

    Attributes:
        sessions: in the order of their connections.
        messages: those that were accepted, of all sessions.
        most_at_once: the highest number of connections that were open at a time.
    """

    noisy = False
    session_type: ClassVar[type[ScriptedSession]] = ScriptedSession

    def __init__(self, script: Script, clock: IReactorTime) -> None:
        self.script = script
        self.sessions: list[SessionRecord] = []
        self.messages: list[Message] = []
        self.most_at_once = 0
        self._clock = clock
        self._live: dict[int, ScriptedSession] = {}
        self._ports: list[IListeningPort] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def buildProtocol(self, addr: object) -> ScriptedSession:
        """A session for a new connection."""
        record = SessionRecord(len(self.sessions) + 1, getattr(addr, "host", ""))
        self.sessions.append(record)
        session = self.session_type(self.script, record, self._clock, self.messages.append, self._changed)
        self._live[record.number] = session
        self.most_at_once = max(self.most_at_once, len(self._live))
        session.lost.addCallback(lambda _: self._live.pop(record.number))
        return session

    async def listen(self, endpoint: IStreamServerEndpoint) -> IListeningPort:
        """Accept connections at one more endpoint."""
        port = await endpoint.listen(self)
        self._ports.append(port)
        return port

    async def stop(self) -> None:
        """Stop listening, end the sessions, and wait for their ends."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        ends = [session.lost for session in self._live.values()]
        for session in list(self._live.values()):
            session.transport.abortConnection()
        await DeferredList(ends)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, which is asked again whenever something has come."""
        if not condition():
            waiter: Deferred[None] = Deferred()
            self._waiting.append((condition, waiter))
            await waiter

    def _changed(self) -> None:
        ready = [row for row in self._waiting if row[0]()]
        self._waiting = [row for row in self._waiting if row not in ready]
        for _, waiter in ready:
            waiter.callback(None)
