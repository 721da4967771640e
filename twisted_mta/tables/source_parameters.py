"""The parameters of a database table: from a file of its own, or from main.cf under a prefix.

Flow: memcache.py, sqlite.py, mysql.py, pgsql.py, ldap.py and mongodb.py read their parameters with it.
Sources: mysql_table(5), "OBSOLETE MAIN.CF PARAMETERS", and its likes; the texts are those of a running Postfix.
"""

from collections.abc import Callable
from typing import TypeVar

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.main_cf import parse_main_cf
from twisted_mta.config.values import read_boolean, read_integer, read_text
from twisted_mta.model.text import to_text
from twisted_mta.tables.files import OpenFile, read_text_table
from twisted_mta.tables.opening import TableRequest

T = TypeVar("T")


class SourceParameters:
    """The parameters of one table.

    Args:
        request: its name is that of a file if it begins with ``/`` or ``.``, else the prefix of parameters in main.cf.

    Attributes:
        source: the file or the prefix, for messages.

    Raises:
        TableError: the file cannot be read.
        ConfigError: it is malformed.
    """

    def __init__(self, request: TableRequest) -> None:
        self.source = request.name
        self._file: OpenFile | None = None
        self._expanded = request.context.expanded
        self._values: dict[str, str] = {}
        if self.source.startswith(("/", ".")):
            self._file, octets = read_text_table(request)
            try:
                entries = parse_main_cf(to_text(octets), self.source, request.warn, _raise)
            except ConfigError:
                self._file.close()
                raise
            self._values = {name: entry.value.rstrip() for name, entry in entries.items()}

    def text(self, name: str, default: str = "", *, shortest: int = 0) -> str:
        """The text of a parameter.

        Raises:
            ConfigError: it has fewer bytes than `shortest`.
        """
        return self._read(name, default, lambda known, text: read_text(known, text, shortest))

    def optional(self, name: str) -> str | None:
        """The text of a parameter, or None if it is not set; an empty text is a text."""
        return self._found(name)

    def integer(self, name: str, default: int, *, minimum: int = 0, maximum: int = 0) -> int:
        """The number that a parameter says.

        Raises:
            ConfigError: it is none, or out of range.
        """
        return self._read(name, str(default), lambda known, text: read_integer(known, text, minimum, maximum))

    def boolean(self, name: str, default: bool) -> bool:
        """Whether a parameter says yes.

        Raises:
            ConfigError: it says something else than yes or no.
        """
        return self._read(name, "yes" if default else "no", read_boolean)

    def changed(self) -> bool:
        """Whether the file has changed since it was read."""
        return self._file is not None and self._file.changed()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _found(self, name: str) -> str | None:
        return self._values.get(name) if self._file is not None else self._expanded(f"{self.source}_{name}")

    def _read(self, name: str, default: str, read: Callable[[str, str], T]) -> T:
        found = self._found(name)
        text = default if found is None else found
        if self._file is None:
            return read(f"{self.source}_{name}", text)
        try:
            return read(name, text)
        except ConfigError as error:
            # Not as a parameter of main.cf, where something else may have that name.
            raise ConfigError(f"{self.source}: {error.text}", mended_in=self.source) from None


def _raise(error: ConfigError) -> None:
    raise error
