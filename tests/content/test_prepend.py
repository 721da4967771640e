"""Tests of twisted_mta.content.prepend."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_mta.content.in_memory import BytesContent
from twisted_mta.content.prepend import PrependedContent, earlier_recipients, header
from twisted_mta.interfaces import IMessageContent


def found(*chunks: bytes) -> frozenset[str]:
    """The earlier recipients of a message."""
    return earlier_recipients(chunks, str.lower)


class PrependTests(SynchronousTestCase):
    """Headers in front of a message."""

    def test_header(self) -> None:
        """A header is one line, whatever the address holds."""
        self.assertEqual(header("Return-Path", "<>"), b"Return-Path: <>\n")
        self.assertEqual(header("X", "a\r\nEvil: b\udce4"), b"X: a  Evil: b\xe4\n")

    def test_content(self) -> None:
        """The headers come first, as often as the message is read."""
        content = PrependedContent(b"A: 1\n", BytesContent(b"B: 2\n\nx"))
        self.assertEqual(list(content.chunks()), [b"A: 1\n", b"B: 2\n\nx"])
        self.assertEqual(list(content.chunks()), [b"A: 1\n", b"B: 2\n\nx"])
        self.assertTrue(verifyObject(IMessageContent, content))


class EarlierRecipientTests(SynchronousTestCase):
    """Delivered-To headers (RFC 9228)."""

    def test_values(self) -> None:
        """The name is found in any case, the value is folded as a whole."""
        text = b"A: 1\nDelivered-To: A@B\ndelivered-TO \t:\t c@D \nDelivered-To:e\n\n"
        self.assertEqual(found(text), {"a@b", "c@d ", "e"})

    def test_only_headers(self) -> None:
        """What follows the headers does not count."""
        self.assertEqual(found(b"A: 1\n folded\nDelivered-To: a\n\nDelivered-To: b\n"), {"a"})
        self.assertEqual(found(b"no header\nDelivered-To: b\n"), set())
        self.assertEqual(found(b" led by a blank\nDelivered-To: b\n"), {"b"})

    def test_lines_in_pieces(self) -> None:
        """What goes on with a line does not count, and a line that goes on counts as far as it is there."""
        self.assertEqual(found(b"A: 1", b"Delivered-To: a\nDelivered-To: b", b"c\nno header\nDelivered-To: d"), {"b"})
        self.assertEqual(found(b"A: 1", b"x", b"y\nDelivered-To: a\n"), {"a"})

    def test_limit(self) -> None:
        """No more than 1000 values are kept."""
        self.assertEqual(len(found(b"".join(b"Delivered-To: %d\n" % number for number in range(2000)))), 1000)

    def test_no_more_is_read_than_needed(self) -> None:
        """The body is not read."""
        read: list[int] = []

        def chunks() -> object:
            for number in range(10):
                read.append(number)
                yield b"A: 1\n" if number < 3 else b"\nbody\n"

        earlier_recipients(chunks(), str.lower)  # type: ignore[arg-type] # a generator is an iterable
        self.assertEqual(len(read), 4)
