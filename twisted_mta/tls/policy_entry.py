"""One value of smtp_tls_policy_maps, taken apart.

A value is a level, followed by ``attribute=value`` pairs; blanks and commas stand between them.

Flow: tls/policy_tables.py hands over what a table gave; tls/policies.py makes a policy of the entry.
Sources: postconf(5) smtp_tls_policy_maps; the words are those of a running Postfix.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import read_boolean, split_words
from twisted_mta.dns.hostnames import valid_hostname
from twisted_mta.tls.levels import Level, level_of
from twisted_mta.tls.policy import Association


class PolicyEntryError(Exception):
    """A value that makes no sense; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """What is demanded of one destination; what is None is left to main.cf.

    Attributes:
        level: the level; DANE levels are not settled yet.
        protocols: protocol versions, separated by colons.
        grade: grade of ciphers.
        exclusions: ciphers to leave out, separated by colons; they replace all lists of main.cf.
        matches: names; or fingerprints, as far as they can be such.
        trust_anchors: what was found in its files of trust anchors.
        servername: the name to ask for (SNI), or one of the words hostname and nexthop.
        connection_reuse: whether the connection may be kept.
        enable_rpk: whether raw public keys were asked for.
        ignored: pairs without sense, as there is no TLS.
    """

    level: Level
    protocols: str | None = None
    grade: str | None = None
    exclusions: str | None = None
    matches: tuple[str, ...] | None = None
    trust_anchors: tuple[Association, ...] = ()
    servername: str | None = None
    connection_reuse: bool | None = None
    enable_rpk: bool | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryReaders:
    """What reads values that need more than a look.

    Attributes:
        anchors: reads files of trust anchors, by their names; raises TlsPolicyError, which has been told.
        fingerprints: leaves out what can be no fingerprint, and tells it.
    """

    anchors: Callable[[Iterable[str]], tuple[Association, ...]]
    fingerprints: Callable[[Iterable[str]], tuple[str, ...]]


_Value = str | bool | tuple[str, ...] | tuple[Association, ...]


@dataclass(frozen=True, slots=True)
class _Attribute:
    """What there is to know of an attribute.

    Attributes:
        field: of PolicyEntry.
        levels: where it has a meaning.
        may_be_empty: whether it has one without a value.
        once: whether it may stand only once.
        read: makes the field's value of a name as written, and a value; with the entry so far, and readers.
    """

    field: str
    levels: frozenset[Level] = frozenset(Level) - {Level.NONE}
    may_be_empty: bool = False
    once: bool = True
    read: Callable[[str, str, PolicyEntry, EntryReaders], _Value] = lambda name, value, entry, readers: value


def _read_matches(name: str, value: str, entry: PolicyEntry, readers: EntryReaders) -> _Value:
    if entry.level is Level.FINGERPRINT:
        return (entry.matches or ()) + readers.fingerprints(split_words(value, "|"))
    return (entry.matches or ()) + split_words(value, ":")


def _read_anchor_file(name: str, value: str, entry: PolicyEntry, readers: EntryReaders) -> _Value:
    return (*entry.trust_anchors, *readers.anchors((value,)))


def _read_servername(name: str, value: str, entry: PolicyEntry, readers: EntryReaders) -> _Value:
    if not valid_hostname(value):
        raise PolicyEntryError(f'"{name}={value}" specifies an invalid hostname')
    return value


def _read_switch(name: str, value: str, entry: PolicyEntry, readers: EntryReaders) -> _Value:
    try:
        return read_boolean(name, value)
    except ConfigError:
        raise PolicyEntryError(f'attribute "{name}" has bad value: "{value}"') from None


_CERTIFIED = frozenset({Level.VERIFY, Level.SECURE})

_ATTRIBUTES: Mapping[str, _Attribute] = {
    "protocols": _Attribute("protocols", may_be_empty=True),
    "ciphers": _Attribute("grade"),
    "exclude": _Attribute("exclusions", may_be_empty=True),
    "match": _Attribute("matches", _CERTIFIED | {Level.FINGERPRINT}, once=False, read=_read_matches),
    "tafile": _Attribute("trust_anchors", _CERTIFIED, once=False, read=_read_anchor_file),
    # Empty, it is just no host name.
    "servername": _Attribute("servername", may_be_empty=True, read=_read_servername),
    "connection_reuse": _Attribute("connection_reuse", may_be_empty=True, once=False, read=_read_switch),
    "enable_rpk": _Attribute("enable_rpk", may_be_empty=True, once=False, read=_read_switch),
}


def parse_entry(value: str, readers: EntryReaders) -> PolicyEntry:
    """Read a value.

    Args:
        value: as a table gave it.
        readers: read what it names, each when its turn comes.

    Raises:
        PolicyEntryError: it makes no sense.
        TlsPolicyError: a file with trust anchors cannot be used, which has been told.
    """
    words = split_words(value)
    if not words:
        raise PolicyEntryError("invalid empty policy")
    level = level_of(words[0])
    if level is None:
        raise PolicyEntryError(f'invalid security level "{words[0]}"')
    if level is Level.NONE:
        return PolicyEntry(level, ignored=words[1:])
    entry = PolicyEntry(level)
    for pair in words[1:]:
        entry = _with_attribute(entry, pair, readers)
    return entry


def _with_attribute(entry: PolicyEntry, pair: str, readers: EntryReaders) -> PolicyEntry:
    name, equals, value = pair.partition("=")
    if not equals or not name:
        missing = "attribute name" if equals else "'=' after attribute name"
        raise PolicyEntryError(f'malformed attribute/value pair "{pair}": missing {missing}')
    attribute = _ATTRIBUTES.get(name.lower())
    if attribute is None:
        raise PolicyEntryError(f'invalid attribute name: "{name}"')
    if not value and not attribute.may_be_empty:
        raise PolicyEntryError(f'attribute "{name}" has empty value')
    if entry.level not in attribute.levels:
        raise PolicyEntryError(f'attribute "{name}" invalid at security level "{entry.level.word}"')
    if attribute.once and getattr(entry, attribute.field) is not None:
        raise PolicyEntryError(f'attribute "{name}" is specified multiple times')
    change: dict[str, Any] = {attribute.field: attribute.read(name, value, entry, readers)}
    return replace(entry, **change)
