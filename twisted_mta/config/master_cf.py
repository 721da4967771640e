"""Find our own entry in master.cf, and see whether master(8) serves it.

Flow: postfix/own_entry.py hands the arguments of our entry to service_options.py, and refuses to start where master(8) serves it.
Sources: master(5); postconf(5), master_service_disable; texts as master(8) logs them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import LogicalLine, Warn, logical_lines, read_text

TRANSPORT_TYPES = ("inet", "unix", "unix-dgram", "fifo", "pass")

_BLANKS = " \t"
_ARGUMENT_BLANKS = " \t\r\n"
_FIELD_NAMES = (
    "service name",
    "transport type",
    "private",
    "unprivileged",
    "chroot",
    "wakeup_time",
    "max_proc",
    "command",
)
_COUNT = re.compile(r"\+?[0-9]+")


@dataclass(frozen=True, slots=True)
class MasterEntry:
    """An entry of master.cf.

    Attributes:
        name: of the service; of a ``unix`` service its path name below private or public.
        type: one of TRANSPORT_TYPES.
        private: whether its socket is below private.
        unprivileged: whether its program runs as mail_owner.
        chroot: whether its program runs with queue_directory as root.
        wakeup_seconds: how often master(8) wakes it; 0: never.
        process_limit: processes at most; 0: no limit; None: default_process_limit.
        command: the program.
        arguments: its arguments; braces around a whole argument are gone.
        line: where the entry begins, counted from 1.
    """

    name: str
    type: str
    private: bool
    unprivileged: bool
    chroot: bool
    wakeup_seconds: int
    process_limit: int | None
    command: str
    arguments: tuple[str, ...]
    line: int

    @property
    def program(self) -> str:
        """The name of the program without directories."""
        return PurePosixPath(self.command).name


def read_entries(path: Path, warn: Warn, *, chroot_default: bool = False) -> tuple[MasterEntry, ...]:
    """All entries of a master.cf, each name and type once: the last one counts.

    Args:
        path: the file.
        warn: takes a text for each line that is no entry, and is left out.
        chroot_default: what ``-`` means for chroot; True below compatibility level 1.

    Raises:
        ConfigError: the file cannot be read.
    """
    file = str(path)
    entries: dict[tuple[str, str], MasterEntry] = {}
    for line in logical_lines(read_text(path), file, warn):
        try:
            entry = parse_entry(line, file, chroot_default=chroot_default)
        except ConfigError as error:
            warn(error.text)
        else:
            entries[entry.name, entry.type] = entry
    return tuple(entries.values())


def find_line(path: Path, name: str, warn: Warn) -> LogicalLine | None:
    """The line of a ``unix`` service, for `parse_entry`; None where there is no such entry, or no such file.

    Args:
        path: the master.cf.
        name: of the service.
        warn: takes texts about the file.

    Raises:
        ConfigError: the file cannot be read.
    """
    if not path.exists():
        return None
    found: LogicalLine | None = None
    for line in logical_lines(read_text(path), str(path), warn):
        if [*_fields(line.text, 2), "", ""][:2] == [name, "unix"]:
            found = line
    return found


def parse_entry(line: LogicalLine, file: str, *, chroot_default: bool = False) -> MasterEntry:
    """Read one logical line of master.cf.

    Raises:
        ConfigError: ``FILE: line N: missing "chroot" field`` and the like.
    """
    try:
        return _entry_of(line, chroot_default)
    except ConfigError as error:
        text = f"{file}: line {line.number}: {error.text}"
        raise ConfigError(text) from None


def _entry_of(line: LogicalLine, chroot_default: bool) -> MasterEntry:
    fields = list(_fields(line.text, 7))
    # Postfix complains of the first field that is wrong, so each one is asked for in order.
    name = _field(fields, 0)
    kind = _field(fields, 1)
    if kind == "-":
        raise ConfigError('field "transport type" has no default value')
    if kind not in TRANSPORT_TYPES:
        raise ConfigError(f"bad transport type: {kind}")
    private = _flag_field(fields, 2, default=True)
    if private and kind == "inet":
        raise ConfigError("inet service cannot be private")
    unprivileged = _flag_field(fields, 3, default=True)
    chroot = _flag_field(fields, 4, default=chroot_default)
    wakeup_seconds = _count_field(fields, 5, whole=False) or 0
    process_limit = _count_field(fields, 6, whole=True)
    command, *arguments = split_arguments(_field(fields, 7))
    if command == "-":
        raise ConfigError('field "command" has no default value')
    return MasterEntry(
        name, kind, private, unprivileged, chroot, wakeup_seconds, process_limit, command, tuple(arguments), line.number
    )


def _fields(text: str, count: int) -> Iterator[str]:
    """The first fields, and, as one more, the rest of the line."""
    rest = text.strip(_BLANKS + "\r\v\f")
    for _ in range(count):
        if not rest:
            return
        end = next((at for at, character in enumerate(rest) if character in _BLANKS), len(rest))
        yield rest[:end]
        rest = rest[end:].lstrip(_BLANKS)
    if rest:
        yield rest


def _field(fields: Sequence[str], index: int) -> str:
    if index >= len(fields):
        raise ConfigError(f'missing "{_FIELD_NAMES[index]}" field')
    return fields[index]


def _flag_field(fields: Sequence[str], index: int, *, default: bool) -> bool:
    word = _field(fields, index)
    if word not in ("y", "n", "-"):
        raise ConfigError(f'field "{_FIELD_NAMES[index]}": bad value: "{word}"')
    return default if word == "-" else word == "y"


def _count_field(fields: Sequence[str], index: int, *, whole: bool) -> int | None:
    """A number that is not negative; None for the default. Unless it must be `whole`, what follows it is ignored."""
    word = _field(fields, index)
    if word == "-":
        return None
    found = _COUNT.fullmatch(word) if whole else _COUNT.match(word)
    if found is None or len(found[0]) > 10:
        raise ConfigError(f'field "{_FIELD_NAMES[index]}": bad value: "{word}"')
    return int(found[0])


def split_arguments(text: str) -> tuple[str, ...]:
    """Split a command at white space, but not inside braces; an argument in braces loses them.

    Raises:
        ConfigError: an argument that begins with a brace does not end with its partner.
    """
    arguments: list[str] = []
    at, end = 0, len(text)
    while at < end:
        if text[at] in _ARGUMENT_BLANKS:
            at += 1
            continue
        start, depth = at, 0
        while at < end and (depth > 0 or text[at] not in _ARGUMENT_BLANKS):
            depth += (text[at] == "{") - (text[at] == "}")
            at += 1
        argument = text[start:at]
        arguments.append(_without_braces(argument) if argument.startswith("{") else argument)
    return tuple(arguments)


def _without_braces(argument: str) -> str:
    depth = 0
    for at, character in enumerate(argument):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            if at + 1 < len(argument):
                raise ConfigError(f"syntax error after '}}' in \"{argument}\"")
            return argument[1:at].strip(_ARGUMENT_BLANKS)
    raise ConfigError(f"missing '}}' in \"{argument}\"")


def is_disabled(entry: MasterEntry, disable_list: Sequence[str]) -> bool:
    """Whether master(8) leaves an entry alone (postconf(5), master_service_disable).

    Args:
        entry: the entry.
        disable_list: patterns ``TYPE`` or ``NAME/TYPE``, each perhaps after ``!``; the first that matches decides.
    """
    kind, full_name = entry.type.lower(), f"{entry.name}/{entry.type}".lower()
    for item in disable_list:
        pattern = item.lstrip("!")
        if pattern.lower() in (kind, full_name):
            return (len(item) - len(pattern)) % 2 == 0
    return False
