"""The alarm of a connection: it rings when the server has had all the time there is.

There is one timer at most, and it is not moved whenever the time begins anew: one that goes off too early is no harm, and is
cheaper.

Flow: who begins to wait starts it, and is told: session/performing.py, session/sending.py, session/protocol.py. A Deadline of
session/limits.py does the sums.
Sources: RFC 5321 section 4.5.3.2; postconf(5) smtp_*_timeout; twisted.internet.interfaces.IReactorTime.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_mta.session.limits import Deadline, TimeLimits
from twisted_mta.smtp.phases import Phase


class Alarm:
    """The time that one server has left."""

    __slots__ = ("_clock", "_deadline", "_rang", "_timer")

    def __init__(self, limits: TimeLimits, clock: IReactorTime) -> None:
        """Start without any limit.

        Args:
            limits: how long to wait.
            clock: the time.
        """
        self._deadline = Deadline(limits)
        self._clock = clock
        self._timer: IDelayedCall | None = None
        # Only while something is awaited: it may lead back to the connection.
        self._rang: Callable[[], None] | None = None

    def start(self, phase: Phase, rang: Callable[[], None]) -> None:
        """Begin to wait in a phase.

        Args:
            phase: whose limit it is.
            rang: called once the server is too late.
        """
        now = self._clock.seconds()
        self._deadline.start(phase, now)
        self._rang = rang
        self._arm(now)

    def go_on(self, rang: Callable[[], None]) -> None:
        """Wait further, after a `stop`, in the same phase."""
        now = self._clock.seconds()
        self._deadline.go_on(now)
        self._rang = rang
        self._arm(now)

    def heard(self) -> None:
        """The server has said something; within the content that buys it no time: it should listen."""
        deadline = self._deadline
        if deadline.at is not None and not deadline.in_content:
            deadline.progress(self._clock.seconds())

    def wrote(self, octets: int) -> None:
        """Octets have left."""
        deadline = self._deadline
        if deadline.at is None:
            return
        if deadline.in_content:
            deadline.wrote_content(octets, self._clock.seconds())
        else:
            deadline.progress(self._clock.seconds())

    def stop(self) -> None:
        """Nothing is awaited any more; the timer stays, for the next time."""
        deadline = self._deadline
        if deadline.at is not None:
            deadline.stop(self._clock.seconds())
            self._rang = None

    def cancel(self) -> None:
        """Nothing is awaited any more, and leave no timer behind."""
        self.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, now: float) -> None:
        """See to it that the timer goes off no later than the server is too late."""
        at, timer = self._deadline.at, self._timer
        assert at is not None
        if timer is None:
            self._timer = self._clock.callLater(max(0.0, at - now), self._went_off)
        elif timer.getTime() > at:
            timer.reset(max(0.0, at - now))

    def _went_off(self) -> None:
        self._timer = None
        at, rang = self._deadline.at, self._rang
        if at is None or rang is None:
            return
        now = self._clock.seconds()
        if now < at:
            self._arm(now)
        else:
            self.stop()
            rang()
