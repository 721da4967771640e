"""One session with one server: greeting, transactions, farewell.

Flow: delivery/dial.py opens it, delivery/deliver.py uses it.
Sources: RFC 5321 section 3; smtp(8).
"""

from collections.abc import Callable
from dataclasses import replace

from twisted_mta.interfaces import IMessageContent
from twisted_mta.model.request import DeliveryRequest, Recipient
from twisted_mta.session.protocol import DialogProtocol
from twisted_mta.smtp.actions import Breakage, ConnectionBrokenError, ErrorClass, Finding
from twisted_mta.smtp.capabilities import Capabilities, Feature
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.greeting import Occasion, Rebuff, Welcome, greet
from twisted_mta.smtp.peer import Peer
from twisted_mta.smtp.settings import DialogSettings
from twisted_mta.smtp.transaction import Ending, Transaction
from twisted_mta.smtp.workarounds import PixWorkarounds


def _unexpected(finding: Finding) -> None:
    raise AssertionError(f"a dialog without mail came to a finding: {finding}")


class Session:
    """A connection that speaks SMTP or LMTP.

    Attributes:
        peer: the server.
        welcome: what the server offers; empty before `greet`.
        reuse_count: how many requests it has served before the present one.
    """

    def __init__(self, protocol: DialogProtocol, settings: DialogSettings) -> None:
        """Wrap a connection that has just been made.

        Args:
            protocol: the connection.
            settings: how to talk.
        """
        self.peer: Peer = protocol.peer
        self.welcome = Welcome(Capabilities(), PixWorkarounds())
        self.reuse_count = 0
        self._protocol = protocol
        self._settings = settings

    @property
    def troubles(self) -> ErrorClass:
        """The errors seen so far that the postmaster may want to hear of."""
        return self._protocol.troubles

    async def greet(self, occasion: Occasion) -> Rebuff | None:
        """Hear the greeting and introduce ourselves.

        Returns:
            None, and `welcome` is set; or why the server wants no mail from us: then there is nothing left but to `quit`.

        Raises:
            ConnectionBrokenError: the connection is gone, and the session over.
        """
        try:
            outcome = await self._protocol.perform(
                greet(self.peer, self._settings, occasion), _unexpected, occasion.queue_id
            )
        except ConnectionBrokenError as broken:
            self._protocol.troubles |= broken.trouble
            if broken.breakage is Breakage.LOCAL_ERROR:
                # The server is not to blame, and no mail is under way.
                await self._perform_quit(replace(self._settings, await_quit_reply=False))
            else:
                self._protocol.abort()
            raise
        except BaseException:
            self._protocol.abort()
            raise
        if isinstance(outcome, Rebuff):
            return outcome
        self.welcome = outcome
        self._protocol.pipelining = outcome.capabilities.offers(Feature.PIPELINING)
        return None

    async def transact(
        self,
        request: DeliveryRequest,
        recipients: tuple[Recipient, ...],
        content: IMessageContent,
        sink: Callable[[Finding], None],
    ) -> bool:
        """Send a message; the session is over afterwards.

        Args:
            request: the message.
            recipients: whom it is for.
            content: what it says.
            sink: takes the findings.

        Returns:
            Whether the transaction ran to its normal end.

        Raises:
            ConnectionBrokenError: the connection broke while the fate of the mail was open.
            ContentError: the content cannot be read.
        """
        transaction = Transaction(request, recipients, self.peer, self.welcome, self._settings)
        try:
            end = await self._protocol.perform(transaction.run(), sink, request.queue_id, content)
        except ConnectionBrokenError as broken:
            self._protocol.troubles |= broken.trouble
            self._protocol.abort()
            if broken.phase.silent:
                return True
            raise
        except BaseException:
            # Without the final dot the server must forget what it has got.
            self._protocol.close()
            raise
        if end.ending is Ending.OPEN:
            await self.quit()
        else:
            self._protocol.close()
        return end.completed

    async def quit(self) -> None:
        """Say QUIT and close."""
        await self._perform_quit(self._settings)

    async def _perform_quit(self, settings: DialogSettings) -> None:
        await self._protocol.perform(quit_dialog(settings), _unexpected)
        self._protocol.close()
