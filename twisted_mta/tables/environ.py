"""``environ:NAME``: the environment of the process; callers that fold keys find variables in lower case alone.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "environ"; postconf(5) import_environment; a running postmap(1).
"""

import os
from collections import ChainMap
from collections.abc import Callable, Mapping

from zope.interface import implementer

from twisted_mta.config.values import split_items
from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.braces import BracesError, inner_text
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest


@implementer(ILookupTable)
class EnvironTable(ConstantTable):
    """The environment.

    Args:
        name: ``type:name``.
        settled: variables whose values do not depend on the process.

    Attributes:
        lookup: gives a variable.
    """

    by_pattern = False
    lookup: Callable[[str], str | None]

    def __init__(self, name: str, settled: Mapping[str, str]) -> None:
        super().__init__(name)
        self.lookup = ChainMap(dict(settled), os.environ).get


def open_environ(request: TableRequest) -> EnvironTable:
    """Open ``environ:ANYTHING``; what import_environment sets counts for more than the environment.

    Raises:
        TableError: import_environment is malformed.
    """
    settled = {}
    try:
        for item in split_items(request.context.expanded("import_environment") or ""):
            name, equals, value = (inner_text(item) if item.startswith("{") else item).partition("=")
            if equals:
                settled[name.strip()] = value.strip()
    except BracesError as error:
        raise request.unusable(f"import_environment: {error.problem}") from None
    return EnvironTable(request.table, settled)
