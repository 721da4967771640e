"""Messages in memory, and what leaves of them: nothing that another server could take for the end."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_mta.content.encode import DataEncoder
from twisted_mta.content.in_memory import BytesContent
from twisted_mta.interfaces import IMessageContent

SMUGGLING = (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r\n", b"\r\r\n.\r\r\n")
"""What some servers take for the end of a message, and others do not."""


def on_the_wire(content: BytesContent, line_limit: int = 998) -> bytes:
    """All that a server gets, the final dot included."""
    encoder = DataEncoder(line_limit)
    return b"".join([*map(encoder.feed, content.chunks()), encoder.finish(), b".\r\n"])


def received(wire: bytes) -> bytes:
    """What a server makes of it (RFC 5321 section 4.5.2): LF for its line ends."""
    lines = wire.removesuffix(b".\r\n").split(b"\r\n")
    return b"\n".join(line[1:] if line.startswith(b".") else line for line in lines)


class BytesContentTests(SynchronousTestCase):
    """A message in memory."""

    def test_interface(self) -> None:
        """It is an IMessageContent."""
        self.assertTrue(verifyObject(IMessageContent, BytesContent(b"")))

    def test_line_ends(self) -> None:
        """CRLF and LF end lines; a CR elsewhere becomes a space."""
        self.assertEqual(b"".join(BytesContent(b"a\r\nb\nc\rd\r\r\n").chunks()), b"a\nb\nc d \n")

    def test_as_often_as_wanted(self) -> None:
        """It can be read again for the next host."""
        content = BytesContent(b"a\nb")
        self.assertEqual([list(content.chunks()) for _ in range(2)], [[b"a\nb"]] * 2)

    def test_chunks(self) -> None:
        """Chunks end behind lines, unless a line is very long."""
        lines = b"".join(b"%06d\n" % number for number in range(30_000))
        chunks = list(BytesContent(lines).chunks())
        self.assertEqual(b"".join(chunks), lines)
        self.assertGreater(len(chunks), 2)
        self.assertTrue(all(chunk.endswith(b"\n") and len(chunk) <= 65536 for chunk in chunks))
        self.assertEqual([len(chunk) for chunk in BytesContent(b"x" * 100_000).chunks()], [65536, 34464])

    def test_size_and_encoding(self) -> None:
        """Its length is that of its lines with LF; it knows whether all is ASCII."""
        self.assertEqual(len(BytesContent(b"a\r\nb\n")), 4)
        self.assertTrue(BytesContent(b"abc").is_7bit)
        self.assertFalse(BytesContent(b"ab\xe4").is_7bit)


class SmugglingTests(SynchronousTestCase):
    """No content can end its message early, whichever server looks at it."""

    def check(self, octets: bytes, line_limit: int = 998) -> None:
        """Nothing within looks like an end, and no CR or LF stands alone."""
        wire = on_the_wire(BytesContent(octets), line_limit)
        self.assertTrue(wire.endswith(b".\r\n"))
        inside = b"\r\n" + wire.removesuffix(b".\r\n")
        self.assertNotRegex(inside, rb"\r(?!\n)|(?<!\r)\n")
        self.assertNotIn(b"\r\n.\r\n", inside)

    def test_known_sequences(self) -> None:
        """Each of the known ones, at the start, in the middle and at the end."""
        for sequence in SMUGGLING:
            for octets in (
                sequence,
                b"a" + sequence + b"b",
                b"a" + sequence,
                sequence + b"MAIL FROM:<x@y>\r\n",
                sequence * 3,
            ):
                self.check(octets)

    def test_across_chunks(self) -> None:
        """Nor where chunks meet."""
        for sequence in SMUGGLING:
            for shift in range(-4, 5):
                self.check(b"x" * (65536 + shift) + sequence + b"y\n")
                self.check((b"x" * 15 + b"\n") * 4096 + sequence[: shift % 4] + sequence)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\0", b"\xff", b" "]), max_size=40),
        st.sampled_from([0, 5, 998]),
    )
    @example([b"\n", b".", b"\n"], 5)
    def test_any_content(self, pieces: list[bytes], line_limit: int) -> None:
        """Nor with any other content; what arrives is what was sent."""
        octets = b"".join(pieces)
        self.check(octets, line_limit)
        if line_limit != 5:
            sent = re.sub(rb"\r(?!\n)", b" ", octets).replace(b"\r\n", b"\n")
            self.assertEqual(
                received(on_the_wire(BytesContent(octets), line_limit)),
                sent if sent.endswith(b"\n") or not sent else sent + b"\n",
            )
