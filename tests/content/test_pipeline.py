"""Tests of twisted_mta.content.pipeline: what a server gets; the vectors were observed with smtp(8)."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.content.driving import Answer, Record, Sent, chunks, drive, generic, table
from twisted_mta.content.failures import ContentFailedError
from twisted_mta.content.lookups import CHECKS, Asked
from twisted_mta.content.pipeline import Pipeline
from twisted_mta.content.scanner import ScannerLimits
from twisted_mta.content.settings import ContentSettings
from twisted_mta.interfaces import ContentError, TableError

NO_ANSWERS: dict[Asked, Answer] = {asked: lambda key: None for asked in (*CHECKS, Asked.GENERIC)}


def crlf(text: str) -> bytes:
    """A text as it goes over the wire."""
    return text.replace("\n", "\r\n").encode()


class CheckTests(SynchronousTestCase):
    """Which lists see what."""

    MESSAGE = (
        b"Subject: outer\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b1\n\nprolog\n"
        b"--b1\nX-Part: 1\nSubject: of a part\n\ntext\n"
        b"--b1\nContent-Type: message/rfc822\n\nSubject: inner\nContent-ID: <x>\n\ninner text\n--b1--\n"
    )

    def test_lists(self) -> None:
        """MIME headers and those of parts have a list of their own, and those of attached messages; there is no other."""
        seen: dict[Asked, list[str]] = {asked: [] for asked in CHECKS}
        Sent(self.MESSAGE, {asked: seen[asked].append for asked in CHECKS})
        self.assertEqual(
            seen,
            {
                Asked.HEADER_CHECKS: ["Subject: outer"],
                Asked.MIME_HEADER_CHECKS: [
                    "MIME-Version: 1.0",
                    "Content-Type: multipart/mixed; boundary=b1",
                    "X-Part: 1",
                    "Subject: of a part",
                    "Content-Type: message/rfc822",
                    "Content-ID: <x>",
                ],
                Asked.NESTED_HEADER_CHECKS: ["Subject: inner"],
                Asked.BODY_CHECKS: ["prolog", "--b1", "text", "--b1", "inner text", "--b1--"],
            },
        )

    def test_only_one_list(self) -> None:
        """The others are not asked, and the message arrives as it was."""
        for asked in CHECKS:
            sent = Sent(self.MESSAGE, {asked: lambda key: None})
            self.assertEqual(sent.wire, crlf(self.MESSAGE.decode()))

    def test_actions(self) -> None:
        """Headers are deleted, replaced, and get others in front."""
        actions = {"A: 1": "IGNORE", "B: 2\n b": "REPLACE N: 3\n n", "C: 4": "PREPEND P: 5", "D: 6": "WARN"}
        sent = Sent(b"A: 1\nB: 2\n b\nC: 4\nD: 6\n\nA: 1\n", {Asked.HEADER_CHECKS: table(actions)})
        self.assertEqual(sent.wire, crlf("N: 3\n n\nP: 5\nC: 4\nD: 6\n\nA: 1\n"))
        self.assertEqual(
            sent.log,
            [
                "4Abc12: replace: header B: 2? b: N: 3? n",
                "4Abc12: prepend: header C: 4: P: 5",
                "4Abc12: warning: header D: 6",
            ],
        )

    def test_converted_lines(self) -> None:
        """Checks see the text as it is sent; the label that is put in is no MIME header to them."""
        text = b"Content-Transfer-Encoding: 8bit\n\nGr\xc3\xb6\xc3\x9fe" + b"x" * 70 + b"\n"
        seen: dict[Asked, list[str]] = {asked: [] for asked in CHECKS}
        Sent(text, {asked: seen[asked].append for asked in CHECKS}, convert=True)
        self.assertEqual(seen[Asked.BODY_CHECKS], ["Gr=C3=B6=C3=9Fe" + "x" * 58 + "=", "x" * 12])
        self.assertEqual(seen[Asked.HEADER_CHECKS], ["Content-Transfer-Encoding: quoted-printable"])
        self.assertEqual(seen[Asked.MIME_HEADER_CHECKS], [])

    def test_dots_and_long_lines(self) -> None:
        """Lines are broken and dots doubled afterwards."""
        sent = Sent(b"\nx\n", {Asked.BODY_CHECKS: lambda key: "REPLACE ." + "y" * 1000})
        self.assertEqual(sent.wire, b"\r\n.." + b"y" * 997 + b"\r\n yyy\r\n")

    def test_log_in_order(self) -> None:
        """A long line is told of where it stands among what else there is to be said, as all is done line by line."""
        answers: dict[Asked, Answer] = {
            Asked.HEADER_CHECKS: table({"B: 2": "REPLACE C: 3", "D: 4": None}),
            Asked.BODY_CHECKS: table({"warn": "WARN", "i": "IGNORE", "fail": None}),
        }
        long = b"x" * 999 + b"\n"
        broken, warned = "4Abc12: breaking line > 998 bytes with <CR><LF>SPACE", "4Abc12: warning: body warn"
        replaced = "4Abc12: replace: header B: 2: C: 3"
        for content, expected in (
            ([b"A: " + long + b"B: 2\n\n"], [broken, replaced]),
            ([b"B: 2\nA: " + long + b"\n"], [replaced, broken]),
            ([b"\nwarn\n" + long + b"i\nwarn\n"], [warned, broken, warned]),
            ([b"A: " + long + b"\nwarn\n"], [broken, warned]),
            ([b"A: b\n\n" + long + b"i\nfail\n"], [broken, "4Abc12: smtp body checks lookup error"]),
            ([b"A: " + long + b"D: 4\n"], [broken, "4Abc12: smtp header checks lookup error"]),
        ):
            log: list[str] = []
            try:
                Sent(content, answers, log=log)
            except TableError:
                self.assertIn("lookup error", expected[-1])
            self.assertEqual(log, expected)

    def test_line_whose_end_is_deleted(self) -> None:
        """The content ends with a line end all the same: the dot must not stand within a line."""
        actions = {"b": "IGNORE"}
        self.assertEqual(Sent([b"\n", b"a", b"b\n"], {Asked.BODY_CHECKS: table(actions)}).wire, b"\r\na\r\n")
        self.assertEqual(Sent([b"\n", b"a\nb"], {Asked.BODY_CHECKS: table(actions)}).wire, b"\r\na\r\n\r\n")


class MappingTests(SynchronousTestCase):
    """Addresses in headers."""

    TABLE: ClassVar[dict[Asked, Answer]] = {Asked.GENERIC: generic({"a@b.test": "x@y.test", "x@y.test": "u@v.test"})}

    def test_primary_headers(self) -> None:
        """Only those of the message itself are looked at, and only those with addresses."""
        text = (
            "From: a@b.test\nReturn-Path: <a@b.test>\nX-To: a@b.test\nMessage-ID: <a@b.test>\nDelivered-To: a@b.test\n"
            "Content-Type: message/rfc822\n\nFrom: a@b.test\n\na@b.test\n"
        )
        expected = text.replace("From: a@b", "From: x@y", 1).replace("Path: <a@b", "Path: <x@y")
        self.assertEqual(Sent(text.encode(), self.TABLE).wire, crlf(expected))
        self.assertEqual(Sent(text.encode(), {**self.TABLE, Asked.BODY_CHECKS: lambda key: None}).wire, crlf(expected))

    def test_checks_come_first(self) -> None:
        """A header that has been replaced is mapped, too, but not one that has become another."""
        actions = {"To: 1": "REPLACE TO: a@b.test", "To: 2": "REPLACE X: a@b.test", "To: 3": "PREPEND To: a@b.test"}
        sent = Sent(b"To: 1\nTo: 2\nTo: 3\n", {**self.TABLE, Asked.HEADER_CHECKS: table(actions)})
        self.assertEqual(sent.wire, crlf("TO: x@y.test\nX: a@b.test\nTo: a@b.test\nTo: 3\n"))

    def test_without_mime(self) -> None:
        """Generic maps alone do not look for parts: behind the headers chunks pass as they are."""
        pipeline = Pipeline(ContentSettings({Asked.GENERIC: "g"}), "", lambda event: None, convert=False)
        body = b"--b1\nFrom: a@b.test\n" * 100
        made, _ = drive(pipeline.run([b"Content-Type: multipart/mixed; boundary=b1\n\n", body]), NO_ANSWERS)
        self.assertIs(made[1], body)


class FailureTests(SynchronousTestCase):
    """What ends a message."""

    def test_nesting(self) -> None:
        """Parts that are nested too deeply cannot be converted; otherwise they do not matter."""
        text = b"Content-Type: multipart/mixed" + b"; boundary=b" * 4 + b"\n\n"
        limits = ScannerLimits(nesting=1)
        error = self.assertRaises(ContentFailedError, Sent, text, convert=True, limits=limits)
        self.assertEqual(error.why.status, "5.6.0")
        self.assertEqual(Sent(text, {Asked.BODY_CHECKS: lambda key: None}, limits=limits).wire, crlf(text.decode()))

    def test_tables(self) -> None:
        """A check table that fails ends the message, and so does a failing map."""
        for asked in CHECKS[:2]:
            answers = {asked: table({"A: 1": None, "Content-ID: 1": None})}
            self.assertRaises(TableError, Sent, b"A: 1\nContent-ID: 1\n", answers)
        self.assertRaises(ContentFailedError, Sent, b"To: a@b\n", {Asked.GENERIC: generic({"a@b": None})})

    def test_reading(self) -> None:
        """An error of the content passes."""

        def broken() -> Iterator[bytes]:
            yield b"A: 1\n"
            raise ContentError("read error")

        self.assertRaises(ContentError, Sent, broken(), NO_ANSWERS)


TEXT = st.text("aä= \t.-\0", max_size=90)
RECORDS = st.lists(
    st.tuples(
        st.sampled_from("NNNL"),
        st.one_of(
            st.sampled_from(
                [
                    "Content-Type: multipart/mixed; boundary=b1",
                    "Content-Type: message/rfc822",
                    "Content-Transfer-Encoding: 8bit",
                    "To: a@b.test, c",
                    "--b1",
                    "--b1--",
                    "",
                ]
            ),
            TEXT,
        ).map(str.encode),
    ),
    max_size=20,
)


def part(text: str, encoding: str) -> EmailMessage:
    """A text with a label."""
    made = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
    made.set_content(text, cte=encoding)
    return made


def texts_of(message: bytes) -> list[str]:
    """The texts in a message, decoded."""
    parsed = email.message_from_bytes(message, policy=email.policy.default)
    return [leaf.get_content().replace("\r\n", "\n") for leaf in parsed.walk() if leaf.get_content_maintype() == "text"]


class AnyMessageTests(SynchronousTestCase):
    """Whatever a message is like."""

    @given(RECORDS)
    def test_unchanged(self, records: list[Record]) -> None:
        """A message for which no table has anything arrives as it would without tables, but for what MIME makes of headers."""
        records = [record for record in records if record[1] or record[0] == "N"]
        body = [("N", b"A: 1"), ("N", b""), *records]
        plain = b"".join(chunks(body)).replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
        ending = b"" if plain.endswith(b"\r\n") else b"\r\n"
        if b"--" not in plain:
            self.assertEqual(Sent(chunks(body), NO_ANSWERS).wire, plain + ending)

    @given(RECORDS, st.booleans())
    def test_chunks_do_not_matter(self, records: list[Record], convert: bool) -> None:
        """Records arrive the same whether they come one by one or together; what is unfinished always ends a chunk."""
        joined = [b""]
        for kind, data in records:
            if data or kind == "N":
                joined[-1] += data + b"\n" * (kind == "N")
                if kind == "L":
                    joined.append(b"")
        answers: dict[Asked, Answer] = {
            Asked.BODY_CHECKS: table({"--b1": "PREPEND before"}),
            Asked.GENERIC: generic({"a@b.test": "@y.test"}),
        }
        single = [chunk for chunk in chunks(records) if chunk]
        self.assertEqual(
            Sent([chunk for chunk in joined if chunk], answers, convert=convert).wire,
            Sent(single, answers, convert=convert).wire,
        )

    @given(RECORDS)
    def test_no_end_of_data_inside(self, records: list[Record]) -> None:
        """There is no bare CR or LF and no line with a lone dot, whatever the tables say."""
        answers: dict[Asked, Answer] = {
            Asked.HEADER_CHECKS: lambda key: "PREPEND X: y\r\n.\r\n.",
            Asked.BODY_CHECKS: lambda key: "REPLACE .\r\n.\r",
            Asked.GENERIC: generic({"a@b.test": '"\r\n.\r\n"@y.test'}),
        }
        wire = Sent([chunk for chunk in chunks(records) if chunk], answers, convert=True).wire
        self.assertEqual(wire.count(b"\r"), wire.count(b"\r\n"))
        self.assertEqual(wire.count(b"\n"), wire.count(b"\r\n"))
        self.assertNotIn(b".", wire.split(b"\r\n"))

    @given(st.lists(st.tuples(TEXT, st.sampled_from(["7bit", "8bit", "quoted-printable", "base64"])), max_size=4))
    def test_conversion_decodes_back(self, texts: list[tuple[str, str]]) -> None:
        """Python's email package finds the same texts in the converted message, and all of it is ASCII."""
        message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
        message["Subject"] = "x"
        message.make_mixed()
        for text, encoding in texts:
            ascii_only = encoding == "7bit"
            message.attach(part((text.replace("ä", "a") if ascii_only else text).replace("\0", ""), encoding))
        nested = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
        nested.set_content("größer\n", cte="8bit")
        message.add_attachment(nested)
        given_octets = message.as_bytes().replace(b"\r\n", b"\n")
        made = Sent(given_octets, convert=True).wire
        self.assertTrue(made.isascii())
        unstuffed = made.replace(b"\r\n..", b"\r\n.")
        self.assertEqual(texts_of(unstuffed), texts_of(given_octets))

    def test_one_megabyte_line(self) -> None:
        """A very long line, in a header or the body, passes in pieces."""
        pieces = [b"x" * 65536] * 16
        for start in (b"A: ", b"A: 1\n\n"):
            sent = Sent([start, *pieces, b"\n"], NO_ANSWERS, convert=True)
            self.assertLessEqual(max(map(len, sent.wire.split(b"\r\n"))), 998)
        self.assertEqual(len(Sent([b"\n", *pieces]).wire.replace(b"\r\n ", b"").replace(b"\r\n", b"")), 1 << 20)
