"""The options files of MySQL clients, as far as they matter for a connection.

Flow: mysql.py reads them when a table is opened.
Sources: mysql_table(5) option_file, option_group; the manual of MariaDB, "Configuring MariaDB with Option Files".
"""

import glob
import os
from collections.abc import Iterable, Iterator

DEFAULT_FILES = ("/etc/my.cnf", "/etc/mysql/my.cnf")
"""What is read where no file is named."""

_DEEPEST = 10
_LARGEST_FILE = 1 << 20


def read_options(files: Iterable[str], group: str) -> dict[str, str]:
    """Read ``[client]``, and another group behind it; files that cannot be read are left out.

    Args:
        files: later ones count more.
        group: may be ``client`` itself, or empty.

    Returns:
        Texts by names, in which ``_`` has become ``-``.
    """
    found: dict[str, dict[str, str]] = {"client": {}, group: {}}
    for file in files:
        for section, name, text in _entries(file, 0):
            if section in found:
                found[section][name.replace("_", "-")] = text
    return found["client"] | found[group]


def _entries(path: str, depth: int) -> Iterator[tuple[str, str, str]]:
    """Group, name and text of each option of a file, and of those that it includes."""
    if depth > _DEEPEST:
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_LARGEST_FILE).splitlines()
    except OSError:
        return
    section = ""
    for line in lines:
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        if text[0] == "!":
            word, _, argument = text[1:].partition(" ")
            for included in _included(word, argument.strip()):
                yield from _entries(included, depth + 1)
        elif text[0] == "[":
            section = text[1:].partition("]")[0].strip()
        else:
            name, _, value = text.partition("=")
            yield section, name.strip(), _unquoted(value.strip())


def _included(word: str, argument: str) -> list[str]:
    if word == "include":
        return [argument]
    return sorted(glob.glob(os.path.join(glob.escape(argument), "*.cnf"))) if word == "includedir" else []


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text.partition(" #")[0].rstrip()
