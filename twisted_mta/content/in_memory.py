"""A message that is held in memory, for what comes from the command line.

Flow: cli/send.py and cli/demo.py make one; the engine reads it like a queue file.
Sources: RFC 5321 section 2.3.8 (line ends).
"""

import re
from collections.abc import Iterator

from zope.interface import implementer

from twisted_mta.interfaces import IMessageContent

_STRAY_CR = re.compile(rb"\r(?!\n)")
_RECORD_OCTETS = 65536


@implementer(IMessageContent)
class BytesContent:
    """Octets as message content; lines may end with LF or CRLF, a CR elsewhere becomes a space."""

    def __init__(self, octets: bytes) -> None:
        """Take a message.

        Args:
            octets: headers and body.
        """
        self._octets = _STRAY_CR.sub(b" ", octets).replace(b"\r\n", b"\n")

    def __len__(self) -> int:
        return len(self._octets)

    @property
    def is_7bit(self) -> bool:
        """Whether all is ASCII."""
        return self._octets.isascii()

    def chunks(self) -> Iterator[bytes]:
        """Read from the start (IMessageContent): a chunk ends behind a line, or within one that is very long."""
        begin, end = 0, len(self._octets)
        while begin < end:
            cut = min(begin + _RECORD_OCTETS, end)
            newline = self._octets.rfind(b"\n", begin, cut)
            if newline >= 0 and cut < end:
                cut = newline + 1
            yield self._octets[begin:cut]
            begin = cut
