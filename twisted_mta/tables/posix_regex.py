"""Regular expressions of the C library: regcomp(3) and regexec(3).

No other library has exactly their meaning: the leftmost, then longest match, and the syntax that regexp tables are written in.
Nothing limits the steps of a match, and nothing ends one that has begun. They grow with the square of the text's length, and much
faster where a pattern refers back to its groups; so it is the length of texts that has limits.
Flow: regexp.py compiles its patterns here.
Sources: regex(7); regcomp(3); POSIX.1-2017, <regex.h>.
"""

import ctypes
import ctypes.util
import enum
import re
import weakref
from typing import Any

from twisted_mta.tables.patterns import Compile, Effort, PatternError, TooHardError, TooMuchError
from twisted_mta.tables.replacement import Groups

_libc = ctypes.CDLL(None, use_errno=False)

QUICK_OCTETS = 1000
"""Longer texts are for patient patterns; one of this length can take milliseconds."""

QUICK_OCTETS_WITH_REFERENCES = 20
"""The same for patterns that refer back to their groups."""

LONGEST_KEY = 2**17
"""Octets; longer ones are an error. They can take half a minute for a pattern; by default no header is that long."""

_REFERENCE = re.compile(rb"\\[1-9]")

_ROOM_FOR_REGEX = 512
"""Octets for a regex_t: the largest known has 64."""
_LONGEST_ERROR = 256
_NO_MATCH = 1
_LC_CTYPE_MASK = 1
"""What newlocale(3) is to set; all else is that of the C locale anyhow."""


class Option(enum.IntFlag):
    """Flags of regcomp(3); their numbers are the same in the libraries of Linux systems."""

    EXTENDED = 1
    IGNORE_CASE = 2
    NEWLINE = 4


class _Span(ctypes.Structure):
    """A regmatch_t."""

    _fields_ = (("start", ctypes.c_int), ("end", ctypes.c_int))


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_libc, name)
    function.restype, function.argtypes = result, arguments
    return function


_regcomp = _function("regcomp", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
_regexec = _function(
    "regexec", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
)
_regerror = _function("regerror", ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
_regfree = _function("regfree", None, ctypes.c_void_p)
_newlocale = _function("newlocale", ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_uselocale = _function("uselocale", ctypes.c_void_p, ctypes.c_void_p)

# In the locale of Python's process a dot would be a character of UTF-8, and no byte that is none; Postfix knows bytes alone.
_C_LOCALE = _newlocale(_LC_CTYPE_MASK, b"C", None)


def _compile(pattern: bytes, options: int) -> Any:
    regex = ctypes.create_string_buffer(_ROOM_FOR_REGEX)
    before = _uselocale(_C_LOCALE)
    try:
        status = _regcomp(regex, pattern, options)
    finally:
        _uselocale(before)
    if status:
        text = ctypes.create_string_buffer(_LONGEST_ERROR)
        _regerror(status, regex, text, _LONGEST_ERROR)
        raise PatternError(text.value.decode("ascii", "replace"))
    return regex


def _find_group_count() -> int:
    """Where in a regex_t the library keeps the number of groups (re_nsub): it differs from library to library."""
    samples = []
    for count in (3, 5, 6):
        regex = _compile(b"(a)" * count, Option.EXTENDED)
        samples.append(
            (count, (ctypes.c_size_t * (_ROOM_FOR_REGEX // ctypes.sizeof(ctypes.c_size_t))).from_buffer_copy(regex))
        )
        _regfree(regex)
    places = [at for at in range(len(samples[0][1])) if all(words[at] == count for count, words in samples)]
    if len(places) != 1:
        raise ImportError("the C library's regex_t is not understood")
    return places[0] * ctypes.sizeof(ctypes.c_size_t)


_GROUP_COUNT_AT = _find_group_count()


class PosixPattern:
    """A compiled pattern; a quick one.

    Attributes:
        groups: how many groups it has.
    """

    __slots__ = ("__weakref__", "_effort", "_longest", "_regex", "_spans", "groups")

    def __init__(self, pattern: bytes, options: int, effort: Effort) -> None:
        """Compile a pattern.

        Args:
            pattern: as regex(7) has it.
            options: see Option.
            effort: of the table.

        Raises:
            PatternError: it is malformed.
        """
        self._effort = effort
        self._longest = QUICK_OCTETS_WITH_REFERENCES if _REFERENCE.search(pattern) else QUICK_OCTETS
        self._regex = _compile(pattern, options)
        self.groups = ctypes.c_size_t.from_buffer(self._regex, _GROUP_COUNT_AT).value
        self._spans = (_Span * (self.groups + 1))()
        weakref.finalize(self, _regfree, self._regex)

    def test(self, subject: bytes) -> bool:
        """Whether the pattern matches somewhere.

        Raises:
            PatternError, TooHardError, TooMuchError: see there.
        """
        if len(subject) > self._longest:
            raise TooHardError
        status: int = _regexec(self._regex, subject, 0, None, 0)
        if status > _NO_MATCH:
            raise PatternError(self._error(status))
        return not status

    def search(self, subject: bytes) -> Groups | None:
        """The groups of the leftmost, longest match; None if there is none.

        Raises:
            PatternError, TooHardError, TooMuchError: see there.
        """
        if len(subject) > self._longest:
            raise TooHardError
        status = _regexec(self._regex, subject, len(self._spans), self._spans, 0)
        if status > _NO_MATCH:
            raise PatternError(self._error(status))
        if status:
            return None
        spans = [(span.start, span.end) for span in self._spans]

        def group(number: int) -> bytes | None:
            start, end = spans[number]
            return None if start < 0 else subject[start:end]

        return group

    def _error(self, status: int) -> str:
        text = ctypes.create_string_buffer(_LONGEST_ERROR)
        _regerror(status, self._regex, text, _LONGEST_ERROR)
        return text.value.decode("ascii", "replace")


class PatientPosixPattern(PosixPattern):
    """A compiled pattern; a patient one."""

    __slots__ = ()

    def __init__(self, pattern: bytes, options: int, effort: Effort) -> None:
        super().__init__(pattern, options, effort)
        self._longest = LONGEST_KEY

    def test(self, subject: bytes) -> bool:
        """Whether the pattern matches somewhere.

        Raises:
            PatternError, TooMuchError: see there.
        """
        self._check(subject)
        return super().test(subject)

    def search(self, subject: bytes) -> Groups | None:
        """The groups of the leftmost, longest match; None if there is none.

        Raises:
            PatternError, TooMuchError: see there.
        """
        self._check(subject)
        return super().search(subject)

    def _check(self, subject: bytes) -> None:
        if self._effort.abandoned:
            raise TooMuchError("given up")
        if len(subject) > LONGEST_KEY:
            raise TooMuchError(f"a key of {len(subject)} octets is longer than {LONGEST_KEY}")


def posix_compiler(effort: Effort) -> Compile:
    """What compiles the patterns of one effort."""
    kind = PatientPosixPattern if effort.patient else PosixPattern
    return lambda pattern, options: kind(pattern, options, effort)
