"""``inline:{key=value, {key = value with spaces}, ...}``: a table that is its own name.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "inline"; a running postmap(1).
"""

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.braces import BracesError, inner_text, list_items
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.keys import InMemory, folding, is_utf8
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.text_records import RecordError, split_name_value

_FORM = "name=value"


@implementer(ILookupTable)
class InlineTable(InMemory, ConstantTable):
    """Keys and values in memory."""


def open_inline(request: TableRequest) -> InlineTable:
    """Open ``inline:{...}``; of several values for a key the last counts.

    Raises:
        TableError: it is malformed, or has nothing in it.
    """
    fold = folding(request)
    entries: dict[str, str] = {}
    items = list_items(request, _FORM)
    try:
        if request.utf8 and not is_utf8(request.name):
            raise RecordError("bad UTF-8 syntax")
        if not items:
            raise RecordError("empty table")
        for item in items:
            key, value = split_name_value(inner_text(item) if item.startswith("{") else item)
            entries[fold(key)] = value
    except (RecordError, BracesError) as error:
        raise request.unusable(f'{error.problem}: "{request.table}"; need "{request.type}:{{{_FORM}...}}"') from None
    return InlineTable(request.table, entries)
