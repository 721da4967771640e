"""Compiled twins: that they are found, and where they were built, used."""

import os
import sys
from pathlib import Path
from types import FunctionType

from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.compiled import or_compiled
from twisted_mta.content import encode
from twisted_mta.postfix import line_records

USED = ((line_records.bulk_lines, line_records._take_bulk), (encode.ready_lines, encode._get_ready))
"""Functions that have twins, and what is called in their place."""


class OrCompiledTests(SynchronousTestCase):
    """The look for twins."""

    def test_found(self) -> None:
        """A twin has the name of the function, in a module of nearly the same name."""
        place = Path(self.mktemp())
        package = place / "compiled_sample"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "one.py").write_text("def double(x):\n    return 2 * x\n\ndef treble(x):\n    return 3 * x\n")
        (package / "_one.py").write_text("def double(x):\n    return x + x\n")
        (package / "two.py").write_text("def double(x):\n    return 2 * x\n")
        sys.path.insert(0, str(place))
        self.addCleanup(sys.path.remove, str(place))
        names = ("compiled_sample", "compiled_sample.one", "compiled_sample._one", "compiled_sample.two")
        self.addCleanup(lambda: [sys.modules.pop(name, None) for name in names])
        one = __import__("compiled_sample.one", fromlist=["double"])
        two = __import__("compiled_sample.two", fromlist=["double"])
        self.assertEqual(or_compiled(one.double).__module__, "compiled_sample._one")
        self.assertIs(or_compiled(two.double), two.double)
        self.assertRaises(AttributeError, or_compiled, one.treble)

    def test_sources(self) -> None:
        """Each function that asks for a twin has one in the source of its module's twin, of the same name."""
        for function, _ in USED:
            assert isinstance(function, FunctionType)
            module = Path(function.__code__.co_filename)
            source = module.with_name(f"_{module.stem}.pyx")
            if source.exists():  # a wheel may come without
                self.assertIn(f"\ndef {function.__name__}(", source.read_text("utf-8"))

    def test_used(self) -> None:
        """Where the package was built with twins, they are used; otherwise the functions themselves."""
        for function, used in USED:
            if os.environ.get("TWISTED_MTA_COMPILE") == "1":
                self.assertIsNot(used, function)
                self.assertFalse(isinstance(used, FunctionType))
            else:
                self.assertIn(used.__name__, function.__name__)
