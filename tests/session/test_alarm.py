"""Servers that take their time, phase by phase."""

from dataclasses import replace

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.dialog import PEER
from tests.kit.limits import SECONDS
from tests.session.shell import PiecewiseContent, ShellTestCase
from twisted_mta.session.alarm import Alarm
from twisted_mta.session.limits import TimeLimits
from twisted_mta.smtp.greeting import Occasion, greet
from twisted_mta.smtp.phases import CONTENT, DATA, DOT, MAIL

TIMED_OUT = "conversation with mx.example[192.0.2.1] timed out while "
WHOLE_REQUEST = TimeLimits(SECONDS, per_request=True, min_data_rate=500)
PHASES = {
    "sending MAIL FROM": ([], 302),
    "sending RCPT TO": (["250 a"], 303),
    "sending DATA command": (["250 a", "250 b"], 120),
    "sending end of data -- message may be sent more than once": (["250 a", "250 b", "354 c"], 600),
}


class SilenceTests(ShellTestCase):
    """Servers that say nothing."""

    def test_each_phase(self) -> None:
        """The limit is that of the reply which is awaited, counted from the last octet."""
        for limits in (self.LIMITS, WHOLE_REQUEST):
            for doing, (replies, seconds) in PHASES.items():
                self.connect(limits=limits)
                done = self.transact()
                self.client()
                for reply in replies:
                    self.clock.advance(50)
                    self.server(reply)
                    self.client()
                self.clock.advance(seconds - 0.5)
                self.assertNoResult(done)
                self.clock.advance(0.5)
                self.assertEqual(self.broken(done), TIMED_OUT + doing)

    def test_greeting(self) -> None:
        """Greeting, EHLO and HELO have the limit each, or with smtp_per_request_deadline once for all."""
        for limits, left in ((self.LIMITS, 300), (WHOLE_REQUEST, 300 - 100 - 100)):
            self.connect(limits=limits)
            done = self.perform(greet(PEER, self.settings, Occasion("4Abc12")))
            for line in ("220 mx.example", "502 what"):
                self.clock.advance(100)
                self.server(line)
                self.client()
            self.clock.advance(left - 1)
            self.assertNoResult(done)
            self.clock.advance(1)
            self.assertEqual(self.broken(done), TIMED_OUT + "performing the HELO handshake")

    def test_quit(self) -> None:
        """The reply to QUIT has its limit, too."""
        self.connect(replace(self.settings, await_quit_reply=True))
        done = self.transact()
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.client()
        self.server("250 d")
        self.clock.advance(303)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.assertEqual(self.broken(done), TIMED_OUT + "sending QUIT")

    def test_one_timer(self) -> None:
        """There is one timer at most, and it is not moved for every reply."""
        self.transact()
        for reply in ("250 a", "250 b", "354 c"):
            self.client()
            self.clock.advance(1)
            self.server(reply)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)


class TrickleTests(ShellTestCase):
    """Servers that say a little, again and again."""

    def trickle(self, seconds: int) -> int:
        """Send an octet of the greeting every ten seconds, for so long; after how many seconds it ended, or 0."""
        done = self.perform(greet(PEER, self.settings, Occasion("4Abc12")))
        ended: list[float] = []
        done.addErrback(lambda _: ended.append(self.clock.seconds()))
        for _ in range(seconds // 10):
            self.clock.advance(10)
            self.transport.receive(b"2")
        return int(ended[0]) if ended else 0

    def test_without_deadline(self) -> None:
        """Each octet starts the time anew."""
        self.assertEqual(self.trickle(1000), 0)

    def test_with_deadline(self) -> None:
        """A deadline for the whole request ends that."""
        self.connect(limits=WHOLE_REQUEST)
        self.assertEqual(self.trickle(1000), 300)


class ContentTests(ShellTestCase):
    """Servers that take the content slowly."""

    def start(self, limits: TimeLimits | None = None) -> None:
        """Get as far as a content of two megabytes."""
        self.connect(limits=limits)
        self.done = self.transact(PiecewiseContent([b"x" * 69 + b"\n"] * 30_000))
        self.client()
        self.server("250 a", "250 b", "354 c")

    def assert_too_late(self) -> None:
        """The dialog has ended, and the content with it."""
        self.assertEqual(self.broken(self.done), TIMED_OUT + "sending message body")
        self.protocol.abort()
        self.transport.take_sent()
        self.assertEqual(self.client(), "")

    def test_standstill(self) -> None:
        """A server that takes nothing is given up after smtp_data_xfer_timeout."""
        for limits in (self.LIMITS, WHOLE_REQUEST):
            self.start(limits)
            self.clock.advance(179)
            self.assertNoResult(self.done)
            self.clock.advance(1)
            self.assert_too_late()

    def test_crawl(self) -> None:
        """Without a deadline an octet every three minutes is enough."""
        self.start()
        for _ in range(100):
            self.clock.advance(179)
            self.transport.drain(1)
        self.assertNoResult(self.done)

    def test_crawl_with_deadline(self) -> None:
        """With one it is not: smtp_min_data_rate octets are due each second."""
        self.start(WHOLE_REQUEST)
        for _ in range(20):
            self.clock.advance(10)
            self.transport.drain(1000)
        self.assertNoResult(self.done)
        for _ in range(3):
            self.clock.advance(10)
            self.transport.drain(1000)
        self.assert_too_late()

    def test_slow_enough(self) -> None:
        """Who keeps that rate may take as long as it takes; the last pieces and the dot have a limit of their own."""
        self.start(WHOLE_REQUEST)
        while self.transport.unsent:
            octets = min(5000, len(self.transport.unsent))
            self.clock.advance(octets / 500)
            self.transport.drain(octets)
        self.assertGreater(self.clock.seconds(), 4000)
        self.clock.advance(300)
        self.assertNoResult(self.done)
        self.server("250 d")
        self.successResultOf(self.done)

    def test_chatter(self) -> None:
        """A server that talks while it should listen gains no time by that."""
        self.start()
        for _ in range(17):
            self.clock.advance(10)
            self.server("250 patience")
        self.assertNoResult(self.done)
        self.clock.advance(10)
        self.assert_too_late()

    def test_dot_in_a_full_buffer(self) -> None:
        """The dot has smtp_data_done_timeout for leaving as well, from the last octet that left."""
        self.connect()
        done = self.transact(b"x\n" * 20_000)
        self.client()
        self.server("250 a", "250 b", "354 c")
        self.clock.advance(500)
        self.transport.drain(1000)
        self.clock.advance(599)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.assertIn("end of data", self.broken(done))


class AlarmTests(SynchronousTestCase):
    """The alarm by itself."""

    def setUp(self) -> None:
        """Nothing is awaited."""
        self.clock = Clock()
        self.alarm = Alarm(TimeLimits(SECONDS), self.clock)
        self.rang: list[float] = []

    def ring(self) -> None:
        """It rings."""
        self.rang.append(self.clock.seconds())

    def test_rings_once(self) -> None:
        """When the time is up, and not before; each octet makes it begin anew."""
        self.alarm.start(MAIL, self.ring)
        self.clock.advance(300)
        self.alarm.heard()
        self.clock.pump([1] * 301)
        self.assertEqual(self.rang, [])
        self.clock.pump([1] * 1000)
        self.assertEqual(self.rang, [602])

    def test_stopped(self) -> None:
        """What is no longer awaited is not late; then nothing that comes or leaves means anything."""
        self.alarm.start(MAIL, self.ring)
        self.alarm.stop()
        self.alarm.heard()
        self.alarm.wrote(1)
        self.clock.pump([100] * 10)
        self.assertEqual((self.rang, self.clock.getDelayedCalls()), ([], []))

    def test_earlier(self) -> None:
        """The timer that is left from a longer limit does not make a shorter one longer."""
        self.alarm.start(DOT, self.ring)
        self.alarm.stop()
        self.alarm.start(DATA, self.ring)
        self.clock.pump([1] * 1000)
        self.assertEqual(self.rang, [120])

    def test_cancelled(self) -> None:
        """Cancelled, it leaves nothing behind."""
        self.alarm.start(MAIL, self.ring)
        self.alarm.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.alarm.cancel()

    def test_content(self) -> None:
        """Within the content only what leaves buys time; a pause that is not the server's fault is not counted."""
        self.alarm.start(CONTENT, self.ring)
        self.clock.advance(100)
        self.alarm.heard()
        self.alarm.wrote(1)
        self.alarm.stop()
        self.clock.advance(1000)
        self.alarm.go_on(self.ring)
        self.clock.advance(100)
        self.alarm.heard()
        self.clock.pump([1] * 79)
        self.assertEqual(self.rang, [])
        self.clock.pump([1] * 100)
        self.assertEqual(self.rang, [1280])
