"""The content of one message as it goes over the wire, piece by piece.

At most one piece of about PIECE_OCTETS is held, however large the message is.

Flow: session/performing.py makes one for SendContent; session/sending.py asks for the next piece when the last one has left.
Sources: RFC 5321 sections 4.5.2 and 4.5.3.1.6.
"""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred

from twisted_mta.content.encode import DataEncoder
from twisted_mta.content.lines import Lines

PIECE_OCTETS = 65536
"""The content goes out in pieces of about this size."""

_ENOUGH_OCTETS = PIECE_OCTETS // 2
"""So many are not put together with a further chunk, which may be as large as a piece."""


class Body:
    """The content on its way.

    Attributes:
        is_over: whether the last piece has been given.
    """

    def __init__(
        self, chunks: Iterator[bytes | Deferred[Any]], line_limit: int, broke_line: Callable[[], None] | None = None
    ) -> None:
        """Prepare.

        Args:
            chunks: as those of IMessageContent; a Deferred among them must fire before the next one is there.
            line_limit: octets of a line (smtp_line_length_limit).
            broke_line: called when a line has to be broken for the first time.
        """
        self.is_over = False
        self._encoder = DataEncoder(line_limit, broke_line)
        if isinstance(chunks, Lines):
            # Nobody has looked at it, or changed it: it can have the line ends of the wire from the start.
            self._chunks: Iterator[bytes | Deferred[Any]] = chunks.with_crlf()
            self._feed = self._encoder.feed_crlf
        else:
            self._chunks = chunks
            self._feed = self._encoder.feed
        self._pieces: list[bytes] = []
        self._octets = 0

    def next_piece(self) -> bytes | Deferred[Any]:
        """The next piece of the content, without the dot that ends it.

        Returns:
            A Deferred if something must be waited for first; call again when it has fired.

        Raises:
            ContentError, ContentFailedError, TableError: the content cannot go on.
        """
        pieces, feed = self._pieces, self._feed
        for chunk in self._chunks:
            if isinstance(chunk, Deferred):
                return chunk
            encoded = feed(chunk)
            pieces.append(encoded)
            self._octets += len(encoded)
            if self._octets >= _ENOUGH_OCTETS:
                break
        else:
            pieces.append(self._encoder.finish())
            self.is_over = True
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._octets = 0
        return piece
