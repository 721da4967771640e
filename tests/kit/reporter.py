"""A reporter that keeps what it is told."""

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from twisted_mta.interfaces import IStatusReporter
from twisted_mta.model.result import Fate, RecipientResult


@implementer(IStatusReporter)
class MemoryReporter:
    """Records fates in memory.

    Attributes:
        results: in their order.
        failing: recipients whose record fails, so that they must be tried again.
        later: whether records take time; `finish` ends it.
        soft_bounce: whether a bounce only defers.
    """

    def __init__(
        self, *, failing: frozenset[str] = frozenset(), later: bool = False, soft_bounce: bool = False
    ) -> None:
        self.results: list[RecipientResult] = []
        self.failing = failing
        self.later = later
        self.soft_bounce = soft_bounce
        self._waiting: list[tuple[Deferred[bool], bool]] = []

    def report(self, result: RecipientResult) -> Deferred[bool]:
        """Keep a result; whoever is sent or bounced is final."""
        self.results.append(result)
        final = result.fate is Fate.SENT or (result.fate is Fate.BOUNCED and not self.soft_bounce)
        final = final and result.recipient.address not in self.failing
        if not self.later:
            return succeed(final)
        recorded: Deferred[bool] = Deferred()
        self._waiting.append((recorded, final))
        return recorded

    def finish(self) -> None:
        """All records are safe now."""
        waiting, self._waiting = self._waiting, []
        for recorded, final in waiting:
            recorded.callback(final)

    @property
    def lines(self) -> list[str]:
        """The results as texts: ``a@b mx.example[192.0.2.1]:25 2.0.0 sent (250 ok)``."""
        return [line_of_result(result) for result in self.results]


def line_of_result(result: RecipientResult) -> str:
    """A result as a text."""
    dsn = result.dsn
    return f"{result.recipient.address} {result.relay} {dsn.status} {result.fate.value} ({dsn.reason})"
