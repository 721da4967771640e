"""``static:VALUE``: the same value for every key, parts of addresses included.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "static"; a running postmap(1).
"""

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.braces import BracesError, inner_text
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest


@implementer(ILookupTable)
class StaticTable(ConstantTable):
    """A table with one value."""

    by_pattern = False

    def __init__(self, name: str, value: str) -> None:
        super().__init__(name)
        self._value = value

    def lookup(self, key: str) -> str:
        """The value, whatever the key."""
        return self._value


def open_static(request: TableRequest) -> StaticTable:
    """Open ``static:VALUE`` or ``static:{ VALUE }``.

    Raises:
        TableError: the braces do not match.
    """
    value = request.name
    if value.startswith("{"):
        try:
            value = inner_text(value)
        except BracesError as error:
            raise request.unusable(f"bad static:name syntax: {error.problem}") from None
    return StaticTable(request.table, value)
