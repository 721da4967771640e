"""What all mechanisms that are written as steps have in common."""

from zope.interface.verify import verifyObject

from tests.sasl.logins import MechanismTestCase, login
from twisted_mta.interfaces import ISASLMechanism, SaslError
from twisted_mta.sasl.conversation import Conversation, Steps, user_name


def three_steps() -> Steps:
    """Says something first, and answers twice."""
    one = yield b"first"
    two = yield b"to " + one
    yield b"to " + two


class ConversationTests(MechanismTestCase):
    """Conversations, from their start to behind their end."""

    def test_steps(self) -> None:
        """The steps are said in their order."""
        made = Conversation("TEST", three_steps())
        verifyObject(ISASLMechanism, made)
        self.assertEqual(self.said(made, b"a", b"b"), [b"first", b"to a", b"to b"])
        made.succeeded()
        self.assertEqual(made.remark, "")

    def test_behind_the_end(self) -> None:
        """A challenge after the last step is an error, however often; the log says what the Cyrus library does."""
        made = Conversation("TEST", three_steps())
        error = self.refusal(made, b"a", b"b", b"c")
        self.assertEqual(error.problem, "generic failure")
        self.assertEqual(error.warning, "SASL authentication problem: attempting client step after doneflag")
        self.assertRaises(SaslError, made.step, b"d")

    def test_success_without_proof(self) -> None:
        """A server that was to prove itself by the second answer is not believed before."""
        for answered in range(3):
            made = Conversation("TEST", three_steps(), proven_after=2)
            self.said(made, *[b"x"] * answered)
            if answered == 2:
                made.succeeded()
                continue
            error = self.assertRaises(SaslError, made.succeeded)
            self.assertEqual(error.problem, "server failed mutual authentication step")

    def test_user_names(self) -> None:
        """Blanks around a name do not count; where there is nothing else, there is no login."""
        self.assertEqual(user_name(login(" \tuser x\n")), "user x")
        for name in ("", "  \t"):
            error = self.assertRaises(SaslError, user_name, login(name))
            self.assertEqual(error.warning, "SASL authentication failure: All-whitespace username.")
