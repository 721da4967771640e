"""``smtpdeliver lookup``: ask one lookup table, as ``postmap -q`` does.

Flow: tables/ opens the table, with its settings from main.cf; the reactor runs, as tables may be elsewhere on the network.
Sources: postmap(1), option -q; DATABASE_README(5).
"""

import argparse
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from twisted_mta.cli.console import USUAL_DIRECTORY, complain, find_config_directory, show
from twisted_mta.cli.input_lines import InputError, lines_of
from twisted_mta.cli.running import run_in_reactor
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import parse_override
from twisted_mta.config.settings import Settings, salvage_settings
from twisted_mta.interfaces import ILookupTable, TableError
from twisted_mta.ipc.installed import postfix_version
from twisted_mta.model.events import Event
from twisted_mta.model.text import to_text
from twisted_mta.observe.maillog import LogStyle, line_of
from twisted_mta.tables.opening import TableContext
from twisted_mta.tables.table_set import TableSet

FOUND, NOT_FOUND, FAILED = 0, 1, 1
"""The exit status: postmap(1) tells no failure from an absence but by what it says on stderr."""

FROM_INPUT = "-"
"""The only key that is none: keys come from stdin."""

STDIN = 0

Form = Callable[[str, str | None], list[str]]
"""Makes lines of a key and its value, if there is one."""


def add_to(commands: Any) -> None:
    """Add the sub-command to the grammar."""
    own = commands.add_parser(
        "lookup",
        help="ask a lookup table, as postmap -q does",
        description=__doc__.partition("\n\nFlow:")[0],
        epilog=USUAL_DIRECTORY,
    )
    own.add_argument("-o", dest="overrides", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    own.add_argument("--json", action="store_true", help="one JSON object a key, whether found or not")
    own.add_argument("table", metavar="TYPE:NAME", help="the table; relative names begin here")
    own.add_argument("keys", nargs="+", metavar="KEY", help="what to look up; a lone - takes the lines of stdin")
    own.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look up keys.

    Returns:
        0: at least one was found; 1: none was, or something went wrong.
    """
    if sys.stdin is None and arguments.keys == [FROM_INPUT]:
        complain("stdin: it is closed")
        return FAILED
    spec, *keys = (to_text(os.fsencode(word)) for word in (arguments.table, *arguments.keys))
    try:
        directory = find_config_directory(arguments.config_directory)
        settings, problems = salvage_settings(
            directory, overrides=[parse_override(text) for text in arguments.overrides]
        )
    except ConfigError as error:
        complain(str(error))
        return FAILED
    # Most settings have nothing to do with tables: what is wrong with them need not end this.
    for problem in problems:
        complain(f"warning: {problem.describe()}")
    form = as_json if arguments.json else value_alone if len(keys) == 1 and keys != [FROM_INPUT] else key_and_value

    async def job(reactor: Any) -> int:
        wanted = lines_of(reactor, STDIN) if keys == [FROM_INPUT] else each_of(keys)
        return await look_up(context_for(spec, settings, reactor), spec, wanted, form)

    return run_in_reactor(job)


def context_for(spec: str, settings: Settings, reactor: Any) -> TableContext:
    """How a command opens a table: relative names begin in the current directory, and a table that does not open is an error.

    Args:
        spec: the table.
        settings: give the meaning of names in main.cf.
        reactor: for tables that are elsewhere.
    """
    style = LogStyle(utf8=settings.smtputf8_enable)

    def tell(event: Event) -> None:
        severity, text = line_of(event, style)
        complain(f"{severity.value}: {text}" if severity.value else text)

    return TableContext(
        expanded=settings.expanded,
        config_directory=settings.config_directory or Path("/"),
        # The socket of proxymap(8), and all names that it is asked for, are relative to the queue.
        queue_directory=Path(settings.queue_directory) if "proxy:" in spec else Path.cwd(),
        emit=tell,
        smtputf8=settings.smtputf8_enable,
        open_errors_are_fatal=True,
        reactor=reactor,
        postfix_version=partial(postfix_version, settings),
    )


async def look_up(context: TableContext, spec: str, keys: AsyncIterator[str], form: Form) -> int:
    """Look up keys one after the other, and show what is found at once, as somebody may wait for it before the next key.

    Args:
        context: what the table is opened with.
        spec: the table.
        keys: what to look up.
        form: makes lines of a key and its value.

    Returns:
        The exit status.
    """
    tables = TableSet(context)
    status = NOT_FOUND
    try:
        table: ILookupTable = tables.open(spec)
        async for line in keys:
            # As for Postfix, a key ends at a null character.
            key = line.partition("\0")[0]
            found = table.lookup(key)
            value = await found if isinstance(found, Deferred) else found
            if value == "":
                complain(f"warning: table {spec}: key {key}: empty string result is not allowed")
                complain(f"warning: table {spec} should return NO RESULT in case of NOT FOUND")
            if value is not None:
                status = FOUND
            if not show(form(key, value)):
                break
    except ConfigError as error:
        complain(error.describe())
        return FAILED
    except TableError as error:
        complain(f"table {spec}: query error: {error.problem}")
        return FAILED
    except InputError as error:
        complain(f"stdin: {error}")
        return FAILED
    finally:
        tables.close()
    return status


async def each_of(keys: Iterable[str]) -> AsyncIterator[str]:
    """The keys of the command line."""
    for key in keys:
        yield key


def value_alone(key: str, value: str | None) -> list[str]:
    """The value, for who asks for one key."""
    return [] if value is None else [value]


def key_and_value(key: str, value: str | None) -> list[str]:
    """Key and value with a tab between them."""
    return [] if value is None else [f"{key}\t{value}"]


def as_json(key: str, value: str | None) -> list[str]:
    """An object with key and value; the value is null if there is none."""
    return [json.dumps({"key": key, "value": value})]
