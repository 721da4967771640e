"""Readers of replies: however a reply is cut, and whatever it is."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tables.memcache import GetReader
from twisted_mta.tables.reading import AskingError, LineReader, MalformedReplyError, NetstringReader, ReplyReader
from twisted_mta.tables.tcp import quote, read_reply, unquote


def bytewise(reader: ReplyReader[object], data: bytes) -> object:
    """Feed byte by byte; gives the last that came of it."""
    found = None
    for at in range(len(data)):
        found = reader.feed(data[at : at + 1])
    return found


class ReaderTests(SynchronousTestCase):
    def test_netstrings(self) -> None:
        """A netstring, whole or cut, with zeros in front."""
        for data, wanted in [(b"3:abc,", b"abc"), (b"0:,", b""), (b"003:a,c,", b"a,c")]:
            self.assertEqual(NetstringReader(10).feed(data), wanted)
            self.assertEqual(bytewise(NetstringReader(10), data), wanted)

    def test_bad_netstrings(self) -> None:
        """What is too long is refused before it comes, what is malformed as soon as that shows."""
        for data, problem in [
            (b"11:", "input exceeds size limit"),
            (b"99999999999999999999", "input exceeds size limit"),
            (b"00000000000000000", "input exceeds size limit"),
            (b"x", "input format error"),
            (b":", "input format error"),
            (b"-1:", "input format error"),
            (b"3:abc;", "input format error"),
            (b"3:abc,more", "input format error"),
        ]:
            with self.assertRaises(MalformedReplyError) as caught:
                NetstringReader(10).feed(data)
            self.assertEqual(caught.exception.problem, problem)

    def test_lines(self) -> None:
        """A line, its end counted; nothing may come behind it."""
        self.assertEqual(bytewise(LineReader(4, "long"), b"abc\n"), b"abc")
        for data in [b"abcd\n", b"abcde", b"a\nb"]:
            with self.assertRaises(MalformedReplyError):
                LineReader(4, "long").feed(data)

    def test_memcache(self) -> None:
        """A value or none, cut anywhere."""
        for data, wanted in [
            (b"END\r\n", (None,)),
            (b"VALUE k 0 3\r\nabc\r\nEND\r\n", (b"abc",)),
            (b"VALUE k 7 0 99\r\n\r\nEND\r\n", (b"",)),
            (b"VALUE k 0 5\r\nEND\r\n\r\nEND\r\n", (b"END\r\n",)),
        ]:
            self.assertEqual(GetReader(100, 10).feed(data), wanted)
            self.assertEqual(bytewise(GetReader(100, 10), data), wanted)

    def test_bad_memcache(self) -> None:
        """Errors, values that are too long or longer than announced."""
        for data in [b"ERROR\r\n", b"VALUE k 0 11\r\n", b"VALUE k 0 x\r\n", b"VALUE k 0 3\r\nabcd\r\n", b"x" * 101]:
            with self.assertRaises(MalformedReplyError):
                GetReader(100, 10).feed(data)

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=60), st.integers(0, 60))
    def test_any_octets(self, data: bytes, cut: int) -> None:
        """Any octets, cut anywhere, are a reply, the beginning of one, or an AskingError."""
        for reader in (NetstringReader(20), LineReader(20, "long"), GetReader(20, 20)):
            try:
                if reader.feed(data[:cut]) is None:
                    reader.feed(data[cut:])
            except AskingError as error:
                self.assertTrue(error.problem)


class TcpFormTests(SynchronousTestCase):
    def test_quote(self) -> None:
        """Blanks, percent signs and all that is not printable ASCII are encoded."""
        self.assertEqual(quote("Foo bar%é\t~!"), b"Foo%20bar%25%C3%A9%09~!")

    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=30))
    def test_round_trip(self, text: str) -> None:
        """What is encoded can be decoded."""
        self.assertEqual(unquote(quote(text)), text.encode())

    def test_replies(self) -> None:
        """The first digit counts; the text may be anything."""
        for line, wanted in [
            (b"200 a%41%0ab\r", "aA\nb\r"),
            (b"299\tx", "x"),
            (b"200 ", ""),
            (b"500 x", None),
        ]:
            self.assertEqual(read_reply(line), wanted)

    def test_bad_replies(self) -> None:
        """What is no reply is told; what the server says itself is not."""
        for line, problem in [
            (b"200", "malformed reply: 200"),
            (b"200x", "malformed reply: 200x"),
            (b"20a x", "malformed reply: 20a x"),
            (b"200 %4", "malformed reply: 200 %4"),
            (b"300 x", "bad status code: 300 x"),
            (b"400 x", ""),
        ]:
            with self.assertRaises(AskingError) as caught:
                read_reply(line)
            self.assertEqual(caught.exception.problem, problem)
