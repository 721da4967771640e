"""What there is to show of each parameter, as one personality or both see it.

Flow: cli/config.py asks for a Configuration, and prints what it gets.
Sources: postconf(1); postconf(5); smtp(8) for its two personalities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from twisted_mta.cli.unknown_names import ROW_NAMES, nearest_name, references, unknown_names
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.expand import expand
from twisted_mta.config.main_cf import read_main_cf, read_text
from twisted_mta.config.parameter import Kind, Parameter
from twisted_mta.config.settings import ROWS, Settings, salvage_settings

DEFAULT = "default"
"""The origin of what nobody has set."""

_TYPE_OF_KIND = {
    Kind.INTEGER: "integer",
    Kind.LONG: "integer",
    Kind.BOOLEAN: "yes or no",
    Kind.COMPUTED_BOOLEAN: "yes or no",
    Kind.FACT: "known at run time only",
    Kind.LEGACY: "obsolete, without effect of its own",
}

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class ParameterView:
    """A parameter under one name.

    Attributes:
        name: as main.cf has it.
        value: its text before expansion.
        default: its default text; what is found out at run time, if that is the default.
        origin: ``-o``, ``FILE, line N`` or DEFAULT.
        row: what it is; None: a name that main.cf defines for itself.
        type: what kind of value it takes, in words.
        protocol: the personality that reads it.
        expand: gives the expanded value; raises ConfigError.
    """

    name: str
    value: str
    default: str
    origin: str
    row: Parameter[Any] | None
    type: str
    protocol: str
    expand: Callable[[], str]

    @property
    def is_set(self) -> bool:
        """Whether main.cf or ``-o`` set it, if only to its default."""
        return self.origin != DEFAULT

    @property
    def other_name(self) -> str | None:
        """The name in the other personality; None where that does not read it."""
        if self.row is None:
            return None
        return self.row.name if self.protocol == "lmtp" else self.row.lmtp_name

    @property
    def mirror(self) -> str:
        """How the other personality reads it, in words."""
        if self.row is None:
            return ""
        other = "smtp" if self.protocol == "lmtp" else "lmtp"
        name, default = self.other_name, self.row.default_in(other)
        if name is None:
            return f"not read in {other.upper()} mode, where {default or 'an empty text'} counts"
        differs = f", default {default or '(empty)'}" if default != self.row.default_in(self.protocol) else ""
        return f"{'the same name' if name == self.name else name} in {other.upper()} mode{differs}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that there is to show.

    Attributes:
        views: by name.
        problems: what is wrong, each with its place.
        warnings: what is odd.
    """

    views: Mapping[str, ParameterView]
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def listed(self) -> list[ParameterView]:
        """What a list of all parameters has, by name: the rows, and those variables of main.cf that they refer to.

        Rows that only older releases read are in it where something sets them.
        """
        shown = [view for view in self.views.values() if view.row and (view.is_set or view.row.kind is not Kind.LEGACY)]
        variables = {name for name, view in self.views.items() if view.row is None}
        for view in shown:  # it grows meanwhile
            used = references(view.value) & variables
            variables -= used
            shown += (self.views[name] for name in used)
        return sorted(shown, key=lambda view: view.name)


def read_defaults(protocols: Sequence[str]) -> Configuration:
    """The defaults alone, whatever main.cf says.

    Args:
        protocols: the personalities; the first that reads a name counts.
    """
    texts: dict[str, str] = {}
    views: dict[str, ParameterView] = {}
    for protocol in protocols:
        settings, _ = salvage_settings(None, protocol=protocol)
        for name, row in rows_by_name(protocol).items():
            text = texts.setdefault(name, _default_text(row, name, settings))
            # postconf(1) expands defaults with defaults, those of names that are loaded later included.
            views.setdefault(
                name,
                ParameterView(
                    name, text, text, DEFAULT, row, _type_of(row, settings), protocol, partial(expand, text, texts.get)
                ),
            )
    return Configuration(views)


def read_configuration(
    config_directory: Path | None, protocols: Sequence[str], overrides: Sequence[tuple[str, str]]
) -> Configuration:
    """What main.cf and ``-o`` make of the parameters.

    Args:
        config_directory: where main.cf is; None: there is none.
        protocols: the personalities; the first that reads a name counts.
        overrides: ``-o`` options.

    Raises:
        ConfigError: main.cf cannot be read.
    """
    values = _values(config_directory, overrides)
    views: dict[str, ParameterView] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for protocol in protocols:
        bare, _ = salvage_settings(None, protocol=protocol)
        settings, errors = salvage_settings(config_directory, protocol=protocol, overrides=overrides)
        problems += (error.describe() for error in errors)
        warnings += (*settings.warnings, *settings.unread)
        for name, row in rows_by_name(protocol).items():
            views.setdefault(name, _view(name, row, settings, bare))
            if row.kind is Kind.FACT and name in values:
                warnings.append(f"{settings.origin(name)}: read-only parameter assignment: {name}={values[name]}")
        for name in values.keys() - ROW_NAMES:
            views.setdefault(name, _view(name, None, settings, bare))
    for name in unknown_names(values, _master_cf(config_directory)):
        meant = nearest_name(name)
        advice = f"; did you mean {meant}?" if meant else ""
        warnings.append(f"{views[name].origin}: unknown parameter: {name}{advice}")
    return Configuration(views, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))


def rows_by_name(protocol: str) -> dict[str, Parameter[Any]]:
    """The rows that a personality reads, by the name that it reads."""
    return {name: row for row in ROWS if (name := row.name_in(protocol))}


def _type_of(row: Parameter[Any] | None, settings: Settings) -> str:
    """What kind of value a row takes, in words; `settings` tell what becomes of the texts."""
    if row is None:
        return "text"
    if row.kind is Kind.TIME:
        return f"time; a bare number is in {_UNITS[row.default[-1]]}"
    if row.kind is not Kind.TEXT:
        return _TYPE_OF_KIND[row.kind]
    match getattr(settings, row.name):
        case frozenset():
            return "set of words"
        case Enum():
            return "word"
        case tuple(parts) if all(isinstance(part, str) for part in parts):
            return "list"
        case _:
            return "text"


def _default_text(row: Parameter[Any], name: str, settings: Settings) -> str:
    """The literal default, or else what is found out at run time, such as the name of this host."""
    return row.default_in(settings.protocol) or settings.raw(name) or ""


def _view(name: str, row: Parameter[Any] | None, settings: Settings, bare: Settings) -> ParameterView:
    """A parameter of a configuration; `bare` are the settings without one."""
    kind = _type_of(row, settings)
    if row is not None and row.kind is Kind.FACT:
        fact = str(getattr(settings, row.name) or "")
        return ParameterView(name, fact, fact, DEFAULT, row, kind, settings.protocol, lambda: fact)
    return ParameterView(
        name,
        settings.raw(name) or "",
        _default_text(row, name, bare) if row else "",
        settings.origin(name),
        row,
        kind,
        settings.protocol,
        lambda: settings.expanded(name) or "",
    )


def _values(config_directory: Path | None, overrides: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Names and raw values of main.cf and ``-o``; what is wrong with the file is told by those who load it."""
    entries = read_main_cf(config_directory / "main.cf", _ignore, _ignore) if config_directory else {}
    return {name: entry.value for name, entry in entries.items()} | dict(overrides)


def _master_cf(config_directory: Path | None) -> list[str]:
    """The text of master.cf, if there is one: its ``-o`` options may refer to names of main.cf."""
    try:
        return [read_text(config_directory / "master.cf")] if config_directory else []
    except ConfigError:
        return []


def _ignore(_: object) -> None:
    """Say nothing."""
