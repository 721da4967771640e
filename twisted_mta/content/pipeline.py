"""The way of a message that is looked at piece by piece: scanned, checked, converted, its addresses replaced.

The order is that of smtp(8): parts are found first, and 8-bit text is converted; then checks see headers and lines, and addresses
are replaced last. Long lines and dots are left to encode.py.

Flow: session/ feeds it the chunks of an IMessageContent, answers its lookups, and encodes the chunks that come out. A message
that needs nothing of all this does not come here: it goes to encode.py as it is.
Sources: smtp(8); postconf(5) smtp_generic_maps, smtp_header_checks, smtp_body_checks; RFC 6152 section 3.
"""

from collections.abc import Generator, Iterable
from typing import Any

from twisted_mta.content.checks import Checker
from twisted_mta.content.convert import QuotedPrintable
from twisted_mta.content.failures import ContentFailedError
from twisted_mta.content.generic import ADDRESS_HEADERS, GenericMapper
from twisted_mta.content.held_events import HeldEvents
from twisted_mta.content.lookups import Asked, Core, Lookup
from twisted_mta.content.scanner import HEADER_NAME, Block, Body, Header, Part, Scanner
from twisted_mta.content.settings import ContentSettings
from twisted_mta.interfaces import TableError
from twisted_mta.model.events import Emit

_MIME_HEADERS = frozenset(
    b"content-description content-disposition content-id content-transfer-encoding content-type mime-version".split()
)
_LISTS = {
    Block.PRIMARY: Asked.HEADER_CHECKS,
    Block.PART: Asked.MIME_HEADER_CHECKS,
    Block.NESTED: Asked.NESTED_HEADER_CHECKS,
}


class Pipeline:
    """Takes one message on its way to one server."""

    def __init__(self, settings: ContentSettings, queue_id: str, emit: Emit, *, convert: bool) -> None:
        """Prepare.

        Args:
            settings: what is to be done.
            queue_id: for the log.
            emit: takes what is to be logged.
            convert: whether the server takes 7bit only.
        """
        self._scanner = Scanner(settings.limits, mime=convert or settings.has_checks, convert=convert)
        self._encoder = QuotedPrintable()
        self._held = HeldEvents(emit)
        self._checker = Checker(settings.parameters, queue_id, self._held)
        self._mapper = GenericMapper(settings.generic, queue_id, self._held.hold) if settings.maps_addresses else None
        self._checks_body = Asked.BODY_CHECKS in settings.parameters

    def run(self, chunks: Iterable[bytes]) -> Generator[bytes | Lookup, Any, None]:
        """Treat a message.

        Args:
            chunks: as those of IMessageContent.

        Yields:
            Chunks of the same kind; and Lookups, to be resumed with the answer.

        Raises:
            ContentFailedError: the message cannot be converted, or an address not be replaced.
            TableError: a check table failed.
        """
        for chunk in chunks:
            yield from self._treat(self._scanner.feed(chunk))
        yield from self._treat(self._scanner.finish())

    def _treat(self, parts: Iterable[Part]) -> Generator[bytes | Lookup, Any, None]:
        pieces: list[bytes] = []
        for part in parts:
            failure = None
            if isinstance(part, Body):
                data = self._encoder.feed(part.data) if part.convert else part.data
                if data and self._checks_body:
                    if pieces:
                        yield b"".join(pieces)
                        pieces.clear()
                    yield from self._checker.body(data)
                elif data:
                    pieces.append(data)
                continue
            try:
                text = yield from self._header(part)
            except (TableError, ContentFailedError) as error:
                text, failure = b"", error
            if self._held:
                if pieces:
                    yield b"".join(pieces)
                    pieces.clear()
                self._held.tell()
            if failure is not None:
                raise failure
            if text:
                pieces.append(text)
        if pieces:
            yield b"".join(pieces)

    def _header(self, header: Header) -> Core[bytes]:
        """A header as lines, with those put in front of it."""
        before, text, name = b"", header.text, header.name.lower()
        is_mime = name in _MIME_HEADERS and not header.is_added
        asked = Asked.MIME_HEADER_CHECKS if is_mime else _LISTS[header.block]
        if self._checker.checks(asked) and (verdict := (yield from self._checker.header(asked, text))) is not None:
            before = verdict.before
            if verdict.replacement is not None:
                text = verdict.replacement[:-1]
        if self._mapper is not None and header.block is Block.PRIMARY and name in ADDRESS_HEADERS:
            found = HEADER_NAME.match(text)
            # A header that has become another one is left alone.
            if found is not None and found[1].lower() == name:
                text = yield from self._mapper.rewrite_header(text)
        return before + text + b"\n" if text else before
