"""Answer what the cores of content/ ask: at once where tables can, else when they do.

Flow: body.py iterates over an Answering while content is sent; delivery/outgoing.py has the addresses of the envelope `answered`.
Sources: none; see content/lookups.py for the questions.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_mta.content.lookups import Asked, Core, Lookup
from twisted_mta.interfaces import TableError

T = TypeVar("T")

Answers = Mapping[Asked, Callable[[str], Any]]
"""For each list that is asked: gives the answer for a key, or a Deferred of it; raises TableError, or fails with it."""


class Answering(Iterator[bytes | Deferred[Any]]):
    """The chunks that a core makes. A Deferred among them says that the next one is not to be asked for before it fires."""

    def __init__(self, core: Generator[bytes | Lookup, Any, None], answers: Answers) -> None:
        """Prepare.

        Args:
            core: makes chunks, and asks.
            answers: who answers.
        """
        self._core = core
        self._answers = answers
        self._answer: Any = None
        self._error: BaseException | None = None

    def __next__(self) -> bytes | Deferred[Any]:
        """The next chunk, or what must be waited for.

        Raises:
            TableError: a table failed that must not.
            ContentFailedError: the content cannot go on.
        """
        core, answers = self._core, self._answers
        answer, error = self._answer, self._error
        self._answer = self._error = None
        asked = ask = None
        while True:
            item = core.send(answer) if error is None else core.throw(error)
            answer = error = None
            if isinstance(item, bytes):
                return item
            if ask is None or item.asked is not asked:
                asked, ask = item.asked, answers[item.asked]
            try:
                answer = ask(item.key)
            except TableError as problem:
                error = problem
            # Asking whether something is a Deferred takes long; this runs for each line of a message.
            if answer is None or type(answer) is str or not isinstance(answer, Deferred):
                continue
            waiting = answer.addCallbacks(self._answered, self._failed)
            if not waiting.called or waiting.paused:
                return waiting
            answer, error = self._answer, self._error
            self._answer = self._error = None

    def _answered(self, answer: Any) -> None:
        self._answer = answer

    def _failed(self, failure: Failure) -> None:
        self._error = failure.value


async def answered(core: Core[T], answers: Answers) -> T:
    """Run a core to its end, and give what it returns. Waits for nothing where all tables answer at once.

    Raises:
        Exception: what the core raises.
    """
    try:
        question = next(core)
        while True:
            try:
                answer = answers[question.asked](question.key)
                if isinstance(answer, Deferred):
                    answer = await answer
            except TableError as problem:
                question = core.throw(problem)
            else:
                question = core.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
