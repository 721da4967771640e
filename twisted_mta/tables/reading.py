"""What a reply of a table's server is read with, and the ways in which asking such a server can fail.

Flow: tcp.py, socketmap.py and memcache.py have a reader each; link.py feeds it; asking.py raises the errors.
Sources: tcp_table(5), socketmap_table(5), memcache_table(5) for the limits of replies.
"""

from typing import Protocol, TypeVar

R_co = TypeVar("R_co", covariant=True)


class AskingError(Exception):
    """A table's server could not be asked, or gave no usable reply.

    Attributes:
        problem: what went wrong, in words for the log.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class ConnectFailedError(AskingError):
    """There is no connection to the server."""


class DisconnectedError(AskingError):
    """The server ended the connection before it had replied."""


class MalformedReplyError(AskingError):
    """The reply is not what the protocol allows, or too long."""


class TooSlowError(AskingError):
    """No reply came in time."""


class ReplyReader(Protocol[R_co]):
    """Reads one reply, however it is cut."""

    def feed(self, data: bytes) -> R_co | None:
        """Take bytes.

        Returns:
            The reply once it is complete.

        Raises:
            AskingError: it cannot be one, or there is more behind it, or it says that the server has a problem; the connection
                is not used again.
        """


class LineReader:
    """Reads one line.

    Args:
        longest: octets of the line, its end included.
        problem: what to say about a line that is longer.
    """

    def __init__(self, longest: int, problem: str) -> None:
        self._longest = longest
        self._problem = problem
        self._received = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; gives the line without its LF."""
        self._received += data
        end = self._received.find(b"\n")
        if (len(self._received) if end < 0 else end + 1) > self._longest:
            raise MalformedReplyError(self._problem)
        if end < 0:
            return None
        if end + 1 < len(self._received):
            raise MalformedReplyError("more than one reply")
        return bytes(self._received[:end])


class NetstringReader:
    """Reads one netstring.

    Args:
        longest: octets within it.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._received = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; gives what is within the netstring."""
        self._received += data
        colon = self._received.find(b":")
        digits = bytes(self._received if colon < 0 else self._received[:colon])
        if (digits or colon == 0) and not digits.isdigit():
            raise MalformedReplyError("input format error")
        # Zeros may stand in front, but not without end.
        if len(digits) > self._longest or (digits and int(digits) > self._longest):
            raise MalformedReplyError("input exceeds size limit")
        if colon < 0:
            return None
        end = colon + 1 + int(digits)
        if len(self._received) <= end:
            return None
        if self._received[end] != ord(",") or len(self._received) > end + 1:
            raise MalformedReplyError("input format error")
        return bytes(self._received[colon + 1 : end])
