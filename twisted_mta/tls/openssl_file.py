"""Configuration files of OpenSSL: sections with names and values.

OpenSSL reads such a file when it is loaded, and says nothing where it is wrong. So it is read here first.

Flow: tls/openssl_conf.py asks what is in a file.
Sources: config(5) of OpenSSL.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from twisted_mta.tls.library_error import LibraryError

DEFAULT_SECTION = "default"
"""What stands before the first section is in this one."""

_LIBRARY = "configuration file routines"
_LARGEST_FILE = 1024 * 1024
_DEEPEST_INCLUDE = 10
_LONGEST_VALUE = 65536

_DIRECTIVE = re.compile(r"\.(include|pragma)\b\s*=?\s*(.*)", re.DOTALL)
_SECTION = re.compile(r"\[\s*([^\]]*?)\s*\](.*)", re.DOTALL)
_ASSIGNMENT = re.compile(r"(?:([^\s=:]+)::)?([^\s=]+)\s*=\s*(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\\(.)|\$(?:\{(?:(\w+)::)?([\w.]+)\}|\((?:(\w+)::)?([\w.]+)\)|(?:(\w+)::)?(\w+))", re.DOTALL)


class OpensslFileError(Exception):
    """A file cannot be used.

    Attributes:
        errors: what OpenSSL would say.
    """

    def __init__(self, *errors: LibraryError) -> None:
        super().__init__(*(error[2] for error in errors))
        self.errors = errors


class OpensslFile:
    """What is in a file, and in those that it includes.

    Attributes:
        sections: names and values by section.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Begin with nothing.

        Args:
            environment: what ``$ENV::name`` means.
        """
        self.sections: dict[str, dict[str, str]] = {DEFAULT_SECTION: {}}
        self._environment = environment

    @classmethod
    def read(cls, path: Path) -> "OpensslFile":
        """Read a file.

        Raises:
            OpensslFileError: it cannot be read, or has a mistake.
        """
        made = cls()
        made._include(path, depth=0)
        return made

    def _include(self, path: Path, *, depth: int) -> None:
        if path.is_dir():
            if not depth:
                return  # read as a file, it is empty
            for each in sorted(path.iterdir()):
                if each.suffix in (".cnf", ".conf"):
                    self._include(each, depth=depth)
            return
        try:
            with path.open(encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(_LARGEST_FILE)
        except OSError as error:
            if depth:
                return  # what is included may be missing
            raise OpensslFileError(
                (0x80000000 | (error.errno or 0), "system library", str(error.strerror), f"calling fopen({path}, rb)"),
                (0x10000080, "BIO routines", "no such file", ""),
                (0x07000072, _LIBRARY, "no such file", ""),
            ) from None
        self._take_lines(text, path.parent, depth)

    def _take_lines(self, text: str, directory: Path, depth: int) -> None:
        section = DEFAULT_SECTION
        for number, line in _logical_lines(text):
            if directive := _DIRECTIVE.fullmatch(line):
                if directive[1] == "include" and depth < _DEEPEST_INCLUDE:
                    self._include(directory / self._expanded(directive[2], section, number), depth=depth + 1)
            elif line.startswith("["):
                header = _SECTION.fullmatch(line)
                if header is None:
                    raise _mistake(0x07000064, "missing close square bracket", f"line {number}")
                section = header[1]
                self.sections.setdefault(section, {})
            elif assignment := _ASSIGNMENT.fullmatch(line):
                target = assignment[1] or section
                value = self._expanded(assignment[3], target, number)
                self.sections.setdefault(target, {})[assignment[2]] = value
            else:
                raise _mistake(0x07000065, "missing equal sign", f"HERE-->line {number}")

    def _expanded(self, text: str, section: str, number: int) -> str:
        """A value with its variables replaced."""

        def replaced(found: re.Match[str]) -> str:
            if found[1] is not None:
                return {"n": "\n", "r": "\r", "t": "\t", "b": "\b"}.get(found[1], found[1])
            where, name = found[2] or found[4] or found[6], found[3] or found[5] or found[7]
            value = self._value(where, name, section)
            if value is None:
                raise _mistake(0x07000068, "variable has no value", f"line {number}")
            return value

        expanded = _VARIABLE.sub(replaced, text.replace('"', "").replace("'", ""))
        if len(expanded) > _LONGEST_VALUE:
            raise _mistake(0x07000074, "variable expansion too long", f"line {number}")
        return expanded

    def _value(self, where: str | None, name: str, section: str) -> str | None:
        if where == "ENV":
            return self._environment.get(name)
        if where is None and name in self.sections.get(section, {}):
            return self.sections[section][name]
        return self.sections.get(where or DEFAULT_SECTION, {}).get(name)


def _mistake(number: int, reason: str, more: str) -> OpensslFileError:
    return OpensslFileError((number, _LIBRARY, reason, more))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments and blanks around them, continued ones in one piece; with the number of the last of each."""
    begun = ""
    for number, line in enumerate(text.split("\n"), 1):
        begun += line.rstrip("\r")
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        whole, begun = _without_comment(begun).strip(), ""
        if whole:
            yield number, whole


def _without_comment(line: str) -> str:
    """A line up to a # that is neither quoted nor escaped."""
    quote, escaped = "", False
    for at, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#":
            return line[:at]
    return line
