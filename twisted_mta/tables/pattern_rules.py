"""The rules of regexp and pcre tables: ``[!]/pattern/flags text``, ``if [!]/pattern/flags`` and ``endif``.

Flow: pattern_table.py gives the lines, and applies the rules to keys.
Sources: regexp_table(5), pcre_table(5); the texts are those of a running postmap(1).

All is read as bytes: a delimiter is one byte, and patterns know no other characters.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted_mta.model.text import to_text, to_wire
from twisted_mta.tables.patterns import Compile, Dialect, Effort, Pattern, PatternError
from twisted_mta.tables.replacement import Replacement, ReplacementError, parse_replacement
from twisted_mta.tables.rule_source import RuleLine

Warn = Callable[[str], None]
Rule = Callable[[bytes], str | None]
"""Gives the text for a key; None: the rule does not apply."""

_HEAD = re.compile(rb"[!\s]*")
_OPTIONS = re.compile(rb"[^\s!]*")
_ALL_OPTIONS = re.compile(rb"\S*")
_KEYWORD = re.compile(rb"(if|endif)(?![a-z0-9])", re.IGNORECASE)
_WORD = re.compile(rb"[A-Za-z0-9]")


class _RuleError(Exception):
    """A rule that is not used; its text says why."""


@dataclass(frozen=True, slots=True)
class _PatternText:
    """A pattern as it is written, with its options, and whether it must not match."""

    pattern: bytes
    options: int
    negated: bool


@dataclass(slots=True)
class Test:
    """A pattern, and whether it must match or must not."""

    pattern: Pattern
    negated: bool
    place: str
    warn: Warn

    def __call__(self, subject: bytes) -> bool | None:
        """Whether the test is passed; None: there is no telling, so the rule does not apply."""
        try:
            return self.pattern.test(subject) != self.negated
        except PatternError as error:
            self.tell(error)
            return None

    def tell(self, error: PatternError) -> None:
        """Say that there is no telling."""
        self.warn(f"{self.place}: {error}")


class ConstantRule:
    """A rule whose text has no groups; there may be one more test."""

    __slots__ = ("_further", "_matches", "_negated", "_test", "_text")

    def __init__(self, test: Test, further: Sequence[Test], text: str) -> None:
        self._matches = test.pattern.test
        self._negated = test.negated
        self._test = test
        self._further = further
        self._text = text

    def __call__(self, subject: bytes) -> str | None:
        """The text if all tests are passed."""
        # Here, not in the test: this runs for every rule and every line of a message.
        try:
            if self._matches(subject) == self._negated:
                return None
        except PatternError as error:
            self._test.tell(error)
            return None
        for test in self._further:
            if not test(subject):
                return None
        return self._text


@dataclass(slots=True)
class GroupsRule:
    """A rule whose text has groups of its pattern; there may be one more test."""

    first: Test
    further: Sequence[Test]
    replacement: Replacement

    def __call__(self, subject: bytes) -> str | None:
        """The text with its groups filled in, if the pattern matches and the further tests are passed."""
        try:
            groups = self.first.pattern.search(subject)
        except PatternError as error:
            self.first.tell(error)
            return None
        if groups is None or not all(test(subject) for test in self.further):
            return None
        return self.replacement.fill(groups)


@dataclass(slots=True)
class Block:
    """Rules between ``if`` and ``endif``; the table itself is a block without condition."""

    rules: list[Rule] = field(default_factory=list)
    condition: Test | None = None
    place: str = ""

    def __call__(self, subject: bytes) -> str | None:
        """The text of the first rule that applies."""
        if self.condition is not None and not self.condition(subject):
            return None
        for rule in self.rules:
            text = rule(subject)
            if text is not None:
                return text
        return None


def parse_rules(lines: Sequence[RuleLine], dialect: Dialect, effort: Effort, warn: Warn) -> Block:
    """Read the rules of a table; those that are wrong are left out, with a warning.

    Args:
        lines: the rules.
        dialect: how patterns are written.
        effort: what patterns may take.
        warn: takes warnings, now and while rules are applied.
    """
    blocks = [Block()]
    compile_pattern = dialect.compiler(effort)
    for line in lines:
        text = to_wire(line.text)
        try:
            keyword = _KEYWORD.match(text)
            if keyword is None:
                if _WORD.match(text):
                    raise _RuleError("ignoring unrecognized request")
                blocks[-1].rules.append(_RuleReader(text, line.place, dialect, compile_pattern, warn).rule())
            elif keyword[0].lower() == b"if":
                block = _RuleReader(text[keyword.end() :], line.place, dialect, compile_pattern, warn).block()
                blocks[-1].rules.append(block)
                blocks.append(block)
            elif len(blocks) == 1:
                raise _RuleError("ignoring ENDIF without matching IF")
            else:
                blocks.pop()
                if text[keyword.end() :].strip():
                    raise _RuleError("ignoring extra text after ENDIF")
        except _RuleError as error:
            warn(f"{line.place}: {error}")
    for block in reversed(blocks[1:]):
        warn(f"{block.place}: IF has no matching ENDIF")
    return blocks[0]


class _RuleReader:
    """Reads one rule."""

    def __init__(self, text: bytes, place: str, dialect: Dialect, compile_pattern: Compile, warn: Warn) -> None:
        self._text = text
        self._place = place
        self._dialect = dialect
        self._compile = compile_pattern
        self._warn = warn
        self._at = 0

    def rule(self) -> Rule:
        """Read ``[!]/pattern/flags[!/pattern/flags] text``.

        What is wrong with the text is told before what the library says of the patterns, as in Postfix.

        Raises:
            _RuleError: the rule cannot be used.
        """
        first = self._pattern_text()
        has_second = self._dialect.second_pattern and self._text.startswith(b"!", self._at)
        second = self._pattern_text() if has_second else None
        text = self._text[self._at :].strip()
        if not text:
            self._tell("no replacement text: using empty string")
        replacement = self._replacement(text, first)
        test = self._test(first)
        if replacement.groups > test.pattern.groups:
            raise _RuleError(f'out of range replacement index "{replacement.groups}": skipping this rule')
        further = (self._test(second),) if second else ()
        if not replacement.groups:
            return ConstantRule(test, further, replacement.constant)
        return GroupsRule(test, further, replacement)

    def block(self) -> Block:
        """Read the condition behind ``if``.

        Raises:
            _RuleError: the condition cannot be used.
        """
        condition = self._pattern_text()
        extra = self._text[self._at :].strip()
        if extra:
            self._tell(f'ignoring extra text after IF statement: "{to_text(extra)}"')
            self._tell("do not prepend whitespace to statements between IF and ENDIF")
        return Block(condition=self._test(condition), place=self._place)

    def _tell(self, problem: str) -> None:
        self._warn(f"{self._place}: {problem}")

    def _pattern_text(self) -> _PatternText:
        text = self._text
        start = _HEAD.match(text, self._at).end()  # type: ignore[union-attr]  # it matches the empty text, too
        negated = text.count(b"!", self._at, start) % 2 == 1
        if start == len(text):
            raise _RuleError("no regexp: skipping this rule")
        end = _end_of_pattern(text, start, last_backslash_ends=self._dialect.last_backslash_ends)
        if not end:
            delimiter = to_text(text[start : start + 1])
            raise _RuleError(f'no closing regexp delimiter "{delimiter}": {self._dialect.skipping} this rule')
        letters = _OPTIONS if self._dialect.second_pattern else _ALL_OPTIONS
        self._at = letters.match(text, end + 1).end()  # type: ignore[union-attr]  # likewise
        return _PatternText(text[start + 1 : end], self._options(to_text(text[end + 1 : self._at])), negated)

    def _test(self, text: _PatternText) -> Test:
        try:
            pattern = self._compile(text.pattern, text.options)
        except PatternError as error:
            raise _RuleError(str(error)) from None
        return Test(pattern, text.negated, self._place, self._warn)

    def _options(self, letters: str) -> int:
        options = self._dialect.default
        for letter in letters:
            if letter in self._dialect.obsolete:
                self._tell(f'ignoring obsolete regexp option "{letter}"')
            elif letter in self._dialect.options:
                options ^= self._dialect.options[letter]
            else:
                raise _RuleError(f'unknown regexp option "{letter}": skipping this rule')
        return options

    def _replacement(self, text: bytes, first: _PatternText) -> Replacement:
        try:
            replacement = parse_replacement(text, self._dialect.no_group)
        except ReplacementError as error:
            for cause in error.causes:
                (self._tell if cause.has_place else self._warn)(cause.text)
            raise _RuleError(f"{error.problem}: skipping this rule") from None
        if replacement.groups and first.negated:
            raise _RuleError("$number found in negative match replacement text: skipping this rule")
        return replacement


def _end_of_pattern(text: bytes, start: int, *, last_backslash_ends: bool) -> int:
    """Where the delimiter at `start` stands again; a backslash protects what is behind it. 0: nowhere."""
    delimiter = text[start]
    at = start + 1
    while at < len(text):
        if text[at] == ord("\\"):
            if last_backslash_ends and at + 1 == len(text):
                return at
            at += 1
        elif text[at] == delimiter:
            return at
        at += 1
    return 0
