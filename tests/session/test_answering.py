"""Tests of twisted_mta.session.answering."""

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.content.lookups import Asked, Core, Lookup
from twisted_mta.interfaces import TableError
from twisted_mta.session.answering import Answering, answered

KEY = Lookup(Asked.BODY_CHECKS, "key")
ERROR = TableError("t:n", "broken", "key")


def asking(times: int = 1) -> Generator[bytes | Lookup, Any, None]:
    """A core that asks, and tells what it hears."""
    for _ in range(times):
        try:
            answer = yield KEY
        except TableError as error:
            answer = str(error)
        yield repr(answer).encode()


def always(answer: object) -> dict[Asked, Callable[[str], object]]:
    """A table that has the same answer for every key."""
    return {Asked.BODY_CHECKS: lambda key: answer}


def refuse(key: str) -> None:
    """A table that fails at once."""
    raise ERROR


class AnsweringTests(SynchronousTestCase):
    """Chunks of a core that asks."""

    def test_at_once(self) -> None:
        """A table that answers at once makes nobody wait."""
        for answer, told in (
            (lambda key: key.upper(), b"'KEY'"),
            (lambda key: None, b"None"),
            (refuse, b"'t:n: broken'"),
        ):
            self.assertEqual(list(Answering(asking(2), {Asked.BODY_CHECKS: answer})), [told, told])

    def test_fired_already(self) -> None:
        """Neither does a Deferred that has fired."""
        for answer, told in ((succeed("x"), b"'x'"), (fail(ERROR), b"'t:n: broken'")):
            self.assertEqual(list(Answering(asking(), always(answer))), [told])

    def test_later(self) -> None:
        """Otherwise the Deferred is handed out, and the answer used when it has fired."""
        for outcome, told in (("x", b"'x'"), (ERROR, b"'t:n: broken'")):
            table: Deferred[str] = Deferred()
            chunks = Answering(asking(), always(table))
            self.assertIs(next(chunks), table)
            table.callback(outcome) if isinstance(outcome, str) else table.errback(outcome)
            self.assertEqual(list(chunks), [told])

    def test_error_of_the_core(self) -> None:
        """What a core raises passes."""

        def core() -> Generator[bytes | Lookup, Any, None]:
            yield KEY

        self.assertRaises(TableError, next, Answering(core(), {Asked.BODY_CHECKS: refuse}))

    def test_defect_of_a_table(self) -> None:
        """What a table raises that is no TableError passes, too."""
        self.assertRaises(ZeroDivisionError, next, Answering(asking(), {Asked.BODY_CHECKS: lambda key: 1 / 0}))


class AnsweredTests(SynchronousTestCase):
    """The result of a core."""

    def core(self) -> Core[str]:
        """Ask twice."""
        try:
            first = yield KEY
        except TableError:
            first = "failed"
        second = yield KEY
        return f"{first} {second}"

    def test_at_once(self) -> None:
        """A core whose tables answer at once needs no Deferred."""
        coroutine = answered(self.core(), {Asked.BODY_CHECKS: lambda key: "x"})
        self.assertEqual(self.assertRaises(StopIteration, coroutine.send, None).value, "x x")

    def test_errors(self) -> None:
        """An error is thrown into the core."""
        answers = iter([fail(ERROR), "x"])
        done = answered(self.core(), {Asked.BODY_CHECKS: lambda key: next(answers)})
        self.assertEqual(self.successResultOf(done), "failed x")

    def test_later(self) -> None:
        """An answer may take its time."""
        table: Deferred[str] = Deferred()
        answers = iter([table, "y"])
        done = Deferred.fromCoroutine(answered(self.core(), {Asked.BODY_CHECKS: lambda key: next(answers)}))
        self.assertNoResult(done)
        table.callback("x")
        self.assertEqual(self.successResultOf(done), "x y")

    def test_error_of_the_core(self) -> None:
        """What a core raises is the outcome."""

        def core() -> Core[None]:
            yield KEY

        self.failureResultOf(answered(core(), {Asked.BODY_CHECKS: refuse}), TableError)
