"""Leaving politely."""

from tests.kit.dialog import DialogTestCase
from twisted_mta.smtp.farewell import quit_dialog
from twisted_mta.smtp.settings import DialogSettings


class QuitTests(DialogTestCase):
    """QUIT with and without waiting."""

    def test_without_waiting(self) -> None:
        """Usually nobody waits for the reply (smtp_skip_quit_response)."""
        self.play(quit_dialog(DialogSettings()), "C: QUIT")

    def test_waiting(self) -> None:
        """On request it is waited for, and means nothing; nor does a connection that breaks."""
        patient = DialogSettings(await_quit_reply=True)
        for reply in ("221 bye", "500 no", "(lost)", "(timeout)"):
            self.play(quit_dialog(patient), f"C: QUIT\nS: {reply}")
