"""A comparison of the registry's rows with the tests of what each parameter does.

Flow: tests/tls/test_rows.py and tests/sasl/test_rows.py name the rows and the case; tests/kit/forced_default.py checks the tests.
"""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from twisted_mta.config.parameter import Rows


def names_of(*groups: type[Rows]) -> list[str]:
    """The names of all rows."""
    return [row.name for rows in groups for row in rows.rows]


def tests_of(names: Iterable[str], no_effect: Mapping[str, str], case: str) -> dict[str, str]:
    """The test of each parameter that does something: a method of the case that bears its name."""
    return {name: f"{case}.test_{name}" for name in names if name not in no_effect}


class RowsMixin:
    """The registry and the tests of its parameters; a TestCase of tests/ is the other base.

    Attributes:
        names: of the rows.
        no_effect: parameters that are read and then do nothing, and why.
        case: the dotted name of the TestCase.
    """

    names: list[str]
    no_effect: Mapping[str, str]
    case: str
    assertEqual: Any

    def test_every_row_has_a_test(self) -> None:
        """Each parameter has a test that bears its name, and no test is named after a parameter that does not exist."""
        module, _, name = self.case.rpartition(".")
        methods = dir(getattr(importlib.import_module(module), name))
        named = {method.removeprefix("test_") for method in methods if method.startswith("test_")}
        self.assertEqual(named, set(tests_of(self.names, self.no_effect, self.case)))

    def test_reasons(self) -> None:
        """What does nothing is a parameter, too."""
        self.assertEqual(set(self.no_effect) - set(self.names), set())
