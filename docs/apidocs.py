"""How pydoctor reads this project's docstrings.

Flow: `tox run -e apidocs` names `docs.apidocs.System`; pydoctor loads this module again as its own extension.
Sources: pydoctor's documentation, "Customize API documentation" and "Use a custom system class".
"""

from typing import Any

from pydoctor import model
from pydoctor.extensions import AttributeMixin, ExtRegistrar


class System(model.System):
    """pydoctor's System, with the two readings below."""

    custom_extensions = ["docs.apidocs"]  # noqa: RUF012 - pydoctor insists on a list

    def msg(self, section: str, msg: str, *arguments: Any, **options: Any) -> None:
        """Pass on every message but those on names in backticks that are no link.

        With us backticks mark any name, those of parameters and fields above all, which pydoctor has no target for.
        """
        if section != "resolve_identifier_xref":
            super().msg(section, msg, *arguments, **options)


class PlainAttribute(AttributeMixin, model.Attribute):
    """A variable whose docstring is text from its first word on.

    Google's style would take what stands before a colon in the first line for a type; ours stands in the annotation. An
    empty comment as the first line has no colon.
    """

    def _setDocstringValue(self, doc: str, lineno: int) -> None:
        super()._setDocstringValue("..\n\n" + doc, lineno - 2)


def setup_pydoctor_extension(registrar: ExtRegistrar) -> None:
    """What pydoctor calls when it loads an extension."""
    registrar.register_mixin(PlainAttribute)
