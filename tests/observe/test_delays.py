"""Tests of twisted_mta.observe.delays."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.model.request import MessageStats
from twisted_mta.observe.delays import format_delays, format_seconds

START = 1_700_000_000_000_000


class FormatSecondsTests(SynchronousTestCase):
    """Durations show two digits that count."""

    def test_two_decimals(self) -> None:
        """What a running Postfix shows with the default of delay_logging_resolution_limit."""
        for microseconds, text in (
            (0, "0"),
            (4_900, "0"),
            (4_999, "0"),
            (5_000, "0.01"),
            (14_900, "0.01"),
            (99_900, "0.1"),
            (123_456, "0.12"),
            (128_000, "0.13"),
            (995_000, "1"),
            (996_000, "1"),
            (1_050_000, "1.1"),
            (1_449_999, "1.4"),
            (9_950_000, "10"),
            (9_960_000, "10"),
            (10_600_000, "11"),
            (12_300_000, "12"),
            (59_500_000, "60"),
            (123_456_000, "123"),
        ):
            self.assertEqual(format_seconds(microseconds), text, microseconds)

    def test_other_limits(self) -> None:
        """More decimals show more of small durations only; without decimals there are whole seconds."""
        for decimals, microseconds, text in (
            (0, 499_999, "0"),
            (0, 500_000, "1"),
            (0, 1_500_000, "2"),
            (0, 12_300_000, "12"),
            (1, 123_456, "0.1"),
            (3, 4_900, "0.005"),
            (3, 14_900, "0.015"),
            (3, 123_456, "0.12"),
            (3, 1_234_567, "1.2"),
            (6, 7, "0.000007"),
            (6, 123, "0.00012"),
            (6, 123_456, "0.12"),
        ):
            self.assertEqual(format_seconds(microseconds, decimals), text, (decimals, microseconds))

    def test_negative(self) -> None:
        """A clock that was set back shows as no delay."""
        self.assertEqual(format_seconds(-5_000_000), "0")

    @given(st.integers(0, 10**13), st.integers(0, 6))
    @settings(deadline=None)
    def test_rounding(self, microseconds: int, decimals: int) -> None:
        """What is shown is near, and has no more digits than it should."""
        text = format_seconds(microseconds, decimals)
        whole, _, fraction = text.partition(".")
        self.assertLessEqual(len(fraction), decimals)
        self.assertFalse(fraction.endswith("0"))
        significant = (whole + fraction).lstrip("0") if fraction else ""
        self.assertLessEqual(len(significant), 2)
        error = abs(float(text) * 1e6 - microseconds)
        self.assertLessEqual(
            error, max(0.5e6 if microseconds >= 9.95e6 else 0.05 * microseconds, 0.5 * 10 ** (6 - decimals)) + 1
        )


class FormatDelaysTests(SynchronousTestCase):
    """The two fields of the delivery line."""

    def test_all_stamps(self) -> None:
        """Before the queue manager, in it, set-up, transmission; their sum comes first."""
        stats = MessageStats(START, START + 100_000, START + 110_000, START + 610_000, START + 1_210_000)
        self.assertEqual(format_delays(stats), "delay=1.2, delays=0.1/0.01/0.5/0.6")

    def test_no_set_up(self) -> None:
        """Without a set-up all the time since the hand-off is transmission."""
        stats = MessageStats(START, START + 100_000, START + 110_000, 0, START + 1_210_000)
        self.assertEqual(format_delays(stats), "delay=1.2, delays=0.1/0.01/0/1.1")

    def test_clock_set_back(self) -> None:
        """Negative differences are 0."""
        stats = MessageStats(START, START - 5_000_000, START + 20_000, START - 1, START + 20_000)
        self.assertEqual(format_delays(stats), "delay=0.02, delays=0/5/0/0.02")
