"""The RSET before a connection serves again, as transcripts."""

from tests.kit.dialog import DialogTestCase
from twisted_mta.smtp.actions import ErrorClass
from twisted_mta.smtp.probing import probe


class ProbeTests(DialogTestCase):
    """RSET as a question (RFC 5321 section 4.1.1.5)."""

    def answer(self, reply: str) -> bool:
        """What becomes of a connection whose server says this; the log has nothing of it, and no other command follows."""
        played = self.play(
            probe(),
            f"""
            C: RSET
            S: {reply}
            """,
        )
        self.assertEqual((played.events, played.findings, played.troubles), ([], [], ErrorClass.NONE))
        assert played.result is not None
        return played.result

    def test_taken(self) -> None:
        """Any 2xx says that it works."""
        for reply in ("250 2.0.0 ok", "200 x", "250-a | 250 b"):
            self.assertTrue(self.answer(reply), reply)

    def test_not_taken(self) -> None:
        """Refusals, replies that make no sense, silence and an end: it does not."""
        for reply in ("502 5.5.1 what", "421 4.4.2 idle for too long", "354 go", "hm | 250 ok", "(lost)", "(timeout)"):
            self.assertFalse(self.answer(reply), reply)
