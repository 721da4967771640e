"""Turn raw entries into values: which text counts, in which order, with which variables known.

Flow: settings.py calls `evaluate` with its rows and keeps the outcome.
Sources: postconf(5); the order is that in which a running smtp(8) looks up and defines names.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted_mta.config.checks import CHECKS
from twisted_mta.config.choices import TlsLevel
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.expand import expand
from twisted_mta.config.main_cf import Entry, read_main_cf
from twisted_mta.config.parameter import Kind, Load, Parameter
from twisted_mta.config.values import parse_known_tcp_ports

PROTOCOLS = ("smtp", "lmtp")

STANDALONE_ENTRIES = {"compatibility_level": Entry("3.9", 0)}
"""What stands in for a main.cf where there is none: without it, the defaults of the oldest release would apply."""

_DEFINED_LATE = frozenset({"service_name", "process_id"})
"""Facts that replace what main.cf says of them, even in references."""

_CONSTANT_DEFAULTS = frozenset({Kind.BOOLEAN, Kind.INTEGER, Kind.LONG, Kind.TIME})


class Evaluation:
    """The values of all rows, and what it takes to explain them.

    Attributes:
        protocol: ``smtp`` or ``lmtp``.
        main_cf: the file, for messages; empty where there is none.
        values: by SMTP name; a row whose value is wrong is missing.
        errors: what is wrong, in order.
        warnings: texts to be logged, in order.
        unread: texts about mistakes in what a delivery agent would not read here; for those who ask for all that is odd.
    """

    def __init__(self, rows: Iterable[Parameter[Any]], protocol: str, facts: dict[str, str]) -> None:
        self.protocol = protocol
        self.main_cf = ""
        self.values: dict[str, Any] = {}
        self.errors: list[ConfigError] = []
        self.warnings: list[str] = []
        self.unread: list[str] = []
        self._rows = {row.name: row for row in rows}
        self._facts = facts
        self._entries: dict[str, Entry] = {}
        self._overridden: set[str] = set()
        self._variables = {name: fact for name, fact in facts.items() if name not in _DEFINED_LATE}

    def read_file(self, path: Path) -> None:
        """Take the entries of a main.cf.

        Raises:
            ConfigError: it cannot be read.
        """
        self.main_cf = str(path)
        self._define(read_main_cf(path, self.warnings.append, self.errors.append, self._variables))

    def stand_alone(self) -> None:
        """Do without a main.cf."""
        self._define(STANDALONE_ENTRIES)

    def override(self, name: str, value: str) -> None:
        """Take an ``-o`` option."""
        self._overridden.add(name)
        self._variables[name] = value

    def _define(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self._variables.update((name, entry.value) for name, entry in entries.items())

    # ---- loading ----

    def load(self, row: Parameter[Any]) -> None:
        """Evaluate a row; what is wrong goes to `errors`, or elsewhere where a delivery agent would not read it."""
        name = row.name_in(self.protocol)
        if name is None:
            self.values[row.name] = row.convert(row.name, row.default)
            return
        try:
            self.values[row.name] = row.convert(name, self._text_of(row, name))
        except ConfigError as error:
            without_tls = row.load is Load.TLS and not self._uses_tls
            if row.load is Load.OTHERS or without_tls:
                texts = self.unread if without_tls else self.warnings
                texts.append(f"{self._located(error, name).describe()} -- using the default")
                self.values[row.name] = row.convert(name, row.default_in(self.protocol))
            else:
                self.errors.append(self._located(error, name))

    @property
    def _uses_tls(self) -> bool:
        """Whether the TLS library is started at all, by what has been loaded so far."""
        level = self.values.get("smtp_tls_security_level", TlsLevel.UNSET)
        obsolete = self.values.get("smtp_use_tls") or self.values.get("smtp_enforce_tls")
        by_level = bool(obsolete) if level is TlsLevel.UNSET else level is not TlsLevel.NONE
        return by_level or bool(self.values.get("smtp_tls_policy_maps") or self.values.get("smtp_tls_per_site"))

    def fill_from(self, other: "Evaluation") -> None:
        """Take the values that are missing from another evaluation."""
        self.values = {**other.values, **self.values}

    def check(self) -> None:
        """Apply what concerns more than one value's form."""
        for check in CHECKS:
            self.errors.extend(self._located(error, error.parameter) for error in check(self))
        if "known_tcp_ports" in self.values:
            self.warnings.extend(parse_known_tcp_ports(self.values["known_tcp_ports"])[1])

    def _text_of(self, row: Parameter[Any], name: str) -> str:
        if row.kind is Kind.FACT:
            if name in _DEFINED_LATE:
                self._variables[name] = self._facts[name]
            return self._facts[name]
        raw = self._variables.get(name)
        if row.kind is Kind.LEGACY:
            return raw or ""
        if raw is not None:
            return expand(raw, self._variables.get)
        default = self._default_of(row)
        # So Postfix defines what main.cf does not: as it is, or, if it is a text, expanded.
        if row.kind in _CONSTANT_DEFAULTS:
            self._variables[name] = default
            return default
        text = expand(default, self._variables.get)
        self._variables[name] = text if row.kind is Kind.TEXT else default
        return text

    def _default_of(self, row: Parameter[Any]) -> str:
        if row.name == "myhostname":
            return self._system_name()
        if row.name == "mydomain":
            return self.values.get("myhostname", "").partition(".")[2] or "localdomain"
        return row.default_in(self.protocol)

    def _system_name(self) -> str:
        name = os.uname().nodename
        return name if "." in name else f"{name}.{self.expanded('mydomain') or 'localdomain'}"

    def located(self, error: ConfigError) -> ConfigError:
        """The error with the place where its parameter was set, see Settings.located."""
        return self._located(error, self.parameter_name(error.parameter)) if error.parameter else error

    def _located(self, error: ConfigError, name: str) -> ConfigError:
        """The error with the place where the value was set, unless it has another place."""
        file, line, entry = error.file, error.line, self._entries.get(name)
        if not file and entry is not None and self.main_cf and name not in self._overridden:
            file, line = self.main_cf, entry.line
        return ConfigError(
            error.text, cause=error.cause, parameter=name, file=file, line=line, mended_in=error.mended_in
        )

    # ---- asking ----

    def value(self, name: str) -> Any:
        """The value of a row by its SMTP name; None where it could not be read."""
        return self.values.get(name)

    def parameter_name(self, name: str) -> str:
        """The name that is read in this personality."""
        row = self._rows.get(name)
        return (row.name_in(self.protocol) or name) if row else name

    def raw(self, name: str) -> str | None:
        """The text before expansion, see Settings.raw."""
        if name in self._overridden or name in self._entries:
            return self._variables.get(name)
        row = self._row_named(name)
        if row is None:
            return None
        return self._facts[name] if row.kind is Kind.FACT else self._default_of(row)

    def origin(self, name: str) -> str:
        """Where it comes from, see Settings.origin."""
        if name in self._overridden:
            return "-o"
        entry = self._entries.get(name)
        if entry is not None and self.main_cf:
            return f"{self.main_cf}, line {entry.line}"
        return "default" if entry is not None or self._row_named(name) else ""

    def expanded(self, name: str) -> str | None:
        """The expanded text, see Settings.expanded."""
        raw = self._variables.get(name)
        return None if raw is None else expand(raw, self._variables.get)

    def _row_named(self, name: str) -> Parameter[Any] | None:
        return next((row for row in self._rows.values() if row.name_in(self.protocol) == name), None)


def evaluate(
    rows: Sequence[Parameter[Any]],
    config_directory: Path | None,
    protocol: str,
    service_name: str,
    overrides: Sequence[tuple[str, str]],
) -> Evaluation:
    """Evaluate rows in the order given; see `load_settings` for the other arguments.

    Raises:
        ConfigError: there is nothing to evaluate: an unknown protocol, or main.cf cannot be read.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f'unexpected process name "{protocol}" - specify "smtp" or "lmtp"')
    facts = {
        "process_name": protocol,
        "process_id": str(os.getpid()),
        "service_name": service_name or protocol,
        "config_directory": str(config_directory or ""),
    }
    evaluation = Evaluation(rows, protocol, facts)
    if config_directory is None:
        evaluation.stand_alone()
    else:
        evaluation.read_file(config_directory / "main.cf")
    for name, value in overrides:
        evaluation.override(name, value)
    for row in rows:
        evaluation.load(row)
    evaluation.check()
    return evaluation
