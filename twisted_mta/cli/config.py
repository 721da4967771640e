"""``smtpdeliver config``: show parameters as postconf(1) does, explain them, and say what is wrong with main.cf.

Flow: cli/parameter_view.py reads the configuration; this module chooses what is shown, and how.
Sources: postconf(1), postconf(5); sysexits.h.
"""

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from twisted_mta.cli.console import USUAL_DIRECTORY, complain, find_config_directory, show
from twisted_mta.cli.parameter_view import Configuration, ParameterView, read_configuration, read_defaults
from twisted_mta.cli.unknown_names import ROW_NAMES, nearest_name
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.evaluation import PROTOCOLS
from twisted_mta.config.main_cf import parse_override
from twisted_mta.model.text import printable

_WHITE_SPACE = re.compile(r"[ \t\r\n]+")


def add_to(commands: Any) -> None:
    """Add the sub-command to the grammar."""
    own = commands.add_parser(
        "config",
        help="show and explain parameters, as postconf does",
        description=__doc__.partition("\n\nFlow:")[0],
        epilog=USUAL_DIRECTORY,
    )
    own.add_argument("-d", "--defaults", action="store_true", help="show defaults, whatever main.cf says")
    own.add_argument("-n", "--non-defaults", action="store_true", help="show only what main.cf or -o sets")
    own.add_argument("-x", "--expand", action="store_true", help="expand $name in values")
    own.add_argument("-o", dest="overrides", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    own.add_argument("--protocol", choices=PROTOCOLS, help="show only what one protocol reads; default: both")
    own.add_argument("--explain", action="store_true", help="tell all about the parameters that are named")
    own.add_argument("--json", action="store_true", help="one JSON object a parameter")
    own.add_argument("names", nargs="*", metavar="NAME", help="parameters to show; default: all")
    own.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show parameters.

    Returns:
        0; 64: the options make no sense, or a name means nothing; 78: something is wrong with main.cf or -o.
    """
    if mistake := _usage_mistake(arguments):
        complain(mistake)
        return os.EX_USAGE
    try:
        configuration = _read(arguments)
    except ConfigError as error:
        complain(str(error))
        return os.EX_CONFIG
    for text in configuration.warnings:
        complain(f"warning: {text}")
    chosen, unknown = _choose(configuration, arguments)
    show(_shown(chosen, arguments))
    for text in (*unknown, *configuration.problems):
        complain(text)
    return os.EX_CONFIG if configuration.problems else os.EX_USAGE if unknown else os.EX_OK


def _usage_mistake(arguments: argparse.Namespace) -> str:
    if arguments.defaults and arguments.non_defaults:
        return "config: specify one of -d and -n"
    if arguments.defaults and arguments.overrides:
        return "config: specify one of -d and -o"
    if arguments.explain and not arguments.names:
        return "config: --explain needs the name of a parameter"
    return ""


def _read(arguments: argparse.Namespace) -> Configuration:
    """What is to be shown of.

    Raises:
        ConfigError: main.cf cannot be read, or an option is malformed.
    """
    protocols = [arguments.protocol] if arguments.protocol else PROTOCOLS
    if arguments.defaults:
        return read_defaults(protocols)
    overrides = [parse_override(text) for text in arguments.overrides]
    return read_configuration(find_config_directory(arguments.config_directory), protocols, overrides)


def _choose(configuration: Configuration, arguments: argparse.Namespace) -> tuple[list[ParameterView], list[str]]:
    """The parameters that are wanted, and what is wrong with the names that were given."""
    views = configuration.views
    if arguments.names:
        chosen = [views[name] for name in arguments.names if name in views]
    else:
        chosen = configuration.listed()
    if arguments.non_defaults:
        chosen = [view for view in chosen if view.is_set]
    return chosen, [_unknown(name, configuration) for name in arguments.names if name not in views]


def _unknown(name: str, configuration: Configuration) -> str:
    if name in ROW_NAMES:
        others = (view for view in configuration.views.values() if view.other_name == name != view.name)
        other = next(others, None)
        return f"{name}: not read here" + (f"; see {other.name}" if other else "")
    meant = nearest_name(name, configuration.views.keys())
    return f"{name}: no parameter of smtp(8) or lmtp(8)" + (f"; did you mean {meant}?" if meant else "")


# ---- forms of output ----


def _shown(views: Iterable[ParameterView], arguments: argparse.Namespace) -> Iterator[str]:
    for view in views:
        if arguments.json:
            yield json.dumps(_all_about(view))
        elif arguments.explain:
            yield from _explained(view)
        else:
            yield _assignment(view.name, _expanded(view) if arguments.expand else view.value)


def _assignment(name: str, value: str) -> str:
    """A line as postconf(1) writes it: with one blank wherever white space is."""
    return " ".join([name, "=", *filter(None, _WHITE_SPACE.split(value))])


def _expanded(view: ParameterView) -> str:
    """The value with all references expanded, or as it is where that fails."""
    try:
        return view.expand()
    except ConfigError as error:
        if view.row is None:  # what is wrong with a row is among the problems
            complain(f"{view.name}: {error.describe()}")
        return view.value


def _all_about(view: ParameterView) -> dict[str, str | None]:
    row = view.row
    return {
        "name": view.name,
        "value": view.value,
        "expanded": _expanded(view),
        "default": view.default if row else None,
        "origin": view.origin,
        "type": view.type,
        "accepts": row.accepts if row else "",
        "about": row.doc
        if row
        else "No parameter of smtp(8) or lmtp(8): main.cf has it for itself, or for another program.",
        "protocol": view.protocol,
        "other_name": view.other_name,
        "read_by": row.load.value if row else None,
    }


def _explained(view: ParameterView) -> Iterator[str]:
    about = _all_about(view)
    lines = (
        ("", about["about"]),
        ("type", about["type"]),
        ("values", about["accepts"]),
        ("default", about["default"] or ("(empty)" if view.row else "")),
        ("origin", view.origin),
        ("expanded", about["expanded"] if about["expanded"] != view.value else ""),
        ("mirror", view.mirror),
        ("read by", about["read_by"]),
    )
    yield _assignment(view.name, view.value)
    for label, text in lines:
        if text:
            yield f"    {label + ':':<10}{printable(text)}" if label else f"    {printable(text)}"
