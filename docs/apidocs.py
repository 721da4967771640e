"""How pydoctor reads this project's docstrings.

Flow: `tox run -e apidocs` names `docs.apidocs.System`; pydoctor loads this module again as its own extension.
Sources: pydoctor's documentation, "Customize API documentation" and "Use a custom system class"; reStructuredText.
"""

import re
from typing import Any

from pydoctor import extensions, model

_CODE = re.compile(r"(``.+?``|`.+?`)", re.DOTALL)
_MARK = re.compile(r"\*|(?<=\w)_(?!\w)")
_ITEM = re.compile(r" *(-|\d+\.) ")


class System(model.System):
    """pydoctor's System, for docstrings that are plain text but for backticks, lists and Google's sections."""

    custom_extensions = ["docs.apidocs"]  # noqa: RUF012 - pydoctor insists on a list

    def msg(self, section: str, msg: str, *arguments: Any, **options: Any) -> None:
        """Pass on every message but two that are no faults.

        With us backticks mark any name, those of parameters and fields above all, which pydoctor has no target for. And its
        reader of regular expressions does not know the possessive quantifiers of Python 3.11, and shows them without colours.
        """
        if section != "resolve_identifier_xref" and "Cannot colorize regular expression" not in msg:
            super().msg(section, msg, *arguments, **options)


def to_markup(text: str) -> str:
    """Keep stars and underscores at the ends of names from being markup, and set lists off by empty lines.

    Of two blanks in code the second becomes another kind of blank: pydoctor stumbles over what docutils makes of two.
    """
    parts = _CODE.split(text)
    parts[1::2] = [part.replace("  ", " \N{EN SPACE}") for part in parts[1::2]]
    parts[::2] = [_MARK.sub(r"\\\g<0>", part) for part in parts[::2]]
    lines: list[str] = []
    list_indent: int | None = None
    for line in "".join(parts).split("\n"):
        indent = len(line) - len(line.lstrip())
        if _ITEM.match(line):
            if list_indent is None and lines and lines[-1].strip():
                lines.append("")
            list_indent = indent
        elif not line.strip() or (list_indent is not None and indent <= list_indent):
            if line.strip():
                lines.append("")
            list_indent = None
        lines.append(line)
    return "\n".join(lines)


class _PlainDocstring(model.Documentable):
    def _setDocstringValue(self, doc: str, lineno: int) -> None:
        super()._setDocstringValue(to_markup(doc), lineno)


class PlainModule(_PlainDocstring, extensions.ModuleMixin):
    """A module; also a package."""


class PlainClass(_PlainDocstring, extensions.ClassMixin):
    """A class."""


class PlainFunction(_PlainDocstring, extensions.FunctionMixin):
    """A function or method."""


class PlainAttribute(_PlainDocstring, extensions.AttributeMixin):
    """A variable whose docstring is text from its first word on.

    Google's style would take what stands before a colon in the first line for a type; ours stands in the annotation. An
    empty comment as the first line has no colon.
    """

    def _setDocstringValue(self, doc: str, lineno: int) -> None:
        super()._setDocstringValue("..\n\n" + doc, lineno - 2)


def setup_pydoctor_extension(registrar: extensions.ExtRegistrar) -> None:
    """What pydoctor calls when it loads an extension."""
    registrar.register_mixin(PlainModule, PlainClass, PlainFunction, PlainAttribute)
