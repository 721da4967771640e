"""The scripted server itself: what it says, what it keeps, how it plays faults."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.script import (
    BODY,
    CONNECT,
    END_OF_DATA,
    After,
    Close,
    Deaf,
    Drip,
    Endless,
    HalfClose,
    Late,
    Raw,
    Reset,
    Rule,
    Script,
    Silence,
    Unasked,
)
from tests.kit.smtp_server import BodyReader, ScriptedServer, ScriptedSession


class Transport(StringTransport):
    """Notes when one side is closed alone."""

    half_closed = False

    def loseWriteConnection(self) -> None:
        """Our side says no more."""
        self.half_closed = True


class Dialog:
    """A session of a scripted server over a memory transport."""

    def __init__(self, *rules: Rule, lmtp: bool = False) -> None:
        self.clock = Clock()
        self.server = ScriptedServer(Script(*rules, lmtp=lmtp), self.clock)
        self.session: ScriptedSession = self.server.buildProtocol(None)
        self.transport = Transport()
        self.session.makeConnection(self.transport)

    def say(self, *lines: str) -> list[str]:
        """Send lines to the server; returns what it said since the last call."""
        self.session.dataReceived("".join(line + "\r\n" for line in lines).encode())
        return self.heard()

    def heard(self) -> list[str]:
        """What the server said since the last call."""
        said: list[str] = self.transport.value().decode().splitlines()
        self.transport.clear()
        return said


class DialogTests(SynchronousTestCase):
    """Replies, and what is kept."""

    def test_friendly(self) -> None:
        """A server without rules takes a message, and keeps it with its envelope."""
        dialog = Dialog()
        self.assertEqual(dialog.heard(), ["220 server.example ESMTP"])
        self.assertEqual(dialog.say("EHLO me")[0], "250-server.example")
        said = dialog.say("MAIL FROM:<a@example.com> SIZE=9", "RCPT TO:<b@example.com>", "DATA")
        self.assertEqual([line[:3] for line in said], ["250", "250", "354"])
        self.assertEqual(dialog.say("..dot", "text", ".", "QUIT"), ["250 2.0.0 Ok: queued", "221 2.0.0 Bye"])
        self.assertTrue(dialog.transport.disconnecting)
        (message,) = dialog.server.messages
        self.assertEqual(message.sender, "<a@example.com> SIZE=9")
        self.assertEqual(message.recipients, ["<b@example.com>"])
        self.assertEqual(message.content, b".dot\r\ntext\r\n")
        self.assertEqual(dialog.server.sessions[0].commands[-2:], [".", "QUIT"])

    def test_rules_count(self) -> None:
        """The answers of a rule are used in turn, the last one for good; only accepted recipients count."""
        dialog = Dialog(("rcpt", "450 4.2.0 later", None), ("MAIL FROM:<bad", "550 5.1.0 no"))
        dialog.heard()
        said = dialog.say("MAIL FROM:<bad@x>", "MAIL FROM:<a@x>", "RCPT TO:<b@x>", "RCPT TO:<c@x>", "RCPT TO:<d@x>")
        self.assertEqual([line[:3] for line in said], ["550", "250", "450", "250", "250"])
        dialog.say("DATA", ".")
        self.assertEqual(dialog.server.messages[0].recipients, ["<c@x>", "<d@x>"])

    def test_lmtp(self) -> None:
        """LMTP answers the final dot once for each accepted recipient, and knows LHLO only."""
        dialog = Dialog((". <c@x>", "550 5.2.2 full"), lmtp=True)
        dialog.heard()
        self.assertEqual(dialog.say("EHLO me")[0][:3], "500")
        self.assertEqual(dialog.say("LHLO me")[0], "250-server.example")
        dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "RCPT TO:<c@x>", "DATA")
        self.assertEqual(dialog.say("."), ["250 2.0.0 Ok: queued", "550 5.2.2 full"])
        self.assertEqual(dialog.server.sessions[0].messages[0].replies, ["250 2.0.0 Ok: queued", "550 5.2.2 full"])

    def test_refused_message(self) -> None:
        """A message whose final dot is refused is kept by its session, but does not count as accepted."""
        dialog = Dialog((END_OF_DATA, "451 4.3.0 later"))
        dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA", "text", ".")
        self.assertEqual(dialog.server.messages, [])
        self.assertEqual(len(dialog.server.sessions[0].messages), 1)

    def test_no_recipients(self) -> None:
        """A server that has refused every recipient does not take the content."""
        dialog = Dialog(("RCPT", "550 5.1.1 no"))
        dialog.heard()
        said = dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA", "NOOP")
        self.assertEqual([line[:3] for line in said], ["250", "550", "554", "250"])

    def test_until(self) -> None:
        """A test can wait for what is to come."""
        dialog = Dialog()
        waiting = dialog.server.until(lambda: "NOOP" in dialog.server.sessions[0].commands)
        fired = Deferred.fromCoroutine(waiting)
        self.assertNoResult(fired)
        dialog.say("NOOP")
        self.successResultOf(fired)


class FaultTests(SynchronousTestCase):
    """Servers that misbehave."""

    def test_close_and_silence(self) -> None:
        """A server can close with a last word, or say nothing at all."""
        dialog = Dialog(("MAIL", Silence()), ("RCPT", Close("421 4.3.2 bye")))
        dialog.heard()
        self.assertEqual(dialog.say("MAIL FROM:<a@x>"), [])
        self.assertEqual(dialog.say("RCPT TO:<a@x>", "NOOP"), ["421 4.3.2 bye"])
        self.assertTrue(dialog.transport.disconnecting)

    def test_reset(self) -> None:
        """A server can reset the connection instead of a greeting."""
        dialog = Dialog((CONNECT, Reset()))
        self.assertEqual(dialog.heard(), [])
        self.assertTrue(dialog.transport.disconnected)

    def test_reset_in_body(self) -> None:
        """A fault in the content comes when enough octets have come; what came is counted, and no message kept."""
        dialog = Dialog((BODY, After(10, Reset())))
        dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA", "1234567")
        self.assertFalse(dialog.transport.disconnected)
        dialog.say("8901234567")
        self.assertTrue(dialog.transport.disconnected)
        dialog.session.connectionLost()
        self.assertEqual(dialog.server.sessions[0].unfinished_octets, 21)
        self.assertEqual(dialog.server.sessions[0].messages, [])

    def test_late_answers_keep_their_order(self) -> None:
        """Answers behind a late one wait for it."""
        dialog = Dialog(("RCPT", Late(2, "450 4.2.0 later"), None), ("DATA", Raw(b"\x00junk\r\n")))
        dialog.heard()
        self.assertEqual(dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA"), ["250 2.1.0 Ok"])
        dialog.clock.advance(2)
        self.assertEqual(dialog.heard(), ["450 4.2.0 later", "\x00junk"])

    def test_late_replies_of_lmtp(self) -> None:
        """A late reply to the dot holds back those for the other recipients."""
        dialog = Dialog((". <b@x>", Late(3)), lmtp=True)
        dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "RCPT TO:<c@x>", "DATA")
        self.assertEqual(dialog.say("."), [])
        dialog.clock.advance(3)
        self.assertEqual(dialog.heard(), ["250 2.0.0 Ok: queued"] * 2)
        self.assertEqual(len(dialog.server.messages[0].replies), 2)

    def test_unasked(self) -> None:
        """A server can say something, or hang up, when nobody has asked."""
        dialog = Dialog(("NOOP", Unasked(5, Raw(b"421 bye\r\n"))), ("RSET", Unasked(1, Close(), "250 y")))
        dialog.heard()
        self.assertEqual(len(dialog.say("NOOP")), 1)
        dialog.clock.advance(5)
        self.assertEqual(dialog.heard(), ["421 bye"])
        self.assertEqual(dialog.say("RSET"), ["250 y"])
        dialog.clock.advance(1)
        self.assertTrue(dialog.transport.disconnecting)

    def test_deaf(self) -> None:
        """A server can stop reading for a while."""
        dialog = Dialog((BODY, Deaf(5, Silence())))
        dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA", "text")
        self.assertEqual(dialog.transport.producerState, "paused")
        dialog.clock.advance(5)
        self.assertEqual(dialog.transport.producerState, "producing")

    def test_drip(self) -> None:
        """A server can take its time for each octet; what follows waits."""
        dialog = Dialog(("NOOP", Drip(b"250 x\r\n", 2)))
        dialog.heard()
        self.assertEqual(dialog.say("NOOP", "VRFY x"), ["2"])
        dialog.clock.pump([2] * 5)
        self.assertEqual(dialog.heard(), ["50 x"])
        dialog.clock.advance(2)
        self.assertEqual(dialog.heard(), ["", "252 2.0.0 Ok"])

    def test_half_close(self) -> None:
        """A server can close its own side, and listen on."""
        dialog = Dialog(("DATA", HalfClose("354 go")))
        dialog.say("MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA")
        self.assertEqual(dialog.say("text", "."), [])
        self.assertEqual(dialog.server.messages[0].content, b"text\r\n")
        self.assertTrue(dialog.transport.half_closed)

    def test_nothing_is_left_over(self) -> None:
        """What a server had in mind for later ends with its connection."""
        dialog = Dialog(("NOOP", Late(100)), ("RSET", Unasked(100, "x")))
        dialog.say("RSET", "NOOP")
        dialog.session.connectionLost()
        self.assertEqual(dialog.clock.getDelayedCalls(), [])

    def test_endless(self) -> None:
        """A server can flood: a chunk each time the transport asks for more."""
        dialog = Dialog((CONNECT, Endless(b"220-again\r\n")))
        flood = dialog.transport.producer
        assert flood is not None
        flood.resumeProducing()
        flood.resumeProducing()
        self.assertEqual(dialog.heard(), ["220-again"] * 2)


def pieces(data: bytes, cuts: Iterable[int]) -> Iterable[bytes]:
    """`data` in pieces, cut at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return (data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True))


class BodyReaderTests(SynchronousTestCase):
    """Content up to the final dot."""

    @settings(deadline=None, max_examples=80)
    @given(
        st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b"")), max_size=6),
        st.lists(st.integers(0, 60), max_size=6),
    )
    def test_decodes_what_was_encoded(self, lines: list[bytes], cuts: list[int]) -> None:
        """Whatever the lines and however they are cut, the content comes out as it went in, and what follows is left."""
        wire = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
        reader = BodyReader()
        found, rest = None, b""
        for piece in pieces(wire + b".\r\nQUIT\r\n", cuts):
            if found is None:
                found = reader.feed(piece)
            else:
                rest += piece
        assert found is not None
        self.assertEqual(found[0], b"".join(line + b"\r\n" for line in lines))
        self.assertEqual(found[1] + rest, b"QUIT\r\n")
