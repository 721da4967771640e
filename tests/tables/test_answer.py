"""Tests of twisted_mta.tables.answer."""

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.tables.answer import answer


async def add(*parts: int | Deferred[int]) -> int:
    """Add up, waiting where necessary."""
    total = 0
    for part in parts:
        total += await part if isinstance(part, Deferred) else part
    return total


async def fail(before: Deferred[int] | None = None) -> int:
    """Fail, at once or later."""
    if before is not None:
        await before
    raise ValueError("it failed")


class AnswerTests(SynchronousTestCase):
    """Searches that may have to wait."""

    def test_at_once(self) -> None:
        """What waits for nothing gives its result, not a Deferred of it."""
        self.assertEqual(answer(add(1, 2)), 3)
        self.assertEqual(answer(add(1, succeed(5))), 6)

    def test_fails_at_once(self) -> None:
        """What fails at once raises."""
        self.assertRaises(ValueError, answer, fail())

    def test_later(self) -> None:
        """What waits gives a Deferred, however often it waits."""
        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()
        found = answer(add(1, first, 10, second))
        assert isinstance(found, Deferred)
        self.assertNoResult(found)
        first.callback(100)
        self.assertNoResult(found)
        second.callback(1000)
        self.assertEqual(self.successResultOf(found), 1111)

    def test_fails_later(self) -> None:
        """The Deferred fails with what the search raises, or what it waits for fails with."""
        first: Deferred[int] = Deferred()
        found = answer(fail(first))
        assert isinstance(found, Deferred)
        first.callback(1)
        self.failureResultOf(found, ValueError)
        second: Deferred[int] = Deferred()
        found = answer(add(second))
        assert isinstance(found, Deferred)
        second.errback(KeyError("x"))
        self.failureResultOf(found, KeyError)

    def test_error_seen(self) -> None:
        """The search itself sees an error that it waits for, and may go on."""

        async def tolerant(part: Deferred[int]) -> int:
            try:
                return await part
            except KeyError:
                return await more

        more: Deferred[int] = Deferred()
        part: Deferred[int] = Deferred()
        found = answer(tolerant(part))
        assert isinstance(found, Deferred)
        part.errback(KeyError("x"))
        self.assertNoResult(found)
        more.callback(7)
        self.assertEqual(self.successResultOf(found), 7)

    def test_cancel(self) -> None:
        """To cancel a search is to cancel what it waits for."""
        cancelled: list[Deferred[int]] = []
        part: Deferred[int] = Deferred(cancelled.append)
        found = answer(add(part))
        assert isinstance(found, Deferred)
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.assertEqual(cancelled, [part])
