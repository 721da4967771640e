"""Reading replies: lines, codes, enhanced statuses, limits, and whatever hostile servers say."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.smtp.reply import (
    EndlessLine,
    GarbageLine,
    LineReader,
    OverlongLine,
    OverlongReply,
    Reply,
    ReplyAssembler,
    Trouble,
    enhanced_status,
    plain_replies,
)

Read = Reply | Trouble


def read(*pieces: bytes, limit: int = 2048, utf8: bool = True) -> list[Read]:
    """All replies, and all trouble, in the order in which a session gets to know of them."""
    lines, assembler = LineReader(limit, utf8=utf8), ReplyAssembler(limit)
    found: list[Read] = []
    for piece in pieces:
        for item in lines.feed(piece):
            taken = assembler.add(item) if isinstance(item, str) else (item,)
            found += taken
    return found


def one(data: bytes, *, utf8: bool = True) -> Reply:
    """The reply that these octets are."""
    replies = [item for item in read(data, utf8=utf8) if isinstance(item, Reply)]
    assert len(replies) == 1, replies
    return replies[0]


class EnhancedStatusTests(SynchronousTestCase):
    """The enhanced status of a reply (RFC 2034 section 4), as the last line has it."""

    def test_own_class_counts(self) -> None:
        """A status counts if its first digit is that of the code; otherwise the code stands in for it."""
        for line, status in {
            "250 2.1.5 ok": "2.1.5",
            "450 4.2.0 later": "4.2.0",
            "550 5.1.1 no": "5.1.1",
            "550 4.2.2 x": "5.0.0",
            "251 4.1.1 x": "2.0.0",
            "550 2.1.0 x": "5.0.0",
            "550 9.9.9 x": "5.0.0",
        }.items():
            self.assertEqual(enhanced_status(line), status, line)

    def test_form(self) -> None:
        """Three numbers of one to three digits behind the first, then a space or the end."""
        for line, status in {
            "550 5.7.2": "5.7.2",
            "550   5.7.2  x": "5.7.2",
            "550 5.123.456 x": "5.123.456",
            "550 5.1.1-x": "5.0.0",
            "550 5.1.1000 x": "5.0.0",
            "550 5.7 x": "5.0.0",
            "550 5." + "1" * 1000 + ".1 x": "5.0.0",
            "550 5.1.10?text": "5.0.0",
            "550 5.1.1\u00a0x": "5.0.0",
            "550 x 5.1.1": "5.0.0",
            "550 ": "5.0.0",
            "550": "5.0.0",
            "250": "2.0.0",
        }.items():
            self.assertEqual(enhanced_status(line), status, line)

    def test_codes_without_class(self) -> None:
        """A code that neither grants nor refuses is a permanent failure, whatever it calls itself."""
        for line in ("354 go", "150 5.1.1 x", "650 5.1.1 x", "050 x", "999 x", "354"):
            self.assertEqual(enhanced_status(line), "5.5.0", line)

    def test_nothing_is_left_over(self) -> None:
        """The status of one reply never shows in the next one."""
        replies = read(b"550 5.1.1 no\r\n550 no\r\n")
        self.assertEqual([reply.status for reply in replies if isinstance(reply, Reply)], ["5.1.1", "5.0.0"])


class ReplyTests(SynchronousTestCase):
    """What is a reply (RFC 5321 section 4.2)."""

    def test_one_line(self) -> None:
        """Code, status and text; the text has all of the line."""
        self.assertEqual(one(b"250 2.1.0 Ok\r\n"), Reply(250, "2.1.0", "250 2.1.0 Ok"))

    def test_bare_code(self) -> None:
        """A line may be nothing but a code."""
        self.assertEqual(one(b"250\r\n"), Reply(250, "2.0.0", "250"))

    def test_last_line_decides(self) -> None:
        """Code and status of earlier lines mean nothing; their text is kept."""
        reply = one(b"250-2.1.0 a\r\n450-x\r\n550 5.1.1 b\r\n")
        self.assertEqual(reply, Reply(550, "5.1.1", "250-2.1.0 a\n450-x\n550 5.1.1 b"))
        self.assertEqual(reply.one_line, "250-2.1.0 a 450-x 550 5.1.1 b")

    def test_garbage_lines(self) -> None:
        """What is no reply line postpones the reply, stays in its text, and is told."""
        for line in ("2500 x", "25 x", "250+x", "ok", "25O x", "-250 x", " 250 x"):
            found = read(line.encode() + b"\r\n250 2.0.0 ok\r\n")
            self.assertEqual(
                found, [GarbageLine(line), Reply(250, "2.0.0", f"{line}\n250 2.0.0 ok", garbled=True)], line
            )

    def test_empty_lines(self) -> None:
        """An empty line is garbage, too; before the first text it leaves no trace in that."""
        found = read(b"\r\n\r\n550-a\r\n\r\n550 5.1.1 none\r\n")
        self.assertEqual(found[:3], [GarbageLine("")] * 3)
        self.assertEqual(found[3], Reply(550, "5.1.1", "550-a\n\n550 5.1.1 none", garbled=True))

    def test_garbled_once(self) -> None:
        """The next reply is not blamed for the garbage before this one."""
        found = read(b"what?\r\n250 a\r\n250 b\r\n")
        self.assertEqual([reply.garbled for reply in found if isinstance(reply, Reply)], [True, False])

    def test_line_ends(self) -> None:
        """LF ends a line, with any number of CR before it; a CR elsewhere is no end."""
        self.assertEqual(
            [reply.text for reply in read(b"250 a\n250 b\r\n250 c\r\r\r\n250 d\r250 e\n") if isinstance(reply, Reply)],
            ["250 a", "250 b", "250 c", "250 d?250 e"],
        )

    def test_unfinished_line(self) -> None:
        """A line counts when its end has come."""
        lines = LineReader()
        self.assertEqual(lines.feed(b"250 o"), [])
        self.assertTrue(lines.has_leftover)
        self.assertEqual(lines.feed(b"k\r\n"), ["250 ok"])
        self.assertFalse(lines.has_leftover)

    def test_null_character(self) -> None:
        """A NUL ends what is seen of a line."""
        self.assertEqual(one(b"250 2.0.0 ok\0 or not\r\n").text, "250 2.0.0 ok")
        self.assertEqual(read(b"\x00250 ok\r\n"), [GarbageLine("")])

    def test_censored(self) -> None:
        """Control characters become question marks, a TAB too, before anything is made of the line."""
        self.assertEqual(one(b"550 5.1.10\tx\x1b[31m\x7f\r\n"), Reply(550, "5.0.0", "550 5.1.10?x?[31m?"))

    def test_utf8(self) -> None:
        """Valid UTF-8 stays, octets that are not become question marks, one each."""
        self.assertEqual(one("550 für\r\n".encode()).text, "550 für")
        self.assertEqual(one(b"550 \xff\xc3\x28 \xe2\x82 x\r\n").text, "550 ??( ?? x")
        self.assertEqual(one("550 ü\x01\r\n".encode()).text, "550 ü?")

    def test_without_utf8(self) -> None:
        """With smtputf8_enable = no only ASCII stays."""
        self.assertEqual(one("550 für\r\n".encode(), utf8=False).text, "550 f??r")

    def test_classes(self) -> None:
        """2xx grants, 3xx wants more."""
        self.assertTrue(one(b"299 x\r\n").is_positive)
        self.assertFalse(one(b"300 x\r\n").is_positive)
        self.assertTrue(one(b"399 x\r\n").is_intermediate)
        self.assertFalse(one(b"400 x\r\n").is_intermediate)

    def test_client_errors(self) -> None:
        """Codes that blame the client, and codes that make no sense as a refusal."""
        suspicious = [
            code for code in (250, 354, 421, 450, 499, 500, 503, 509, 510, 550, 554, 555, 556, 599, 600)
            if Reply(code, "5.0.0", "").smells_of_client_error
        ]  # fmt: skip
        self.assertEqual(suspicious, [250, 354, 500, 503, 509, 555, 600])


class LimitTests(SynchronousTestCase):
    """Lines and replies that do not end when they should (postconf(5) line_length_limit)."""

    def test_longest_line(self) -> None:
        """2047 octets and CRLF are no trouble."""
        line = b"250 " + b"x" * 2043
        self.assertEqual(read(line + b"\r\n"), [Reply(250, "2.0.0", line.decode())])
        self.assertEqual(read(line + b"\n"), [Reply(250, "2.0.0", line.decode())])

    def test_longer_line(self) -> None:
        """From 2048 on a line is cut to the limit; it is used all the same."""
        for octets in (2048, 2049, 4094):
            line = b"250 2.0.0 " + b"x" * (octets - 10)
            self.assertEqual(
                read(line + b"\r\n"),
                [OverlongLine("250 2.0.0 " + "x" * 20), Reply(250, "2.0.0", line[:2048].decode())],
                octets,
            )

    def test_octets_count(self) -> None:
        """Limits are octets, whatever characters they make; so is what the log shows, which may end within one."""
        found = read(b"250 2.0.0 x" + "ä".encode() * 1020 + b"\r\n")
        self.assertEqual(found[0], OverlongLine("250 2.0.0 x" + "ä" * 9 + "\udcc3"))
        first = "550-" + "ä" * 600
        found = read(f"{first}\r\n{first}\r\n550 5.1.1 x\r\n".encode())
        self.assertEqual(found, [OverlongReply("550-" + "ä" * 13), Reply(550, "5.1.1", f"{first}\n{first}")])

    def test_endless_line(self) -> None:
        """Beyond twice the limit nothing more is read; what was, counts."""
        found = read(b"250 " + b"x" * 5000 + b"\r\n250 next\r\n")
        self.assertEqual(found[:2], [EndlessLine(), OverlongLine("250 " + "x" * 26)])
        self.assertEqual(found[2:], [Reply(250, "2.0.0", "250 " + "x" * 2044)])

    def test_endless_octets_are_not_kept(self) -> None:
        """However much comes without a line end, no more than twice the limit stays."""
        lines = LineReader(100)
        self.assertEqual(len(lines.feed(b"x" * 1_000_000)), 3)
        self.assertFalse(lines.has_leftover)
        self.assertEqual(lines.feed(b"250 ok\r\n"), [])

    def test_text_of_a_long_reply(self) -> None:
        """As long as the text is shorter than the limit the next line is taken; then lines are dropped, and it is told once."""
        first = b"550-a\r\n550-" + b"a" * 2037
        found = read(first + b"\r\n550-5.1.1 b\r\n550-c\r\n550 5.1.1 d\r\n")
        self.assertEqual(found[0], OverlongReply("550-a\n550-" + "a" * 20))
        self.assertEqual(
            found[1:], [Reply(550, "5.1.1", first.decode().replace("\r", "") + "\n550-5.1.1 b")], "2047 is not yet 2048"
        )
        found = read(first + b"a\r\n550-5.1.1 b\r\n550 5.1.1 d\r\n")
        self.assertEqual(found[1:], [Reply(550, "5.1.1", first.decode().replace("\r", "") + "a")])
        found = read(first + b"a\r\n550 5.1.1 d\r\n")
        self.assertEqual(
            [type(item) for item in found], [OverlongReply, Reply], "the last line may be the first dropped"
        )

    def test_many_keywords(self) -> None:
        """20,000 lines of an EHLO reply are no reason to leave; what fits into the text counts."""
        lines = b"".join(b"250-X-KEYWORD-%05d %b\r\n" % (number, b"y" * 30) for number in range(20_000))
        found = read(b"250-mx\r\n" + lines + b"250 DSN\r\n")
        self.assertEqual([type(item) for item in found], [OverlongReply, Reply])
        reply = found[-1]
        assert isinstance(reply, Reply)
        self.assertEqual(reply.code, 250)
        self.assertLess(len(reply.text), 2 * 2048)

    def test_endless_reply(self) -> None:
        """A reply that goes on and on is given up."""
        found = read(*[b"220-more\r\n" * 1000] * 200)
        self.assertEqual(found[0], OverlongReply("220-more\n220-more\n220-more\n220"))
        self.assertEqual(set(found[1:]), {EndlessLine()})

    def test_nothing_behind_what_has_no_end(self) -> None:
        """Behind that nothing counts any more, as if it had come later, when nobody listens."""
        for lines in (["hm"] * 101, ["250-" + "x" * 1000] * 2000):
            assembler = ReplyAssembler()
            taken = [assembler.add(line) for line in [*lines, "250 ok", "220 x"]]
            self.assertEqual(taken[-3:], [(EndlessLine(),)] * 3)

    def test_endless_garbage(self) -> None:
        """So is a reply of nothing but garbage, long before that: each of its lines makes log lines."""
        found = read(b"x\r\n" * 10_000)
        self.assertEqual(found.count(GarbageLine("x")), 100)
        self.assertEqual(set(found[100:]), {EndlessLine()})


OCTETS = st.binary(max_size=60)
PIECES = st.lists(
    st.one_of(
        OCTETS,
        st.sampled_from([b"250 ok\r\n", b"250-", b"550 5.1.1 x\r\n", b"\n", b"\r\n", b"354\r\n", b"\0", "ü".encode()]),
        st.integers(1, 40).map(lambda count: b"2" * count),
    ),
    max_size=25,
)


class AnyInputTests(SynchronousTestCase):
    """Whatever comes, however it comes."""

    @settings(max_examples=150, deadline=None)
    @given(PIECES, st.data())
    def test_splits(self, pieces: list[bytes], data: st.DataObject) -> None:
        """The same octets give the same, whole, octet by octet, or split at random."""
        octets = b"".join(pieces)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
        split = [octets[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
        whole = read(octets, limit=32)
        self.assertEqual(read(*(bytes([octet]) for octet in octets), limit=32), whole)
        self.assertEqual(read(*split, limit=32), whole)

    @settings(max_examples=150, deadline=None)
    @given(PIECES, st.booleans())
    def test_junk(self, pieces: list[bytes], utf8: bool) -> None:
        """Nothing makes the reader fail; what it gives is clean and within its limits."""
        for item in read(*pieces, limit=32, utf8=utf8):
            if isinstance(item, Reply):
                self.assertRegex(item.status, r"\A[245]\.\d{1,3}\.\d{1,3}\Z")
                self.assertLessEqual(len(item.text), 2 * 32)
                self.assertNotRegex(item.text, r"[\x00-\x09\x0b-\x1f\x7f]")
                self.assertTrue(0 <= item.code <= 999)


class PlainReplyTests(SynchronousTestCase):
    """The short way gives what the long way gives, or nothing."""

    def test_replies(self) -> None:
        """Several replies of one and of more lines, in one piece."""
        data = b"250-mx.example\r\n250-SIZE 100\r\n250 DSN\r\n354\r\n550 5.1.1 no\r\n"
        self.assertEqual(plain_replies(data), read(data))

    def test_only_plain_ones(self) -> None:
        """Whatever is not plain is left to the long way."""
        for data in (
            b"",
            b"250 ok",
            b"250 ok\n",
            b"250-ok\r\n",
            b"250 ok\r\nwhat\r\n",
            b"250 a\tb\r\n",
            b"2500 x\r\n",
            b"250+x\r\n",
            b"250 \xc3\xa9\r\n",
            b"250 " + b"x" * 2043 + b"\r\n",
        ):
            self.assertIsNone(plain_replies(data), data)

    @given(
        st.lists(st.sampled_from([b"250", b"550", b"99", b"-", b" ", b"x", b"5.1.1", b"\r\n", b"\n", b"\t", b"\xff"]))
    )
    def test_same_as_the_long_way(self, pieces: list[bytes]) -> None:
        """Where there is a short way, it leads to the same place."""
        data = b"".join(pieces)
        replies = plain_replies(data)
        if replies is not None:
            self.assertEqual(replies, read(data))
