"""The attribute codec."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.ipc.attributes import (
    AttributeList,
    Decoder,
    IpcError,
    Long,
    encode,
    encode_data,
    expect,
    expect_among,
    read_data,
    read_int,
    read_long,
    read_texts,
)
from twisted_mta.model.request import RequestFlags
from twisted_mta.model.text import to_text, to_wire

names = st.binary(min_size=1, max_size=12).map(lambda octets: octets.replace(b"\0", b"n"))
values = st.binary(max_size=40).map(lambda octets: octets.replace(b"\0", b""))
attribute_lists = st.lists(st.tuples(names, values), max_size=6)


def as_list(pairs: list[tuple[bytes, bytes]]) -> AttributeList:
    """What a Decoder should find."""
    return AttributeList(tuple(name for name, _ in pairs), tuple(value for _, value in pairs))


def on_wire(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Encode pairs whose names are bytes too."""
    return encode([(to_text(name), value) for name, value in pairs])


class EncodeTests(SynchronousTestCase):
    def test_greeting(self) -> None:
        """The greeting of a delivery agent has 36 octets."""
        wire = encode([("protocol", "delivery_request_protocol")])
        self.assertEqual(wire, b"protocol\0delivery_request_protocol\0\0")
        self.assertEqual(len(wire), 36)

    def test_empty_list(self) -> None:
        """A list of nothing is its terminator."""
        self.assertEqual(encode([]), b"\0")

    def test_int_is_unsigned_32(self) -> None:
        """A negative int is sent as its 32 bits."""
        self.assertEqual(encode([("status", -1)]), b"status\x004294967295\0\0")

    def test_long_is_unsigned_64(self) -> None:
        """A negative Long is sent as its 64 bits."""
        self.assertEqual(encode([("offset", Long(-1))]), b"offset\x0018446744073709551615\0\0")

    def test_flags_are_ints(self) -> None:
        """An enum's number is what is sent."""
        self.assertEqual(encode([("flags", RequestFlags.SUCCESS | RequestFlags.BOUNCE)]), b"flags\x003\0\0")

    def test_odd_bytes_survive(self) -> None:
        """Text that was not UTF-8 leaves as it came."""
        self.assertEqual(encode([("a", to_text(b"\xff\xc3\xa9"))]), b"a\0\xff\xc3\xa9\0\0")

    def test_refuses_what_cannot_be_sent(self) -> None:
        """NUL, a nameless attribute, a number too large and half a character pair are errors that name the attribute."""
        for pair, culprit in [
            (("reason", "a\0b"), "reason"),
            (("data", b"a\0b"), "data"),
            (("", "x"), "name"),
            (("size", 1 << 32), "size"),
            (("size", -(1 << 31) - 1), "size"),
            (("offset", Long(1 << 64)), "offset"),
            (("reason", "\ud800"), "reason"),
        ]:
            error = self.assertRaises(IpcError, encode, [pair])
            self.assertIn(culprit, str(error))


class DecoderTests(SynchronousTestCase):
    def test_empty_values_are_no_terminators(self) -> None:
        """An empty value looks like a terminator, but for its place."""
        self.assertEqual(Decoder().feed(b"status\0\0reason\0\0\0"), [AttributeList((b"status", b"reason"), (b"", b""))])

    def test_names_repeat(self) -> None:
        """The same name may occur twice, in order."""
        (found,) = Decoder().feed(b"status\x004.4.1\0status\x001\0\0")
        self.assertEqual(list(found.pairs()), [(b"status", b"4.4.1"), (b"status", b"1")])

    def test_several_lists_at_once(self) -> None:
        """Lists that arrive together come out one by one, and the beginning of another is kept."""
        decoder = Decoder()
        lists = decoder.feed(b"a\x001\0\0\0b\x002\0\0c\x003")
        self.assertEqual([found.names for found in lists], [(b"a",), (), (b"b",)])
        self.assertEqual(decoder.unfinished, 3)
        self.assertEqual(decoder.feed(b"4\0\0"), [AttributeList((b"c",), (b"34",))])
        self.assertEqual(decoder.unfinished, 0)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(attribute_lists, max_size=4), st.lists(st.integers(0, 400), max_size=5))
    def test_round_trip_however_cut(self, lists: list[list[tuple[bytes, bytes]]], cuts: list[int]) -> None:
        """Lists come out as they went in, whole, cut anywhere, or octet by octet."""
        wire = b"".join(map(on_wire, lists))
        expected = [as_list(pairs) for pairs in lists]
        edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
        pieces = [wire[start:end] for start, end in pairwise(edges)]
        for stream in ([wire], pieces, [wire[i : i + 1] for i in range(len(wire))]):
            decoder = Decoder()
            self.assertEqual([found for piece in stream for found in decoder.feed(piece)], expected)
            self.assertEqual(decoder.unfinished, 0)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_junk_is_an_ipc_error_at_worst(self, pieces: list[bytes]) -> None:
        """Whatever comes, the decoder and the readers raise nothing but IpcError."""
        decoder = Decoder(longest_value=20, longest_list=50)
        try:
            for piece in pieces:
                for found in decoder.feed(piece):
                    expect_among(found, found.names)
                    read_texts(found.values)
                    for value in found.values:
                        read_int(value, "a")
                        read_long(value, "a")
                        read_data(value, "a")
        except IpcError:
            pass

    def test_value_too_long(self) -> None:
        """A value beyond the limit is refused and the attribute named, whole or cut, finished or not."""
        for stream in ([b"sender\0" + b"x" * 11 + b"\0"], [b"sender\0", b"x" * 11], [b"sender\0xxxxx", b"xxxxxx"]):
            decoder = Decoder(longest_value=10)
            error = self.assertRaises(IpcError, lambda d=decoder, s=stream: [d.feed(piece) for piece in s])
            self.assertIn('"sender": longer than 10', str(error))

    def test_longest_value_is_allowed(self) -> None:
        """A value as long as the limit is fine."""
        self.assertEqual(len(Decoder(longest_value=10).feed(b"sender\0" + b"x" * 10 + b"\0\0")), 1)

    def test_list_too_long(self) -> None:
        """A list beyond the limit is refused, at the same length whole and octet by octet."""
        for count, fits in ((6, True), (7, False)):
            wire = b"ab\0cd\0" * count + b"\0"
            for stream in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
                decoder = Decoder(longest_list=40)
                if fits:
                    self.assertEqual(sum(len(decoder.feed(piece)) for piece in stream), 1)
                else:
                    error = self.assertRaises(IpcError, lambda d=decoder, s=stream: [d.feed(piece) for piece in s])
                    self.assertIn("list", str(error))

    def test_many_short_lists_are_no_long_list(self) -> None:
        """The limit is that of one list, not of what arrives together."""
        self.assertEqual(len(Decoder(longest_value=10, longest_list=20).feed(b"a\x001\0\0" * 1000)), 1000)


class ReaderTests(SynchronousTestCase):
    FOUND = AttributeList((b"status", b"value", b"status"), (b"0", b"x", b"1"))

    def test_expect(self) -> None:
        """The values of exactly the wanted attributes."""
        self.assertEqual(expect(self.FOUND, (b"status", b"value", b"status")), (b"0", b"x", b"1"))

    def test_expect_names_the_culprit(self) -> None:
        """A missing, a wrong and a surplus attribute are told apart."""
        for wanted, text in [
            ((b"status", b"value", b"status", b"flags"), 'attribute "flags" is missing'),
            ((b"status", b"flags"), 'attribute "value" stands where "flags" belongs'),
            ((b"status", b"value"), 'unexpected attribute "status"'),
        ]:
            error = self.assertRaises(IpcError, expect, self.FOUND, wanted)
            self.assertEqual(str(error), text)

    def test_expect_among(self) -> None:
        """Unknown attributes are skipped, a missing one is an error."""
        self.assertEqual(expect_among(self.FOUND, (b"value", b"status")), (b"x", b"1"))
        error = self.assertRaises(IpcError, expect_among, self.FOUND, (b"value", b"value"))
        self.assertEqual(str(error), 'attribute "value" is missing')

    def test_numbers(self) -> None:
        """Signs, leading blanks and both forms of negative numbers are read."""
        for wire, number in [
            (b"0", 0),
            (b"-1", -1),
            (b"4294967295", -1),
            (b"2147483647", 2147483647),
            (b"2147483648", -2147483648),
            (b" \t+12", 12),
        ]:
            self.assertEqual(read_int(wire, "n"), number)
        for wire, number in [
            (b"4294967295", 4294967295),
            (b"18446744073709551615", -1),
            (b"9223372036854775808", -(1 << 63)),
            (b"-1", -1),
        ]:
            self.assertEqual(read_long(wire, "n"), number)

    def test_bad_numbers(self) -> None:
        """Anything else is refused by the name of the attribute."""
        for wire in (b"", b" ", b"1 ", b"1x", b"0x10", b"1_0", b"--1", b"4294967296", b"-2147483649", b"9" * 5000):
            error = self.assertRaises(IpcError, read_int, wire, "recipient_count")
            self.assertIn("recipient_count", str(error))

    @settings(deadline=None, max_examples=60)
    @given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1))
    def test_numbers_round_trip(self, number: int, long: int) -> None:
        """A number comes back as it was sent."""
        (found,) = Decoder().feed(encode([("a", number), ("b", Long(long))]))
        self.assertEqual((read_int(found.values[0], "a"), read_long(found.values[1], "b")), (number, long))

    @settings(deadline=None, max_examples=30)
    @given(st.binary(max_size=40))
    def test_data_round_trips(self, octets: bytes) -> None:
        """Binary data comes back as it was sent."""
        self.assertEqual(read_data(encode_data(octets), "a"), octets)

    def test_bad_data(self) -> None:
        """What is not base64 is refused by the name of the attribute."""
        for wire in (b"abc", b"ab=c", b"a b=", b"====", b"\xff\xff\xff\xff"):
            self.assertIn("time", str(self.assertRaises(IpcError, read_data, wire, "time")))

    @settings(deadline=None, max_examples=30)
    @given(st.lists(values, min_size=1, max_size=6))
    def test_texts(self, octets: list[bytes]) -> None:
        """All values become text at once, each as it would alone."""
        self.assertEqual(read_texts(tuple(octets)), [to_text(value) for value in octets])
        self.assertEqual([to_wire(text) for text in read_texts(tuple(octets))], octets)
