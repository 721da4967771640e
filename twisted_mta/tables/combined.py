"""What unionmap and pipemap have in common: they are made of other tables.

Flow: unionmap.py and pipemap.py build on it.
Sources: DATABASE_README(5), "pipemap" and "unionmap"; a running postmap(1).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.answer import answer
from twisted_mta.tables.braces import list_items
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest

_FORM = "type:name"


class CombinedTable(ConstantTable, ABC):
    """A table that is made of others, which belong to whoever opened them for us.

    The first says whether it is asked for parts of addresses.
    """

    def __init__(self, name: str, members: Sequence[ILookupTable]) -> None:
        super().__init__(name)
        self.by_pattern = members[0].by_pattern
        self._members = members

    def lookup(self, key: str) -> str | Deferred[str | None] | None:
        """Ask the tables.

        Raises:
            TableError: one of them failed; the Deferred fails with the same.
        """
        return answer(self._find(key))

    @abstractmethod
    async def _find(self, key: str) -> str | None:
        """Ask the tables."""

    def changed(self) -> bool:
        """Whether one of the tables has changed."""
        return any(member.changed() for member in self._members)


Kind = TypeVar("Kind", bound=CombinedTable)


def open_combined(request: TableRequest, kind: type[Kind]) -> Kind:
    """Open ``TYPE:{type:name, type:name ...}``.

    Raises:
        TableError: it is malformed.
        ConfigError: as opening a member may raise.
    """
    specs = list_items(request, _FORM)
    if not specs or not all(":" in spec for spec in specs):
        raise request.unusable(f'bad syntax: "{request.table}"; need "{request.type}:{{{_FORM}...}}"')
    return kind(request.table, [request.open_member(spec) for spec in specs])
