"""Read the line format that Postfix's text files share, and main.cf itself.

Flow: settings.py reads main.cf with `read_main_cf`; master_cf.py and the text tables use `logical_lines`.
Sources: postconf(5), the section "The general format of the main.cf file"; texts of warnings as postconf(1) prints them.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from twisted_mta.config.errors import ConfigError
from twisted_mta.model.text import to_text, to_wire

WHITESPACE = " \t\r\v\f"
"""What Postfix takes for white space inside a line: ASCII only, so never `str.split()` without an argument."""

LONGEST_QUOTE = 30
"""Octets of a misplaced line that a warning shows."""

LARGEST_FILE = 2**26
"""Octets of a configuration file: more must be a device, or a mistake."""

Warn = Callable[[str], None]
"""Takes one text that is to be logged as a warning."""

Complain = Callable[[ConfigError], None]
"""Takes one error, where others are looked for, too."""


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """A line with its continuations.

    Attributes:
        text: without newlines; leading white space of continuations is kept, as is white space at the end.
        number: the first physical line, counted from 1.
        last: the last physical line.
    """

    text: str
    number: int
    last: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of main.cf as it stands there, and its first line."""

    value: str
    line: int


def logical_lines(text: str, file: str, warn: Warn) -> Iterator[LogicalLine]:
    """Join physical lines into logical ones; comments and empty lines vanish, even before a continuation.

    Args:
        text: the whole file.
        file: its name, for warnings.
        warn: takes the text of each warning.

    Yields:
        The logical lines in order, except for one that begins with white space: there is a warning in its place.
    """
    parts: list[str] = []
    number = last = 0
    for count, line in enumerate(text.split("\n"), 1):
        content = line.lstrip(WHITESPACE)
        if not content or content.startswith("#"):
            continue
        if parts and line[0] in WHITESPACE:
            parts.append(line)
            last = count
            continue
        if parts:
            yield from _finished(parts, number, last, file, warn)
        parts, number, last = [line], count, count
    if parts:
        yield from _finished(parts, number, last, file, warn)


def _finished(parts: list[str], number: int, last: int, file: str, warn: Warn) -> Iterator[LogicalLine]:
    joined = "".join(parts)
    kept, null, _ = joined.partition("\0")
    if null:
        warn(f"{file}, line {number}: text after null byte may be ignored")
    if kept[:1] and kept[0] in WHITESPACE:
        # Only a file's first line can get here: anywhere else white space continues what is before it.
        octets = to_wire(joined)
        shown = to_text(octets[:LONGEST_QUOTE].partition(b"\0")[0]) + "..." * (len(octets) > LONGEST_QUOTE)
        warn(f'{file}: logical line must not start with whitespace: "{shown}"')
        return
    yield LogicalLine(kept, number, last)


def split_assignment(text: str) -> tuple[str, str]:
    """Split ``name = value`` at its first ``=``; the form of main.cf lines and of ``-o`` arguments.

    Returns:
        The name, and the value without white space at its ends.

    Raises:
        ConfigError: the text alone, such as ``missing '=' after attribute name``; the caller puts the place before it.
    """
    body = text.strip(WHITESPACE + "\n")
    end = next((at for at, character in enumerate(body) if character == "=" or character in WHITESPACE), len(body))
    name, rest = body[:end], body[end:].lstrip(WHITESPACE)
    if not name:
        raise ConfigError("missing attribute name")
    if not rest.startswith("="):
        raise ConfigError("missing '=' after attribute name")
    return name, rest[1:].lstrip(WHITESPACE + "\n")


def parse_override(argument: str) -> tuple[str, str]:
    """Read the argument of an ``-o`` option: ``name=value`` or ``name = value``.

    Raises:
        ConfigError: it has no such form.
    """
    try:
        return split_assignment(argument)
    except ConfigError as error:
        raise ConfigError(f'invalid "-o {argument}" option value: {error.text}') from None


def parse_main_cf(
    text: str, file: str, warn: Warn, complain: Complain, defined: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Entry]:
    """Read the text of a main.cf.

    Args:
        text: the whole file.
        file: its name, for messages.
        warn: takes the text of each warning.
        complain: takes an error for each line that is no assignment; the line is left out.
        defined: what is defined already, and its values.

    Returns:
        Each name with its last value, raw.
    """
    entries: dict[str, Entry] = {}
    for line in logical_lines(text, file, warn):
        try:
            name, value = split_assignment(line.text)
        except ConfigError as error:
            complain(ConfigError(f'{file}, line {line.number}: {error.text}: "{line.text}"'))
            continue
        earlier = entries[name].value if name in entries else defined.get(name, value)
        if earlier != value:
            warn(f"{file}, line {line.number}: overriding earlier entry: {name}={earlier}")
        entries[name] = Entry(value, line.number)
    return entries


def read_main_cf(
    path: Path, warn: Warn, complain: Complain, defined: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Entry]:
    """Read a main.cf file; see `parse_main_cf`.

    Raises:
        ConfigError: the file cannot be read.
    """
    return parse_main_cf(read_text(path), str(path), warn, complain, defined)


def read_text(path: Path) -> str:
    """The text of a configuration file; bytes that are not UTF-8 survive as surrogates.

    Raises:
        ConfigError: ``open PATH: reason``.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(LARGEST_FILE + 1) if stat.S_ISREG(mode) or stat.S_ISCHR(mode) else None
    except OSError as error:
        problem = str(error.strerror)
    except ValueError as error:  # a null character in the name
        problem = str(error)
    else:
        if octets is None:
            problem = "not a file"
        elif len(octets) > LARGEST_FILE:
            problem = f"more than {LARGEST_FILE} octets"
        else:
            return to_text(octets)
    raise ConfigError(f"open {path}: {problem}", file=str(path))


def _open_at_once(path: str, flags: int) -> int:
    """Open a file that may be anything, such as a pipe to which nobody writes."""
    return os.open(path, flags | os.O_NONBLOCK)
