"""Chunks of a message whose line ends can be chosen.

Content that needs nothing but dots can be read with the line ends of the wire at once, which saves a pass over all of it.

Flow: an IMessageContent may give its chunks as Lines; session/body.py chooses CRLF for what goes to the encoder as it is. Who
does not know of that iterates over them, and gets LF.
Sources: RFC 5321 section 2.3.8.
"""

from collections.abc import Callable, Iterator

LF, CRLF = b"\n", b"\r\n"


class Lines(Iterator[bytes]):
    """Chunks as IMessageContent has them."""

    __slots__ = ("_chunks", "_read")

    def __init__(self, read: Callable[[bytes], Iterator[bytes]]) -> None:
        """Prepare.

        Args:
            read: reads the message from its start, with the given line end for LF.
        """
        self._read = read
        self._chunks: Iterator[bytes] | None = None

    def __next__(self) -> bytes:
        """The next chunk, with LF."""
        if self._chunks is None:
            self._chunks = self._read(LF)
        return next(self._chunks)

    def with_crlf(self) -> Iterator[bytes]:
        """All chunks, with CRLF."""
        return self._read(CRLF)
