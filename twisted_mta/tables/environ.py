"""``environ:NAME``: the environment of the process; callers that fold keys find variables in lower case alone.

Flow: registry.py opens it.
Sources: DATABASE_README(5), "environ"; a running postmap(1).
"""

import os
from collections.abc import Callable

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.constant import ConstantTable
from twisted_mta.tables.opening import TableRequest


@implementer(ILookupTable)
class EnvironTable(ConstantTable):
    """The environment.

    Attributes:
        lookup: gives a variable.
    """

    by_pattern = False
    lookup: Callable[[str], str | None]

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.lookup = os.environ.get


def open_environ(request: TableRequest) -> EnvironTable:
    """Open ``environ:ANYTHING``."""
    return EnvironTable(request.table)
