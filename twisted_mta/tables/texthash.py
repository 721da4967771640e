"""``texthash:FILE``: the text that postmap(1) would read, read into memory.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "texthash"; postmap(1), "INPUT FILE FORMAT"; a running postmap(1).
"""

from collections.abc import Mapping

from zope.interface import implementer

from twisted_mta.config.main_cf import logical_lines
from twisted_mta.interfaces import ILookupTable
from twisted_mta.model.text import to_text
from twisted_mta.tables.files import OpenFile, read_text_table
from twisted_mta.tables.keys import InMemory, folding, is_utf8
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.text_records import RecordError, split_key_value


@implementer(ILookupTable)
class TextTable(InMemory):
    """Keys and values in memory, from a file."""

    def __init__(self, name: str, file: OpenFile, entries: Mapping[str, str]) -> None:
        super().__init__(name, entries)
        self.changed = file.changed
        self.close = file.close


def open_texthash(request: TableRequest) -> TextTable:
    """Open ``texthash:FILE``.

    Raises:
        TableError: it cannot be read, or has a key twice: then nobody can tell which is meant.
    """
    file, data = read_text_table(request, "open database")
    fold = folding(request)
    path = file.path
    entries: dict[str, str] = {}
    for line in logical_lines(to_text(data), path, request.warn):
        place = f"{path}, line {line.number}"
        if request.utf8 and not is_utf8(line.text):
            request.warn(f'{place}: non-UTF-8 input "{line.text}" -- ignoring this line')
            continue
        try:
            key, value = split_key_value(line.text)
        except RecordError as error:
            request.warn(f"{place}: {error.problem} -- ignoring this line")
            continue
        if key.endswith(":"):
            request.warn(f'{place}: record is in "key: value" format; is this an alias file?')
        folded = fold(key)
        if folded in entries:
            file.close()
            raise request.unusable(f'{place}: duplicate entry: "{key}"', path)
        entries[folded] = value
    return TextTable(request.table, file, entries)
