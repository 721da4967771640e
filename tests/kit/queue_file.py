"""Builds queue files, record by record, as cleanup(8) leaves them for a delivery agent.

Flow: tests write one below a queue directory of their own, and give its offsets to a request.
Sources: postcat(1); the records of a running Postfix.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ContentRecord = tuple[str, bytes]
"""Type letter and payload."""


def length_octets(size: int) -> bytes:
    """A record's length: seven bits an octet, the lowest first."""
    octets = bytearray()
    while size > 127:
        octets.append(size & 127 | 128)
        size >>= 7
    octets.append(size)
    return bytes(octets)


def record(kind: str, payload: bytes = b"") -> bytes:
    """One record of a queue file."""
    return kind.encode("ascii") + length_octets(len(payload)) + payload


def pointer(offset: int) -> bytes:
    """A pointer record, always of 17 octets; 0 points nowhere."""
    return record("p", b"%15d" % offset)


def records(content: Iterable[ContentRecord]) -> bytes:
    """Records one behind the other."""
    return b"".join(record(kind, payload) for kind, payload in content)


def text_of(content: Iterable[ContentRecord]) -> bytes:
    """What a reader must get: lines that end with LF; CR and LF inside of records are spaces."""
    clean = bytes.maketrans(b"\r\n", b"  ")
    ends = {"N": b"\n", "L": b""}
    return b"".join(payload.translate(clean) + ends[kind] for kind, payload in content if kind in ends)


def scattered(parts: Sequence[Sequence[ContentRecord]], order: Sequence[int], start: int = 0) -> tuple[bytes, int]:
    """Lay out parts of the content in any order, linked by pointers, with X behind the last part.

    Args:
        parts: in the order of reading.
        order: the index of the part that stands first in the file, and so on.
        start: offset in the file of what is returned.

    Returns:
        The octets, and the offset of the first part.
    """
    bodies = [records(part) for part in parts]
    bodies[-1] += record("X")
    offsets = {}
    at = start
    for index in order:
        offsets[index] = at
        at += len(bodies[index]) + len(pointer(0))
    return b"".join(bodies[i] + pointer(offsets.get(i + 1, 0)) for i in order), offsets[0]


@dataclass(frozen=True, slots=True)
class BuiltQueueFile:
    """A queue file and what a request says of it.

    Attributes:
        data: the whole file.
        content_offset: of the first content record.
        content_size: octets of the content records.
        recipient_offsets: of the R octet of each recipient.
    """

    data: bytes
    content_offset: int
    content_size: int
    recipient_offsets: tuple[int, ...]

    def write(self, queue_directory: Path | str, queue_id: str, queue_name: str = "active", mode: int = 0o700) -> Path:
        """Write the file where a Postfix without hashed queues has it; the directory of the queue is made."""
        path = Path(queue_directory, queue_name, queue_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(self.data)
        os.chmod(path, mode)
        return path


@dataclass(slots=True)
class QueueFileBuilder:
    """What goes into a queue file."""

    recipients: Sequence[str] = ("b@example.net",)
    content: Sequence[ContentRecord] = (("N", b"Subject: hi"), ("N", b""), ("N", b"Hello."))
    sender: str = "a@example.com"
    arrival: tuple[int, int] = (1700000000, 123456)
    encoding: str = "7bit"
    heap: bytes = b""
    attributes: Sequence[str] = field(default=("rewrite_context=local",))

    def build(self) -> BuiltQueueFile:
        """Lay out the file: envelope, content, extracted envelope, and a heap that pointers may point to."""
        seconds, microseconds = self.arrival
        envelope = record("T", b"%d %d" % (seconds, microseconds)) + record("A", b"create_time=%d" % seconds)
        envelope += b"".join(record("A", text.encode()) for text in self.attributes)
        envelope += record("S", self.sender.encode("utf-8", "surrogateescape"))
        size_octets = len(record("C", b" " * 95))
        offsets = []
        for recipient in self.recipients:
            address = recipient.encode("utf-8", "surrogateescape")
            envelope += record("A", b"dsn_orig_rcpt=rfc822;" + address) + record("O", address)
            offsets.append(size_octets + len(envelope))
            envelope += record("R", address)
        envelope += pointer(0) + record("M")
        content = records(self.content) + pointer(0)
        start = size_octets + len(envelope)
        sizes = (len(content), start, len(self.recipients), 0, len(content), 0)
        head = record("C", " ".join(f"{number:15d}" for number in sizes).encode("ascii"))
        tail = record("X") + record("A", f"encoding={self.encoding}".encode()) + pointer(0) + record("E")
        return BuiltQueueFile(head + envelope + content + tail + self.heap, start, len(content), tuple(offsets))
