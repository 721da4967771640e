"""The RSET before a connection serves again, as transcripts."""

from tests.kit.dialog import DialogTestCase, Played, ScriptedServer, play
from twisted_mta.model.events import StartTlsOfferNoted
from twisted_mta.smtp import phases
from twisted_mta.smtp.actions import AwaitReply, Dialog, ErrorClass, Write
from twisted_mta.smtp.probing import NotServingError, probed

TOLD = StartTlsOfferNoted("mx.example")  # anything that can be told


def noop() -> Dialog[int]:
    """What comes next."""
    yield Write(b"NOOP\r\n")
    reply = yield AwaitReply(phases.MAIL)
    assert reply is not None
    return reply.code


class ProbeTests(DialogTestCase):
    """RSET as a question (RFC 5321 section 4.1.1.5)."""

    def test_taken(self) -> None:
        """Any 2xx says that it works: then, and only then, something is told, and the next command is said."""
        for reply in ("250 2.0.0 ok", "200 x", "250-a | 250 b"):
            played = self.play(
                probed(noop(), TOLD),
                f"""
                C: RSET
                S: {reply}
                C: NOOP
                S: 299 x
                """,
            )
            self.assertEqual((played.result, played.events), (299, [TOLD]))

    def test_nothing_told(self) -> None:
        """Without TLS there is nothing to be told."""
        self.assertEqual(play(probed(noop()), ScriptedServer("S: 250 ok\nS: 250 ok")).events, [])

    def test_not_taken(self) -> None:
        """Refusals, replies that make no sense, silence, an end, more than one reply: it does not work; nothing more is said."""
        for reply in (
            "502 5.5.1 what",
            "421 4.4.2 idle for too long",
            "354 go",
            "hm | 250 ok",
            "(lost)",
            "(timeout)",
            "250 ok | 250 ok",
            "250 ok | 550 5.1.1 nobody",
        ):
            seen: list[Played[int]] = []

            def watched(dialog: Dialog[int], seen: list[Played[int]] = seen) -> Dialog[int | None]:
                try:
                    return (yield from dialog)
                except NotServingError:
                    return None

            played = play(watched(probed(noop(), TOLD)), ScriptedServer(f"S: {reply}"))
            self.assertIsNone(played.result, reply)
            self.assertEqual([row for row in played.rows if row.startswith("C:")], ["C: RSET"], reply)
            self.assertEqual((played.events, played.findings, played.troubles), ([], [], ErrorClass.NONE))
