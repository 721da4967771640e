"""Expand ``$name`` and its conditional forms in a value.

Flow: settings.py expands each parameter's value with the variables known so far; tables expand their own parameters.
Sources: postconf(5), "The general format of the main.cf file"; texts as a running smtp(8) logs them.

The grammar, with blanks allowed around each ``{...}`` and each operator::

    reference:  $$  $name  ${body}  $(body)
    body:       name  |  name choice  |  {text} operator {text}  |  {text} operator {text} choice
    choice:     ?text  |  ?{text}  |  ?{text}:text  |  ?{text}:{text}  |  :text  |  :{text}
    operator:   == != < <= >= >, each also with "level" directly behind it

An unbraced text goes to the end of the body, so ``?a:b`` is no choice of two. Each text, and the value of each name, is
expanded in turn; of a choice only the text that is taken.
"""

import operator
import re
from collections.abc import Callable
from typing import Any, NoReturn

from twisted_mta.config.errors import ConfigError
from twisted_mta.config.values import parse_level
from twisted_mta.model.text import to_text, to_wire

Lookup = Callable[[str], str | None]
"""Gives the unexpanded value of a name, or None where it is not defined."""

DEEPEST = 100
"""How deep references may nest, before it is taken for an endless loop."""

MOST_REFERENCES = 100_000
"""References that one value may lead to: nesting alone does not stop names that double each other (a=$b$b, b=$c$c, ...)."""

_LONGEST_REST = 20
"""Octets of what follows a mistake that are shown."""

_BLANKS = " \t\r\n"
_NAME = re.compile(r"[A-Za-z0-9_]*")
_OPERATOR = re.compile(r"[<>!=?+\-*/~&|%]+")
_SUFFIX = re.compile(r"[A-Za-z0-9]*")
_CLOSING = {"{": "}", "(": ")"}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    ">": operator.gt,
}
_OPERATORS_WANTED = '"==" or "!="" or "<"" or "<="" or ">="" or ">"'
_LARGEST_NUMBER = 2**63 - 1


def expand(text: str, lookup: Lookup) -> str:
    """Expand every reference in a text; a name that is not defined becomes nothing.

    Args:
        text: a raw value.
        lookup: the variables.

    Returns:
        The expanded text.

    Raises:
        ConfigError: a reference is malformed or endless; its `cause` says what is wrong.
    """
    return _Expansion(lookup).expand(text, 0) if "$" in text else text


def _fail(cause: str) -> NoReturn:
    raise ConfigError("dictionary mail_dict: macro processing error", cause=cause)


def _fail_at(what: str, left: str, rest: str) -> NoReturn:
    _fail(f'{what} at: "...{left}>>>{to_text(to_wire(rest)[:_LONGEST_REST])}"')


class _Expansion:
    """The expansion of one value."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._references = 0

    def expand(self, text: str, depth: int) -> str:
        parts: list[str] = []
        done = 0
        while (dollar := text.find("$", done)) >= 0:
            parts.append(self._literal(text[done:dollar], depth))
            start = dollar + 1
            opening = text[start : start + 1]
            if opening == "$":
                parts.append("$")
                done = start + 1
                continue
            if opening and opening in _CLOSING:
                end = _end_of_group(text, start)
                if end is None:
                    _fail(f'truncated macro reference: "{text}"')
                body, done = text[start + 1 : end - 1], end
            else:
                done = _NAME.match(text, start).end()  # type: ignore[union-attr]  # it matches the empty text, too
                body = text[start:done]
            if not body:
                _fail(f'empty macro name: "{text}"')
            parts.append(self._reference(body, depth))
        parts.append(self._literal(text[done:], depth))
        return "".join(parts)

    def _literal(self, text: str, depth: int) -> str:
        if text:
            self._check_depth(text, depth)
        return text

    def _check_depth(self, what: str, depth: int) -> None:
        if depth > DEEPEST:
            _fail(f'unreasonable macro call nesting: "{what}"')

    def _reference(self, body: str, depth: int) -> str:
        self._check_depth(body, depth)
        self._references += 1
        if self._references > MOST_REFERENCES:
            _fail(f'too many macro calls: "{body}"')
        if body.lstrip(_BLANKS).startswith("{"):
            holds, rest = self._comparison(body, depth)
            if not rest:
                return "true" if holds else ""
            if rest[0] not in "?:":
                _fail_at('"?" or ":" expected', "}", rest)
        else:
            start = len(body) - len(body.lstrip(_BLANKS))
            end = _NAME.match(body, start).end()  # type: ignore[union-attr]
            value = self._lookup(body[start:end])
            rest = body[end:].lstrip(_BLANKS)
            if not rest:
                return self.expand(value, depth + 1) if value else ""
            if rest[0] not in "?:":
                _fail_at("attribute name syntax error", body[:end], body[end:])
            # Postfix looks at the raw value here: a name set to another, empty name does count as not empty.
            holds = bool(value)
        when_true, when_false = _choice(rest)
        return self.expand(when_true if holds else when_false, depth + 1)

    def _comparison(self, body: str, depth: int) -> tuple[bool, str]:
        """Evaluate ``{left} operator {right}``: whether it holds, and what follows it."""
        left_text, rest = _braced(body)
        rest = rest.lstrip(_BLANKS)
        found = _OPERATOR.match(rest)
        if found is None or found[0] not in _COMPARISONS:
            _fail_at(f"{_OPERATORS_WANTED} expected", left_text + "}", rest)
        compare = _COMPARISONS[found[0]]
        rest = rest[found.end() :]
        suffix = _SUFFIX.match(rest)[0]  # type: ignore[index]
        if suffix not in ("", "level"):
            _fail_at("bad operator suffix", found[0], suffix)
        if not rest[len(suffix) :].lstrip(_BLANKS).startswith("{"):
            # The suffix counts as read here, and is missing from what is shown as read: so it is with Postfix.
            read = f"{body[: body.index('{')].lstrip(_BLANKS)}{{{left_text}}} {found[0]}"
            _fail_at('"{expression}" expected', read, rest[len(suffix) :])
        right_text, rest = _braced(rest[len(suffix) :])
        left, right = self.expand(left_text, depth + 1), self.expand(right_text, depth + 1)
        return compare(*_comparable(left, right, as_levels=suffix == "level")), rest.lstrip(_BLANKS)


def _comparable(left: str, right: str, *, as_levels: bool) -> tuple[Any, Any]:
    """Both sides in the form in which they are to be compared."""
    if as_levels:
        try:
            return parse_level(left), parse_level(right)
        except ConfigError as error:
            _fail(error.text)
    if _is_number(left) and _is_number(right):
        for number in (left, right):
            digits = number.lstrip("0")
            if len(digits) > len(str(_LARGEST_NUMBER)) or int(digits or "0") > _LARGEST_NUMBER:
                raise ConfigError(f"mac_exp_eval: bad conversion: {number}")
        return int(left.lstrip("0") or "0"), int(right.lstrip("0") or "0")
    return left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _end_of_group(text: str, start: int) -> int | None:
    """Where the group that opens at `start` is over: just behind its closing sign; None where it never is."""
    opening = text[start]
    closing = _CLOSING[opening]
    depth = 0
    for at in range(start, len(text)):
        if text[at] == opening:
            depth += 1
        elif text[at] == closing:
            depth -= 1
            if depth == 0:
                return at + 1
    return None


def _braced(text: str) -> tuple[str, str]:
    """Split off a ``{...}`` in front: what is between the braces, and what follows them."""
    text = text.lstrip(_BLANKS)
    end = _end_of_group(text, 0)
    if end is None:
        _fail(f'unbalanced {{}} in attribute expression: "{text}"')
    return text[1 : end - 1], text[end:]


def _choice(rest: str) -> tuple[str, str]:
    """Read what follows a condition: the text if it holds, and the text if it does not."""
    if rest[0] == ":":
        return "", _last_text(rest[1:])
    if not rest[1:].lstrip(_BLANKS).startswith("{"):
        return rest[1:], ""
    when_true, behind = _braced(rest[1:])
    behind = behind.lstrip(_BLANKS)
    if not behind:
        return when_true, ""
    if behind[0] != ":":
        _fail_at('":" expected', when_true + "}", behind)
    return when_true, _last_text(behind[1:])


def _last_text(text: str) -> str:
    """The text that ends a choice."""
    if not text.lstrip(_BLANKS).startswith("{"):
        return text
    inner, behind = _braced(text)
    if behind.strip(_BLANKS):
        _fail_at("unexpected input", inner + "}", behind.lstrip(_BLANKS))
    return inner
