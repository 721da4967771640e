"""Transcripts of sessions, against the notices of a running Postfix."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.session.transcript import LONGEST_TRANSCRIPT, Transcript, wrapped

TEN = " 1234567890"


class WrappingTests(SynchronousTestCase):
    """Long entries are broken at blanks."""

    def test_as_postfix_breaks_them(self) -> None:
        """78 octets fit into a line, indentation included; blanks at a break go, others stay."""
        sixty = "x" * 60
        for entry, lines in (
            ("In:  250 ok", ["In:  250 ok"]),
            (f"In:  501 {'x' * 63} yyyyy", [f"In:  501 {'x' * 63} yyyyy"]),
            (f"In:  501 {'x' * 64} yyyyy", [f"In:  501 {'x' * 64}", "    yyyyy"]),
            (f"In:  501 {sixty}                    yyy", [f"In:  501 {sixty}", "    yyy"]),
            (f"In:  501 {'x' * 70} yy", ["In:  501", f"    {'x' * 70} yy"]),
            (f"In:  501 {'z' * 69} {'x' * 68} yyyyy", [f"In:  501 {'z' * 69}", f"    {'x' * 68} yyyyy"]),
            (f"In:  501 {'z' * 69} {'x' * 69} yyyyy", [f"In:  501 {'z' * 69}", f"    {'x' * 69}", "    yyyyy"]),
            (
                f"In:  501{TEN * 6} 123456   89 a{TEN * 6} 12345 789",
                [f"In:  501{TEN * 6}", f"    123456   89 a{TEN * 5}", "    1234567890 12345 789"],
            ),
        ):
            self.assertEqual(list(wrapped(entry)), lines)

    def test_words_without_end(self) -> None:
        """A word that is longer than a line has one of its own."""
        self.assertEqual(list(wrapped(f"Out: RCPT TO:<{'h' * 100}>")), ["Out: RCPT", f"    TO:<{'h' * 100}>"])

    def test_octets_count(self) -> None:
        """Not characters."""
        self.assertEqual(list(wrapped("In:  " + "ä" * 35 + " 12")), ["In:  " + "ä" * 35 + " 12"])
        self.assertEqual(list(wrapped("In:  " + "ä" * 36 + " 1")), ["In:  " + "ä" * 36, "    1"])

    def test_blanks_at_the_ends(self) -> None:
        """They go at the end, but stay in front."""
        self.assertEqual(list(wrapped("Replaced-by: ")), ["Replaced-by:"])
        self.assertEqual(list(wrapped("     250 ok  ")), ["     250 ok"])
        self.assertEqual(list(wrapped("")), [""])

    @settings(deadline=None, max_examples=100)
    @given(st.text(alphabet=" aä?1", max_size=300))
    def test_nothing_is_lost(self, entry: str) -> None:
        """All words are there, in order; a line is too long only if a single word is."""
        lines = list(wrapped(entry))
        self.assertEqual(" ".join(lines).split(), entry.split())
        for line in lines:
            self.assertTrue(len(line.encode()) <= 78 or len(line.split()) == 1, line)


class TranscriptTests(SynchronousTestCase):
    """What is written down."""

    def test_both_sides(self) -> None:
        """Each line says whose it is, and is indented by one blank."""
        transcript = Transcript()
        transcript.heard("220 mx.example ESMTP")
        transcript.said("EHLO client.example")
        transcript.heard("550 no")
        transcript.replaced("250 yes")
        transcript.heard("")
        transcript.dropped("250 more")
        self.assertEqual(
            list(transcript.lines()),
            [
                " In:  220 mx.example ESMTP",
                " Out: EHLO client.example",
                " In:  550 no",
                " Replaced-by:",
                "      250 yes",
                " In:",
            ],
        )

    def test_no_end(self) -> None:
        """However much is said, no more than a limit is kept, and the transcript says so."""
        transcript = Transcript()
        for _ in range(1000):
            transcript.heard("250 " + "x " * 1000)
        lines = list(transcript.lines())
        self.assertLess(sum(map(len, lines)), LONGEST_TRANSCRIPT * 1.2)
        self.assertEqual(lines[-1], " (more was said than is written down here)")
