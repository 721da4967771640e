"""A protocol on a transport in memory, and both sides' words."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.kit.dialog import PEER, outcome
from tests.kit.limits import SECONDS
from tests.kit.memory import MemoryTransport
from tests.kit.messages import make_request
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.interfaces import IMessageContent
from twisted_mta.model.events import Event
from twisted_mta.session.limits import TimeLimits
from twisted_mta.session.protocol import DialogProtocol
from twisted_mta.smtp.actions import ConnectionBrokenError, Dialog, Finding, LineBroken, Milestone
from twisted_mta.smtp.capabilities import parse_ehlo
from twisted_mta.smtp.greeting import Occasion, Welcome
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.transaction import Transaction, TransactionEnd
from twisted_mta.smtp.workarounds import PixWorkarounds

T = TypeVar("T")

LOST = "lost connection with mx.example[192.0.2.1] while "
OCCASION = Occasion("4Abc12")
GROUP = "MAIL FROM:<s@c.example>\r\nRCPT TO:<r@d.example>\r\nDATA\r\n"
CONTENT = "Subject: x\r\n\r\nHello.\r\n"


@implementer(IMessageContent)
class PiecewiseContent:
    """Content in given chunks; an exception among them is raised.

    Attributes:
        given: how many chunks have been asked for.
    """

    def __init__(self, chunks: Sequence[bytes | Exception]) -> None:
        self._chunks = chunks
        self.given = 0

    def chunks(self) -> Iterator[bytes]:
        """The chunks, from the start."""
        for chunk in self._chunks:
            self.given += 1
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


class ShellTestCase(SynchronousTestCase):
    """A protocol, its clock, and what it said."""

    SETTINGS = DialogSettings(hello_name="client.example")
    LIMITS = TimeLimits(SECONDS)

    def setUp(self) -> None:
        """Connect."""
        self.connect()

    def connect(self, settings: DialogSettings | None = None, limits: TimeLimits | None = None) -> None:
        """Connect anew, with other settings."""
        self.clock = Clock()
        self.events: list[Event] = []
        self.findings: list[Finding] = []
        settings = settings or self.SETTINGS
        self.protocol = DialogProtocol(PEER, settings, limits or self.LIMITS, 998, self.clock, self.events.append)
        self.transport = MemoryTransport(self.protocol, self.clock)
        self.protocol.makeConnection(self.transport)
        self.settings = settings

    def perform(self, dialog: Dialog[T], content: IMessageContent | None = None) -> Deferred[T]:
        """Start a dialog."""
        return self.protocol.perform(dialog, self.findings.append, "4Abc12", content)

    def transact(
        self,
        content: bytes | IMessageContent = b"Subject: x\n\nHello.\n",
        recipients: Sequence[str] = ("r@d.example",),
        *,
        keywords: Sequence[str] = ("PIPELINING",),
        delay_dot: bool = False,
        **changes: Any,
    ) -> Deferred[TransactionEnd]:
        """Start a transaction."""
        request = make_request(*recipients, **{"sender": "s@c.example", **changes})
        text = "\n".join(["250-mx.example", *(f"250-{keyword}" for keyword in keywords)])
        welcome = Welcome(parse_ehlo(text), PixWorkarounds(delay_dot=delay_dot))
        self.protocol.incoming.pipelining = "PIPELINING" in keywords
        transaction = Transaction(request, request.recipients, PEER, welcome, self.settings)
        if isinstance(content, bytes):
            content = BytesContent(content)
        return self.perform(transaction.run(), content)

    def server(self, *lines: str) -> None:
        """The server says lines, in one segment."""
        self.transport.receive("".join(f"{line}\r\n" for line in lines).encode())

    def client(self) -> str:
        """What has left since the last call; all that waits leaves now."""
        return self.transport.drain_all().decode()

    @property
    def outcomes(self) -> list[str]:
        """The findings that settle a fate."""
        return [outcome(found) for found in self.findings if not isinstance(found, Milestone | LineBroken)]

    def broken(self, done: Deferred[Any]) -> str:
        """The reason of a dialog that a broken connection ended."""
        failure = self.failureResultOf(done, ConnectionBrokenError)
        assert isinstance(failure, Failure)
        error = failure.value
        assert isinstance(error, ConnectionBrokenError)
        return error.why(PEER).reason

    def idle(self) -> None:
        """No timer is left once the connection is gone."""
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
