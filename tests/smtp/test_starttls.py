"""From the offer of STARTTLS to the moment before the handshake."""

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.dialog import PEER, Played, ScriptedServer, play
from twisted_mta.smtp.actions import ErrorClass
from twisted_mta.smtp.capabilities import Capabilities, parse_ehlo
from twisted_mta.smtp.greeting import Rebuff
from twisted_mta.smtp.starttls import Answer, ask, choose

OFFERED = parse_ehlo("250-mx.example\n250 STARTTLS")
NOT_OFFERED = Capabilities()


class ChooseTests(SynchronousTestCase):
    """Whether to say STARTTLS."""

    def test_answers(self) -> None:
        """An offer is taken if we can, and nothing goes on without TLS where it must be."""
        no_offer = f"4.7.4 TLS is required, but was not offered by host {PEER.namaddr}"
        no_engine = "4.7.5 TLS is required, but our TLS engine is unavailable"
        for wanted, required, offered, has_engine, expected in (
            (False, False, OFFERED, True, Answer.PLAINTEXT),
            (True, False, OFFERED, True, Answer.TLS),
            (True, False, OFFERED, False, Answer.PLAINTEXT),
            (True, False, NOT_OFFERED, True, Answer.PLAINTEXT),
            (True, True, OFFERED, True, Answer.TLS),
            (True, True, OFFERED, False, no_engine),
            (True, True, NOT_OFFERED, True, no_offer),
            (True, True, NOT_OFFERED, False, no_offer),
        ):
            found = choose(PEER, offered, wanted=wanted, required=required, has_engine=has_engine)
            if isinstance(found, Rebuff):
                self.assertEqual(f"{found.why.status} {found.why.reason}", expected)
            else:
                self.assertIs(found, expected)


class AskTests(SynchronousTestCase):
    """The reply to STARTTLS."""

    def asked(self, reply: str, *, required: bool) -> Played[Answer | Rebuff]:
        """Say it to a server."""
        return play(ask(PEER, required=required), ScriptedServer(f"C: STARTTLS\nS: {reply}"))

    def test_granted(self) -> None:
        """Any 2xx reply is a yes."""
        self.assertIs(self.asked("220 2.0.0 go ahead", required=True).result, Answer.TLS)

    def test_refused_where_it_may_be(self) -> None:
        """The session goes on in the clear, and nothing is wrong with it."""
        played = self.asked("502 5.5.1 no", required=False)
        self.assertIs(played.result, Answer.PLAINTEXT)
        self.assertEqual(played.troubles, ErrorClass.NONE)

    def test_refused_where_it_must_be(self) -> None:
        """The server's own status decides whether the mail waits or goes back."""
        for reply, status in (("454 4.7.0 later", "4.7.0"), ("554 5.7.1 never", "5.7.1"), ("550 no", "5.0.0")):
            rebuff = self.asked(reply, required=True).result
            assert isinstance(rebuff, Rebuff)
            self.assertEqual(rebuff.why.status, status)
            self.assertEqual(
                rebuff.why.reason, f"TLS is required, but host {PEER.namaddr} refused to start TLS: {reply}"
            )
            self.assertEqual((rebuff.why.mta_name, rebuff.why.diag_text), (PEER.host, reply))
