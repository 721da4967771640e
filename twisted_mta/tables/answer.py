"""Run a search over tables: at once where all tables answer at once, else as a Deferred.

Searches are coroutines that await only the Deferreds of tables that cannot answer at once. So a coroutine of a delivery may
simply await them, and pays for no Deferred where all tables are local; everybody else calls `answer`.
Flow: maps.py, match_list.py and the types that are made of other tables run their searches with it.
"""

import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def answer(search: Coroutine[Deferred[Any], Any, T]) -> T | Deferred[T]:
    """Start a search.

    Returns:
        Its result if it is already there, else a Deferred of it. To cancel that is to cancel what it waits for.

    Raises:
        Exception: what the search raises before it must wait for anything; later the Deferred fails with it.
    """
    try:
        waiting = search.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return Deferred.fromCoroutine(_go_on(search, waiting))


@types.coroutine
def _go_on(search: Coroutine[Deferred[Any], Any, T], waiting: Deferred[Any]) -> Generator[Deferred[Any], Any, T]:
    """What is left of a search that waits."""
    try:
        while True:
            try:
                found = yield waiting
            except GeneratorExit:
                search.close()
                raise
            except BaseException as error:  # noqa: BLE001 -- the search itself is to see it, whatever it is
                waiting = search.throw(error)
            else:
                waiting = search.send(found)
    except StopIteration as done:
        result: T = done.value
        return result
