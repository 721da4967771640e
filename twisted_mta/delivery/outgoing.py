"""What of a request goes out: its addresses as generic maps have them, and its content with the headers that flags ask for.

What the log and reports say, and ORCPT, is about the addresses as they came.

Flow: delivery/deliver.py has each request admitted; delivery/offering.py has it prepared, once a server is ready for it: before
that nobody knows whether there will be one, and no table is asked for nothing.
Sources: smtp(8), "flags" and smtp_generic_maps; generic(5); RFC 3463 (X.3.5, X.4.6); a running smtp(8).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from twisted_mta.content.generic import GenericMapper
from twisted_mta.content.prepend import PrependedContent, earlier_recipients, header
from twisted_mta.interfaces import IMessageContent
from twisted_mta.model.address import quote_5322
from twisted_mta.model.dsn import DsnStatus
from twisted_mta.model.events import Emit, RecipientLimitNeeded
from twisted_mta.model.request import DeliveryRequest, Recipient
from twisted_mta.session.answering import answered
from twisted_mta.session.content_rules import PLAIN, ContentRules
from twisted_mta.tables.keys import fold_ascii, fold_unicode

MISCONFIGURED = DsnStatus("4.3.5", "mail system configuration error")


class RefusedHereError(Exception):
    """A request is not offered to any server.

    Attributes:
        why: the fate of all its recipients.
        relay: what the log names in the place of a server.
    """

    def __init__(self, why: DsnStatus, relay: str) -> None:
        super().__init__(why.reason)
        self.why = why
        self.relay = relay


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What servers get to see of a request.

    Attributes:
        request: with the sender as it goes out.
        content: with headers in front.
    """

    request: DeliveryRequest
    content: IMessageContent
    _names: Mapping[str, str] = field(default_factory=dict)

    def addressed(self, recipients: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
        """Recipients of the request with the addresses that go out."""
        names = self._names
        if not names:
            return recipients
        return tuple(
            replace(recipient, address=names.get(recipient.address, recipient.address)) for recipient in recipients
        )


@dataclass(frozen=True, slots=True)
class OutgoingRules:
    """What settings and flags of the service change.

    Attributes:
        emit: takes what is to be logged.
        service: the name of the service, as in master.cf.
        flags: letters, as in master.cf: D, O, R; others mean nothing here.
        content: generic maps.
        utf8: whether addresses are compared as UTF-8.
    """

    emit: Emit
    service: str = ""
    flags: frozenset[str] = frozenset()
    content: ContentRules = PLAIN
    utf8: bool = True

    @property
    def change_nothing(self) -> bool:
        """Whether all goes out as it is."""
        return not self.flags and not self.content.settings.maps_addresses

    async def admit(self, request: DeliveryRequest, content: IMessageContent) -> None:
        """See to what flags forbid.

        Raises:
            RefusedHereError: the flags do not allow its delivery, or the message has been delivered to the recipient before.
            ContentFailedError: an address cannot be replaced.
            ContentError: the content cannot be read.
        """
        self._demand_one_recipient(request)
        if "D" in self.flags:
            recipient = request.recipients[0].address
            self._refuse_loops(request, content, await self._replacements(request, (recipient,)))

    async def prepare(self, request: DeliveryRequest, content: IMessageContent) -> Outgoing:
        """Prepare a request. Waits for nothing where all tables answer at once.

        Raises:
            ContentFailedError: an address cannot be replaced.
        """
        names = await self._replacements(request, self._addresses(request))
        if headers := b"".join(self._headers(request, names)):
            content = PrependedContent(headers, content)
        sender = names.get(request.sender, request.sender)
        return Outgoing(request if sender == request.sender else replace(request, sender=sender), content, names)

    def _demand_one_recipient(self, request: DeliveryRequest) -> None:
        if len(request.recipients) > 1:
            for flag in ("D", "O"):
                if flag in self.flags:
                    self.emit(RecipientLimitNeeded(flag, self.service))
                    raise RefusedHereError(MISCONFIGURED, self.service)

    async def _replacements(self, request: DeliveryRequest, addresses: Iterable[str]) -> dict[str, str]:
        """What takes the place of each address that is to be replaced."""
        names: dict[str, str] = {}
        if not self.content.settings.maps_addresses:
            return names
        mapper = GenericMapper(self.content.settings.generic, request.queue_id, self.emit)
        for address in dict.fromkeys(addresses):
            new = await answered(mapper.replacement_for(address), self.content.answers) if address else None
            if new is not None:
                names[address] = new
        return names

    def _addresses(self, request: DeliveryRequest) -> Iterable[str]:
        yield request.sender
        for recipient in request.recipients:
            yield recipient.address
            if "O" in self.flags:
                yield recipient.original

    def _refuse_loops(self, request: DeliveryRequest, content: IMessageContent, names: Mapping[str, str]) -> None:
        fold = fold_unicode if self.utf8 else fold_ascii
        recipient = request.recipients[0].address
        if fold(_header_form(recipient, names)) in earlier_recipients(content.chunks(), fold):
            raise RefusedHereError(DsnStatus("5.4.6", f"mail forwarding loop for {recipient}"), self.service)

    def _headers(self, request: DeliveryRequest, names: Mapping[str, str]) -> Iterable[bytes]:
        recipient = request.recipients[0]
        if "R" in self.flags:
            yield header("Return-Path", f"<{_header_form(request.sender, names)}>")
        if "O" in self.flags:
            yield header("X-Original-To", _header_form(recipient.original, names))
        if "D" in self.flags:
            yield header("Delivered-To", _header_form(recipient.address, names))


def _header_form(address: str, names: Mapping[str, str]) -> str:
    return quote_5322(names.get(address, address))
