"""Find the compiled twins of functions in which large messages spend their time.

A twin of a function in ``twisted_mta/ROOM/MODULE.py`` has its name, and stands in ``twisted_mta/ROOM/_MODULE.pyx``; whoever calls
it sees no difference. A package has them if it was built for that (see hatch_build.py); nothing needs them.

Flow: modules with such functions take what they find here.
Sources: the manual of Cython.
"""

import importlib
from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def or_compiled(function: F) -> F:
    """The compiled twin of a function if there is one, else the function itself."""
    room, _, module = function.__module__.rpartition(".")
    try:
        twin: F = getattr(importlib.import_module(f"{room}._{module}"), function.__name__)
    except ImportError:
        return function
    return twin
