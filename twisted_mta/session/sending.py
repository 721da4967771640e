"""Send the content of one message, piece by piece, as fast as the server takes it.

A piece is written when the last one has left. The last one is not written here: it leaves together with the dot, and with QUIT.

Flow: session/performing.py makes one for SendContent; the pieces come from session/body.py, the transport asks for the next one.
Sources: RFC 5321 section 4.5.3.2.5; postconf(5) smtp_data_xfer_timeout; twisted.internet.interfaces.IPullProducer.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

from twisted_mta.interfaces import TableError
from twisted_mta.session.alarm import Alarm
from twisted_mta.session.body import Body
from twisted_mta.session.secure_transport import Wire
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError


@implementer(IPullProducer)
class Sending:
    """The content of one message on its way to one server.

    Attributes:
        last_piece: what is left to be written, once all else is; None: the content is at fault.
        error: what is wrong with it.
    """

    __slots__ = ("_alarm", "_body", "_done", "_late", "_waits", "_wire", "error", "last_piece")

    def __init__(
        self, body: Body, wire: Wire, alarm: Alarm, late: Callable[[], None], done: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            body: gives the pieces.
            wire: takes them.
            alarm: rings if the server does not take them in time.
            late: called if it rings.
            done: called at the end, unless `begin` has told it.
        """
        self.last_piece: bytes | None = None
        self.error: Exception | None = None
        self._body: Body | None = body
        self._wire = wire
        self._alarm = alarm
        self._late = late
        self._done = done
        self._waits: Deferred[Any] | None = None

    def begin(self) -> bool:
        """Write the first piece; True if that was all, but for the last piece."""
        if self._write():
            return True
        # Only what does not fit into the first piece needs to be told when to go on.
        self._alarm.start(phases.CONTENT, self._late)
        if self._waits is not None:
            self._alarm.stop()
        self._wire.registerProducer(self, streaming=False)
        return False

    def resumeProducing(self) -> None:
        """The last piece has left: write the next one."""
        if self._body is not None and self._waits is None and self._write():
            self._wire.unregisterProducer()
            self._done()

    def stopProducing(self) -> None:
        """The connection is gone; its protocol tells whoever must know."""

    def stop(self) -> None:
        """Write no more."""
        waits = self._waits
        self._body = self._waits = None
        if waits is not None:
            waits.cancel()

    def _write(self) -> bool:
        """Write a piece; True if only the last one is left, or the content is at fault."""
        body = self._body
        assert body is not None
        try:
            piece = body.next_piece()
        except TableError:
            self.error = ConnectionBrokenError(Breakage.LOCAL_ERROR, phases.CONTENT)
            return True
        except Exception as error:  # noqa: BLE001 - a message that cannot be read must end the dialog, whatever the reason
            self.error = error
            return True
        if isinstance(piece, Deferred):
            # The server is not to blame for the time that a table takes.
            self._waits = piece
            self._alarm.stop()
            piece.addCallback(self._go_on)
            return False
        if body.is_over:
            self.last_piece = piece
            return True
        self._wire.write(piece)
        return False

    def _go_on(self, _: object) -> None:
        if self._waits is not None:
            self._waits = None
            self._alarm.go_on(self._late)
            self.resumeProducing()
