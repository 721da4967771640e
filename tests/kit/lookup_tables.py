"""Lookup tables that answer when a test wants it, or with what it wants."""

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable


@implementer(ILookupTable)
class SlowTable:
    """A table whose every answer is given by hand.

    Attributes:
        asked: keys and the Deferreds of their values, as far as not answered.
        cancelled: how many lookups nobody wants answered any more.
    """

    name = "slow:table"
    by_pattern = False

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[str | None]]] = []
        self.cancelled = 0

    def lookup(self, key: str) -> Deferred[str | None]:
        """Wait."""
        found: Deferred[str | None] = Deferred(self._cancel)
        self.asked.append((key, found))
        return found

    def answer(self, value: str | None) -> str:
        """Answer the first lookup; returns its key."""
        key, found = self.asked.pop(0)
        found.callback(value)
        return key

    def fail(self, error: Exception) -> None:
        """The first lookup fails."""
        self.asked.pop(0)[1].errback(error)

    def changed(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is held."""

    def _cancel(self, _: Deferred[str | None]) -> None:
        self.cancelled += 1


@implementer(ILookupTable)
class AtOnce(SlowTable):
    """A table that gives a Deferred of what is there at once, or the value itself, or an error."""

    def __init__(self, values: dict[str, Any], *, deferred: bool = False) -> None:
        super().__init__()
        self._values = values
        self._deferred = deferred

    def lookup(self, key: str) -> Any:
        """Answer."""
        value = self._values.get(key)
        if isinstance(value, Exception):
            raise value
        if not self._deferred:
            return value
        found: Deferred[str | None] = Deferred()
        found.callback(value)
        return found
