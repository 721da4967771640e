"""``randmap:{value, value ...}``: one of the values by chance, for every key.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "randmap"; a running postmap(1).
"""

import random
from collections.abc import Sequence

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.braces import list_items
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest

_FORM = "value"


@implementer(ILookupTable)
class RandomTable(ConstantTable):
    """A table that chooses; not asked for parts of addresses, as it would always have an answer."""

    by_pattern = True

    def __init__(self, name: str, values: Sequence[str], choose: random.Random) -> None:
        super().__init__(name)
        self._values = values
        self._choose = choose

    def lookup(self, key: str) -> str:
        """Any of the values, whatever the key."""
        return self._choose.choice(self._values)


def open_randmap(request: TableRequest) -> RandomTable:
    """Open ``randmap:{...}``.

    Raises:
        TableError: it is not in braces, or has nothing in it.
    """
    values = list_items(request, _FORM)
    if not values:
        raise request.unusable(f'empty table: "{request.table}"; need "{request.type}:{{{_FORM}...}}"')
    return RandomTable(request.table, values, random.Random())
