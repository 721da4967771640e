"""Tests of twisted_mta.content.scanner; what smtp(8) does was observed."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.content.driving import Record, chunks, lines
from twisted_mta.content.failures import ContentFailedError
from twisted_mta.content.scanner import Body, Header, Part, Scanner, ScannerLimits

LIMITS = ScannerLimits()
MIXED = b"Content-Type: multipart/mixed; boundary=b1\n\n"

Told = list[tuple[str, bytes]]


def told(parts: list[Part]) -> Told:
    """Parts as pairs: the block of a header (``added`` if it was made), or ``body`` or ``8bit``; neighbours are joined."""
    pairs: Told = []
    for part in parts:
        if isinstance(part, Header):
            pairs.append(("added" if part.is_added else part.block.name, part.text))
            continue
        kind = "8bit" if part.convert else "body"
        if pairs and pairs[-1][0] == kind:
            pairs[-1] = kind, pairs[-1][1] + part.data
        else:
            pairs.append((kind, part.data))
    return pairs


def scanned(
    content: bytes | list[Record] | list[bytes],
    limits: ScannerLimits = LIMITS,
    *,
    mime: bool = True,
    convert: bool = False,
) -> Told:
    """What a scanner makes of a message."""
    if isinstance(content, bytes):
        given_chunks = [content] if content else []
    else:
        given_chunks = [item if isinstance(item, bytes) else chunks([item])[0] for item in content]
    scanner = Scanner(limits, mime=mime, convert=convert)
    parts = [part for chunk in given_chunks for part in scanner.feed(chunk)]
    return told([*parts, *scanner.finish()])


class HeaderTests(SynchronousTestCase):
    """The primary headers."""

    def test_headers_and_body(self) -> None:
        """Headers end at an empty line."""
        self.assertEqual(
            scanned(b"A: 1\nB:\n\nbody\n"), [("PRIMARY", b"A: 1"), ("PRIMARY", b"B:"), ("body", b"\nbody\n")]
        )

    def test_folded_headers(self) -> None:
        """A line that begins with a blank goes on with a header."""
        self.assertEqual(scanned(b"A: 1\n\t2\n 3\nB: 4\n"), [("PRIMARY", b"A: 1\n\t2\n 3"), ("PRIMARY", b"B: 4")])

    def test_blanks_before_the_colon(self) -> None:
        """They go."""
        self.assertEqual(scanned(b"A \t : 1\n"), [("PRIMARY", b"A: 1")])

    def test_line_in_several_records(self) -> None:
        """A record behind an unfinished one goes on with its line."""
        records = [("L", b"A: 1"), ("L", b"2"), ("N", b" 3"), ("N", b" 4"), ("N", b""), ("L", b"bo"), ("N", b"dy")]
        self.assertEqual(scanned(records), [("PRIMARY", b"A: 12 3\n 4"), ("body", b"\nbody\n")])

    def test_no_headers(self) -> None:
        """A message that begins with something else gets an empty line first."""
        for text in (b" leading\nA: 1\n", b"From me\n", b":x\n", b"A\xe4: 1\n", b"A\n"):
            self.assertEqual(scanned(text), [("body", b"\n" + text)])

    def test_headers_end_without_empty_line(self) -> None:
        """There is one afterwards."""
        self.assertEqual(scanned(b"A: 1\nno header\nB: 2\n"), [("PRIMARY", b"A: 1"), ("body", b"\nno header\nB: 2\n")])

    def test_nothing(self) -> None:
        """There may be neither headers nor body."""
        self.assertEqual(scanned(b""), [])
        self.assertEqual(scanned(b"\n"), [("body", b"\n")])

    def test_nul(self) -> None:
        """A line of a header ends at a NUL; one of the body does not."""
        self.assertEqual(scanned(b"A: 1\0x\n 2\0y\n\nbo\0dy\n"), [("PRIMARY", b"A: 1\n 2"), ("body", b"\nbo\0dy\n")])

    def test_size_limit(self) -> None:
        """A header that has reached header_size_limit gets no further lines; those that follow it do."""
        limits = ScannerLimits(header_octets=10)
        text = b"A: 12345\n 67890\n more\n more\nB: 2\n"
        self.assertEqual(scanned(text, limits), [("PRIMARY", b"A: 12345\n 67890"), ("PRIMARY", b"B: 2")])
        self.assertEqual(scanned(b"A: 1234567890\n more\n", limits), [("PRIMARY", b"A: 1234567890")])

    def test_unfinished_last_line(self) -> None:
        """The last line gets an end."""
        self.assertEqual(scanned([("N", b"A: 1"), ("N", b""), ("L", b"x")]), [("PRIMARY", b"A: 1"), ("body", b"\nx\n")])
        self.assertEqual(scanned([("L", b"A: 1")]), [("PRIMARY", b"A: 1")])

    def test_without_mime(self) -> None:
        """All behind the primary headers is body."""
        text = b"--b1\nX: 1\n\n--b1--\n"
        self.assertEqual(scanned(MIXED + text, mime=False), [("PRIMARY", MIXED[:-2]), ("body", b"\n" + text)])


class PartTests(SynchronousTestCase):
    """Messages with parts (RFC 2046 section 5)."""

    def test_parts(self) -> None:
        """A boundary begins the headers of a part; behind the last one everything is body."""
        text = MIXED + b"prolog\n--b1\nX: 1\n\none\n--b1junk\n\ntwo\n--b1--\nepilog\n--b1\nX: 2\n"
        self.assertEqual(
            scanned(text)[1:],
            [
                ("body", b"\nprolog\n--b1\n"),
                ("PART", b"X: 1"),
                ("body", b"\none\n--b1junk\n\ntwo\n--b1--\nepilog\n--b1\nX: 2\n"),
            ],
        )

    def test_part_without_empty_line(self) -> None:
        """What is no header begins the body, with no line in between; a boundary there still counts."""
        text = MIXED + b"--b1\nX: 1\nbody\n--b1\n--b1\nX: 2\n"
        self.assertEqual(
            scanned(text)[1:],
            [("body", b"\n--b1\n"), ("PART", b"X: 1"), ("body", b"body\n--b1\n--b1\n"), ("PART", b"X: 2")],
        )

    def test_nested_multiparts(self) -> None:
        """The boundary of an outer multipart ends the inner one."""
        inner = b"Content-Type: multipart/mixed; boundary=b2"
        text = MIXED + b"--b1\n" + inner + b"\n\n--b2\nX: 1\n\n--b1\nX: 2\n\n--b2\nX: 3\n"
        self.assertEqual(
            [pair for pair in scanned(text) if pair[0] == "PART"],
            [("PART", inner), ("PART", b"X: 1"), ("PART", b"X: 2")],
        )

    def test_attached_message(self) -> None:
        """Its headers are nested; they may announce parts again."""
        text = b"Content-Type: message/rfc822\n\nSubject: x\n" + MIXED + b"--b1\nX: 1\n"
        self.assertEqual(
            scanned(text)[2:],
            [
                ("NESTED", b"Subject: x"),
                ("NESTED", MIXED[:-2]),
                ("body", b"\n--b1\n"),
                ("PART", b"X: 1"),
            ],
        )

    def test_digest(self) -> None:
        """The parts of a digest are messages."""
        text = b"Content-Type: multipart/digest; boundary=b1\n\n--b1\n\nSubject: x\n\nbody\n--b1--\n"
        self.assertIn(("NESTED", b"Subject: x"), scanned(text))

    def test_other_messages_are_bodies(self) -> None:
        """A part of a message, or a report, is not looked into."""
        for kind in (b"partial", b"delivery-status"):
            self.assertEqual(len(scanned(b"Content-Type: message/" + kind + b"\n\nSubject: x\n")), 2)

    def test_boundary_within_a_line(self) -> None:
        """A record that goes on with a line begins no part."""
        records = [*lines(MIXED), ("L", b"x"), ("N", b"--b1"), ("N", b"X: 1")]
        self.assertEqual(scanned(records)[1:], [("body", b"\nx--b1\nX: 1\n")])

    def test_boundary_in_several_records(self) -> None:
        """What follows in its line is a header already, as in smtp(8)."""
        records = [*lines(MIXED), ("L", b"--b1"), ("N", b"X: 1"), ("N", b"")]
        self.assertEqual(scanned(records)[1:], [("body", b"\n--b1"), ("PART", b"X: 1"), ("body", b"\n")])

    def test_long_boundaries(self) -> None:
        """Only the first mime_boundary_length_limit octets of a boundary count."""
        limits = ScannerLimits(boundary_octets=5)
        text = b"Content-Type: multipart/mixed; boundary=123456789\n\n--12345abc\nX: 1\n"
        self.assertIn(("PART", b"X: 1"), scanned(text, limits))
        self.assertIn(
            ("PART", b"X: 1"),
            scanned(b"Content-Type: multipart/mixed; boundary=" + b"b" * 10000 + b"\n\n--" + b"b" * 2048 + b"\nX: 1\n"),
        )

    def test_empty_boundary(self) -> None:
        """It matches every line with two hyphens."""
        self.assertIn(("PART", b"X: 1"), scanned(b'Content-Type: multipart/mixed; boundary=""\n\n--any\nX: 1\n'))


class ConversionTests(SynchronousTestCase):
    """What is to become 7bit (RFC 6152 section 3), and how it is labelled."""

    def converted(self, text: bytes) -> Told:
        """Scan for a server that takes 7bit only."""
        return scanned(text, convert=True)

    def test_text(self) -> None:
        """The label moves to the end of the headers."""
        self.assertEqual(
            self.converted(b"Content-Transfer-Encoding: 8bit\nX: 1\n\ntext\n"),
            [
                ("PRIMARY", b"X: 1"),
                ("added", b"Content-Transfer-Encoding: quoted-printable"),
                ("body", b"\n"),
                ("8bit", b"text\n"),
            ],
        )

    def test_seven_bit(self) -> None:
        """What is not labelled 8bit or binary stays, label and all."""
        for label in (b"7bit", b"base64", b"quoted-printable", b"x-unknown"):
            text = b"Content-Transfer-Encoding: " + label + b"\n\nt\xe4xt\n"
            self.assertEqual(self.converted(text), scanned(text))

    def test_not_asked_for(self) -> None:
        """Otherwise nothing is touched."""
        text = b"Content-Transfer-Encoding: 8bit\n\nt\xe4xt\n"
        self.assertEqual(scanned(text), [("PRIMARY", text[:31]), ("body", text[32:])])

    def test_several_labels(self) -> None:
        """The last one counts; each that leaves the part 8bit is withheld."""
        self.assertEqual(
            self.converted(b"Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64\n\nx\n"),
            [("PRIMARY", b"Content-Transfer-Encoding: base64"), ("body", b"\nx\n")],
        )
        self.assertEqual(
            self.converted(b"Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 8bit\n\nx\n")[:2],
            [
                ("PRIMARY", b"Content-Transfer-Encoding: base64"),
                ("added", b"Content-Transfer-Encoding: quoted-printable"),
            ],
        )

    def test_multipart(self) -> None:
        """A multipart becomes 7bit, its prolog and epilog stay, and each part goes by its own label."""
        text = (
            b"Content-Transfer-Encoding: 8bit\n" + MIXED + b"pr\xf6log\n"
            b"--b1\nContent-Transfer-Encoding: binary\n\none\n--b1\n\ntwo\n--b1--\nepilog\n"
        )
        self.assertEqual(
            self.converted(text)[1:],
            [
                ("added", b"Content-Transfer-Encoding: 7bit"),
                ("body", b"\npr\xf6log\n--b1\n"),
                ("added", b"Content-Transfer-Encoding: quoted-printable"),
                ("body", b"\n"),
                ("8bit", b"one\n"),
                ("body", b"--b1\n\ntwo\n--b1--\nepilog\n"),
            ],
        )

    def test_multipart_whose_headers_do_not_end(self) -> None:
        """Its prolog is converted, as smtp(8) does."""
        text = b"Content-Transfer-Encoding: 8bit\n" + MIXED[:-1] + b"pr\xf6log\n--b1\n"
        self.assertIn(("8bit", b"pr\xf6log\n"), self.converted(text))

    def test_attached_message(self) -> None:
        """It becomes 7bit, the text in it goes by its own label."""
        text = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nA: \xe4\n\nb\xe4dy\n"
        self.assertEqual(
            self.converted(text)[1:],
            [
                ("added", b"Content-Transfer-Encoding: 7bit"),
                ("body", b"\n"),
                ("NESTED", b"A: \xe4"),
                ("body", b"\nb\xe4dy\n"),
            ],
        )

    def test_other_messages(self) -> None:
        """A message/global is converted as a whole; so are other messages, which are labelled 7bit by smtp(8)."""
        for kind, label in {b"global": b"quoted-printable", b"partial": b"7bit"}.items():
            text = b"Content-Type: message/" + kind + b"\nContent-Transfer-Encoding: 8bit\n\nA: \xe4\n"
            expected = [("added", b"Content-Transfer-Encoding: " + label), ("body", b"\n"), ("8bit", b"A: \xe4\n")]
            self.assertEqual(self.converted(text)[1:], expected)
        text = b"Content-Type: message/global\n\nA: \xe4\n"
        self.assertEqual(self.converted(text)[-1], ("NESTED", b"A: \xe4"))

    def test_nesting_limit(self) -> None:
        """Two more boundaries than mime_nesting_limit are known; with one more, the message cannot be converted."""
        limits = ScannerLimits(nesting=3)
        header = b"Content-Type: multipart/mixed" + b"; boundary=b" * 5 + b"\n\n"
        scanned(header, limits, convert=True)
        error = self.assertRaises(
            ContentFailedError, scanned, header.replace(b"\n\n", b"; boundary=c\n\n"), limits, convert=True
        )
        self.assertEqual((error.why.status, error.why.reason), ("5.6.0", "MIME nesting exceeds safety limit"))

    def test_nesting_without_conversion(self) -> None:
        """Then a boundary too many is not known."""
        limits = ScannerLimits(nesting=1)
        header = (
            b"Content-Type: multipart/mixed; boundary=a; boundary=b; boundary=c; boundary=d\n\n--d\nX: 1\n--c\nX: 2\n"
        )
        self.assertEqual(scanned(header, limits)[1:], [("body", b"\n--d\nX: 1\n--c\n"), ("PART", b"X: 2")])


WORDS = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b1",
        b"Content-Type: multipart/digest; boundary=b2",
        b"Content-Type: message/rfc822",
        b"Content-Type: text/plain",
        b"Content-Transfer-Encoding: 8bit",
        b"X: 1",
        b" folded",
        b"--b1",
        b"--b2",
        b"--b1--",
        b"",
        b"t\xe4xt",
    ]
)


class AnyMessageTests(SynchronousTestCase):
    """Whatever a message is like."""

    @given(st.lists(WORDS, max_size=25), st.lists(st.booleans(), min_size=25, max_size=25), st.booleans())
    def test_chunks_do_not_matter(self, words: list[bytes], cut: list[bool], convert: bool) -> None:
        """How many lines come at once changes nothing."""
        pieces = [b""]
        for word, cuts in zip(words, cut, strict=False):
            pieces[-1] += word + b"\n"
            if cuts:
                pieces.append(b"")
        self.assertEqual(
            scanned([piece for piece in pieces if piece], convert=convert), scanned(b"".join(pieces), convert=convert)
        )

    @given(st.lists(st.one_of(WORDS, st.binary(max_size=8)), max_size=25))
    def test_nothing_is_lost(self, words: list[bytes]) -> None:
        """Without conversion all octets are there in order, but for blanks before colons, NULs, and an empty line more."""
        text = b"".join(word.translate(None, b"\0\n\r \t") + b"\n" for word in words)
        made = b"".join(data + b"\n" * (kind not in ("body", "8bit")) for kind, data in scanned(text))
        self.assertEqual(made.replace(b"\n", b""), text.replace(b"\n", b""))
        self.assertIn(len(made) - len(text), (0, 1))

    @given(st.lists(st.tuples(st.sampled_from("NL"), st.binary(max_size=12)), max_size=20), st.booleans())
    def test_never_fails(self, records: list[Record], convert: bool) -> None:
        """Something comes of any records."""
        clean = bytes.maketrans(b"\r\n", b"  ")
        scanned([(kind, data.translate(clean)) for kind, data in records if data or kind == "N"], convert=convert)

    def test_ten_thousand_nested_parts(self) -> None:
        """No more are found than mime_nesting_limit allows."""
        part = b"Content-Type: multipart/mixed; boundary=b%d.\n\n--b%d.\n"
        text = b"".join(part % (number, number) for number in range(10_000))
        self.assertEqual(sum(kind == "PART" for kind, _ in scanned(text)), LIMITS.nesting + 2)

    def test_endless_header(self) -> None:
        """Of a header of 100 MB no more is kept than header_size_limit and a record."""
        scanner = Scanner(LIMITS)
        list(scanner.feed(b"A: 1\n"))
        chunk = (b" " + b"x" * 2047 + b"\n") * 32
        for _ in range(100_000_000 // len(chunk)):
            self.assertEqual(list(scanner.feed(chunk)), [])
        (header,) = scanner.finish()
        assert isinstance(header, Header)
        self.assertLess(len(header.text), LIMITS.header_octets + 4096)

    def test_lines_like_boundaries(self) -> None:
        """Many of them begin no part."""
        header = (
            b"Content-Type: multipart/mixed"
            + b"".join(b'; boundary="%b"' % (b"x" * n) for n in range(100, 200))
            + b"\n\n"
        )
        body = [b"--\n" * 20_000] * 10
        self.assertEqual(scanned([header, *body])[1:], [("body", b"\n" + b"".join(body))])

    def test_body_is_not_copied(self) -> None:
        """A chunk of the body that needs nothing passes as it is."""
        scanner = Scanner(LIMITS)
        list(scanner.feed(b"A: 1\n\n"))
        chunk = b"text\n" * 1000
        (body,) = scanner.feed(chunk)
        assert isinstance(body, Body)
        self.assertIs(body.data, chunk)
