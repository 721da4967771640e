"""``cidr:FILE``: tables of networks; the first that contains an address gives its value.

Flow: registry.py opens them.
Sources: cidr_table(5); the texts are those of a running postmap(1).

Rules that stand together are found by their masks, so that long lists cost no more than short ones.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from zope.interface import implementer

from twisted_mta.interfaces import ILookupTable
from twisted_mta.tables.braces import WHITESPACE
from twisted_mta.tables.networks import Address, Network, NetworkError, parse_address, parse_network, without_brackets
from twisted_mta.tables.opening import TableRequest
from twisted_mta.tables.rule_source import RuleLine, RuleSource, read_rules

_KEYWORD = re.compile(r"(if|endif)(?![a-z0-9])", re.ASCII | re.IGNORECASE)
_NEGATION = re.compile(r"[!\s]*", re.ASCII)
_BLANKS = re.compile(r"\s+", re.ASCII)


class _Rules(ABC):
    """Rules that are applied together."""

    @abstractmethod
    def find(self, address: Address) -> str | None:
        """The value of the first rule that applies; None if none does."""


class _Networks(_Rules):
    """Plain rules in a row: a network and its value."""

    def __init__(self) -> None:
        self._values: list[str] = []
        # By address length: each mask, and the positions of the first rules for its networks.
        self._masks: dict[int, dict[int, dict[int, int]]] = {}

    def add(self, network: Network, value: str) -> None:
        """Add a rule behind the others."""
        networks = self._masks.setdefault(network.bits, {}).setdefault(network.mask, {})
        networks.setdefault(network.number, len(self._values))
        self._values.append(value)

    def find(self, address: Address) -> str | None:
        """The value of the first network with an address; None if there is none."""
        first = len(self._values)
        number = address.number
        for mask, networks in self._masks.get(address.bits, {}).items():
            position = networks.get(number & mask, first)
            if position < first:
                first = position
        return self._values[first] if first < len(self._values) else None


class _Conditional(_Rules):
    """Rules for addresses within a network, or outside it but of the same kind."""

    def __init__(self, network: Network, negated: bool, rules: Sequence[_Rules]) -> None:
        self._network = network
        self._negated = negated
        self._rules = rules

    def find(self, address: Address) -> str | None:
        """The value of the first rule that applies; None if none does."""
        # The kind counts even where the network must not match: so it is with Postfix.
        if address.bits != self._network.bits or self._network.contains(address) == self._negated:
            return None
        return _first(self._rules, address)


class _Constant(_Rules):
    """One value for all addresses."""

    def __init__(self, value: str) -> None:
        self._value = value

    def find(self, address: Address) -> str:
        """The value."""
        return self._value


def _first(rules: Sequence[_Rules], address: Address) -> str | None:
    for rule in rules:
        value = rule.find(address)
        if value is not None:
            return value
    return None


@implementer(ILookupTable)
class CidrTable:
    """Networks and their values."""

    by_pattern = True

    def __init__(self, name: str, rules: Sequence[_Rules], source: RuleSource) -> None:
        self.name = name
        self._rules = rules
        self.changed = source.changed
        self.close = source.close

    def lookup(self, key: str) -> str | None:
        """The value of the first rule that applies to an address; nothing else is found."""
        address = parse_address(key)
        return None if address is None else _first(self._rules, address)


def open_cidr(request: TableRequest) -> CidrTable:
    """Open ``cidr:FILE`` or ``cidr:{{rule}, {rule}}``; rules that are wrong are left out, with a warning.

    Raises:
        TableError: the rules cannot be read.
    """
    source = read_rules(request)
    return CidrTable(request.table, _parse(source.lines, request), source)


def _parse(lines: Sequence[RuleLine], request: TableRequest) -> list[_Rules]:
    top: list[_Rules] = []
    open_blocks: list[tuple[RuleLine, list[_Rules]]] = []
    rules = top
    for line in lines:
        keyword = _KEYWORD.match(line.text)
        word = keyword[1].lower() if keyword else ""
        rest = line.text[keyword.end() :] if keyword else line.text
        try:
            if word == "endif":
                if rest.strip(WHITESPACE):
                    raise NetworkError("garbage after ENDIF")
                if not open_blocks:
                    raise NetworkError("ENDIF without IF")
                open_blocks.pop()
                rules = open_blocks[-1][1] if open_blocks else top
            elif word == "if":
                network, negated, value = _parse_rule(rest, is_condition=True)
                block: list[_Rules] = []
                rules.append(_Conditional(network, negated, block))
                open_blocks.append((line, block))
                rules = block
            else:
                network, negated, value = _parse_rule(rest)
                _add(rules, network, negated, value)
        except NetworkError as error:
            request.warn(f"{line.place}: {error}: skipping this rule")
    for line, _ in reversed(open_blocks):
        request.warn(f"{line.place}: IF has no matching ENDIF")
    return top


def _add(rules: list[_Rules], network: Network, negated: bool, value: str) -> None:
    if negated:
        rules.append(_Conditional(network, negated, (_Constant(value),)))
        return
    last = rules[-1] if rules else None
    if not isinstance(last, _Networks):
        last = _Networks()
        rules.append(last)
    last.add(network, value)


def _parse_rule(text: str, *, is_condition: bool = False) -> tuple[Network, bool, str]:
    """Read ``[!]pattern  value``, or what stands behind ``if``: ``[!]pattern``.

    Returns:
        The network, whether it is negated, and the value.

    Raises:
        NetworkError: the text is neither.
    """
    start = _NEGATION.match(text).end()  # type: ignore[union-attr]  # it matches the empty text, too
    negated = text.count("!", 0, start) % 2 == 1
    rest = text[start:].rstrip(WHITESPACE)
    if not rest:
        raise NetworkError("no address pattern")
    pattern, *values = [rest] if is_condition else _BLANKS.split(rest, maxsplit=1)
    network = parse_network(without_brackets(pattern))
    if not is_condition and not values:
        raise NetworkError("no lookup result")
    return network, negated, "".join(values)
