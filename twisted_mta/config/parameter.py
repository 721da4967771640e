"""What a row of the parameter tables is.

Flow: parameters_*.py declare rows in class bodies; settings.py evaluates them all and keeps the values as attributes.
Sources: postconf(5) for types, defaults and limits; smtp(8) for which lmtp_ name stands for which smtp_ name.

A row is a descriptor for the type checker's sake: `settings.smtp_helo_timeout` is known to be an int. It has no `__set__`, so
the plain instance attribute that settings.py stores hides it, and reading a setting costs what reading any attribute costs.
"""

import enum
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, ClassVar, Generic, Required, TypedDict, TypeVar, Unpack, overload

from twisted_mta.config import values
from twisted_mta.config.errors import ConfigError
from twisted_mta.config.load_order import PLACES

T = TypeVar("T")
Choice = TypeVar("Choice", bound=enum.Enum)

Convert = Callable[[str, str], T]
"""Makes a value of a parameter's name and its expanded text, or raises ConfigError."""

MIRRORED = "lmtp_*"
"""In LMTP mode smtp_NAME is read from lmtp_NAME; a name without smtp_ in front is shared by both."""

_SMTP_REFERENCE = re.compile(r"(?<=[${(])smtp_")


class Kind(enum.Enum):
    """How the text of a value is treated before it is converted."""

    TEXT = "text"
    INTEGER = "integer"
    LONG = "long"
    BOOLEAN = "boolean"
    COMPUTED_BOOLEAN = "boolean with a computed default"
    TIME = "time"
    FACT = "fact"
    """Known only at run time; what main.cf says has no effect on it."""
    LEGACY = "legacy"
    """Never evaluated."""


class Load(enum.Enum):
    """Who reads a parameter, in the order in which a delivery agent reads them."""

    FIRST = "all daemons, before the rest"
    HOST = "all daemons, names of this host"
    GENERAL = "all daemons"
    AGENT = "smtp(8)"
    TLS = "the TLS library, at its start; without TLS a mistake here is only a warning"
    OTHERS = "other programs of Postfix; a mistake here is only a warning"


class About(TypedDict, total=False):
    """What every kind of row may say.

    Attributes:
        doc: one line, required.
        lmtp: the name that is read in LMTP mode; None: not read there at all, the default stands.
        lmtp_default: the default in LMTP mode, where it differs.
    """

    doc: Required[str]
    lmtp: str | None
    lmtp_default: str


class Parameter(Generic[T]):
    """One row: a parameter of main.cf.

    Attributes:
        name: its SMTP name, which is also the attribute of Settings.
        kind: how its text is treated.
        default: default text, perhaps with references such as ``$myhostname``.
        lmtp_name: the name in LMTP mode; None: not read there.
        lmtp_default: the default text in LMTP mode.
        load: who reads it, and so when.
        accepts: its limits or words, for people; may be empty.
        doc: one line about it.
    """

    def __init__(self, kind: Kind, default: str, convert: Convert[T], accepts: str, about: About) -> None:
        self.name = ""
        self.kind = kind
        self.default = default
        self.convert = convert
        self.accepts = accepts
        self.doc = about["doc"]
        self.load = Load.AGENT
        self.lmtp_name = about.get("lmtp", MIRRORED)
        self.lmtp_default = about.get("lmtp_default")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        if self.lmtp_name == MIRRORED:
            self.lmtp_name = re.sub(r"\Asmtp_", "lmtp_", name)
        if self.lmtp_default is None:
            is_mirror = self.lmtp_name not in (None, name)
            self.lmtp_default = _SMTP_REFERENCE.sub("lmtp_", self.default) if is_mirror else self.default

    @overload
    def __get__(self, instance: None, owner: type) -> "Parameter[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> "Parameter[T] | T":
        if instance is None:
            return self
        raise AttributeError(f"{self.name} has not been loaded")

    def name_in(self, protocol: str) -> str | None:
        """The name that is read from main.cf; None where this parameter is not read.

        Args:
            protocol: ``smtp`` or ``lmtp``.
        """
        return self.lmtp_name if protocol == "lmtp" else self.name

    def default_in(self, protocol: str) -> str:
        """The default text.

        Args:
            protocol: ``smtp`` or ``lmtp``.
        """
        return self.lmtp_default if protocol == "lmtp" and self.lmtp_default is not None else self.default


class Rows:
    """Base of the classes that declare rows."""

    rows: ClassVar[tuple[Parameter[Any], ...]] = ()
    """The rows of this class alone, in order."""

    def __init_subclass__(cls, *, load: Load | None = None) -> None:
        super().__init_subclass__()
        cls.rows = tuple(row for row in vars(cls).values() if isinstance(row, Parameter))
        if load is not None:
            for row in cls.rows:
                row.load = load


def boolean(default: str, **about: Unpack[About]) -> Parameter[bool]:
    """A row that is yes or no."""
    return Parameter(Kind.BOOLEAN, default, values.read_boolean, "yes, no", about)


def computed_boolean(default: str, **about: Unpack[About]) -> Parameter[bool]:
    """A row that is yes or no, with an expression as default."""
    return Parameter(Kind.COMPUTED_BOOLEAN, default, values.read_boolean, "yes, no", about)


def integer(default: str, minimum: int = 0, maximum: int = 0, **about: Unpack[About]) -> Parameter[int]:
    """A row that is a number; a limit of 0 is no limit. What is below zero is accepted then, and becomes 0."""

    def convert(name: str, text: str) -> int:
        return max(0, values.read_integer(name, text, minimum, maximum))

    return Parameter(Kind.INTEGER, default, convert, _limits(minimum, maximum), about)


def long_integer(default: str, minimum: int = 0, **about: Unpack[About]) -> Parameter[int]:
    """A row that is a number of up to 63 bits; see `integer`."""

    def convert(name: str, text: str) -> int:
        return max(0, values.read_integer(name, text, minimum, 0, values.LARGEST_LONG))

    return Parameter(Kind.LONG, default, convert, _limits(minimum, 0), about)


def seconds(default: str, minimum: int = 0, maximum: int = 0, **about: Unpack[About]) -> Parameter[int]:
    """A row that is a time, as seconds; the unit of the default is that of a bare number."""
    unit = default[-1]

    def convert(name: str, text: str) -> int:
        return values.read_seconds(name, text, unit, minimum, maximum)

    return Parameter(Kind.TIME, default, convert, _limits(minimum, maximum), about)


def text(default: str, shortest: int = 0, longest: int = 0, **about: Unpack[About]) -> Parameter[str]:
    """A row that is taken as it stands; lengths are in bytes."""

    def convert(name: str, value: str) -> str:
        return values.read_text(name, value, shortest, longest)

    return Parameter(Kind.TEXT, default, convert, _lengths(shortest, longest), about)


def words(
    default: str, shortest: int = 0, *, fold: bool = False, colons: bool = False, **about: Unpack[About]
) -> Parameter[tuple[str, ...]]:
    """A row that is a list of words; `fold` makes them lower case, with `colons` these separate words, too."""
    separators = values.SEPARATORS + ":" * colons

    def convert(name: str, value: str) -> tuple[str, ...]:
        value = values.read_text(name, value, shortest)
        return values.split_words(value.lower() if fold else value, separators)

    return Parameter(Kind.TEXT, default, convert, _lengths(shortest, 0), about)


def items(default: str, **about: Unpack[About]) -> Parameter[tuple[str, ...]]:
    """A row that is a list in which braces protect: tables (``type:name``), and lists of patterns and tables."""
    return Parameter(Kind.TEXT, default, lambda _name, value: values.split_items(value), "", about)


def mask(
    default: str, allowed: Collection[str], shortest: int = 0, **about: Unpack[About]
) -> Parameter[frozenset[str]]:
    """A row that is a set of the words `allowed`, in exactly this case."""

    def convert(name: str, value: str) -> frozenset[str]:
        return values.read_mask(name, values.read_text(name, value, shortest), allowed)

    return Parameter(Kind.TEXT, default, convert, ", ".join(allowed), about)


def choice(
    members: type[Choice], default: str, complaint: str, shortest: int = 0, **about: Unpack[About]
) -> Parameter[Choice]:
    """A row that is one word of an enumeration, in any case.

    Args:
        members: its values are the words.
        default: default text.
        complaint: Postfix's text for another word, with {name} and {value}.
        shortest: fewest bytes allowed.
        about: see About.
    """

    def convert(name: str, value: str) -> Choice:
        value = values.read_text(name, value, shortest)
        try:
            return members(value.lower())
        except ValueError:
            raise ConfigError(complaint.format(name=name, value=value), parameter=name) from None

    accepts = ", ".join(str(member.value) or "(empty)" for member in members)
    return Parameter(Kind.TEXT, default, convert, accepts, about)


def converted(default: str, convert: Convert[T], accepts: str = "", **about: Unpack[About]) -> Parameter[T]:
    """A row with a reader of its own."""
    return Parameter(Kind.TEXT, default, convert, accepts, about)


def fact(**about: Unpack[About]) -> Parameter[str]:
    """A row that is known only at run time."""
    return Parameter(Kind.FACT, "", lambda _name, value: value, "", about)


def integer_fact(**about: Unpack[About]) -> Parameter[int]:
    """A row that is a number known only at run time."""
    return Parameter(Kind.FACT, "", lambda _name, value: int(value), "", about)


def directory_fact(**about: Unpack[About]) -> Parameter[Path | None]:
    """A row that is a directory known only at run time, or None."""
    return Parameter(Kind.FACT, "", lambda _name, value: Path(value) if value else None, "", about)


def legacy(**about: Unpack[About]) -> Parameter[str]:
    """A row that older releases of Postfix read: anything is accepted and nothing is done with it here."""
    return Parameter(Kind.LEGACY, "", lambda _name, value: value, "", about)


def _limits(minimum: int, maximum: int) -> str:
    return " ".join(f"{word} {limit}" for word, limit in (("min", minimum), ("max", maximum)) if limit)


def _lengths(shortest: int, longest: int) -> str:
    limits = (("at least", shortest), ("at most", longest))
    return ", ".join(f"{words} {limit} {'byte' if limit == 1 else 'bytes'}" for words, limit in limits if limit)


_KINDS_IN_ORDER = {
    Load.FIRST: (Kind.FACT, Kind.TEXT, Kind.BOOLEAN, Kind.COMPUTED_BOOLEAN),
    Load.HOST: (Kind.TEXT,),
    Load.GENERAL: (Kind.TEXT, Kind.INTEGER, Kind.LONG, Kind.BOOLEAN, Kind.TIME),
    Load.AGENT: (Kind.FACT, Kind.TIME, Kind.INTEGER, Kind.TEXT, Kind.BOOLEAN, Kind.COMPUTED_BOOLEAN),
    Load.TLS: (Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN),
    Load.OTHERS: (Kind.TEXT, Kind.TIME),
}
"""In each stage, a delivery agent reads the rows of one kind after those of another."""


def in_load_order(declared: Iterable[type]) -> tuple[Parameter[Any], ...]:
    """All rows of some classes, in the order in which a delivery agent reads them; legacy rows, which it never reads, last."""
    rows = [row for each in declared if issubclass(each, Rows) for row in each.rows]
    stages = [(load, kind) for load, kinds in _KINDS_IN_ORDER.items() for kind in kinds]
    rows.sort(key=lambda row: PLACES.get(row.name, len(PLACES)))
    ordered = [row for stage in stages for row in rows if (row.load, row.kind) == stage]
    return (*ordered, *(row for row in rows if row.kind is Kind.LEGACY))
