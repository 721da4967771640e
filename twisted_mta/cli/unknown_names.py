"""Find names in main.cf that look like parameters of a delivery agent, but are none, and what was probably meant.

Flow: cli/config.py warns of them.
Sources: postconf(1), which warns of parameters that nothing uses; postconf(5) for names that are built from a transport's.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from twisted_mta.config.settings import ROWS

PREFIXES = ("smtp_", "lmtp_")
"""How the names begin that are ours to judge; any other may belong to a program of Postfix that is not known here."""

TRANSPORT_SUFFIXES = (
    "_delivery_slot_cost",
    "_delivery_slot_discount",
    "_delivery_slot_loan",
    "_destination_concurrency_failed_cohort_limit",
    "_destination_concurrency_limit",
    "_destination_concurrency_negative_feedback",
    "_destination_concurrency_positive_feedback",
    "_destination_rate_delay",
    "_destination_recipient_limit",
    "_extra_recipient_limit",
    "_initial_destination_concurrency",
    "_minimum_delivery_slots",
    "_recipient_limit",
    "_recipient_refill_delay",
    "_recipient_refill_limit",
    "_time_limit",
    "_transport_rate_delay",
)
"""Settings of qmgr(8) and spawn(8) for each transport, whose name stands in front (postconf(5), "transport_...")."""

ROW_NAMES = frozenset(name for row in ROWS for name in (row.name, row.lmtp_name) if name)
"""What a delivery agent reads from main.cf."""

KNOWN_NAMES = ROW_NAMES | {prefix[:-1] + suffix for prefix in PREFIXES for suffix in TRANSPORT_SUFFIXES}
"""The same, and what qmgr(8) reads on behalf of the transports smtp and lmtp."""

_SMTP, _LMTP = PREFIXES

_OF_THE_OTHER = {
    _LMTP + row.name.removeprefix(_SMTP): row.lmtp_name or row.name for row in ROWS if row.name.startswith(_SMTP)
} | {
    _SMTP + row.lmtp_name.removeprefix(_LMTP): row.name for row in ROWS if row.lmtp_name and row.name.startswith(_SMTP)
}
"""What is meant by a name that has the words of one personality behind the prefix of the other: LHLO is EHLO's mirror."""

_LIKENESS = 0.75
"""How like a name must be to be taken for what was meant: one or two letters of a word may be wrong, missing or swapped."""

_REFERENCE = re.compile(r"\$\$|\$(?:[{(][ \t]*)?(\w+)", re.ASCII)
_TABLE_OF_PARAMETERS = re.compile(r"\b(?:ldap|memcache|mongodb|mysql|pgsql|sqlite):(\w+)", re.ASCII)


def references(text: str) -> set[str]:
    """The names that a raw value refers to, as ``$name``, ``${name}`` or ``$(name)``."""
    return set(_REFERENCE.findall(text)) - {""}


def nearest_name(name: str, among: Collection[str] = KNOWN_NAMES) -> str:
    """The name that was probably meant; empty if none is near."""
    folded = name.lower()  # names are case sensitive, but nobody means that by capitals
    other = _OF_THE_OTHER.get(folded, "")
    if other in among:
        return other
    near = get_close_matches(folded, among, n=1, cutoff=_LIKENESS)
    return near[0] if near else ""


def unknown_names(values: Mapping[str, str], others: Iterable[str] = ()) -> list[str]:
    """The names that begin like those of a delivery agent, and mean nothing.

    Args:
        values: names and raw values of main.cf.
        others: texts elsewhere that may refer to names, such as that of master.cf.

    Returns:
        Those that are not known, that nothing refers to, and that are no parameters of a table, in order.
    """
    texts = (*values.values(), *others)
    used = {name for text in texts for name in references(text)}
    tables = tuple(f"{name}_" for text in texts for name in _TABLE_OF_PARAMETERS.findall(text))
    return [
        name
        for name in values
        if name.lower().startswith(PREFIXES)
        and name not in KNOWN_NAMES
        and name not in used
        and not name.endswith(TRANSPORT_SUFFIXES)
        and not name.startswith(tables)
    ]
