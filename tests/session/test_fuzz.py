"""The fuzz target of the dialog, on what has been found to matter, and on octets at random."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fuzz.dialog import ORDER, Play, check
from fuzz.run import CORPUS

_LINES = [
    b"220 mx\r\n",
    b"250-PIPELINING\r\n",
    b"250 ok\r\n",
    b"354 go\r\n",
    b"550 no\r\n",
    b"421 bye\r\n",
    b"junk\n",
    b"2",
    b"\0",
]
_PIECES = st.sampled_from([*_LINES, *(ORDER + order for order in (b"d", b"d", b"d", b"p", b"e", b"r", b"t"))])


class DialogTargetTests(SynchronousTestCase):
    """Its properties hold."""

    def test_corpus(self) -> None:
        """Of every input that is kept."""
        for path in sorted(CORPUS.iterdir()):
            try:
                check(path.read_bytes())
            except Exception as error:
                raise AssertionError(f"{path}: {error}") from error

    @given(st.integers(0, 255), st.lists(_PIECES, max_size=24))
    @settings(max_examples=60, deadline=None)
    def test_random(self, options: int, pieces: list[bytes]) -> None:
        """Of lines and orders at random."""
        check(bytes([options]) + b"".join(pieces))

    def test_delivers(self) -> None:
        """The target gets as far as a delivery, and a refusal, so that it is about something."""
        outcome = Play((CORPUS / "delivered").read_bytes(), one_by_one=True).run()
        self.assertEqual(outcome.ended, "completed: True")
        self.assertIn(b"\r\n..dot\r\n", outcome.said)
        self.assertTrue(any(found.startswith("MessageTaken") for found in outcome.findings), outcome)
        self.assertTrue(any(found.startswith("RecipientFailed(index=1") for found in outcome.findings), outcome)
