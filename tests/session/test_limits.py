"""Time limits, without a connection."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.kit.limits import SECONDS
from twisted_mta.config.settings import load_settings
from twisted_mta.session.limits import Deadline, TimeLimits
from twisted_mta.smtp.phases import CONTENT, DATA, DOT, EHLO, GREETING, HELO, MAIL, QUIT

EACH_CALL = TimeLimits(SECONDS)
WHOLE_REQUEST = TimeLimits(SECONDS, per_request=True, min_data_rate=500)


class EachCallTests(SynchronousTestCase):
    """smtp_per_request_deadline = no: a limit for each read and write."""

    def test_start(self) -> None:
        """A phase gives its limit; stopping takes it away."""
        deadline = Deadline(EACH_CALL)
        self.assertIsNone(deadline.at)
        deadline.start(DATA, 1000.0)
        self.assertEqual(deadline.at, 1120.0)
        deadline.stop(1001.0)
        self.assertIsNone(deadline.at)

    def test_progress(self) -> None:
        """Every octet starts the time anew; none does while nothing is awaited."""
        deadline = Deadline(EACH_CALL)
        deadline.progress(1000.0)
        self.assertIsNone(deadline.at)
        deadline.start(DATA, 1000.0)
        deadline.progress(1100.0)
        self.assertEqual(deadline.at, 1220.0)

    def test_content(self) -> None:
        """So does every octet of the content that leaves."""
        deadline = Deadline(EACH_CALL)
        deadline.wrote_content(10, 1000.0)
        self.assertIsNone(deadline.at)
        deadline.start(CONTENT, 1000.0)
        deadline.wrote_content(1, 1100.0)
        self.assertEqual(deadline.at, 1280.0)


class WholeRequestTests(SynchronousTestCase):
    """smtp_per_request_deadline = yes: a budget for a whole phase."""

    def test_progress_gives_nothing(self) -> None:
        """Octets that trickle in buy no time."""
        deadline = Deadline(WHOLE_REQUEST)
        deadline.start(MAIL, 1000.0)
        deadline.progress(1300.0)
        self.assertEqual(deadline.at, 1302.0)

    def test_handshake_shares_a_budget(self) -> None:
        """Greeting, EHLO and HELO have one budget together, of which only waiting takes."""
        deadline = Deadline(WHOLE_REQUEST)
        deadline.start(GREETING, 1000.0)
        deadline.stop(1100.0)
        deadline.start(EHLO, 5000.0)
        self.assertEqual(deadline.at, 5200.0)
        deadline.stop(5150.0)
        deadline.start(HELO, 6000.0)
        self.assertEqual(deadline.at, 6050.0)

    def test_other_phases_have_their_own(self) -> None:
        """Every other reply has a budget of its own."""
        deadline = Deadline(WHOLE_REQUEST)
        for phase, limit in ((GREETING, 300), (MAIL, 302), (DOT, 600), (QUIT, 304)):
            deadline.start(phase, 1000.0)
            self.assertEqual(deadline.at, 1000.0 + limit)
            deadline.stop(1200.0)

    def test_content(self) -> None:
        """Octets that leave buy time at smtp_min_data_rate, up to the limit."""
        deadline = Deadline(WHOLE_REQUEST)
        deadline.start(CONTENT, 1000.0)
        deadline.wrote_content(5000, 1100.0)
        self.assertEqual(deadline.at, 1100.0 + 80 + 10)
        deadline.wrote_content(1_000_000, 1110.0)
        self.assertEqual(deadline.at, 1110.0 + 180)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 70_000), st.floats(0, 30)), max_size=30))
    def test_slow_content(self, writes: list[tuple[int, float]]) -> None:
        """Who takes less than the rate is late in the end; nobody has more time than the limit."""
        deadline = Deadline(WHOLE_REQUEST)
        now, taken = 0.0, 0
        deadline.start(CONTENT, now)
        for octets, seconds in writes:
            now += seconds
            taken += octets
            deadline.wrote_content(octets, now)
            assert deadline.at is not None
            self.assertLessEqual(deadline.at, now + 180)
            self.assertLessEqual(deadline.at, 180 + taken / 500 + 1e-6)


class TimeLimitsTests(SynchronousTestCase):
    """The parameters."""

    def test_defaults(self) -> None:
        """The defaults of smtp(8)."""
        limits = TimeLimits.from_settings(load_settings(None))
        self.assertEqual(
            limits.seconds,
            {
                **SECONDS,
                "smtp_starttls_timeout": 300,
                "smtp_xforward_timeout": 300,
                "smtp_mail_timeout": 300,
                "smtp_rcpt_timeout": 300,
                "smtp_quit_timeout": 300,
            },
        )
        self.assertEqual((limits.per_request, limits.min_data_rate), (False, 500))

    def test_lmtp(self) -> None:
        """lmtp(8) has its own, under the same keys."""
        overrides = [
            ("lmtp_lhlo_timeout", "7s"),
            ("lmtp_data_done_timeout", "2h"),
            ("lmtp_per_request_deadline", "yes"),
            ("lmtp_min_data_rate", "9"),
        ]
        limits = TimeLimits.from_settings(load_settings(None, protocol="lmtp", overrides=overrides))
        self.assertEqual(limits.seconds["smtp_helo_timeout"], 7)
        self.assertEqual(limits.seconds["smtp_data_done_timeout"], 7200)
        self.assertEqual((limits.per_request, limits.min_data_rate), (True, 9))
