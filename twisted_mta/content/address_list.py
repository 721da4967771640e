"""Lists of addresses as headers have them: what is an address in it, and how it is written.

The theory. The tokens are read from right to left, since what a word is only shows further to the right: in front of ``<...>``
it is part of a phrase, in front of ``: ... ;`` of the name of a group, and otherwise of an address. Two words side by side that
nothing connects are two addresses. Comments move out of an address, to its right.

Flow: generic.py parses a header, replaces addresses, and writes it anew.
Sources: RFC 822 sections 3 and 6; RFC 5322 section 3.4; a running smtp(8), for headers that are not well-formed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from twisted_mta.content.address_tokens import Kind, Token, scan
from twisted_mta.model.address import quote_5322
from twisted_mta.model.text import to_wire

COMMA = Token(Kind.OPERATOR, ",")
_GROUP_COLON = Token(Kind.GROUP_COLON, ":")
_SPECIALS = (Kind.OPERATOR, Kind.GROUP_COLON)
_ESCAPE = re.compile(r'["\\]')
_COMMENT_OCTETS = 250

# The specials that end what is read to the left:
_BEFORE_PHRASE = frozenset(",;:>")
_BEFORE_GROUP = frozenset(",")
_BEFORE_ADDRESS = frozenset(",;>")
_BEFORE_ADDRESS_IN_GROUP = frozenset(",;>:")
_NO_COMMA = frozenset(",")
_NO_COMMA_IN_GROUP = frozenset(",:")

_ORDINARY = r"[^\x00-\x20\x7f<>()\[\]\\,;:@.\"]"
_SIMPLE_ADDRESS = re.compile(rf"{_ORDINARY}+(?:\.{_ORDINARY}+)*@(?:{_ORDINARY}|\.)+")


@dataclass(frozen=True, slots=True)
class Address:
    """An address.

    Attributes:
        text: in internal form.
        is_null: whether it is the one of ``<>``, which is none.
    """

    text: str
    is_null: bool = False


Node = Token | Address

_NULL = Address("", is_null=True)


# ---- reading ----


def parse(text: str) -> list[Node]:
    """Find the addresses in the value of a header.

    Returns:
        The tokens in order, with each address as one Address.
    """
    reader = _Reader(list(scan(text)))
    reader.read()
    reader.nodes.reverse()
    return reader.nodes


class _Reader:
    """Reads tokens from the last to the first; `nodes` grows in the same direction."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._specials = [token.text if token.kind is Kind.OPERATOR else "" for token in tokens]
        self._at = len(tokens) - 1
        self._in_group = False
        self.nodes: list[Node] = []

    def read(self) -> None:
        """Read all tokens."""
        while self._at >= 0:
            special = self._specials[self._at]
            if special == "," or self._tokens[self._at].kind is Kind.COMMENT:
                self._pass_on()
            elif special == ";":
                self._pass_on()
                self._in_group = True
            elif special == ">":
                self._pass_on()
                self._route()
                self._phrase(_BEFORE_PHRASE)
                if not self._in_group and self._at >= 0 and self._specials[self._at] == ":":
                    self._pass_on()
            elif special == ":" and self._in_group:
                self._at -= 1
                self.nodes.append(_GROUP_COLON)
                self._phrase(_BEFORE_GROUP)
            else:
                self._free_address()

    def _pass_on(self) -> None:
        self.nodes.append(self._tokens[self._at])
        self._at -= 1

    def _phrase(self, stop: frozenset[str]) -> None:
        while self._at >= 0 and self._specials[self._at] not in stop:
            self._pass_on()

    def _route(self) -> None:
        """The address between ``<`` and ``>``: whatever stands there."""
        words: list[str] = []
        begin = self._at
        while self._at >= 0 and self._specials[self._at] != "<":
            self._take(words)
        self._end_address(words)
        if self._at >= 0:
            if self._at == begin:
                self.nodes.append(_NULL)
            self._pass_on()

    def _free_address(self) -> None:
        """An address that stands for itself; there must be a comma in front of it."""
        words: list[str] = []
        stop = _BEFORE_ADDRESS_IN_GROUP if self._in_group else _BEFORE_ADDRESS
        was_word = False
        while self._at >= 0 and (special := self._specials[self._at]) not in stop:
            if self._tokens[self._at].kind is not Kind.COMMENT:
                if was_word and not special:
                    break
                was_word = not special
            self._take(words)
        self._end_address(words)
        if self._at >= 0 and self._specials[self._at] not in (_NO_COMMA_IN_GROUP if self._in_group else _NO_COMMA):
            self.nodes.append(COMMA)

    def _take(self, words: list[str]) -> None:
        token = self._tokens[self._at]
        self._at -= 1
        if token.kind is Kind.COMMENT:
            self.nodes.append(token)
        else:
            words.append(f"[{token.text}]" if token.kind is Kind.LITERAL else token.text)

    def _end_address(self, words: list[str]) -> None:
        if words:
            self.nodes.append(Address("".join(reversed(words))))


# ---- writing ----


@dataclass(frozen=True, slots=True)
class WrittenList:
    """A list in the form that headers have.

    Attributes:
        text: with LF behind each comma.
        stripped: the elements that had more comments than an address should have, as they were.
    """

    text: str
    stripped: tuple[str, ...]


def write(nodes: Iterable[Node]) -> WrittenList:
    """Write a list; of an element with a very long phrase or comment, the address alone."""
    elements: list[str] = []
    stripped: list[str] = []
    for element in _elements(nodes):
        text = _written(element)
        address = _last_address(element)
        if address is not None and len(to_wire(text)) - len(to_wire(address)) > _COMMENT_OCTETS:
            stripped.append(text)
            text = f"<{address}>"
        elements.append(text)
    return WrittenList(",\n".join(elements), tuple(stripped))


def _last_address(element: Sequence[Node]) -> str | None:
    return next((_shown(node) for node in reversed(element) if isinstance(node, Address)), None)


def _elements(nodes: Iterable[Node]) -> Iterator[list[Node]]:
    element: list[Node] = []
    for node in nodes:
        if node == COMMA:
            yield element
            element = []
        else:
            element.append(node)
    yield element


def _written(element: Iterable[Node]) -> str:
    pieces: list[str] = []
    before: Node | None = None
    for node in element:
        if before is not None and _wants_space(before, node):
            pieces.append(" ")
        pieces.append(_shown(node))
        before = node
    if before is _GROUP_COLON:
        pieces.append(" ")
    return "".join(pieces)


def _wants_space(before: Node, node: Node) -> bool:
    if before in (COMMA, _GROUP_COLON):
        return True
    if isinstance(node, Token) and node.kind in _SPECIALS:
        return node.text == "<"
    return isinstance(before, Address) or before.kind not in _SPECIALS


def _shown(node: Node) -> str:
    if isinstance(node, Address):
        if _SIMPLE_ADDRESS.fullmatch(node.text):
            return node.text
        return "" if node.is_null else quoted(_plain(scan(quoted(node.text))))
    if node.kind is Kind.QUOTED:
        return '"' + _ESCAPE.sub(r"\\\g<0>", node.text) + '"'
    return f"[{node.text}]" if node.kind is Kind.LITERAL else node.text


def _plain(tokens: Iterable[Token]) -> str:
    """Tokens of an address in internal form."""
    pieces: list[str] = []
    before: Token | None = None
    for token in tokens:
        if before is not None and _wants_space(before, token):
            pieces.append(" ")
        pieces.append(f"[{token.text}]" if token.kind is Kind.LITERAL else token.text)
        before = token
    return "".join(pieces)


def quoted(address: str) -> str:
    """An address in internal form, as headers and tables have it: even an empty one has quotes."""
    return quote_5322(address) or '""'
